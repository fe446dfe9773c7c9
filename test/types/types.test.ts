import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import { NOTHING_LEFT, startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { TYPES, USER_TYPES, type TypeCase } from './values.ts';

/** What a client may set before its gid. Images must not depend on any of it. */
const SETTINGS: readonly string[] = [
  '',
  `SET "TimeZone" = 'Asia/Kathmandu'; SET "DateStyle" = 'German'; SET "IntervalStyle" = 'sql_standard'; SET extra_float_digits = -15; SET bytea_output = 'escape'`,
  `SET "TimeZone" = 'America/New_York'; SET "DateStyle" = 'SQL, DMY'; SET "IntervalStyle" = 'iso_8601'; SET extra_float_digits = 3; SET search_path = ''; SET xmloption = 'document'`,
  `SET TIME ZONE INTERVAL '-01:23' HOUR TO MINUTE; SET "DateStyle" = 'ISO, DMY'; SET "IntervalStyle" = 'postgres_verbose'; SET extra_float_digits = 0; SET quote_all_identifiers = on; SET array_nulls = off; SET search_path = atomesh, public, pg_catalog; SET transform_null_equals = on`,
];

/** Under these a text cannot be read as the server reads it: every change is refused. */
const UNREADABLE: readonly string[] = ['SET client_encoding = LATIN1', 'SET standard_conforming_strings = off'];

/** What another locale makes of money; servers have different ones. */
const LOCALES: readonly string[] = ['en_US.utf8', 'de_DE.utf8', 'ja_JP.utf8'];

const tableOf = (index: number): string => `public.t${index}`;

function createTables(cases: readonly TypeCase[]): string {
  return cases
    .map(({ type, inputs }, index) => {
      const rows = [...inputs.map((input) => pg.escapeLiteral(input)), 'NULL'];
      return `CREATE TABLE ${tableOf(index)} (id int PRIMARY KEY, v ${type}, w int DEFAULT 0);
INSERT INTO ${tableOf(index)} (id, v) VALUES ${rows.map((row, id) => `(${id}, ${row})`).join(', ')};`;
    })
    .join('\n');
}

/** Changes every value in every way, through the sidecar. */
async function changeAll(t: ExecutionContext, client: pg.Client, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const table = tableOf(index);
    for (const sql of [
      `INSERT INTO ${table} SELECT id + 100, v, w FROM ${table}`,
      `UPDATE ${table} SET v = NULL, w = 1 WHERE id % 2 = 0 RETURNING v`,
      `UPDATE ${table} SET id = id + 50 WHERE id < 50`,
      `DELETE FROM ${table} WHERE id < 100`,
    ]) {
      const { rowCount } = await client.query(sql);
      t.not(rowCount, null, sql);
    }
  }
}

async function startTypes(major: 14 | 18): Promise<{ readonly mesh: Mesh; readonly cases: readonly TypeCase[] }> {
  const cases = TYPES.filter(({ since = 0 }) => major >= since);
  const mesh = await startMesh({
    major,
    schema: `${USER_TYPES} CREATE TABLE "Odd Table" (); ${createTables(cases)}`,
    tables: cases.map((_, index) => tableOf(index)),
  });
  return { mesh, cases };
}

for (const major of [14, 18] as const) {
  test.serial(`every type comes back byte for byte, whatever the client has set, on PostgreSQL ${major}`, async (t) => {
    const { mesh, cases } = await startTypes(major);
    await using _ = mesh;
    const before = await mesh.dump();
    const locales = [];
    for (const locale of LOCALES) {
      const isThere = await mesh.owner.query(`SET lc_monetary = '${locale}'; RESET lc_monetary`).then(
        () => true,
        () => false,
      );
      if (isThere) locales.push(`SET lc_monetary = '${locale}'`);
      else t.log(`skipped: this machine has no locale ${locale}`);
    }
    t.log(`${cases.length} types, ${locales.length} locales of money`);
    // Older servers write values no differently; they get the settings that differ most.
    for (const settings of [...(major === 18 ? SETTINGS : SETTINGS.slice(1, 3)), ...locales]) {
      const client = await mesh.client();
      await client.query(settings);
      const gid = await mesh.begin();
      await client.query('BEGIN');
      await client.query(`SELECT pg_catalog.set_config('atomesh.gid', '${gid}', true)`);
      await changeAll(t, client, cases.length);
      await client.query('COMMIT');
      t.notDeepEqual(await mesh.dump(), before);
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.dump(), before, settings);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    }
  });
}

