import test from 'ava';
import { startPostgres } from '../../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../../proxy/postgres/schema.ts';
import { openCapturedSession } from '../captured-session.ts';

/** Every way by which a statement calls a function without naming it. Names that begin with w write, or may; others do not. */
const SCHEMA = `
CREATE SCHEMA far;
CREATE TABLE acc (id int PRIMARY KEY, v int, t text);
INSERT INTO acc VALUES (1, 100, 'a'), (2, 200, 'b');
CREATE TABLE audit (t text);
CREATE FUNCTION w2(i int, j int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES ('w'); RETURN i + j; END $$;
CREATE FUNCTION w1(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN w2(i, i); END $$;
CREATE FUNCTION wtrue(i int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN w2(i, i) IS NOT NULL; END $$;
CREATE FUNCTION plus(i int, j int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + j';
CREATE OPERATOR @+ (LEFTARG = int, RIGHTARG = int, FUNCTION = w2);
CREATE OPERATOR far.@* (LEFTARG = int, RIGHTARG = int, FUNCTION = w2);
CREATE OPERATOR @@+ (LEFTARG = int, RIGHTARG = int, FUNCTION = plus);
CREATE OPERATOR !!! (RIGHTARG = int, FUNCTION = w1);
CREATE TYPE pair AS (a int);
CREATE FUNCTION wequal(a int, b int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN wtrue(a); END $$;
CREATE OPERATOR <@= (LEFTARG = int, RIGHTARG = int, FUNCTION = wequal);
CREATE TYPE money2 AS (a int);
CREATE FUNCTION wmoney(i int) RETURNS money2 LANGUAGE plpgsql AS $$ BEGIN RETURN ROW (w1(i))::money2; END $$;
CREATE CAST (int AS money2) WITH FUNCTION wmoney(int) AS ASSIGNMENT;
CREATE DOMAIN wdom AS int CHECK (wtrue(VALUE));
CREATE DOMAIN wover AS wdom CHECK (VALUE > 0);
CREATE DOMAIN wop AS int CHECK (VALUE @+ 1 > 0);
CREATE DOMAIN good AS int CHECK (VALUE > 0);
CREATE TYPE holder AS (d wdom);
CREATE TABLE hasdom (id int PRIMARY KEY, v wover);
CREATE TABLE hasarray (id int PRIMARY KEY, v wdom[]);
CREATE TABLE hasrow (id int PRIMARY KEY, v holder);
CREATE TABLE hasmoney (id int PRIMARY KEY, v money2);
CREATE TABLE hasgood (id int PRIMARY KEY, v good);
CREATE TABLE opdef (id int PRIMARY KEY, v int DEFAULT 1 @+ 2);
CREATE TABLE opchecked (id int PRIMARY KEY, v int CHECK (v @+ 2 > 0));
CREATE AGGREGATE wsum (int) (SFUNC = w2, STYPE = int, INITCOND = '0');
CREATE AGGREGATE wlast (int) (SFUNC = plus, STYPE = int, FINALFUNC = w1, INITCOND = '0');
CREATE AGGREGATE total (int) (SFUNC = plus, STYPE = int, INITCOND = '0');
CREATE FUNCTION defaulted(i int, j int DEFAULT w1(7)) RETURNS int LANGUAGE sql STABLE AS 'SELECT i + j';
CREATE FUNCTION defaulted_op(i int, j int DEFAULT 1 @+ 7) RETURNS int LANGUAGE sql STABLE AS 'SELECT i + j';
CREATE FUNCTION sound(i int, j int DEFAULT 7) RETURNS int LANGUAGE sql STABLE AS 'SELECT i + j';
CREATE FUNCTION takes(d wdom) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION wget(a acc) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN w1(a.id); END $$;
CREATE FUNCTION v(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN w1(i); END $$;
CREATE TABLE pol (id int PRIMARY KEY, v int);
ALTER TABLE pol ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON pol USING (wtrue(id));
CREATE TABLE parts (id int) PARTITION BY RANGE (id);
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON parts USING (id @+ 1 > 0);
CREATE TABLE calm (id int PRIMARY KEY, v int);
ALTER TABLE calm ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON calm USING (id > 0);
CREATE TABLE ruled (id int PRIMARY KEY);
CREATE RULE r AS ON DELETE TO ruled DO ALSO SELECT w1(1);
CREATE VIEW overpol AS SELECT id FROM pol;
CREATE VIEW overop AS SELECT id @+ 1 AS x FROM acc;
CREATE VIEW overagg AS SELECT wsum(id) AS x FROM acc;
`;

