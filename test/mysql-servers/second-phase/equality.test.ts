import fc from 'fast-check';
import test from 'ava';
import { newGid } from '../../../src/platform/random.ts';
import { RESOURCE, SERVERS, captured, enter, openWorld, type World } from './world.ts';

/** A column of each kind, with values that are easily lost on the way there or back. */
const COLUMNS: readonly (readonly [type: string, ...values: readonly string[]])[] = [
  ['tinyint(1)', '1', '-128', 'null'],
  ['bigint unsigned', '18446744073709551615', '0', '9007199254740993'],
  [
    'decimal(65,30)',
    '12345678901234567890123456789012345.123456789012345678901234567891',
    '-0.000000000000000000000000000001',
    '0',
  ],
  ['float', '0.1', '3.4028234e38', '16777217'],
  ['double', '0.1e0', '-0e0', '1.7976931348623157e308', '5e-324'],
  ['bit(64)', "b'1'", "x'FFFFFFFFFFFFFFFF'", '0'],
  ['date', "'2020-02-29'", "'0000-00-00'", "'2020-00-00'"],
  ['time(6)', "'-838:59:59.000000'", "'00:00:00.000001'"],
  ['datetime(6)', "'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00'"],
  ['timestamp(6) null', "'2020-10-25 01:30:00.123456'", "'2038-01-19 03:14:07'", 'null'],
  [
    'timestamp not null default current_timestamp on update current_timestamp',
    "'1970-01-02 00:00:01'",
    "'2020-01-01 00:00:00'",
  ],
  ['year', '1901', '0'],
  ['char(9) character set latin1', "'ä '", "''", "'a'"],
  ['varchar(99) character set utf8mb4', "'😀,''\\\\'", "'a '", "'N'", 'null'],
  ['varchar(20) character set gbk', "_gbk x'B0A1'", "''"],
  ['longtext character set utf8mb4', "repeat('x', 70000)", "'\\0'"],
  ['varbinary(99)', "x'00FF275C'", "''"],
  ['binary(4)', "x'00'", "x'20202020'"],
  ['longblob', "repeat(x'00', 70000)", "x'2C'"],
  ["enum('a','b,c','ö') character set utf8mb4", "'b,c'", "''", "'ö'"],
  ["set('x','y','z') character set utf8mb4", "'x,z'", "''"],
  ['json', '\'{"b": [1, 2.50, null], "ä": "😀"}\'', "'null'", 'null'],
  ['point', 'point(0.1, -1e300)', 'null'],
];

const names = COLUMNS.map((_, index) => `c${index}`);
const SETTINGS = [
  "set time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'",
  "set time_zone = '+05:30', sql_mode = 'ANSI_QUOTES,ALLOW_INVALID_DATES'",
  "set names latin1, sql_mode = 'ALLOW_INVALID_DATES,PAD_CHAR_TO_FULL_LENGTH'",
];
const TABLE = `create table every (id int not null primary key default 0, ${COLUMNS.map(([type], index) => `c${index} ${type}`).join(', ')},
  made int as (id + 1) stored)`;

type Step =
  | { readonly kind: 'insert' | 'update'; readonly id: number; readonly values: readonly number[] }
  | { readonly kind: 'delete'; readonly id: number };

const values = fc.tuple(...COLUMNS.map(([, ...all]) => fc.nat({ max: all.length - 1 })));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('insert' as const, 'update' as const), id: fc.nat({ max: 3 }), values }),
  fc.record({ kind: fc.constant('delete' as const), id: fc.nat({ max: 3 }) }),
);

function sqlOf(each: Step): string {
  if (each.kind === 'delete') return `delete from every where id >= ${each.id}`;
  const literals = COLUMNS.map(([, ...all], index) => all[each.values[index] ?? 0] ?? 'null');
  if (each.kind === 'insert') {
    return `insert ignore into every (id, ${names.join(', ')}) values (${each.id}, ${literals.join(', ')})`;
  }
  // Some of the columns: what sets itself then does so.
  const sets = names.flatMap((name, index) => (index % 3 === each.id % 3 ? [`${name} = ${literals[index]}`] : []));
  return `update every set ${sets.join(', ')} where id <= ${each.id}`;
}

/** A statement that the server itself refuses has changed nothing: some values mean nothing in some settings. */
function noRows(error: unknown): number {
  if (typeof (error as { sqlState?: unknown }).sqlState === 'string') return 0;
  throw error;
}

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLE);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: whatever was changed, in whatever settings, is as it was to the byte after the rollback`,
    async (t) => {
      const bytes = [...names, 'id', 'made'].map(
        (column) => `coalesce(hex(${column}), 'null'), hex(cast(${column} as binary))`,
      );
      const dump = (): Promise<readonly string[]> =>
        world.lines(
          `select md5(concat_ws('|', ${bytes.join(', ')})), coalesce(c7, ''), c9, c10 from every order by id`,
        );
      await world.admin.query("set time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'");
      let rows = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(values, { minLength: 1, maxLength: 3 }),
          fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 2 }),
          fc.nat({ max: SETTINGS.length - 1 }),
          async (first, transactions, setting) => {
            await world.admin.query('delete from every');
            for (const [id, all] of first.entries())
              await world.admin.query(sqlOf({ kind: 'insert', id, values: all }));
            const before = await dump();
            const gid = newGid();
            await world.finisher.open(gid, RESOURCE);
            const connection = await world.connect();
            await connection.query(SETTINGS[setting] ?? 'do 0');
            for (const steps of transactions) {
              await connection.query('begin');
              if ((await enter(connection, gid)) !== 'active') throw new Error('it is over');
              for (const each of steps) rows += await captured(connection, gid, 'every', sqlOf(each)).catch(noRows);
              await connection.query('commit');
            }
            connection.destroy();
            t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
            t.deepEqual(await dump(), before);
          },
        ),
        { numRuns: 12, endOnFailure: true },
      );
    },
  );
}
