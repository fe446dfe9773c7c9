import test, { type ExecutionContext } from 'ava';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { dump, openCapturedSession } from './captured-session.ts';

const SCHEMA = `
CREATE TABLE good (id int PRIMARY KEY, v int, c text);
INSERT INTO good VALUES (1, 1, 'a'), (2, 2, 'b');
CREATE TABLE keyless (v int);
CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE base (id int PRIMARY KEY);
CREATE TABLE derived (PRIMARY KEY (id)) INHERITS (base);
CREATE VIEW seen AS SELECT id, v FROM good;
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE good SET v = v + 1; SELECT 1';
CREATE FUNCTION reads() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE VIEW trap AS SELECT writes() AS w;
CREATE VIEW trap2 AS SELECT * FROM trap;
CREATE PROCEDURE change() LANGUAGE sql AS 'UPDATE good SET v = 0';
CREATE TABLE triggered (id int PRIMARY KEY);
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER watch BEFORE UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION noop();
CREATE TABLE ruled (id int PRIMARY KEY);
CREATE RULE r AS ON DELETE TO ruled DO ALSO NOTHING;
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE, v int);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE, c text REFERENCES parent (code) ON UPDATE SET NULL);
INSERT INTO parent VALUES (1, 'p', 1);
CREATE TABLE defaulted (id int PRIMARY KEY DEFAULT writes());
CREATE TABLE spanned (id interval PRIMARY KEY);
CREATE TABLE always (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE reserved (id int PRIMARY KEY, atomesh_before text);
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE folded (id text COLLATE loose PRIMARY KEY);
CREATE SEQUENCE counter;
`;

const TABLES = ['good', 'parent', 'child', 'triggered', 'part1', 'keyless'];

const REFUSED: readonly string[] = [
  'TRUNCATE good',
  'CREATE TABLE more (id int)',
  'ALTER TABLE good ADD x int',
  'DROP TABLE good',
  'CREATE INDEX ON good (v)',
  'CREATE TABLE copy AS SELECT * FROM good',
  'SELECT * INTO copy FROM good',
  'DO $$ BEGIN UPDATE good SET v = 0; END $$',
  'CALL change()',
  'COPY good FROM STDIN',
  "COPY good TO PROGRAM 'cat'",
  'COPY (DELETE FROM good RETURNING *) TO STDOUT',
  'EXPLAIN ANALYZE UPDATE good SET v = 0',
  'EXPLAIN (ANALYZE, BUFFERS) DELETE FROM good',
  'EXPLAIN ANALYZE SELECT writes()',
  "PREPARE TRANSACTION 'x'",
  "COMMIT PREPARED 'x'",
  'PREPARE p AS SELECT 1; EXECUTE p',
  "PREPARE p AS SELECT set_config('atomesh.gid', 'x', true)",
  'EXPLAIN EXECUTE p (writes())',
  'SELECT * FROM (WITH d AS (DELETE FROM good RETURNING *) SELECT * FROM d) x',
  'WITH w AS (SELECT 1), d AS (WITH i AS (SELECT 1) DELETE FROM good RETURNING *) SELECT * FROM d',
  'WITH d AS (DELETE FROM parent RETURNING *) SELECT * FROM d',
  'WITH d AS (DELETE FROM missing RETURNING *) SELECT * FROM d',
  'WITH d AS (DELETE FROM good RETURNING (SELECT * FROM (SELECT 1) x)) SELECT * FROM d',
  'UPDATE good SET v = 1 FROM parent JOIN child USING (id) RETURNING *',
  'DELETE FROM good USING parent AS atomesh_b WHERE false',
  'UPDATE base SET id = 2',
  'INSERT INTO seen VALUES (7, 7)',
  'UPDATE seen SET v = 9',
  'INSERT INTO volatile VALUES (1)',
  'INSERT INTO keyless VALUES (1)',
  'UPDATE triggered SET id = 1',
  'DELETE FROM ruled',
  'INSERT INTO guarded VALUES (1)',
  'DELETE FROM parent',
  "UPDATE parent SET code = 'q'",
  "INSERT INTO parent VALUES (1, 'z') ON CONFLICT (id) DO UPDATE SET code = 'q'",
  'INSERT INTO defaulted DEFAULT VALUES',
  "INSERT INTO spanned VALUES ('1 day')",
  "INSERT INTO folded VALUES ('a')",
  'UPDATE always SET n = DEFAULT',
  'UPDATE reserved SET id = 2',
  'WITH atomesh_c AS (SELECT 1) DELETE FROM good',
  'SELECT writes()',
  'SELECT * FROM good WHERE id = public.writes()',
  'SELECT * FROM trap',
  'SELECT * FROM trap2',
  'UPDATE good SET v = writes()',
  'UPDATE good SET v = (SELECT w FROM trap2)',
  'INSERT INTO good SELECT 9 WHERE writes() = 1',
  'DECLARE c CURSOR FOR SELECT writes()',
  'SELECT lo_create(0)',
  "SELECT query_to_xml('DELETE FROM good RETURNING 1', true, true, '')",
  "SELECT set_config('session_replication_role', 'replica', true)",
  'SELECT set_config(c, c, true) FROM good',
  "SELECT set_config('atomesh.gid', 'x', true), 1",
  'SET session_replication_role = replica',
  'SET standard_conforming_strings = off',
  'SET search_path = pg_catalog; UPDATE good SET v = 1',
  'SET LOCAL ROLE postgres; SELECT reads()',
  'CREATE TEMP TABLE good (id int); DELETE FROM good',
  "SELECT set_config('search_path', 'x', false); DELETE FROM good",
  'UPDATE good SET v = 1; TRUNCATE good',
  'DELETE FROM missing',
  'DELETE FROM atomesh.row_lock',
  'UPDATE pg_catalog.pg_class SET relname = relname WHERE false',
  'UPDATE good SET v = 1 RETURNING (SELECT * FROM (SELECT 1) x)',
  'VACUUM good',
  'REFRESH MATERIALIZED VIEW x',
  'GRANT ALL ON good TO PUBLIC',
  'CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
  'UPDATE good SET',
  "SELECT 'open",
];

