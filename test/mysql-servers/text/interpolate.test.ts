/** The text that parameters are written into means on real servers what the prepared statement means with them. */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { interpolate, prepareText } from '../../../proxy/mysql/text/interpolate.ts';
import type { Lexical } from '../../../proxy/mysql/text/tokens.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import { hasMysql, startMysql } from '../mysql-server.ts';
import { LONG, startAsking, type Asking, type Result } from './asking.ts';
import { plain } from './plain.ts';
import { VALUES, parameter, type ValueKind } from './values.ts';

const servers = new Map<string, MariadbServer>();
const NAMES = hasMysql ? ['MariaDB', 'MySQL'] : ['MariaDB'];
/** How many statements each session is asked. A longer search: `RUNS=5000`, and `SEED` for one that was found. */
const RUNS = Number(process.env['RUNS'] ?? 300);

test.before(async () => {
  servers.set('MariaDB', await startMariadb());
  if (hasMysql) servers.set('MySQL', await startMysql());
  for (const server of servers.values()) await server.run(`create database k; use k; ${TABLE}; ${ROWS}`);
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
});

const COLUMNS: Readonly<Record<string, string>> = {
  c_int: 'int',
  c_ubig: 'bigint unsigned',
  c_dec: 'decimal(40, 10)',
  c_dbl: 'double',
  c_latin1: 'varchar(60) character set latin1 collate latin1_swedish_ci',
  c_bin: 'varchar(60) character set utf8mb4 collate utf8mb4_bin',
  c_ci: 'varchar(60) character set utf8mb4 collate utf8mb4_general_ci',
  c_binary: 'varbinary(60)',
  c_text: 'text character set utf8mb4',
  c_blob: 'blob',
  c_json: 'json',
  c_datetime: 'datetime(6)',
  c_date: 'date',
  c_timestamp: 'timestamp(3) null',
  c_time: 'time(6)',
  c_enum: "enum('a', 'b', '5')",
  c_set: "set('x', 'y', 'z')",
  c_bit: 'bit(64)',
  c_year: 'year',
};
const TABLE = `create table t (id int primary key auto_increment, ${Object.entries(COLUMNS)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ')})`;
const ROWS = `insert into t values
  (1, 5, 5, 5, 5, '5', '5', '5', '5', '5', '5', '{"a": 1}', '2020-02-03 04:05:06', '2020-02-03', '2020-02-03 04:05:06', '04:05:06', 'b', 'x,y', 5, 2020),
  (2, -5, 200, 1.5, 0.1, 'abc', 'abc', 'abc', 'abc', 'abc', 'abc', '5', '2020-02-03 04:05:06.000070', '2020-01-01', '2020-02-03', '-76:05:06.000070', 'a', 'x', b'1111', 1999),
  (3, 1, 18446744073709551615, -7, -2.5, '', '', '', '', '', '', '"abc"', null, null, null, null, '5', '', 0, 2005)`;

interface Asked {
  readonly sql: string;
  readonly kinds: readonly ValueKind[];
}

const NUMBERS: readonly ValueKind[] = ['null', 'integer', 'double', 'decimal'];
const TEXTS: readonly ValueKind[] = ['text', 'blob'];
const ALL: readonly ValueKind[] = [...NUMBERS, ...TEXTS, 'date', 'datetime', 'time'];
const DATES: readonly ValueKind[] = ['null', 'text', 'date', 'datetime', 'instant'];

