/** A real MySQL or MariaDB with a database twice, behind a real sidecar and without one, and a real coordinator. */
import mysql from 'mysql2/promise';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { startBehind } from '../behind.ts';

export interface Mesh extends AsyncDisposable {
  readonly server: MariadbServer;
  readonly coordinator: CoordinatorClient;
  /** Past the sidecar. */
  readonly owner: mysql.Connection;
  /** Where the listener of the sidecar is. */
  readonly port: number;
  /** The value of a metric of the database, by its name and further labels; undefined where it has none. */
  metric(name: string, labels?: string): Promise<string | undefined>;
  begin(timeoutMs?: number): Promise<Gid>;
  /** Decides a global transaction and waits until every branch has carried it out. Answers its status. */
  end(gid: Gid, outcome: 'commit' | 'rollback'): Promise<string>;
  /** A connection through the sidecar; ended with the mesh. */
  client(options?: mysql.ConnectionOptions): Promise<mysql.Connection>;
  /** A connection to the server itself, in the database `plain`, which was made like `shop`. */
  plain(options?: mysql.ConnectionOptions): Promise<mysql.Connection>;
  /** The rows of a query of the owner's, each as its values with blanks between them. */
  lines(sql: string): Promise<readonly string[]>;
  /** How many undo records and row locks there are. */
  leftovers(): Promise<string>;
}

export interface MeshOptions {
  readonly start: () => Promise<MariadbServer>;
  /** Creates the tables and fills them. */
  readonly schema: string;
  readonly lockTimeoutMs?: number;
  /** Where the sidecar finds the coordinator that is at this URL; by default there. */
  readonly coordinatorOf?: (url: string) => string;
  /** Further options of the database. */
  readonly database?: Readonly<Record<string, unknown>>;
  /** The `limits` of the sidecar, where they are not the usual ones. */
  readonly limits?: Readonly<Record<string, unknown>>;
}

/** Starts all of it. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await options.start());
  const { coordinator, ports } = await startBehind(stack, server, {
    schema: options.schema,
    listeners: { shop: { lockTimeout: `${options.lockTimeoutMs ?? 3_000}ms`, escalate: 'off', ...options.database } },
    coordinatorOf: options.coordinatorOf,
    limits: options.limits,
  });
  const clients: mysql.Connection[] = [];
  stack.defer(() => {
    for (const client of clients) client.destroy();
  });
  const open = async (own: mysql.ConnectionOptions): Promise<mysql.Connection> => {
    const client = await mysql.createConnection({ host: '127.0.0.1', user: server.user, ...own });
    client.on('error', () => undefined);
    clients.push(client);
    return client;
  };
  const port = ports.databases['shop'] ?? 0;
  const owner = await open({ port: server.port, database: 'shop', multipleStatements: true });
  const disposal = stack.move();
  const lines = async (sql: string): Promise<readonly string[]> => {
    const [rows] = await owner.query<mysql.RowDataPacket[]>({ sql, rowsAsArray: true });
    return rows.map((row) => (row as unknown as unknown[]).map(String).join(' '));
  };
  return {
    server,
    coordinator,
    owner,
    port,
    async metric(name, labels = '') {
      const text = await (await fetch(`http://127.0.0.1:${ports.admin}/metrics`)).text();
      return text
        .split('\n')
        .find((line) => line.startsWith(`${name}{database="shop"${labels}} `))
        ?.split(' ')[1];
    },
    async begin(timeoutMs = 60_000) {
      return (await coordinator.begin({ timeoutMs, retryIntervalMs: 50 })).gid;
    },
    async end(gid, outcome) {
      await (outcome === 'commit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
      return (await coordinator.read(gid, 10_000))?.status ?? 'unknown';
    },
    client: (own) => open({ port, database: 'shop', ...own }),
    plain: (own) => open({ port: server.port, database: 'plain', ...own }),
    lines,
    async leftovers() {
      const [records] = await lines('select count(*) from atomesh.undo_record');
      const [locks] = await lines('select count(*) from atomesh.row_lock');
      return `${records} records, ${locks} locks`;
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
