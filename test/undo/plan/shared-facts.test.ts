import test from 'ava';
import { startPostgres } from '../../../examples/support/postgres-server.ts';
import { SharedFacts } from '../../../proxy/postgres/facts/shared-facts.ts';
import { createPlanner } from '../../../proxy/postgres/plan.ts';
import { initialiseDatabase } from '../../../proxy/postgres/schema.ts';
import type { Planned, Planner } from '../../../proxy/sql/planner.ts';
import { openCapturedSession, type CapturedSession } from '../captured-session.ts';

/** What the names of one database mean, in short: `reads` only reads, and `writes` may write. */
const SCHEMA = `
CREATE TABLE item (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE other (id int PRIMARY KEY);
CREATE FUNCTION reads() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION later() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE DOMAIN amount AS int;
CREATE SCHEMA two;
CREATE TABLE two.item (id int, number int PRIMARY KEY);
CREATE FUNCTION two.reads() RETURNS int LANGUAGE sql AS 'DELETE FROM public.item; SELECT 1';
CREATE FUNCTION public.writes() RETURNS bool LANGUAGE sql AS 'DELETE FROM public.item; SELECT true';`;

const UPDATE = 'UPDATE item SET id = 1 + 1';
const CALL = 'SELECT reads()';
const CALL_LATER = 'SELECT later()';
const CAST = "SELECT '1'::amount";

const SETTINGS = new Map([
  ['server_version', '18.4'],
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
]);

interface World extends AsyncDisposable {
  readonly url: string;
  /** A session of those that share what they know. */
  session(url?: string): Promise<CapturedSession>;
  run(sql: string): Promise<void>;
  server: Awaited<ReturnType<typeof startPostgres>>;
}