const EXPRESSIONS: readonly Asked[] = [
  { sql: 'SELECT ? AS v', kinds: [...ALL, 'unsigned', 'instant', 'span'] },
  { sql: 'SELECT HEX(?) AS v', kinds: ALL },
  ...[
    'CONCAT(?)',
    "CONCAT('x', ?, 'y')",
    'LENGTH(?)',
    "COALESCE(?, 'x')",
    "? LIKE '%b%'",
    'MD5(?)',
    'CAST(? AS CHAR)',
  ].map((sql) => ({ sql: `SELECT ${sql} AS v`, kinds: ALL })),
  ...[
    '? + 1',
    '?-6',
    '1-?',
    '? * 1.5',
    '?/3',
    'COALESCE(?, 7)',
    'IF(?, 1, 2)',
    'ABS(?)',
    'GREATEST(?, -1)',
    'NULLIF(?, 5)',
    '- -?',
  ].map((sql) => ({ sql: `SELECT ${sql} AS v`, kinds: [...NUMBERS, 'unsigned' as const] })),
  ...[
    '? + 1',
    '? * 1.5',
    '? IS NULL',
    '? = 5',
    "? = '5'",
    '? IS TRUE',
    'CAST(? AS SIGNED)',
    'CAST(? AS DECIMAL(40, 8))',
  ].map((sql) => ({ sql: `SELECT ${sql} AS v`, kinds: [...NUMBERS, ...TEXTS] })),
  ...[
    'COLLATION(?)',
    'COERCIBILITY(?)',
    'CHARSET(?)',
    'COLLATION(CONCAT(?))',
    'UPPER(?)',
    'BINARY ?',
    'CONCAT(?, c_latin1, c_ci)',
  ].map((sql) => ({ sql: `SELECT ${sql} AS v FROM t`, kinds: TEXTS })),
  ...['? | 0', '~?', '? DIV 2', 'JSON_ARRAY(?)', "DATE_ADD('2020-01-01', INTERVAL ? DAY)", 'ROUND(?, -1)'].map(
    (sql) => ({
      sql: `SELECT ${sql} AS v`,
      kinds: ['integer' as const],
    }),
  ),
  { sql: "SELECT JSON_SET('{\"a\": 1}', '$.b', ?) AS v", kinds: ['null', 'integer', 'double', 'decimal', 'text'] },
  ...[
    'DATE_ADD(?, INTERVAL 1 DAY)',
    "DATE_FORMAT(?, '%Y %f')",
    'CAST(? AS DATETIME(6))',
    "TIMESTAMPDIFF(MICROSECOND, ?, '2021-01-01')",
  ].map((sql) => ({ sql: `SELECT ${sql} AS v`, kinds: DATES })),
  { sql: 'SELECT id FROM t WHERE id>? AND c_int<>?', kinds: NUMBERS },
  { sql: 'SELECT id FROM t ORDER BY c_int, ?', kinds: TEXTS },
];

/** Values that a column takes, or is compared with, without what only one of the two ways of a server makes of it: see interpolate.ts. */
function kindsOf(column: string): readonly ValueKind[] {
  if (['c_datetime', 'c_date', 'c_timestamp'].includes(column)) return [...NUMBERS, ...DATES, 'blob'];
  if (column === 'c_time') return ['null', 'text', 'time', 'span'];
  if (column === 'c_json') return ['null', 'integer', 'double', 'decimal', 'text', 'blob'];
  if (column === 'c_dbl') return [...NUMBERS, ...TEXTS];
  const isNumber = ['c_int', 'c_ubig', 'c_dec', 'c_year', 'c_bit'].includes(column);
  return isNumber ? [...NUMBERS, ...TEXTS, 'unsigned'] : ALL;
}

const WITH_COLUMNS: readonly Asked[] = Object.keys(COLUMNS).flatMap((column) =>
  [
    `SELECT id FROM t WHERE ${column} = ?`,
    `SELECT id FROM t WHERE ${column} < ? ORDER BY id`,
    `SELECT id FROM t WHERE ${column} IN (?, ?)`,
    `INSERT INTO t (${column}) VALUES (?), (?)`,
    `UPDATE t SET ${column} = ? WHERE id = 1`,
  ].map((sql) => ({ sql, kinds: kindsOf(column) })),
);

const asked = fc.constantFrom(...EXPRESSIONS, ...WITH_COLUMNS).chain(({ sql, kinds }) => {
  const places = sql.split('?').length - 1;
  return fc.record({
    sql: fc.constant(sql),
    values: fc
      .constantFrom(...kinds)
      .chain((kind) =>
        fc.array(VALUES[kind], { minLength: places, maxLength: places }).map((parameters) => ({ kind, parameters })),
      ),
  });
});

interface Ran {
  readonly answer: unknown;
  readonly warnings: number;
  readonly stored: unknown;
}

