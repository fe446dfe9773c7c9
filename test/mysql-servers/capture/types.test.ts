import test from 'ava';
import fc from 'fast-check';
import type mysql from 'mysql2/promise';
import { newGid } from '../../../src/platform/random.ts';
import { RESOURCE, SERVERS, openWorld, type World } from '../second-phase/world.ts';
import { begin, createRunner } from './runner.ts';

const RUNS = Number(process.env['RUNS'] ?? 25);
const SEED = process.env['SEED'] === undefined ? Date.now() % 1_000_000_000 : Number(process.env['SEED']);

/** A column's type, and constants for it as SQL. */
type Column = readonly [type: string, values: fc.Arbitrary<string>];

const digits = (min: bigint, max: bigint): fc.Arbitrary<string> => fc.bigInt({ min, max }).map(String);
const text = (max: number): fc.Arbitrary<string> =>
  fc
    .string({ unit: 'grapheme-composite', maxLength: max })
    .map((value) => `_utf8mb4 X'${Buffer.from(value).toString('hex')}'`);
const bytes = (max: number): fc.Arbitrary<string> =>
  fc.uint8Array({ maxLength: max }).map((value) => `X'${Buffer.from(value).toString('hex')}'`);
const exponential = (value: number): string => (Object.is(value, -0) ? '-0e0' : value.toExponential());
const two = (max: number, min = 0): fc.Arbitrary<string> =>
  fc.integer({ min, max }).map((value) => String(value).padStart(2, '0'));
const micros: fc.Arbitrary<string> = fc
  .integer({ min: 0, max: 999_999 })
  .map((value) => String(value).padStart(6, '0'));
const date: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom('0000-00-00', '2024-00-00', '2024-02-00', '1000-01-01', '9999-12-31', '2024-02-29'),
  fc.tuple(fc.integer({ min: 1000, max: 9999 }), two(12, 1), two(28, 1)).map((parts) => parts.join('-')),
);
const clock: fc.Arbitrary<string> = fc.tuple(two(23), two(59), two(59)).map((parts) => parts.join(':'));
const decimal: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.bigInt({ min: 0n, max: 10n ** 35n - 1n }),
    fc.bigInt({ min: 0n, max: 10n ** 30n - 1n }),
  )
  .map(([sign, whole, part]) => `${sign}${whole}.${String(part).padStart(30, '0')}`);

/** Without numbers of more than 15 digits: MySQL 8.0 reads some of them as their neighbours, and they are refused. */
const document: fc.Arbitrary<string> = fc
  .letrec<{ value: unknown; leaf: unknown }>((tie) => ({
    leaf: fc.oneof(
      fc.string({ unit: 'grapheme-composite', maxLength: 8 }),
      fc.integer(),
      fc.boolean(),
      fc.constantFrom(null, 0.5, -1.25, 1e100),
    ),
    value: fc.oneof(
      tie('leaf'),
      fc.array(tie('leaf'), { maxLength: 3 }),
      fc.dictionary(fc.string({ maxLength: 5 }), tie('leaf'), { maxKeys: 3 }),
    ),
  }))
  .value.map((value) => JSON.stringify(value));

const COLUMNS: Readonly<Record<string, Column>> = {
  ti: ['tinyint', digits(-128n, 127n)],
  si: ['smallint unsigned zerofill', digits(0n, 65_535n)],
  mi: ['mediumint', digits(-8_388_608n, 8_388_607n)],
  ui: ['int(10) unsigned', digits(0n, 4_294_967_295n)],
  bi: ['bigint', digits(-(2n ** 63n), 2n ** 63n - 1n)],
  ub: ['bigint unsigned', digits(0n, 2n ** 64n - 1n)],
  fl: ['float', fc.float({ noNaN: true, noDefaultInfinity: true }).map(exponential)],
  fm: ['float(12,5)', fc.float({ noNaN: true, min: -1e6, max: 1e6 }).map(exponential)],
  db: ['double', fc.double({ noNaN: true, noDefaultInfinity: true }).map(exponential)],
  dm: ['double(20,7)', fc.double({ noNaN: true, min: -1e12, max: 1e12 }).map(exponential)],
  de: ['decimal(65,30)', decimal],
  b1: ['bit(1)', digits(0n, 1n)],
  b6: ['bit(64)', digits(0n, 2n ** 64n - 1n)],
  ye: ['year', fc.oneof(fc.constant('0'), digits(1901n, 2155n))],
  da: ['date', date.map((value) => `'${value}'`)],
  tm: [
    'time(6)',
    fc
      .tuple(fc.constantFrom('', '-'), fc.integer({ min: 0, max: 837 }), two(59), two(59), micros)
      .map(([sign, hours, minutes, seconds, part]) => `'${sign}${hours}:${minutes}:${seconds}.${part}'`),
  ],
  dt: ['datetime(6)', fc.tuple(date, clock, micros).map(([day, at, part]) => `'${day} ${at}.${part}'`)],
  ts: [
    'timestamp(6) null',
    fc.oneof(
      fc.constant("'0000-00-00 00:00:00'"),
      fc
        .tuple(
          fc.oneof(fc.integer({ min: 1, max: 2_000_000_000 }), fc.constantFrom(1_729_989_000, 1_729_992_600)),
          micros,
        )
        .map(([seconds, part]) => `from_unixtime(${seconds}.${part})`),
    ),
  ],
  ch: ['char(20) character set utf16', text(10)],
  cl: ['char(10) character set latin1', text(5)],
  vc: ['varchar(50) character set utf8mb4', text(20)],
  vs: ['varchar(50) character set sjis', text(5)],
  vg: ['varchar(50) character set gbk', text(5)],
  tx: ['longtext character set utf8mb4', text(100)],
  bn: ['binary(8)', bytes(8)],
  vb: ['varbinary(50)', bytes(50)],
  bl: ['longblob', bytes(200)],
  en: ["enum('a','b,c','','it''s','é') character set utf8mb4", fc.constantFrom('0', '1', '2', '3', '4', '5')],
  eu: ["enum('x','y') character set utf16", fc.constantFrom('0', '1', '2')],
  se: ["set('p','q','ä') character set utf8mb4", digits(0n, 7n)],
  js: ['json', document.map((value) => `convert(X'${Buffer.from(value).toString('hex')}' using utf8mb4)`)],
  ge: [
    'geometry',
    fc
      .tuple(fc.integer({ min: -90, max: 90 }), fc.double({ noNaN: true, min: -90, max: 90 }))
      .map(([x, y]) => `st_geomfromtext('linestring(${x} ${y.toFixed(9)}, 1 2)')`),
  ],
  po: ['point', fc.integer({ min: -90, max: 90 }).map((x) => `st_geomfromtext('point(${x} 1)', 4326)`)],
};

