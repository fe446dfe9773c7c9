/** Services written with the client library, around a real coordinator. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import {
  barrierSql,
  branchListener,
  type BranchReply,
  type BranchRequest,
  connectDtm,
  type DtmClient,
  type Gid,
  parseGid,
} from '../../src/client/index.ts';
import { startTestCoordinator, type TestCoordinator } from '../coordinator/started.ts';

export interface World extends AsyncDisposable {
  readonly coordinator: TestCoordinator;
  readonly dtm: DtmClient;
  /** `succeed`, or whatever the transaction has come to. */
  statusOf(gid: string): Promise<string | undefined>;
}

/** A coordinator in memory that tries again fast, and a client of it. */
export async function startWorld(): Promise<World> {
  const coordinator = await startTestCoordinator({ store: { memory: {} }, dtm: { retryInterval: '20ms' } });
  const dtm = connectDtm({ url: coordinator.url });
  return {
    coordinator,
    dtm,
    statusOf: async (gid) => {
      const answer = await fetch(`${coordinator.url}/api/dtmsvr/query?gid=${encodeURIComponent(gid)}`);
      const { transaction } = (await answer.json()) as { transaction: { status: string } | null };
      return transaction?.status;
    },
    [Symbol.asyncDispose]: async () => {
      await dtm.close();
      await coordinator[Symbol.asyncDispose]();
    },
  };
}

export interface Service extends AsyncDisposable {
  readonly url: string;
  /** `<op> <branch id> <path>` of each request, in order. */
  readonly calls: readonly string[];
}

/** A service on `node:http` that answers each path as `routes` says. */
export async function startService(
  routes: Readonly<Record<string, (request: BranchRequest) => Promise<BranchReply>>>,
): Promise<Service> {
  const calls: string[] = [];
  const listener = branchListener((request) => {
    const [path = '', query] = (typeof request.query === 'string' ? request.query : '').split('?', 2);
    const parameters = new URLSearchParams(query);
    calls.push(`${parameters.get('op')} ${parameters.get('branch_id')} ${path}`);
    const serve = routes[path];
    return serve === undefined ? Promise.resolve({ status: 404, headers: {}, body: '' }) : serve(request);
  });
  const server = createServer((request, response) => void listener(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A PostgreSQL server of the whole test file, with a database for each test. */
export interface BankServer extends AsyncDisposable {
  open(): Promise<Bank>;
}

/** A database with a barrier and two accounts, `a` and `b`, of 100 each. */
export interface Bank extends AsyncDisposable {
  readonly pool: pg.Pool;
  /** What is on an account, as committed. */
  amountOf(name: string): Promise<number>;
  preparedCount(): Promise<number>;
}

/** Starts the server; it prepares transactions unless `settings` say otherwise. */
export async function startBankServer(settings: Readonly<Record<string, string>> = {}): Promise<BankServer> {
  const server = await startPostgres({ settings: { max_prepared_transactions: '50', ...settings } });
  let opened = 0;
  return {
    open: async () => {
      const name = `bank${(opened += 1)}`;
      await server.run('postgres', `create database ${name}`);
      return openBank(server, name);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function openBank(server: PostgresServer, name: string): Promise<Bank> {
  await server.run(name, barrierSql('postgres'));
  await server.run(
    name,
    `create table account (name text primary key, amount int not null check (amount >= 0));
     insert into account values ('a', 100), ('b', 100);`,
  );
  const pool = new pg.Pool({ connectionString: server.url(name), max: 8 });
  return {
    pool,
    amountOf: async (name) =>
      ((await pool.query('select amount from account where name = $1', [name])).rows[0] as { amount: number }).amount,
    preparedCount: async () =>
      (await pool.query('select 1 from pg_prepared_xacts where database = current_database()')).rowCount ?? 0,
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

/** Adds to an account inside a local transaction. */
export async function add(tx: pg.PoolClient, name: string, amount: number): Promise<void> {
  await tx.query('update account set amount = amount + $2 where name = $1', [name, amount]);
}

/** The gid of this text. */
export function gidOf(text: string): Gid {
  const gid = parseGid(text);
  if (gid === undefined) throw new Error(`"${text}" is no gid`);
  return gid;
}
