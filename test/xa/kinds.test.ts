import test, { type ExecutionContext } from 'ava';
import type pg from 'pg';
import { emptied } from '../sql/emptied.ts';
import { startMesh, NOTHING_LEFT, type Mesh, type Outcome } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';
import { openWire, say, type WireClient } from '../sql-e2e/wire-client.ts';
import { JOINED_REALM } from '../undo/joined-statements.ts';
import { fateOn, KINDS, KINDS_ODD, KINDS_SCHEMA, KINDS_SESSION, type Kind, type Major } from '../undo/kinds.ts';
import { preparedNames } from './prove.ts';

/** Triggers that write elsewhere, in the place of those that only say that there is one. */
const SCHEMA = `${KINDS_SCHEMA}
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
DROP TRIGGER watch ON watched;
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION noted();
DROP TRIGGER checked ON checked;
CREATE CONSTRAINT TRIGGER checked AFTER UPDATE ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION noted();
`;

const DATA = `DROP TABLE IF EXISTS copy;
SET LOCAL session_replication_role = replica;
DO $$ DECLARE t regclass; BEGIN
  FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP EXECUTE 'DELETE FROM ' || t; END LOOP;
END $$;
SET LOCAL session_replication_role = origin;
SELECT setval('always_n_seq', 1, false);
${JOINED_REALM.data}
INSERT INTO cascaded SELECT i, 'k' || i, i FROM generate_series(1, 3) i;
INSERT INTO cascading SELECT i, i, 'k' || i FROM generate_series(1, 3) i;
INSERT INTO watched VALUES (1, 1), (2, 2);
INSERT INTO checked VALUES (1, 1), (2, 2);
INSERT INTO ruled VALUES (1);
INSERT INTO keyless VALUES (5);
INSERT INTO deferred VALUES (1, 5);
INSERT INTO mails VALUES (1, 'A', 1);
INSERT INTO booked VALUES (1, '[1,5)');
INSERT INTO always (id) VALUES (1);
INSERT INTO own VALUES (1, 1), (2, 2);
${emptied(['audit'], ['audit_n_seq'])}
ALTER TABLE stock DROP COLUMN IF EXISTS x;
`;

/** What goes ahead of a statement in its block, where it needs that. */
const AHEAD: Readonly<Record<string, readonly string[]>> = {
  'INSERT INTO stock (id, code) SELECT $1, old FROM delta ON CONFLICT (id) DO UPDATE SET code = excluded.code': [
    'DELETE FROM delta WHERE id > 1',
  ],
  "WITH a AS (UPDATE stock SET code = 'x' WHERE id = 1) UPDATE stock SET code = 'c1' WHERE id = 2": [
    "UPDATE stock SET code = 'before' WHERE id = 1",
  ],
  'EXECUTE odd': ['DELETE FROM stock WHERE id > 1'],
  'UPDATE stock SET qty = 1 WHERE CURRENT OF c': [
    'DECLARE c CURSOR FOR SELECT * FROM stock ORDER BY id FOR UPDATE',
    'FETCH c',
  ],
};

/** The values of parameters, by statement; none have none. */
const VALUES: Readonly<Record<string, readonly (string | number)[]>> = {
  'INSERT INTO stock (id, code) SELECT $1, old FROM delta ON CONFLICT (id) DO UPDATE SET code = excluded.code': [3],
};

/** What no prepared transaction may have touched. */
const NOT_PREPARABLE = new Set([
  'WITH d AS (DELETE FROM stock RETURNING id) INSERT INTO scratch SELECT id FROM d',
  'INSERT INTO noisy DEFAULT VALUES',
]);

for (const major of [14, 18] as const) {
  test.serial(
    `each kind of statement that escalates is prepared, and committed or rolled back, on PostgreSQL ${major}`,
    async (t) => {
      await using mesh = await startMesh({ major, schema: SCHEMA, tables: [], database: { escalate: 'xa' } });
      const kinds = KINDS.flatMap(({ kinds: each }) => each).filter((kind) => fateOn(kind, major) === 'escalates');
      t.true(kinds.length > 25);
      let ran = 0;
      for (const kind of kinds) ran += (await prove(t, mesh, kind, major)) ? 1 : 0;
      // That version has no MERGE.
      t.is(ran, kinds.length - (major === 14 ? 1 : 0), 'they run without an error when they run directly');
    },
  );
}

