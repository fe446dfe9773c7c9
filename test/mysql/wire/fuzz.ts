/** A longer hunt through the properties: `node test/mysql/wire/fuzz.ts [--seed S] [--iterations N] [--property I --path P]`. */
import { hunt } from '../../sql/codec-properties.ts';
import { PROPERTIES } from './properties.ts';

await hunt('test/mysql/wire/fuzz.ts', PROPERTIES);