test.serial(
  'a change is refused and nothing happens while the text cannot be read as the server reads it',
  async (t) => {
    const { mesh } = await startTypes(18);
    await using _ = mesh;
    const before = await mesh.dump();
    for (const setting of UNREADABLE) {
      const client = await mesh.client();
      await client.query(setting);
      const gid = await mesh.begin();
      await client.query(`SET atomesh.gid = '${gid}'`).catch(() => undefined);
      for (const sql of [`UPDATE ${tableOf(0)} SET w = 1`, `DELETE FROM ${tableOf(0)}`]) {
        const text = `${sql} /*atomesh_gid='${gid}'*/`;
        const error = await t.throwsAsync<pg.DatabaseError>(
          client.query(text),
          { instanceOf: pg.DatabaseError },
          setting,
        );
        t.is(error?.code, '0A000', `${setting}: ${error?.message}`);
      }
      t.deepEqual(await mesh.dump(), before, setting);
      await mesh.end(gid, 'rollback');
    }
  },
);

test.serial('what the database sets for every session changes nothing about what is restored', async (t) => {
  const { mesh, cases } = await startTypes(18);
  await using _ = mesh;
  const before = await mesh.dump();
  for (const setting of [
    'array_nulls = off',
    "xmloption = 'document'",
    `"TimeZone" = 'Asia/Kathmandu'`,
    `"DateStyle" = 'German'`,
    `"IntervalStyle" = 'sql_standard'`,
    'extra_float_digits = -15',
    `bytea_output = 'escape'`,
    `default_transaction_isolation = 'serializable'`,
    'default_transaction_deferrable = on',
    'default_transaction_read_only = on',
    'search_path = public',
    'transform_null_equals = on',
    'quote_all_identifiers = on',
  ]) {
    await mesh.owner.query(`ALTER DATABASE shop SET ${setting}`);
  }
  // The second phase has used no connection yet: its first one comes after the settings.
  const client = await mesh.client();
  const gid = await mesh.begin();
  await client.query('SET default_transaction_read_only = off');
  await client.query(`SET atomesh.gid = '${gid}'`);
  await changeAll(t, client, cases.length);
  await mesh.end(gid, 'rollback');
  t.deepEqual(await mesh.dump(), before);
});

test.serial('values that are equal have one lock, whatever they look like', async (t) => {
  const pairs = [
    ['float8', "'-0'::float8", '0'],
    ['float8', "'Infinity'::float8 - 'Infinity'::float8", "'NaN'"],
    ['float4', "'-NaN'::float4", "'NaN'"],
    ['numeric', '1.0', '1.000'],
    ['char(5)', "'a'", "'a  '"],
    ['inet', "'10.0.0.1'", "'10.0.0.1/32'"],
    ['citext', "'ABC'", "'abc'"],
    ['timestamptz', "'2024-06-01 12:00+02'", "'2024-06-01 10:00Z'"],
  ] as const;
  const tables = pairs.map(
    ([type, first], index) =>
      `CREATE TABLE e${index} (k ${type} PRIMARY KEY); INSERT INTO e${index} VALUES (${first});`,
  );
  await using mesh = await startMesh({
    major: 18,
    schema: `CREATE EXTENSION citext; ${tables.join(' ')}`,
    tables: [],
    lockTimeoutMs: 50,
  });
  const client = await mesh.client();
  for (const [index, [type, first, second]] of pairs.entries()) {
    const gids = [await mesh.begin(), await mesh.begin()] as const;
    const send = (sql: string, gid: string): Promise<pg.QueryResult> => client.query(`${sql} /*atomesh_gid='${gid}'*/`);
    await send(`DELETE FROM e${index}`, gids[0]);
    const error = await t.throwsAsync<pg.DatabaseError>(
      send(`INSERT INTO e${index} VALUES (${second})`, gids[1]),
      { instanceOf: pg.DatabaseError },
      `${type} ${first}`,
    );
    t.regex(error?.message ?? '', /is held by global transaction/, `${type} ${first}: ${error?.message}`);
    for (const gid of gids) await mesh.end(gid, 'rollback');
  }
});