const PASSED: readonly string[] = [
  'SELECT * FROM good',
  'SELECT reads(), count(*), max(v) FROM seen',
  'SELECT * FROM good FOR UPDATE',
  "SELECT nextval('counter'), setval('counter', 5)",
  'VALUES (1), (2)',
  'PREPARE changing AS UPDATE good SET v = 0',
  'EXPLAIN EXECUTE changing',
  'TABLE good',
  'SHOW search_path',
  'SET search_path = public',
  'SET LOCAL statement_timeout = 1000',
  "SET client_encoding = 'UTF8'",
  'RESET search_path',
  'DISCARD PLANS',
  'DECLARE c CURSOR FOR SELECT * FROM good',
  'FETCH 1 FROM c',
  'MOVE 1 FROM c',
  'CLOSE c',
  'EXPLAIN UPDATE good SET v = 0',
  'EXPLAIN ANALYZE SELECT * FROM good',
  'LISTEN x',
  'NOTIFY x',
  'UNLISTEN x',
  'LOCK TABLE good IN SHARE MODE',
  'PREPARE q AS SELECT $1::int',
  'DEALLOCATE q',
  'CREATE TEMP TABLE scratch (id int)',
  'INSERT INTO scratch VALUES (1)',
  'UPDATE scratch SET id = 2',
  'DELETE FROM scratch',
  'SET CONSTRAINTS ALL DEFERRED',
  'WITH good AS (SELECT 1 AS n) SELECT n FROM good',
  "SELECT set_config('app.user', 'me', true)",
  'SELECT random(), now(), gen_random_uuid(), clock_timestamp()',
];

