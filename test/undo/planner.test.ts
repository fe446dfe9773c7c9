import test from 'ava';
import pg from 'pg';
import { loadParser } from '../../proxy/postgres/parse.ts';
import { createPlanner } from '../../proxy/postgres/plan.ts';
import type { Planned, Planner } from '../../proxy/sql/planner.ts';
import { openCapturedSession } from './captured-session.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';

const SETTINGS = new Map([
  ['server_version', '18.4'],
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
]);

test.before(async () => {
  await loadParser();
});

function newPlanner(): Planner {
  return createPlanner({ mode: 'undo', maxRows: 10, carriesBarrier: true });
}

/** The code of the refusal of the only statement. */
function refusalOf(planned: Planned): string | undefined {
  const plan = planned.kind === 'plans' ? planned.plans[0]?.plan : undefined;
  return plan?.kind === 'refuse' ? plan.refusal.code : undefined;
}

test('the catalogue is asked once, again after a minute, and after the facts were forgotten', async (t) => {
  await using server = await startPostgres();
  const client = new pg.Client({ connectionString: server.url('postgres') });
  await client.connect();
  await client.query('CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)');
  const planner = newPlanner();
  const ask = async (text: string, nowMs: number): Promise<string[]> => {
    const about: string[] = [];
    for (;;) {
      const planned = planner.plan(text, SETTINGS, nowMs, 'undo');
      if (planned.kind === 'plans') return [...about, 'plans'];
      about.push(planned.about);
      const { rows } = await client.query({ text: planned.sql, values: [...planned.parameters], rowMode: 'array' });
      planner.learn(rows as (string | null)[][], nowMs);
    }
  };
  const asked = ['facts', 'plans'];
  t.deepEqual(await ask('DELETE FROM a', 0), asked);
  t.deepEqual(await ask('DELETE FROM a', 59_999), ['plans']);
  t.deepEqual(await ask('DELETE FROM a WHERE id = 1', 1), ['plans']);
  t.deepEqual(await ask('DELETE FROM a WHERE id IN (SELECT id FROM b)', 30_000), asked);
  t.deepEqual(await ask('DELETE FROM a', 60_000), asked);
  planner.forget();
  t.deepEqual(await ask('DELETE FROM a', 60_001), ['names', 'plans']);
  planner.catalogueMoved();
  t.deepEqual(await ask('DELETE FROM a', 60_001), asked);
  // What a client says at each of its local transactions costs nothing.
  for (const text of ["SELECT set_config('atomesh.gid', $1, true)", 'SET LOCAL statement_timeout = 1', 'COMMIT']) {
    await ask(text, 60_001);
    t.deepEqual(await ask('DELETE FROM a WHERE id = 9', 60_001), ['plans'], text);
  }
  // A temporary table may be gone by the next statement, and a permanent one of that name meant instead.
  await client.query('CREATE TEMP TABLE b (id int)');
  planner.forget();
  t.deepEqual(await ask('DELETE FROM b', 0), asked);
  t.deepEqual(await ask('DELETE FROM b', 0), asked);
  t.deepEqual(await ask('DELETE FROM missing', 0), asked);
  t.deepEqual(await ask('DELETE FROM missing', 0), asked);
  await client.end();
});

test('a text is refused where the session could read it otherwise than the planner', (t) => {
  const table: readonly (readonly [string, string, string | undefined])[] = [
    ['client_encoding', 'LATIN1', '0A000'],
    ['standard_conforming_strings', 'off', '0A000'],
    ['server_version', '13.4', '0A000'],
    ['server_version', '14.0 (Debian 14.0-1)', undefined],
  ];
  for (const [name, value, code] of table) {
    t.is(
      refusalOf(newPlanner().plan('SHOW x', new Map([...SETTINGS, [name, value]]), 0, 'undo')),
      code,
      `${name} ${value}`,
    );
  }
});

test('a text that would overflow the parser never reaches it, and the parser goes on working', (t) => {
  const planner = newPlanner();
  for (const text of [`SELECT ${'1+'.repeat(50_000)}1`, `SELECT ${'('.repeat(50_000)}1${')'.repeat(50_000)}`]) {
    t.is(refusalOf(planner.plan(text, SETTINGS, 0, 'undo')), '54001');
  }
  t.is(refusalOf(planner.plan('SELECT \0', SETTINGS, 0, 'undo')), '42601');
  t.is(refusalOf(planner.plan("SELECT 'open", SETTINGS, 0, 'undo')), '42601');
  t.is(planner.plan('SELECT 1', SETTINGS, 0, 'undo').kind, 'plans');
});

test('control characters inside and outside quotes are read as the server reads them', (t) => {
  const planned = newPlanner().plan("SELECT\f'a\u0001\u001fb' /* \u0002 */;\vSHOW x", SETTINGS, 0, 'undo');
  t.is(planned.kind === 'plans' ? planned.plans.length : 0, 2);
});

for (const major of [14, 18] as const) {
  test(`a name is looked up again where the search path may have changed, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    await server.run(
      'postgres',
      `CREATE TABLE t (id int PRIMARY KEY); CREATE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA other;
       CREATE FUNCTION other.f() RETURNS int LANGUAGE sql AS 'DELETE FROM public.t; SELECT 1'`,
    );
    await using session = await openCapturedSession(server.url('postgres'));
    const isRefused = async (): Promise<boolean> => (await session.plan('SELECT f()')).kind === 'refuse';
    const steps: readonly (readonly [sql: string, refused: boolean])[] = [
      ['SET search_path = other', true],
      ['SET search_path = public', false],
      ['BEGIN', false],
      ['SET LOCAL search_path = other', true],
      ['ROLLBACK', false],
      ['BEGIN', false],
      ['SAVEPOINT s', false],
      ["SELECT set_config('search_path', 'other', true)", true],
      ['ROLLBACK TO s', false],
      ["SELECT set_config('search_path', 'other', false)", true],
      ['COMMIT', true],
      ['RESET ALL', false],
    ];
    t.false(await isRefused());
    for (const [sql, refused] of steps) {
      await session.plan(sql);
      await session.client.query(sql);
      t.is(await isRefused(), refused, sql);
    }
  });
}