/** `names`: what the refusal names. */
const CALLS: readonly (readonly [sql: string, names: string])[] = [
  ['SELECT 1 @+ 2', 'w2'],
  ['SELECT 1 OPERATOR(far.@*) 2', 'w2'],
  ['SELECT !!! 2', 'w1'],
  ['SELECT id FROM acc WHERE id @+ 1 > 0', 'w2'],
  ['SELECT id FROM acc ORDER BY id @+ 1', 'w2'],
  ['SELECT 1 <@= ANY (SELECT id FROM acc)', 'wequal'],
  ['UPDATE acc SET v = v @+ 1 WHERE id = 1', 'w2'],
  ['UPDATE acc SET v = 1 WHERE id @+ 1 = 2', 'w2'],
  ['DELETE FROM acc RETURNING id @+ 1', 'w2'],
  ['INSERT INTO acc VALUES (1 @+ 2)', 'w2'],
  ['INSERT INTO acc VALUES (1) ON CONFLICT (id) DO UPDATE SET v = excluded.v @+ 1', 'w2'],
  ['INSERT INTO opdef VALUES (1)', 'w2'],
  ['INSERT INTO opchecked VALUES (1)', 'w2'],
  ['INSERT INTO passing (id) VALUES (1)', 'passing'],
  ['SELECT wsum(v) FROM acc', 'w2'],
  ['SELECT wsum(v) OVER (ORDER BY id) FROM acc', 'w2'],
  ['SELECT wlast(v) FROM acc', 'w1'],
  ['SELECT defaulted(1)', 'w1'],
  ['SELECT defaulted_op(1)', 'w2'],
  ['SELECT 5::money2', 'wmoney'],
  ['SELECT CAST (5 AS money2)', 'wmoney'],
  ["SELECT '{5}'::int[]::money2[]", 'wmoney'],
  ['SELECT 5::wdom', 'wtrue'],
  ['SELECT 5::public.wover', 'wtrue'],
  ['SELECT 5::wop', 'w2'],
  ["SELECT wdom('5')", 'wtrue'],
  ['SELECT ARRAY[1]::wdom[]', 'wtrue'],
  ['SELECT ROW (1)::holder', 'wtrue'],
  [`SELECT * FROM json_to_record('{"d": 5}') AS x(d wdom)`, 'wtrue'],
  ['SELECT takes(5)', 'wtrue'],
  ['INSERT INTO hasdom VALUES (1, 5)', 'wtrue'],
  ['UPDATE hasdom SET v = 6', 'wtrue'],
  ["INSERT INTO hasarray VALUES (1, '{5}')", 'wtrue'],
  ["INSERT INTO hasrow VALUES (1, '(5)')", 'wtrue'],
  ['INSERT INTO hasmoney VALUES (1, 5)', 'wmoney'],
  ['SELECT * FROM pol', 'wtrue'],
  ['SELECT * FROM parts', 'w2'],
  ['UPDATE acc SET v = 1 FROM pol WHERE pol.id = acc.id', 'wtrue'],
  ['SELECT * FROM overpol', 'wtrue'],
  ['SELECT * FROM overop', 'w2'],
  ['SELECT * FROM overagg', 'w2'],
  ['SELECT a.wget FROM acc a', 'wget'],
  ['SELECT (a).wget FROM acc a', 'wget'],
  ['UPDATE acc SET v = acc.wget', 'wget'],
];

/** From PostgreSQL 16 on: the type is named by a text, and its checks run. */
const CALLS_SINCE_16: typeof CALLS = [
  ["SELECT pg_input_is_valid('5', 'wdom')", 'pg_input_is_valid'],
  ["SELECT message FROM pg_input_error_info('5', 'wdom')", 'pg_input_error_info'],
];

/** What is of the server, or harmless by its declaration, is let through as before: no change, or one that is captured. */
const HARMLESS: readonly string[] = [
  'SELECT 1 + 2, 5::int, 5::text, 1 @@+ 2, total(v), sound(1), 3::good FROM acc',
  'SELECT a.id, a.v, (a).t FROM acc a WHERE a.id IN (1, 2) AND a.v BETWEEN 1 AND 500',
  "SELECT ROW (1)::pair, CASE v WHEN 1 THEN 2 END FROM acc WHERE t LIKE 'a%' OR id = ANY (ARRAY[1])",
  'SELECT * FROM calm',
  'SELECT * FROM hasdom',
  'SELECT * FROM opdef',
  'SELECT * FROM ruled',
];
const CAPTURED: readonly string[] = [
  'UPDATE acc SET v = acc.v @@+ 1 WHERE acc.id = 1',
  'INSERT INTO hasgood VALUES (1, 5)',
  'DELETE FROM acc WHERE acc.v = 1',
];

for (const major of [14, 18] as const) {
  test(`what a statement calls without a call is found before it runs, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run('postgres', SCHEMA);
    await using session = await openCapturedSession(connectionString);
    await using recorded = await openCapturedSession(connectionString, { capture: 'triggers' });
    for (const { client } of [session, recorded])
      await client.query('CREATE TEMP TABLE passing (id int, v int DEFAULT 1 @+ 2)');
    for (const [sql, name] of major === 14 ? CALLS : [...CALLS, ...CALLS_SINCE_16]) {
      const plan = await session.plan(sql);
      if (plan.kind !== 'refuse') t.fail(`${sql}: ${plan.kind}`);
      else {
        t.true(plan.escalates, sql);
        t.regex(plan.refusal.message, new RegExp(`\\b${name}\\b`), sql);
      }
      // With triggers what may write enters the branch, as a change of a table that has them does anyway.
      if (sql.startsWith('SELECT') || name === 'passing') {
        const entering = await recorded.plan(sql);
        t.true(entering.kind === 'capture' && entering.capture.recorded !== undefined, `${sql}: ${entering.kind}`);
      }
      // The server takes them for what they are: the tests are about statements that run.
      await t.notThrowsAsync(
        session.client.query(`BEGIN; ${sql}; ROLLBACK`).catch(async (error: Error) => {
          await session.client.query('ROLLBACK');
          throw error;
        }),
        sql,
      );
    }
    for (const sql of HARMLESS) {
      t.deepEqual(await session.plan(sql), { kind: 'pass' }, sql);
      t.deepEqual(await recorded.plan(sql), { kind: 'pass' }, sql);
    }
    for (const sql of CAPTURED) t.like(await session.plan(sql), { kind: 'capture' }, sql);
  });
}
