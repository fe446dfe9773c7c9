/** One real PostgreSQL with two databases behind listeners of a sidecar: `shop` carries the barrier, `other` does not. */
import pg from 'pg';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { openActiveRequests, type ActiveRequests } from '../../proxy/binding/active-requests.ts';
import type { Barrier, OperationOf } from '../../proxy/branch/barrier.ts';
import type { Database } from '../../proxy/database.ts';
import { startPostgresDatabase } from '../../proxy/postgres-database.ts';
import { openSqlMetrics } from '../../proxy/metrics.ts';
import { sidecarOptions, type DatabaseOptions } from '../../proxy/options.ts';
import { loadParser } from '../../proxy/postgres/parse.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { EnlistRequest, TransactionView } from '../../src/contract/messages.ts';
import type { BranchId, Gid, GlobalStatus } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';

export type Protocol = 'simple' | 'extended';
export type Isolation = 'READ COMMITTED' | 'REPEATABLE READ';

export interface World extends AsyncDisposable {
  readonly server: PostgresServer;
  readonly shop: Database;
  readonly other: Database;
  readonly barrier: Barrier;
  readonly coordinator: FakeCoordinator;
  readonly traces: ActiveRequests;
  /** A client of `shop` through the sidecar, or of `other`. */
  client(database?: 'shop' | 'other'): Promise<pg.Client>;
  /** Another sidecar in front of `shop`. */
  replica(): Promise<Database & AsyncDisposable>;
  /** Where such a client connects to. */
  readonly through: pg.ClientConfig;
  /** The database `shop` past the sidecar. */
  readonly owner: pg.Client;
  /** The rows of a gid: branch, op and reason, in order. */
  rows(gid: string): Promise<readonly string[]>;
  amount(account: string): Promise<number>;
  scrape(): Promise<string>;
}

/** A coordinator that says yes, except to earlier runs of a workflow. */
export interface FakeCoordinator {
  readonly enlisted: (EnlistRequest & { readonly gid: Gid })[];
  readonly statuses: Map<string, GlobalStatus>;
  newestRun: number;
}

const SCHEMA = `CREATE TABLE account (id text PRIMARY KEY, amount int NOT NULL);
CREATE TABLE note (id serial PRIMARY KEY, said text NOT NULL);
CREATE TABLE loud (id int);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'loud and late'; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER shouting AFTER INSERT ON loud DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shout();
CREATE FUNCTION grow(whose text) RETURNS int LANGUAGE sql AS 'UPDATE account SET amount = amount + 1 WHERE id = whose RETURNING amount';
CREATE FUNCTION peek() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO note (said) VALUES ('one'); COMMIT; INSERT INTO note (said) VALUES ('two'); END $$;`;

