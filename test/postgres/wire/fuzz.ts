/** A longer hunt through the properties: `node test/postgres/wire/fuzz.ts [--seed S] [--iterations N] [--property I --path P]`. */
import { hunt } from '../../sql/codec-properties.ts';
import { PROPERTIES } from './properties.ts';

await hunt('test/postgres/wire/fuzz.ts', PROPERTIES);