for (const major of [14, 18] as const) {
  test(`what cannot be undone is refused before it runs, and the harmless passes, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    await initialiseDatabase({ connectionString: server.url('postgres') });
    await server.run('postgres', SCHEMA);
    await using session = await openCapturedSession(server.url('postgres'));
    const before = await dump(session.client, TABLES);
    for (const sql of REFUSED) await proveRefused(t, session, sql);
    await session.begin('g');
    for (const sql of PASSED) {
      const outcome = await session.run(sql).catch((error: Error) => error.message);
      // A read that locks is looked through for rows that others hold.
      const plan = sql.endsWith('FOR UPDATE') ? { capture: { read: { waits: true } } } : { kind: 'pass' };
      t.like(outcome, { kind: 'ran', plan }, `${sql}: ${JSON.stringify(outcome)}`);
    }
    await session.commit();
    t.deepEqual(await dump(session.client, TABLES), before);
  });
}

async function proveRefused(
  t: ExecutionContext,
  session: Awaited<ReturnType<typeof openCapturedSession>>,
  sql: string,
): Promise<void> {
  const plans = await session.plans(sql);
  const refusals = plans.flatMap((plan) => (plan.kind === 'refuse' ? [plan.refusal] : []));
  t.true(refusals.length > 0, `${sql} was not refused: ${JSON.stringify(plans.map((plan) => plan.kind))}`);
  for (const refusal of refusals) {
    t.regex(refusal.code, /^(?:0A000|42601|42P01)$/, sql);
    t.true(refusal.hint.length > 10 && refusal.message.length > 10, sql);
  }
}

test('a database with mode none refuses every change and passes reads', async (t) => {
  await using server = await startPostgres();
  await server.run('postgres', SCHEMA);
  await using session = await openCapturedSession(server.url('postgres'), { mode: 'none' });
  t.like(await session.plan('UPDATE good SET v = 1'), { kind: 'refuse', refusal: { code: '0A000' } });
  t.deepEqual(await session.plan('SELECT 1'), { kind: 'pass' });
});

test('transaction control and the gid of a session are recognised in all their forms', async (t) => {
  await using server = await startPostgres();
  await using session = await openCapturedSession(server.url('postgres'));
  const table: readonly (readonly [string, object])[] = [
    ['BEGIN ISOLATION LEVEL SERIALIZABLE', { kind: 'control', verb: 'begin' }],
    ['start transaction', { kind: 'control', verb: 'begin' }],
    ['END', { kind: 'control', verb: 'commit' }],
    ['COMMIT AND CHAIN', { kind: 'control', verb: 'commit-and-chain' }],
    ['ABORT', { kind: 'control', verb: 'rollback' }],
    ['ROLLBACK AND CHAIN', { kind: 'control', verb: 'rollback-and-chain' }],
    ['SAVEPOINT "A b"', { kind: 'control', verb: 'savepoint', name: 'A b' }],
    ['ROLLBACK TO SAVEPOINT x', { kind: 'control', verb: 'rollback-to', name: 'x' }],
    ['RELEASE x', { kind: 'control', verb: 'release', name: 'x' }],
    ["SET atomesh.gid = 'g-1'", { kind: 'set-gid', setting: { scope: 'session', value: 'g-1' } }],
    ["SET LOCAL Atomesh.Gid TO 'g'", { kind: 'set-gid', setting: { scope: 'local', value: 'g' } }],
    ['SET atomesh.gid = 17', { kind: 'set-gid', setting: { scope: 'session', value: '17' } }],
    ['SET LOCAL atomesh.gid TO DEFAULT', { kind: 'set-gid', setting: { scope: 'local', value: undefined } }],
    ['RESET atomesh.gid', { kind: 'set-gid', setting: { scope: 'session', value: undefined } }],
    ['RESET ALL', { kind: 'set-gid', setting: { scope: 'session', value: undefined } }],
    ["SELECT set_config('atomesh.gid', 'g', true)", { kind: 'set-gid', setting: { scope: 'local', value: 'g' } }],
    [
      "SELECT pg_catalog.set_config('atomesh.gid', $1, false)",
      { kind: 'set-gid', setting: { scope: 'session', value: 1 } },
    ],
    [
      "SELECT set_config('atomesh.gid', $2::text, 't') AS x",
      { kind: 'set-gid', setting: { scope: 'local', value: 2 } },
    ],
  ];
  for (const [sql, plan] of table) t.deepEqual(await session.plan(sql), plan as never, sql);
});

test('a text without a statement has no plan, and several statements have one each with their bytes', async (t) => {
  await using server = await startPostgres();
  await using session = await openCapturedSession(server.url('postgres'));
  for (const empty of ['', ' ', ';', '-- c', '/* a */ ; ;']) t.deepEqual(await session.plans(empty), []);
  const text = "SELECT 'ü'; BEGIN /* x */;;COMMIT";
  t.deepEqual(await session.ranges(text), ["SELECT 'ü'", 'BEGIN', 'COMMIT']);
});
