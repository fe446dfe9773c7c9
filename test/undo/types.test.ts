import test from 'ava';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { newGid } from '../../src/platform/random.ts';
import { openLog } from '../../src/platform/log.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { dump, openCapturedSession } from './captured-session.ts';

const PREPARATION = `
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", (fine)');
CREATE TYPE pair AS (a int, b text, t timestamptz);
CREATE DOMAIN positive AS numeric(20,5) CHECK (VALUE > 0);
CREATE DOMAIN label AS varchar(20);
`;

/** A type, and values of it as SQL; every value becomes a row. */
const MATRIX: readonly (readonly [string, readonly string[]])[] = [
  ['bool', ['true', 'false', 'NULL']],
  ['int2', ['-32768', '32767']],
  ['int8', ['-9223372036854775808', '9223372036854775807']],
  ['numeric', ["'NaN'", "'-0.00'", '1.50', '1.5', '123456789012345678901234567890.123456789', "'1e-20'", "'Infinity'"]],
  ['numeric(10,3)', ['1.5', '-0.001']],
  ['float4', ["'-0'", "'NaN'", "'Infinity'", "'-Infinity'", '0.1', '1e-40', '3.4028235e38']],
  ['float8', ["'-0'", "'NaN'", "'Infinity'", '0.1', '2.2250738585072014e-308', '5e-324', '0.30000000000000004']],
  ['money', ["'$1.23'", "'-$9999.99'"]],
  [
    'text',
    [
      "''",
      "'NULL'",
      "'null'",
      "' pad '",
      "E'\\\\ \\n\\t\\r \\x01'",
      '\'""\'',
      "'(a,b)'",
      "','",
      "'ü€𝄞'",
      "'{x}'",
      'NULL',
    ],
  ],
  ['char(5)', ["'ab'", "'     '", "''"]],
  ['varchar(5)', ["'ab  '", "''"]],
  ['"char"', ["'x'", "''"]],
  ['name', ["'n'"]],
  ['bytea', ["'\\x00ff5c27'", "''", "'abcd'"]],
  ['date', ["'0044-03-15 BC'", "'infinity'", "'2024-02-29'", "'9999-12-31'"]],
  ['time', ["'24:00'", "'12:34:56.789012'"]],
  ['timetz', ["'12:00+05:30'"]],
  ['timestamp', ["'2024-03-10 02:30:00.123456'", "'-infinity'", "'0001-01-01 BC'"]],
  ['timestamp(0)', ["'2024-03-10 02:30:00.6'"]],
  ['timestamptz', ["'2024-10-27 02:30:00+02'", "'2024-10-27 02:30:00+01'", "'1900-01-01 00:00:00Z'", "'infinity'"]],
  ['interval', ["'1 mon -1 day 00:00:01'", "'30 days'", "'-1 year -2 mons +3 days -04:05:06.7'", "'00:00:00.000001'"]],
  ['uuid', ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]],
  ['json', ['\'{"a":1,"a":2, "b" : [1,  2]}\'', "'null'", "'1e400'", "'9007199254740993'"]],
  ['jsonb', ['\'{"b":1,"a":-0.0,"n":12345678901234567890.10}\'', "'null'", '\'""\'']],
  ['xml', ["'<a>x</a>'"]],
  ['inet', ["'10.0.0.1/24'", "'::1'"]],
  ['cidr', ["'10.0.0.0/8'"]],
  ['macaddr', ["'08:00:2b:01:02:03'"]],
  ['bit(3)', ["B'101'"]],
  ['varbit', ["B''", "B'1'"]],
  ['tsvector', ["'a:1 fat:2'::tsvector"]],
  ['tsquery', ["'fat & rat'::tsquery"]],
  ['int[]', ["'{}'", "'[0:2]={1,2,3}'", "'{{1,2},{3,NULL}}'", "'[-1:0][5:6]={{1,2},{3,4}}'"]],
  ['text[]', ["ARRAY['NULL', NULL, '', 'a,b', '\"', '\\', '{']"]],
  ['float8[]', ["ARRAY[0.1, '-0', 'NaN']::float8[]"]],
  ['timestamptz[]', ["ARRAY['2024-10-27 02:30+02'::timestamptz, NULL]"]],
  ['bytea[]', ["ARRAY['\\x00'::bytea, '\\xff']"]],
  ['mood', ["'sad'", "'it''s \"ok\", (fine)'"]],
  ['mood[]', ["ARRAY['sad', 'it''s \"ok\", (fine)']::mood[]"]],
  ['pair', ["(1, 'a,\"b\\', '2024-01-01 00:00Z')", '(NULL, NULL, NULL)', 'NULL']],
  ['pair[]', ["ARRAY[(1, 'x)', NULL)::pair, NULL]"]],
  ['positive', ['1.5', '99999.12345']],
  ['label', ["''", "'l'"]],
  ['int4range', ["'[1,5)'", "'empty'", "'(,)'"]],
  ['tstzrange', ["'[2024-01-01 00:00Z,2024-02-01 00:00Z)'"]],
  ['numrange', ["'[1.50,2.0]'"]],
  ['datemultirange', ["'{[2024-01-01,2024-01-05),[2024-02-01,)}'"]],
  ['point', ["'(0.1,-0)'"]],
  ['polygon', ["'((0,0),(1,1.5),(2,0.1))'"]],
  ['oid', ['4294967295']],
  ['regclass', ["'pg_catalog.pg_class'"]],
  ['pg_lsn', ["'16/B374D848'"]],
  ['int4', ['NULL']],
];

