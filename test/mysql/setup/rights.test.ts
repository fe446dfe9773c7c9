import test from 'ava';
import { readRights, rowGrants } from '../../../proxy/mysql/setup/rights.ts';

const ROWS = 'SELECT, INSERT, UPDATE, DELETE, TRIGGER';
const TO = 'TO `f`@`10.0.0.%`';
const rights = (...lines: readonly string[]): ReturnType<typeof readRights> => readRights(lines, false);

test('rights are read as servers write them, on everything, a database or a table', (t) => {
  for (const line of [
    `GRANT ALL PRIVILEGES ON *.* ${TO} WITH GRANT OPTION`,
    `GRANT ${ROWS}, REFERENCES ON *.* TO 'f'@'%'`,
  ]) {
    t.deepEqual(rights(line).missingOn('shop', 'book'), []);
    t.true(rights(line).seesReferences);
  }
  const ofDatabase = rights('GRANT USAGE ON *.* TO `f`@`%`', `GRANT ${ROWS} ON \`shop\`.* ${TO}`);
  t.deepEqual(ofDatabase.missingOn('shop', 'book'), []);
  t.deepEqual(ofDatabase.missingOn('shop2', 'book'), ROWS.split(', '));
  t.false(ofDatabase.seesReferences);
  const ofTable = rights(`GRANT ${ROWS.replace(', TRIGGER', '')} ON \`sh\`\`op\`.\`book\` ${TO}`);
  t.deepEqual(ofTable.missingOn('sh`op', 'book'), ['TRIGGER']);
  t.deepEqual(ofTable.missingIn('sh`op'), ROWS.split(', '));
  t.deepEqual(rights(`GRANT ${ROWS} ON \`shop\`.\`book\` ${TO}`).missingIn('shop'), []);
});

test('the name of a database in a grant is a pattern', (t) => {
  const missing = (pattern: string, database: string): number =>
    rights(`GRANT ${ROWS} ON \`${pattern}\`.* ${TO}`).missingOn(database, 't').length;
  t.is(missing('sh%', 'shop'), 0);
  t.is(missing('my_shop', 'my1shop'), 0);
  t.is(missing('my\\_shop', 'my_shop'), 0);
  t.is(missing('my\\_shop', 'my1shop'), 5);
  t.is(missing('a.b', 'axb'), 5);
  t.is(missing('%', 'é\n'), 0);
});

test('where the server may take either of two grants, both have to give the right', (t) => {
  const both = rights(`GRANT ${ROWS} ON \`sh%\`.* ${TO}`, `GRANT SELECT ON \`shop\`.* ${TO}`);
  t.deepEqual(both.missingOn('shop', 'book'), ['INSERT', 'UPDATE', 'DELETE', 'TRIGGER']);
  t.deepEqual(both.missingOn('shed', 'book'), []);
});

test('what was revoked in part, what counts for columns or routines, and what a role gives is missing', (t) => {
  const revoked = rights(`GRANT ALL PRIVILEGES ON *.* ${TO}`, 'REVOKE UPDATE, REFERENCES ON `shop`.* FROM `f`@`%`');
  t.deepEqual(revoked.missingOn('shop', 'book'), ['UPDATE']);
  t.false(revoked.seesReferences);
  const ofColumns = rights(`GRANT SELECT (\`a)\`, \`b\`), INSERT, UPDATE (\`DELETE\`) ON \`shop\`.\`book\` ${TO}`);
  t.deepEqual(ofColumns.missingOn('shop', 'book'), ['SELECT', 'UPDATE', 'DELETE', 'TRIGGER']);
  for (const line of [
    `GRANT ALL PRIVILEGES ON *.* TO \`role\``,
    'GRANT `role` TO `f`@`%`',
    `GRANT ALL PRIVILEGES ON PROCEDURE \`shop\`.\`book\` ${TO}`,
    "GRANT PROXY ON ''@'%' TO 'f'@'%'",
    `GRANT ALL PRIVILEGES ON \`*\`.* ${TO}`,
    'nonsense',
  ]) {
    t.is(rights(line).missingOn('shop', 'book').length, 5, line);
    t.false(rights(line).seesReferences, line);
  }
});

test('names are equal whatever their case is where the server says so', (t) => {
  const line = `GRANT ${ROWS} ON \`Shop\`.* ${TO}`;
  t.is(readRights([line], false).missingOn('shop', 'T').length, 5);
  t.is(readRights([line], true).missingOn('SHOP', 'T').length, 0);
});

test('what is to be granted on a database is not granted on one of a similar name', (t) => {
  const grants = rowGrants("'f'@'%'", ['my_shop', 'a`b%\\']);
  t.is(grants[0], `GRANT ${ROWS}, SHOW VIEW ON \`my\\_shop\`.* TO 'f'@'%'`);
  t.is(grants[2], "GRANT REFERENCES ON *.* TO 'f'@'%'");
  const read = rights(...grants);
  t.true(read.seesReferences);
  for (const database of ['my_shop', 'a`b%\\']) t.deepEqual(read.missingIn(database), []);
  t.is(read.missingIn('my1shop').length, 5);
});