/** True when the statement runs without an error. */
async function prove(t: ExecutionContext, mesh: Mesh, { sql }: Kind, major: Major): Promise<boolean> {
  await mesh.twin.query(DATA);
  const expected = await runIn(mesh.direct, sql, 'no-such-gid', 'ROLLBACK');
  const isGood = !expected.lines.some((line) => line.startsWith('error'));
  for (const outcome of (major === 18 ? ['rollback', 'commit'] : ['rollback']) as readonly Outcome[]) {
    const what = `${outcome} on ${major}: ${sql}`;
    await mesh.owner.query(DATA);
    const before = await dumpOf(mesh.owner);
    const gid = await mesh.begin();
    const { lines, end } = await runIn(mesh.through, sql, gid, 'COMMIT');
    t.deepEqual(lines, expected.lines, what);
    const prepares = isGood && !NOT_PREPARABLE.has(sql);
    if (!isGood) t.is(end.at(-2), 'done ROLLBACK', what);
    else if (prepares) t.deepEqual(end, ['done COMMIT', 'ready I'], what);
    else
      t.regex(end[0] ?? '', /^error ERROR 0A000 cannot PREPARE a transaction that has operated on temporary objects/);
    t.is((await preparedNames(mesh)).length, prepares ? 1 : 0, what);
    await mesh.end(gid, outcome);
    t.deepEqual(await preparedNames(mesh), [], what);
    const after = await dumpOf(mesh.owner);
    t.deepEqual(after, outcome === 'commit' && prepares ? expected.dump : before, what);
    t.is(await mesh.leftovers(), NOTHING_LEFT, what);
  }
  return isGood;
}

interface Run {
  /** The answers to the statement itself. */
  readonly lines: readonly string[];
  readonly end: readonly string[];
  /** What the local transaction itself sees before its end. */
  readonly dump: unknown;
}

async function runIn(config: Mesh['through'], sql: string, gid: string, end: string): Promise<Run> {
  await using wire = await openWire(config);
  for (const text of [KINDS_SESSION, KINDS_ODD]) await wire.ask(say.query(text));
  await wire.ask(say.query(commented('BEGIN', gid)));
  for (const text of AHEAD[sql] ?? []) await wire.ask(say.query(text));
  const lines = (await runOne(wire, sql)).map(withoutChance);
  let seen: unknown;
  if (end === 'ROLLBACK') {
    await wire.ask(say.query('SET CONSTRAINTS ALL IMMEDIATE'));
    seen = await dumpOver(wire);
  }
  return { lines, end: await wire.ask(say.query(end)), dump: seen };
}

/** Times of EXPLAIN ANALYZE, and ids of large objects. */
function withoutChance(line: string): string {
  return /cost=|time=|Time:|Memory:|Buffers|actual/i.test(line) || /^row \["\d{5,}"\]$/.test(line) ? 'row …' : line;
}

async function runOne(wire: WireClient, sql: string): Promise<string[]> {
  const values = VALUES[sql];
  if (values !== undefined) return wire.ask(...say.run(sql, values), say.sync);
  if (!sql.startsWith('COPY')) return wire.ask(say.query(sql));
  wire.send(say.query(sql));
  await wire.answers.has('copy-in');
  wire.send({ kind: 'copy-data', data: Buffer.from('70\tnew\t3\t\\N\n') }, { kind: 'copy-done' });
  return wire.answers.ready(1);
}

/** The tables with their columns, and every row of them, as lines. */
async function dump(ask: (text: string) => Promise<readonly string[]>): Promise<readonly string[]> {
  const tables = await ask(
    `SELECT c.oid::regclass || ' ' || (SELECT string_agg(a.attname, ',') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
     FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1`,
  );
  const rows = tables
    .map((line) => line.split(' ')[0])
    .map((table) => `SELECT '${table} ' || image::text FROM ONLY ${table} AS image`);
  const images = await ask(`${rows.join(' UNION ALL ')} ORDER BY 1`);
  return [...tables, ...images.map((line) => line.replaceAll(/\d{4}-\d\d-\d\d [\d:.]+/g, 'now()'))];
}

function dumpOf(client: pg.Client): Promise<readonly string[]> {
  return dump(async (text) => {
    const { rows } = await client.query<string[]>({ text, rowMode: 'array' });
    return rows.map(([line = '']) => line);
  });
}

function dumpOver(wire: WireClient): Promise<readonly string[]> {
  return dump(async (text) => {
    const lines = await wire.ask(say.query(text));
    return lines
      .filter((line) => line.startsWith('row '))
      .flatMap((line) => JSON.parse(line.slice(4)) as string[])
      .map((row) => Buffer.from(row, 'latin1').toString());
  });
}