/** Settings that change how values are written; images must not depend on them. */
const SETTINGS: readonly string[] = [
  '',
  `SET "TimeZone" = 'Asia/Kathmandu'; SET "DateStyle" = 'German'; SET "IntervalStyle" = 'sql_standard'; SET extra_float_digits = -5; SET bytea_output = 'escape'`,
  `SET "TimeZone" = 'America/New_York'; SET "DateStyle" = 'SQL, DMY'; SET "IntervalStyle" = 'iso_8601'; SET extra_float_digits = 3; SET search_path = ''`,
  `SET "TimeZone" = '<+01>-01:30'; SET "DateStyle" = 'ISO, DMY'; SET "IntervalStyle" = 'postgres_verbose'; SET extra_float_digits = 0; SET quote_all_identifiers = on`,
];

const TABLES = MATRIX.map((_, index) => `public.t${index}`);

for (const major of [14, 18] as const) {
  test(`every type comes back byte for byte under any session settings on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    const tables = MATRIX.map(
      ([type, values], index) =>
        `CREATE TABLE t${index} (id int PRIMARY KEY, v ${type}, w int); ${values.map((value, row) => `INSERT INTO t${index} VALUES (${row}, ${value}, 0);`).join(' ')}`,
    );
    await server.run('postgres', PREPARATION + tables.join('\n'));
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    await using watcher = await openCapturedSession(connectionString);
    const before = await dump(watcher.client, TABLES);
    for (const settings of SETTINGS) {
      await using session = await openCapturedSession(connectionString);
      await session.client.query(settings);
      const gid = newGid();
      await session.begin(gid);
      for (const table of TABLES) {
        for (const sql of [
          `UPDATE ${table} SET w = w + 1`,
          `UPDATE ${table} SET v = NULL WHERE id % 2 = 0 RETURNING v`,
          `INSERT INTO ${table} SELECT id + 100, v, w FROM ${table}`,
          `DELETE FROM ${table} WHERE id < 100`,
        ]) {
          const outcome = await session.run(sql);
          t.is(outcome.kind, 'ran', `${sql}: ${outcome.kind === 'refused' ? outcome.refusal.message : ''}`);
        }
      }
      await session.commit();
      t.notDeepEqual(await dump(watcher.client, TABLES), before);
      t.like(
        await finisher.rollback(gid, 'shop/db'),
        { result: 'success' },
        `${settings} ${JSON.stringify(await finisher.rollback(gid, 'shop/db'))}`,
      );
      t.deepEqual(await dump(watcher.client, TABLES), before, settings);
    }
    await finisher.close();
  });

  test(`rows are found again by keys of every supported type on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    const keys: readonly (readonly [string, string, string])[] = [
      ['text', "'a' || repeat('x', 1500)", "'b:1'"],
      ['varchar(10)', "''", "'ü'"],
      ['char(4)', "'a'", "'b'"],
      ['uuid', "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"],
      ['numeric', '1.10', "'NaN'"],
      ['float8', "'-0'", '0.1'],
      ['bytea', "'\\x00'", "'\\xff'"],
      ['date', "'2024-01-01'", "'infinity'"],
      ['timestamptz', "'2024-10-27 02:30+02'", "'2024-10-27 02:30+01'"],
      ['timestamp', "'2024-10-27 02:30'", "'-infinity'"],
      ['time', "'24:00'", "'00:00'"],
      ['mood', "'sad'", "'it''s \"ok\", (fine)'"],
      ['positive', '1.5', '2'],
      ['label', "'x'", "'y'"],
      ['inet', "'10.0.0.1'", "'10.0.0.1/8'"],
      ['bool', 'true', 'false'],
      ['"char"', "'a'", "'b'"],
    ];
    const tables = keys.map(
      (
        [type, first, second],
        index,
      ) => `CREATE TABLE k${index} (key ${type}, n int, v int, PRIMARY KEY (key, n)); INSERT INTO k${index} VALUES (${first}, 1, 0), (${second}, 1, 0);
      CREATE TABLE s${index} (key ${type} PRIMARY KEY, v int); INSERT INTO s${index} VALUES (${first}, 0), (${second}, 0);`,
    );
    await server.run('postgres', PREPARATION + tables.join('\n'));
    const names = keys.flatMap((_, index) => [`k${index}`, `s${index}`]);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    await using session = await openCapturedSession(connectionString);
    await session.client.query(`SET "DateStyle" = 'German'; SET "TimeZone" = 'Asia/Tokyo'`);
    const before = await dump(session.client, names);
    const gid = newGid();
    await session.begin(gid);
    for (const name of names) {
      t.like(await session.run(`UPDATE ${name} SET v = 1`), { kind: 'ran', answer: { count: 2 } }, name);
      t.like(await session.run(`DELETE FROM ${name} WHERE v = 1`), { kind: 'ran', answer: { count: 2 } }, name);
    }
    await session.commit();
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await dump(session.client, names), before);
    await finisher.close();
  });
}
