/** One real database twice, behind a real sidecar and without one, and a real coordinator: everything in this process but PostgreSQL. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import pg from 'pg';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { startSidecar } from '../../proxy/proxy.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { TransactionView } from '../../src/contract/messages.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

export type Outcome = 'commit' | 'rollback';

export interface Mesh extends AsyncDisposable {
  readonly major: PostgresMajor;
  readonly server: PostgresServer;
  readonly coordinator: CoordinatorClient;
  /** The port of the sidecar's admin listener. */
  readonly admin: number;
  /** Where a client reaches the database through the sidecar. */
  readonly through: pg.ClientConfig;
  /** The identical database, without a sidecar. */
  readonly direct: pg.ClientConfig;
  /** The sidecar's database, past the sidecar. */
  readonly owner: pg.Client;
  /** The identical database. */
  readonly twin: pg.Client;
  /** The way from the sidecar to the coordinator. */
  readonly line: Line;
  begin(timeoutMs?: number): Promise<Gid>;
  /** Decides a global transaction and waits until every branch has carried it out. */
  end(gid: Gid, outcome: Outcome): Promise<void>;
  /** Waits until a global transaction is over. */
  over(gid: Gid): Promise<TransactionView>;
  /** A client through the sidecar; ended with the mesh. */
  client(): Promise<pg.Client>;
  /** Another `owner`, for when the server has been away. */
  reopened(): Promise<pg.Client>;
  /** Every row of the business tables, by table. */
  dump(client?: pg.Client): Promise<Record<string, readonly string[]>>;
  /** How many undo records and row locks there are. */
  leftovers(): Promise<string>;
}

export interface MeshOptions {
  readonly major: PostgresMajor;
  /** Creates the tables and fills them. */
  readonly schema: string;
  /** The tables that `dump` shows. */
  readonly tables: readonly string[];
  readonly lockTimeoutMs?: number;
  /** Further options of the database. Without them nothing escalates: what has no images is refused. */
  readonly database?: Readonly<Record<string, unknown>>;
  /** Settings of the server, beside those of every test. */
  readonly settings?: Readonly<Record<string, string>>;
  /** How long the coordinator keeps what is over, as its option says it. */
  readonly retention?: string;
  /** Another build of the sidecar. */
  readonly startSidecar?: typeof startSidecar;
}

/** Starts all of it. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await startPostgres({
      major: options.major,
      // Tests that compare rows as they lie put them back by DELETE and INSERT: nothing else may move them.
      settings: { autovacuum: 'off', ...options.settings },
    }),
  );
  await server.run('postgres', 'CREATE DATABASE shop');
  await initialiseDatabase({ connectionString: server.url('shop') });
  await server.run('shop', options.schema);
  // A copy keeps the object ids, so that even those of the answers can be compared.
  await server.run('postgres', 'CREATE DATABASE plain TEMPLATE shop');

  const log = openLog('test', 'silent');
  const process_ = await startCoordinator(
    coordinatorOptions.parse({
      listen: '127.0.0.1:0',
      grpc: { listen: 'off' },
      store: { memory: {} },
      ...(options.retention === undefined ? {} : { retention: options.retention }),
    }),
    log,
  );
  stack.defer(() => process_.close(100));
  const coordinator = connectCoordinator({ url: process_.url, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  const line = await openLine(Number(new URL(process_.url).port));
  stack.defer(() => line.cut());
  const sidecar = await (options.startSidecar ?? startSidecar)(
    sidecarOptions.parse({
      service: 'orders',
      coordinator: { url: `http://127.0.0.1:${line.port}`, timeout: '2s' },
      control: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      databases: [
        {
          name: 'shop',
          listen: '127.0.0.1:0',
          upstream: `postgres://127.0.0.1:${server.port}/shop`,
          credentials: { user: server.user },
          lockTimeout: `${options.lockTimeoutMs ?? 3_000}ms`,
          escalate: 'off',
          ...options.database,
        },
      ],
    }),
    log,
  );
  stack.defer(() => sidecar.close(0));
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
  const through = {
    host: '127.0.0.1',
    port: sidecar.ports.databases['shop'] ?? 0,
    user: server.user,
    database: 'shop',
  };
  const direct = { ...through, port: server.port, database: 'plain' };
  const owner = await open({ ...through, port: server.port });
  const twin = await open(direct);
  const disposal = stack.move();

  const mesh: Mesh = {
    major: options.major,
    server,
    coordinator,
    admin: sidecar.ports.admin,
    through,
    direct,
    owner,
    twin,
    line,
    async begin(timeoutMs = 30_000) {
      return (await coordinator.begin({ timeoutMs, retryIntervalMs: 50 })).gid;
    },
    async end(gid, outcome) {
      await (outcome === 'commit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
      const { status } = await mesh.over(gid);
      const expected = outcome === 'commit' ? 'succeed' : 'failed';
      if (status !== expected) throw new Error(`global transaction ${gid} is ${status} and not ${expected}`);
    },
    async over(gid) {
      const view = await coordinator.read(gid, 10_000);
      if (view === undefined) throw new Error(`global transaction ${gid} is unknown`);
      return view;
    },
    client: () => open(through),
    reopened: () => open({ ...through, port: server.port }),
    dump: (client = owner) => dump(client, options.tables),
    async leftovers() {
      const { rows } = await owner.query<{ left: string }>(
        "SELECT concat((SELECT count(*) FROM atomesh.undo_record), ' records, ', (SELECT count(*) FROM (SELECT FROM atomesh.row_lock UNION ALL SELECT FROM atomesh.parent_claim) AS l), ' locks') AS left",
      );
      return rows[0]?.left ?? '';
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
  return mesh;
}

/** Every row of the tables as text, in a fixed order, in one question. */
async function dump(client: pg.Client, tables: readonly string[]): Promise<Record<string, readonly string[]>> {
  const parts = tables.map(
    (table) =>
      `SELECT ${pg.escapeLiteral(table)} AS name, array(SELECT x.*::text FROM ${table} AS x ORDER BY 1) AS images`,
  );
  const { rows } = await client.query<{ name: string; images: readonly string[] }>(parts.join(' UNION ALL '));
  return Object.fromEntries(rows.map(({ name, images }) => [name, images]));
}

/** What `leftovers` says when a global transaction has left nothing behind. */
export const NOTHING_LEFT = '0 records, 0 locks';

/** A TCP line that can be listened in on, and cut. */
export interface Line {
  readonly port: number;
  /** Waits until the sidecar has sent such a text. */
  heard(text: string): Promise<void>;
  cut(): Promise<void>;
  mend(): Promise<void>;
}

async function openLine(target: number): Promise<Line> {
  const sockets = new Set<Socket>();
  let said = '';
  let server: Server | undefined;
  const listen = async (port: number): Promise<number> => {
    server = createServer((client) => {
      const upstream = connect(target, '127.0.0.1');
      client.on('data', (chunk: Buffer) => {
        said += chunk.toString('latin1');
      });
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(socket);
        socket
          .on('error', () => socket.destroy())
          .on('close', () => {
            sockets.delete(socket);
            other.destroy();
          });
        socket.pipe(other);
      }
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const port = await listen(0);
  return {
    port,
    async heard(text) {
      await until(`the sidecar says ${text}`, async () => (said.includes(text) ? true : undefined));
    },
    async cut() {
      const closing = server;
      if (closing === undefined) return;
      server = undefined;
      const closed = once(closing, 'close');
      closing.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    async mend() {
      await listen(port);
    },
  };
}