const NAMES = Object.keys(COLUMNS);
const TABLE = `create table every (${[
  'id int',
  ...NAMES.map((name) => `${name} ${COLUMNS[name]?.[0]} ${name === 'ts' ? 'on update current_timestamp(6)' : ''}`),
  'gv int as (ti + 1) virtual, gs varchar(60) as (concat(vc, 1)) stored',
].join(', ')}, primary key (id), unique key (id, b6, en))`;

const row: fc.Arbitrary<readonly string[]> = fc.tuple(
  ...NAMES.map((name) =>
    fc.oneof(
      { weight: 1, arbitrary: fc.constant('null') },
      { weight: 6, arbitrary: COLUMNS[name]?.[1] ?? fc.constant('null') },
    ),
  ),
);

const settings = fc.record({
  zone: fc.constantFrom('+00:00', '+05:30', '-11:00'),
  modes: fc.subarray([
    'PAD_CHAR_TO_FULL_LENGTH',
    'ANSI_QUOTES',
    'NO_BACKSLASH_ESCAPES',
    'HIGH_NOT_PRECEDENCE',
    'PIPES_AS_CONCAT',
    'IGNORE_SPACE',
    'NO_UNSIGNED_SUBTRACTION',
    'REAL_AS_FLOAT',
  ]),
  connection: fc.constantFrom('utf8mb4_general_ci', 'latin1_bin', 'utf16_general_ci', 'binary'),
  results: fc.constantFrom('utf8mb4', 'latin1', 'utf16', 'null'),
});

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, `set names utf8mb4; set sql_mode = ''; ${TABLE}`);
    await world.admin.query("set sql_mode = '', time_zone = '+00:00'");
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  test.serial(`${name}: a row of any values comes back to the byte, whatever the session's settings are`, async (t) => {
    t.log(`SEED=${SEED} RUNS=${RUNS}`);
    const checksum = async (): Promise<string> => (await world.lines('checksum table every extended')).join();
    const own: mysql.Connection = await world.connect('repeatable read');
    const values = (list: readonly string[]): string => list.join(', ');
    const sets = (list: readonly string[]): string =>
      list.map((value, index) => `${NAMES[index]} = ${value}`).join(', ');
    await fc.assert(
      fc.asyncProperty(row, row, row, settings, async (first, second, third, set) => {
        await world.admin.query('delete from every');
        await world.admin.query(
          `insert into every (id, ${NAMES.join(', ')}) values (1, ${values(first)}), (2, ${values(second)})`,
        );
        const before = await checksum();
        await own.query(
          `set names utf8mb4; set sql_mode = '${set.modes.join()}', time_zone = '${set.zone}', character_set_results = ${set.results}, collation_connection = ${set.connection}`,
        );
        const runner = await createRunner(world, own, {
          database: 'shop',
          countsFound: true,
          hasPhantoms: false,
          ansiQuotes: set.modes.includes('ANSI_QUOTES'),
          noBackslashEscapes: set.modes.includes('NO_BACKSLASH_ESCAPES'),
        });
        for (const sql of [
          `update every set ${sets(third)} where id = 1`,
          'delete from every where id = 2',
          `insert into every (id, ${NAMES.join(', ')}) values (3, ${values(third)})`,
          'delete from every',
        ]) {
          const gid = newGid();
          await own.query('set names utf8mb4; set sql_mode = @@sql_mode');
          await own.query(`set character_set_results = ${set.results}, collation_connection = ${set.connection}`);
          await begin(world, own, gid);
          const { heard } = await runner.run(gid, sql);
          await own.query('commit');
          if (heard.kind !== 'ok') throw new Error(`${JSON.stringify(heard)}: ${sql}`);
          const { result, detail } = (await world.finisher.rollback(gid, RESOURCE)) as {
            result: string;
            detail?: string;
          };
          if (result !== 'success' || (await checksum()) !== before) throw new Error(`${result} ${detail}: ${sql}`);
        }
      }),
      { numRuns: RUNS, seed: SEED, includeErrorInReport: true, endOnFailure: true },
    );
    t.pass();
  });
}