export async function startWorld(
  major: PostgresMajor = 18,
  options: { readonly stripComments?: boolean } = {},
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  await loadParser();
  const server = stack.use(await startPostgres({ major }));
  for (const name of ['shop', 'other']) {
    await server.run('postgres', `CREATE DATABASE ${name}`);
    await initialiseDatabase({ connectionString: server.url(name) });
    await server.run(name, SCHEMA);
  }
  const parsed = sidecarOptions.parse({
    service: 'shop',
    coordinator: { url: 'http://127.0.0.1:1' },
    databases: ['shop', 'other'].map((name) => ({
      name,
      listen: '127.0.0.1:0',
      upstream: `postgres://127.0.0.1:${server.port}/${name}`,
      credentials: { user: server.user },
      ...options,
    })),
  });
  const databases = parsed.databases.filter((each) => each.engine !== 'mysql');
  const coordinator: FakeCoordinator = { enlisted: [], statuses: new Map(), newestRun: 0 };
  const traces = openActiveRequests();
  const registry = openMetrics(false);
  const metrics = openSqlMetrics(registry);
  const start = (database: DatabaseOptions): Promise<Database> =>
    startPostgresDatabase({
      service: 'shop',
      options: database,
      limits: parsed.limits,
      controlUrl: 'http://127.0.0.1:1',
      coordinator: clientOf(coordinator),
      traces: {
        markOf: (id) => traces.markOf(id, now()),
        get size() {
          return traces.size;
        },
      },
      barrier: database.name === 'shop' ? 'here' : 'elsewhere',
      metrics,
      log: openLog('test', 'silent'),
    });
  const started = await Promise.all(databases.map(start));
  for (const database of started) {
    stack.defer(() => database.close());
    stack.defer(() => database.closeListener(0));
  }
  const [shop, other] = started;
  if (shop?.operations === undefined || other === undefined) throw new Error('both databases were started');
  const clients: pg.Client[] = [];
  stack.defer(async () => {
    await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
  });
  const open = async (config: pg.ClientConfig): Promise<pg.Client> => {
    const client = new pg.Client(config);
    client.on('error', () => undefined);
    clients.push(client);
    await client.connect();
    return client;
  };
  const through = { host: '127.0.0.1', port: shop.port, user: server.user, database: 'shop' };
  const owner = await open({ connectionString: server.url('shop') });
  const disposal = stack.move();
  return {
    server,
    shop,
    other,
    barrier: shop.operations.barrier,
    coordinator,
    traces,
    through,
    owner,
    async replica() {
      const [options] = databases;
      if (options === undefined) throw new Error('there are two databases');
      const database = await start(options);
      const close = async (): Promise<void> => {
        await database.closeListener(0);
        await database.close();
      };
      return { ...database, [Symbol.asyncDispose]: close };
    },
    client: (database = 'shop') => open(database === 'shop' ? through : { ...through, port: other.port, database }),
    async rows(gid) {
      const { rows } = await owner.query<{ row: string }>(
        `SELECT concat_ws(' ', trans_type, branch_id, op, reason) AS row FROM atomesh.barrier WHERE gid = $1 ORDER BY op`,
        [gid],
      );
      return rows.map(({ row }) => row);
    },
    async amount(account) {
      const { rows } = await owner.query<{ amount: number }>('SELECT amount FROM account WHERE id = $1', [account]);
      return rows[0]?.amount ?? Number.NaN;
    },
    scrape: () => registry.metrics(),
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}

function clientOf(fake: FakeCoordinator): CoordinatorClient {
  const none = (): never => {
    throw new Error('nobody asks this here');
  };
  return {
    begin: none,
    submit: none,
    abort: none,
    async enlist(gid: Gid, request: EnlistRequest) {
      if (request.run !== undefined && request.run < fake.newestRun) {
        throw new CodedError('RUN_SUPERSEDED', `run ${request.run} is over`);
      }
      fake.enlisted.push({ ...request, gid });
      return { gid, branchId: '01' as BranchId, sequence: fake.enlisted.length };
    },
    async read(gid: Gid) {
      const status = fake.statuses.get(gid);
      return status === undefined ? undefined : ({ gid, status } as TransactionView);
    },
    ready: async () => true,
    close: async () => undefined,
  } as unknown as CoordinatorClient;
}

/** The mark of an operation, as the application passes it on. */
export function markOf({ gid, branch, task }: OperationOf): string {
  return `${gid}/${branch}/${task}`;
}

/** Runs one text by a protocol. */
export function run(client: pg.Client, protocol: Protocol, text: string): Promise<pg.QueryResult> {
  return client.query({ text, ...(protocol === 'simple' ? {} : { queryMode: 'extended' }) });
}

/** Waits until that many sessions of the server wait for a lock. */
export async function untilWaiting(world: World, count: number = 1): Promise<void> {
  await until(`${count} sessions wait`, async () => {
    const { rows } = await world.owner.query<{ count: number }>(
      "SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'shop'",
    );
    return rows[0]?.count === count ? true : undefined;
  });
}

/** The SQLSTATE that a promise is rejected with. */
export async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
