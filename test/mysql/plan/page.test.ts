import { readFile } from 'node:fs/promises';
import test from 'ava';
import { CHANGES } from '../../mysql-servers/matrix/changes.ts';
import { pageTables } from '../../mysql-servers/matrix/kind.ts';
import { OTHERS } from '../../mysql-servers/matrix/others.ts';
import { TABLE_KINDS } from '../../mysql-servers/matrix/tables.ts';
import { squeezed } from '../../undo/kinds.ts';

test('the tables of docs/mysql-statements.md are those that the tests prove on servers', async (t) => {
  const page = await readFile(new URL('../../../docs/mysql-statements.md', import.meta.url), 'utf8');
  const written = page.slice(page.indexOf('### '), page.indexOf('<!-- end of the tables -->'));
  t.is(squeezed(written), squeezed(pageTables([...CHANGES, ...TABLE_KINDS, ...OTHERS])));
});