/** Runs a change, reads what it has stored, and takes it back. */
async function run(asking: Asking, sql: string, work: () => Promise<Result>, isBinary: boolean): Promise<Ran> {
  const column = /(?:INTO t \(|SET )(\w+)/.exec(sql)?.[1];
  if (column !== undefined && !sql.startsWith('SELECT')) await asking.query('begin');
  const result = await work();
  const warnings = result.kind === 'error' ? 0 : result.warnings;
  if (column === undefined || sql.startsWith('SELECT'))
    return { answer: plain(result, isBinary), warnings, stored: undefined };
  const [stored] = await asking.query(
    `select hex(concat(${column})), ${column} is null from t where id in (1) or id > 3`,
  );
  await asking.query('rollback');
  return { answer: plain(result, isBinary), warnings, stored: stored === undefined ? undefined : plain(stored, false) };
}

const SESSIONS: readonly (readonly [name: string, setup: string, lexical: Lexical])[] = [
  ['as servers come', 'set names utf8mb4', { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' }],
  [
    'without escapes',
    "set names utf8mb4; set sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
    { noBackslashEscapes: true, ansiQuotes: false, charset: 'utf8' },
  ],
  [
    'with a connection in another character set',
    'set names utf8mb4; set collation_connection = latin1_german1_ci',
    { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' },
  ],
  [
    'in latin1, not strict',
    "set names latin1; set sql_mode = ''",
    { noBackslashEscapes: false, ansiQuotes: false, charset: 'single-byte' },
  ],
];

async function compare(t: ExecutionContext, name: string, setup: string, lexical: Lexical): Promise<void> {
  const server = servers.get(name);
  if (server === undefined) throw new Error(`${name} was not started`);
  const asking = await startAsking(server.port, server.user, 'k');
  let refused = 0;
  try {
    await asking.query(setup);
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    t.log(`SEED=${seed}`);
    const property = fc.asyncProperty(asked, async ({ sql, values: { kind, parameters } }) => {
      const written = interpolate(prepareText(sql, lexical), parameters, { lexical });
      if (written.kind === 'refuse') {
        refused += 1;
        return;
      }
      const prepared = await run(asking, sql, () => asking.execute(sql, parameters), true);
      const interpolated = await run(asking, sql, async () => (await asking.query(written.text))[0] as Result, false);
      const what = `${kind}: ${written.text}`;
      t.deepEqual(interpolated.answer, prepared.answer, what);
      t.deepEqual(interpolated.stored, prepared.stored, what);
      // MySQL says of a text that is no number, and of one that is no UTF-8, what it does not say of a parameter.
      if (name === 'MariaDB' || !TEXTS.includes(kind)) t.is(interpolated.warnings, prepared.warnings, what);
    });
    await fc.assert(property, { numRuns: RUNS, seed, endOnFailure: true });
    t.true(refused < RUNS / 10, `${refused} of ${RUNS} were refused`);
  } finally {
    asking.close();
  }
}

for (const name of NAMES) {
  for (const [what, setup, lexical] of SESSIONS) {
    test(`a parameter and its literal are the same to ${name}: ${what}`, (t) => compare(t, name, setup, lexical));
  }

  test(`LIMIT and OFFSET take from ${name} what they take as parameters`, async (t) => {
    const server = servers.get(name);
    const asking = await startAsking(server?.port ?? 0, 'atomesh', 'k');
    const lexical: Lexical = { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' };
    const counts: readonly Parameter[] = [
      parameter(TYPE.long, { kind: 'integer', value: 2n }),
      parameter(TYPE.double, { kind: 'double', value: 1 }),
      parameter(TYPE.varString, Buffer.from('1')),
      parameter(TYPE.newDecimal, Buffer.from('2')),
      parameter(TYPE.longlong, { kind: 'integer', value: (1n << 64n) - 1n }, 0x80),
    ];
    for (const sql of [
      'SELECT id FROM t LIMIT ?',
      'SELECT id FROM t LIMIT ?, ?',
      'SELECT id FROM t ORDER BY id LIMIT ? OFFSET ?',
    ]) {
      for (const one of counts) {
        const parameters = [one, one].slice(0, sql.split('?').length - 1);
        const written = interpolate(prepareText(sql, lexical), parameters, { lexical });
        if (written.kind === 'refuse') {
          t.fail(written.message);
          continue;
        }
        const [text] = await asking.query(written.text);
        t.deepEqual(plain(text as Result, false), plain(await asking.execute(sql, parameters), true), written.text);
      }
    }
    asking.close();
  });

  test(`a value that was sent ahead is the same to ${name}`, async (t) => {
    const server = servers.get(name);
    const asking = await startAsking(server?.port ?? 0, 'atomesh', 'k');
    const lexical: Lexical = { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' };
    for (const code of [TYPE.varString, TYPE.longBlob]) {
      const sql = 'SELECT HEX(?), CHARSET(?)';
      const written = interpolate(prepareText(sql, lexical), [parameter(code, LONG), parameter(code, LONG)], {
        lexical,
      });
      const ahead = [parameter(code, undefined), parameter(code, undefined)];
      const [text] = await asking.query(written.kind === 'text' ? written.text : '');
      t.deepEqual(plain(text as Result, false), plain(await asking.execute(sql, ahead), true));
    }
    asking.close();
  });
}