async function startWorld(major: 14 | 18): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres({ major }));
  await server.run('postgres', SCHEMA);
  const url = server.url('postgres');
  const shared = new SharedFacts();
  const kept = stack.move();
  return {
    url,
    server,
    session: async (of = url) => kept.use(await openCapturedSession(of, { shared })),
    run: (sql) => server.run('postgres', sql),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Plans a statement that moves names, and runs it. */
async function say(session: CapturedSession, ...statements: readonly string[]): Promise<void> {
  for (const sql of statements) {
    await session.plan(sql);
    await session.client.query(sql);
  }
  session.asked();
}

/** What becomes of a statement, and what the session has asked for it. */
async function planned(session: CapturedSession, sql: string): Promise<readonly [string, string]> {
  const { kind } = await session.plan(sql);
  return [kind, session.asked()];
}

for (const major of [14, 18] as const) {
  test(`what one session has asked of the catalogue no other asks again, on PostgreSQL ${major}`, async (t) => {
    await using world = await startWorld(major);
    const first = await world.session();
    t.deepEqual(await planned(first, UPDATE), ['capture', 'f']);
    t.deepEqual(await planned(first, CALL), ['pass', 'f']);
    const second = await world.session();
    t.deepEqual(await planned(second, UPDATE), ['capture', 'n']);
    t.deepEqual(await planned(second, CALL), ['pass', 'n']);
    t.deepEqual(await planned(second, UPDATE), ['capture', '']);
    t.is(await first.plan(UPDATE), await second.plan(UPDATE), 'one plan serves both');
    // What one of two names means nobody knows yet.
    t.deepEqual(await planned(second, 'UPDATE item SET id = 0 FROM other'), ['capture', 'f']);
    t.deepEqual(await planned(first, 'DELETE FROM other'), ['capture', 'n']);
  });

  test(`a local transaction that has changed rows shares what it reads, and one that has changed the catalogue does not, on PostgreSQL ${major}`, async (t) => {
    await using world = await startWorld(major);
    const one = await world.session();
    await one.client.query('BEGIN; INSERT INTO item VALUES (7); SAVEPOINT s; INSERT INTO item VALUES (8)');
    t.deepEqual(await planned(one, UPDATE), ['capture', 'f']);
    const two = await world.session();
    t.deepEqual(await planned(two, UPDATE), ['capture', 'n']);
    await one.client.query(
      "CREATE OR REPLACE FUNCTION later() RETURNS int LANGUAGE sql AS 'DELETE FROM public.item; SELECT 1'; ALTER TABLE item ADD more int",
    );
    await one.forget();
    // It sees its own changes, and asks for everything itself; others see nothing of them.
    t.deepEqual(await planned(one, CALL_LATER), ['refuse', 'f']);
    t.deepEqual(await planned(one, UPDATE), ['capture', 'nf']);
    t.deepEqual(await planned(two, CALL_LATER), ['pass', 'f']);
    const three = await world.session();
    t.deepEqual(await planned(three, UPDATE), ['capture', 'n']);
    t.is(await three.plan(UPDATE), await two.plan(UPDATE));
    t.not(await three.plan(UPDATE), await one.plan(UPDATE));
    await one.client.query('ROLLBACK');
  });

  test(`an older snapshot neither gives nor takes, on PostgreSQL ${major}`, async (t) => {
    await using world = await startWorld(major);
    const old = await world.session();
    const young = await world.session();
    await old.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await old.client.query('SELECT 1');
    t.deepEqual(await planned(young, CALL_LATER), ['pass', 'f']);
    await world.run("CREATE OR REPLACE FUNCTION later() RETURNS int LANGUAGE sql AS 'DELETE FROM item; SELECT 1'");
    await world.run("CREATE OR REPLACE FUNCTION reads() RETURNS int LANGUAGE sql AS 'DELETE FROM item; SELECT 1'");
    // To it the functions are what they were, and nobody hears that from it.
    t.deepEqual(await planned(old, CALL), ['pass', 'f']);
    t.deepEqual(await planned(old, CALL_LATER), ['pass', 'nf']);
    const next = await world.session();
    t.deepEqual(await planned(next, CALL), ['refuse', 'f']);
    t.deepEqual(await planned(next, CALL_LATER), ['refuse', 'nf']);
    await old.client.query('COMMIT');
  });

  test(`what another connection has changed in between, a new session sees at once, on PostgreSQL ${major}`, async (t) => {
    await using world = await startWorld(major);
    await initialiseDatabase({ connectionString: world.url });
    const first = await world.session();
    for (const sql of [UPDATE, CALL, CALL_LATER]) await first.plan(sql);
    await world.run('ALTER TABLE item ADD more int; DROP FUNCTION later(); INSERT INTO item VALUES (1)');
    await world.run("CREATE OR REPLACE FUNCTION reads() RETURNS int LANGUAGE sql AS 'DELETE FROM item; SELECT 1'");
    const next = await world.session();
    t.deepEqual(await planned(next, UPDATE), ['capture', 'nf']);
    t.deepEqual(await planned(next, CALL), ['refuse', 'nf']);
    // The server says that it does not exist.
    t.deepEqual(await planned(next, CALL_LATER), ['pass', 'nf']);
    await next.begin('g');
    t.is((await next.run(UPDATE)).kind, 'ran');
    await next.rollback();
    await world.run('DROP TABLE item; CREATE TABLE item (id int PRIMARY KEY, code text)');
    t.deepEqual(await planned(await world.session(), UPDATE), ['capture', 'nf']);
  });
}

test('names mean what they mean to the session: along its path, in its role, and with its temporary objects', async (t) => {
  await using world = await startWorld(18);
  await world.run(`CREATE ROLE tenant; CREATE ROLE guest; CREATE SCHEMA tenant AUTHORIZATION tenant;
    CREATE FUNCTION tenant.reads() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT USAGE ON SCHEMA two TO tenant`);
  const first = await world.session();
  t.deepEqual(await planned(first, CALL), ['pass', 'f']);
  t.deepEqual(await planned(first, UPDATE), ['capture', 'f']);
  t.deepEqual(await planned(first, CAST), ['pass', 'f']);

  const pathed = await world.session();
  await say(pathed, 'SET search_path = two, public');
  t.deepEqual(await planned(pathed, CALL), ['refuse', 'nf']);
  t.not(await pathed.plan(UPDATE), await first.plan(UPDATE));
  const tenant = await world.session();
  await say(tenant, 'SET ROLE tenant');
  t.deepEqual(await planned(tenant, CALL), ['refuse', 'nf']);
  await say(tenant, 'RESET ROLE');
  t.deepEqual(await planned(tenant, CALL), ['pass', 'n']);
  // A schema that the role may not use is not on its path.
  await say(tenant, 'SET search_path = two, public', 'SET ROLE guest');
  t.deepEqual(await planned(tenant, CALL), ['pass', 'n']);
  await say(tenant, 'SET ROLE tenant');
  t.deepEqual(await planned(tenant, CALL), ['refuse', 'n']);

  const shadowed = await world.session();
  await shadowed.client.query('CREATE TEMP TABLE item (id int); CREATE DOMAIN pg_temp.amount AS int CHECK (writes())');
  t.deepEqual(await planned(shadowed, UPDATE), ['pass', 'nf']);
  t.deepEqual(await planned(shadowed, CAST), ['refuse', 'nf']);
  // What its temporary schema was when this was asked, nobody goes by, not even the session itself.
  await shadowed.client.query('DROP DOMAIN pg_temp.amount');
  await shadowed.forget();
  t.deepEqual(await planned(shadowed, CAST), ['pass', 'nf']);
  const last = await world.session();
  t.deepEqual(await planned(last, CALL), ['pass', 'n']);
  t.deepEqual(await planned(last, CAST), ['pass', 'n']);
  t.is(await last.plan(UPDATE), await first.plan(UPDATE));
});

test('another database has facts of its own', async (t) => {
  await using world = await startWorld(18);
  await world.server.run('postgres', 'CREATE DATABASE second');
  await world.server.run('second', `${SCHEMA} ALTER FUNCTION reads() VOLATILE`);
  const here = await world.session();
  const there = await world.session(world.server.url('second'));
  t.deepEqual(await planned(here, CALL), ['pass', 'f']);
  t.deepEqual(await planned(here, UPDATE), ['capture', 'f']);
  t.deepEqual(await planned(there, CALL), ['refuse', 'nf']);
  t.deepEqual(await planned(there, UPDATE), ['capture', 'nf']);
  t.deepEqual(await planned(await world.session(), CALL), ['pass', 'n']);
});

test('what was asked for before the catalogue moved, the asker goes by alone', async (t) => {
  await using world = await startWorld(18);
  const { client } = await world.session();
  const shared = new SharedFacts();
  const [asker, mover, other] = [1, 2, 3].map(() =>
    createPlanner({ mode: 'undo', maxRows: 10, carriesBarrier: true }, shared),
  );
  const ask = (planner: Planner | undefined): Planned | undefined => planner?.plan(CALL, SETTINGS, 0, 'undo');
  const question = ask(asker);
  if (question?.kind !== 'facts-needed') return t.fail();
  const { rows } = await client.query({ text: question.sql, values: [...question.parameters], rowMode: 'array' });
  mover?.catalogueMoved();
  asker?.learn(rows as (string | null)[][], 0);
  t.is(ask(asker)?.kind, 'plans');
  const again = ask(other);
  t.is(again?.kind === 'facts-needed' ? again.about : '', 'facts');
});
