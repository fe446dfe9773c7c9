/** What the tests of branches share: one server a version, a database a test. */
import pg from 'pg';
import type { Finisher } from '../../proxy/branch/finish.ts';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { openLog } from '../../src/platform/log.ts';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { openCapturedSession, query, type CapturedSession } from '../undo/captured-session.ts';

/** The participant's name in these tests. */
export const RESOURCE = 'shop/db';
const SCHEMA = `
CREATE TABLE account (id int PRIMARY KEY, code text UNIQUE, v int);
INSERT INTO account SELECT i, 'c' || i, 10 FROM generate_series(1, 5) i;
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE numbered (id bigserial PRIMARY KEY, v int);
`;

/** A database with accounts, and the second phase of its branches. */
export interface World extends AsyncDisposable {
  readonly url: string;
  readonly server: PostgresServer;
  readonly finisher: Finisher;
  open(options?: { readonly maxRows?: number }): Promise<CapturedSession>;
  /** The rows of account as "id code v". */
  accounts(): Promise<readonly string[]>;
  outside(sql: string): Promise<void>;
}

const servers = new Map<PostgresMajor, Promise<PostgresServer>>();
let databases = 0;

/** Stops the servers that this process has started. */
export async function stopServers(): Promise<void> {
  for (const server of servers.values()) await (await server)[Symbol.asyncDispose]();
}

/** A database of its own on the server of that version. */
export async function openWorld(major: PostgresMajor = 18): Promise<World> {
  const starting = servers.get(major) ?? startPostgres({ major });
  servers.set(major, starting);
  const server = await starting;
  databases += 1;
  const name = `w${databases}`;
  await server.run('postgres', `CREATE DATABASE ${name}`);
  const url = server.url(name);
  await initialiseDatabase({ connectionString: url });
  await server.run(name, SCHEMA);
  const finisher = createFinisher({
    connection: { connectionString: url },
    log: openLog('test', 'silent'),
    lockTimeoutMs: 200,
  });
  const sessions: CapturedSession[] = [];
  const watcher = await openCapturedSession(url);
  sessions.push(watcher);
  return {
    url,
    server,
    finisher,
    async open(options) {
      const session = await openCapturedSession(url, { resource: RESOURCE, ...options });
      sessions.push(session);
      return session;
    },
    async accounts() {
      const { rows } = await query(watcher.client, `SELECT concat_ws(' ', id, code, v) FROM account ORDER BY id`);
      return rows.map((row) => String((row as unknown[])[0]));
    },
    outside: (sql) => server.run(name, sql),
    async [Symbol.asyncDispose]() {
      for (const session of sessions) await session[Symbol.asyncDispose]();
      await finisher.close();
    },
  };
}

/** Runs the statements in one local transaction of the gid. */
export async function change(session: CapturedSession, gid: string, ...statements: readonly string[]): Promise<void> {
  await session.begin(gid);
  for (const sql of statements) {
    const outcome = await session.run(sql);
    if (outcome.kind === 'refused') throw new Error(outcome.refusal.message);
  }
  await session.commit();
}

/** The error that the work fails with. */
export async function failure(work: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await work;
  } catch (error) {
    return error as pg.DatabaseError;
  }
  throw new Error('expected a failure');
}

/** Resolves once the session waits for a lock of another one. */
export async function untilWaiting(world: World, session: CapturedSession): Promise<void> {
  const pid = (session.client as unknown as { processID: number }).processID;
  const watcher = new pg.Client({ connectionString: world.url });
  await watcher.connect();
  const end = Date.now() + 10_000;
  for (;;) {
    const { rows } = await watcher.query('SELECT cardinality(pg_blocking_pids($1)) > 0 AS waits', [pid]);
    if ((rows[0] as { waits: boolean }).waits) break;
    if (Date.now() > end) throw new Error('the session did not wait');
  }
  await watcher.end();
}
