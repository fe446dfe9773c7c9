import test from 'ava';
import fc from 'fast-check';
import { CATALOG_COLUMNS, catalogSql } from '../../../proxy/mysql/catalog-sql.ts';
import { readFacts } from '../../../proxy/mysql/catalog.ts';
import { lockKeys } from '../../../proxy/mysql/undo/lock-key.ts';
import { SERVERS, openWorld, type World } from '../second-phase/world.ts';

const SEED = process.env['SEED'] === undefined ? Date.now() % 1_000_000_000 : Number(process.env['SEED']);

/** Types of key columns, and texts that are written into them. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  'varchar(20) character set utf8mb4 collate utf8mb4_general_ci': [],
  'varchar(20) character set utf8mb4 collate utf8mb4_unicode_520_ci': [],
  'varchar(20) character set utf8mb4 collate utf8mb4_bin': [],
  // With MySQL that is one that counts blanks at the end.
  'varchar(20) character set utf8mb4': [],
  'char(20) character set utf8mb4 collate utf8mb4_czech_ci': [],
  'varchar(20) character set latin1 collate latin1_german2_ci': [],
  'varchar(20) character set utf16 collate utf16_unicode_ci': [],
  'varbinary(60)': [],
  'decimal(10,3)': ['1', '1.0', '1.000', '-0', '0', '00012', '12.0001'],
  double: ['0', '-0', '1e0', '1.0', '1e300', '0.1'],
  'datetime(3)': ['2024-01-01', '2024-01-01 00:00:00.000', '20240101', '0000-00-00'],
  "enum('a','B','')": ['a', 'A', 'b', 'B', ''],
  "set('x','y')": ['x,y', 'y,x', 'X', ''],
  'bit(9)': ['1', '2'],
};

const word: fc.Arbitrary<string> = fc
  .array(
    fc.constantFrom(
      'a',
      'A',
      'á',
      'ß',
      'ss',
      'ch',
      'c',
      'h',
      ' ',
      '\u00a0',
      '\u0000',
      'ae',
      'ä',
      'Ä',
      'ı',
      'İ',
      '\u0301',
      '\u200b',
      '😀',
      ',',
    ),
    { maxLength: 6 },
  )
  .map((parts) => parts.join(''));

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, 'create table nothing (id int primary key)');
    await world.admin.query("set sql_mode = '', sql_safe_updates = 0");
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  for (const [type, fixed] of Object.entries(TYPES)) {
    test.serial(`${name}: two values of a unique ${type} that are equal have one lock key`, async (t) => {
      t.log(`SEED=${SEED}`);
      await world.admin.query(
        `drop table if exists locked, loose; create table locked (id int primary key, k ${type} null, unique key (k), unique key two (k, id))`,
      );
      const [catalog] = await world.admin.query({ sql: catalogSql('shop', 'locked'), rowsAsArray: true });
      const facts = readFacts((catalog as unknown as (string | null)[][]).map((row) => row.slice(0, CATALOG_COLUMNS)));
      const keys = facts === undefined ? [] : lockKeys(facts);
      t.is(keys.length, 3);
      const key = keys.find(({ index }) => index.columns.length === 1 && index.columns[0]?.name === 'k');
      const values =
        fixed.length > 0
          ? [...fixed]
          : [...fc.sample(word, { numRuns: 150, seed: SEED }), 'x'.repeat(20), 'X'.repeat(20), '😀'.repeat(20)];
      // Without the index, so that equal values can stand beside each other.
      await world.admin.query('create table loose like locked; alter table loose drop key k, drop key two');
      for (const [id, value] of values.entries())
        await world.admin.query('insert into loose values (?, ?)', [id, value]);
      const equal = await world.lines(
        `select cast(a.k as char), cast(b.k as char) from loose a join loose b on a.k = b.k and not (${key?.sql('a')} <=> ${key?.sql('b')})`,
      );
      t.deepEqual(equal, []);
      const pairs = await world.lines('select count(*) from loose a join loose b on a.k = b.k where a.id <> b.id');
      t.true(Number(pairs[0]) > 0 || type === 'bit(9)', 'some values are equal');
      const others = await world.lines(
        `select a.k, b.k from loose a join loose b on ${key?.sql('a')} = ${key?.sql('b')} and a.k <> b.k`,
      );
      t.deepEqual(others, []);
      await world.admin.query('insert into loose values (1000, null); ');
      t.deepEqual(await world.lines(`select length(${key?.sql('loose')}) from loose where k is null`), ['0']);
      t.deepEqual(await world.lines(`select max(length(${key?.sql('loose')})) <= 255 from loose`), ['1']);
      await world.admin.query('drop table loose');
    });
  }
}
