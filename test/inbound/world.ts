/**
 * One service as it is in production, in this process but for PostgreSQL: a real coordinator, a real sidecar, an application that a test
 * writes as a function, and its database behind the sidecar.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { startSidecar, type Sidecar } from '../../proxy/proxy.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { TransactionView } from '../../src/contract/messages.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startCoordinator, type Coordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { startRelay, type Watch } from '../mesh-crash/relay.ts';

/** A request as the application of a test gets it. */
export interface AppRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  /** The value that it passes on: in SQL comments and in headers of its calls. */
  readonly mark: string;
  readonly message: IncomingMessage;
}

/** The status that is answered, or nothing at all: the connection is left as it is. */
export type AppAnswer =
  | { readonly status: number; readonly body?: string; readonly headers?: Record<string, string> }
  | 'silence';

export type App = (request: AppRequest, response: ServerResponse) => Promise<AppAnswer>;

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface World extends AsyncDisposable {
  readonly coordinator: CoordinatorClient;
  /** The database past the sidecar. */
  readonly owner: pg.Client;
  readonly sidecar: Sidecar;
  /** What the application does; requests that it got are counted from when it is set. */
  serve(app: App): void;
  /** The requests that the application got since `serve`. */
  readonly seen: readonly AppRequest[];
  /** Runs a statement through the sidecar, in a local transaction and over a connection of its own, with the mark in a comment. */
  sql(mark: string, text: string): Promise<void>;
  /** A connection through the sidecar; ended with the world. */
  client(): Promise<pg.Client>;
  /** A request to the inbound listener. */
  ask(method: string, path: string, init?: AskInit): Promise<Reply>;
  /** A request through the outbound listener, as the application makes it. */
  call(mark: string, method: string, path: string, init?: AskInit): Promise<Reply>;
  /** Begins a global transaction by hand. */
  begin(): Promise<Gid>;
  over(gid: Gid): Promise<TransactionView>;
  /** How much the business table says. */
  total(): Promise<number>;
  /** Stops the coordinator and leaves its store; `startAgain` brings it back at the same address. */
  stopCoordinator(): Promise<void>;
  startAgain(): Promise<void>;
}

export interface AskInit {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/** Starts all of it. `inbound`, `outbound`: further options, as in the YAML; without `databases`, the service has none. */
export async function startWorld(
  extra: {
    readonly inbound?: object;
    readonly outbound?: object;
    readonly limits?: object;
    readonly hasDatabase?: boolean;
    /** Further options of the coordinator. */
    readonly coordinator?: object;
    /** How long the sidecar waits for the coordinator. Default `2s`. */
    readonly coordinatorTimeout?: string;
    /** Stands between the sidecar and the coordinator. */
    readonly watch?: Watch;
  } = {},
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-world-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const server = extra.hasDatabase === false ? undefined : stack.use(await startPostgres());
  await server?.run('postgres', 'CREATE DATABASE shop');
  if (server !== undefined) await initialiseDatabase({ connectionString: server.url('shop') });
  await server?.run(
    'shop',
    'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO account VALUES (1, 0)',
  );

  const log = openLog('test', 'silent');
  const options = coordinatorOptions.parse({
    listen: `127.0.0.1:${await freePort()}`,
    grpc: { listen: 'off' },
    store: { sqlite: { path: join(folder, 'coordinator.db') } },
    ...extra.coordinator,
  });
  let running: Coordinator | undefined = await startCoordinator(options, log);
  const url = running.url;
  stack.defer(async () => await running?.close(100));
  const coordinator = connectCoordinator({ url, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());

  let app: App = () => Promise.resolve({ status: 200 });
  let seen: AppRequest[] = [];
  const http = createServer((message, response) => void serveOne(message, response));
  const serveOne = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    message.on('error', () => undefined);
    try {
      for await (const chunk of message) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const mark = String(message.headers['atomesh-gid'] ?? '');
    const { method = '', url: path = '', headers } = message;
    const request = { method, path, headers, body: Buffer.concat(chunks).toString(), mark, message };
    seen.push(request);
    const answer = await app(request, response).catch((error: unknown) => ({ status: 500, body: String(error) }));
    if (answer !== 'silence')
      response.writeHead(answer.status, 'headers' in answer ? answer.headers : {}).end(answer.body ?? '');
  };
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  stack.defer(() => {
    http.closeAllConnections();
    http.close();
  });

  const relay = extra.watch && stack.use(await startRelay(url, extra.watch));
  const sidecar = await startSidecar(
    sidecarOptions.parse({
      service: 'orders',
      coordinator: { url: relay?.url ?? url, timeout: extra.coordinatorTimeout ?? '2s' },
      control: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      inbound: {
        listen: '127.0.0.1:0',
        target: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
        ...extra.inbound,
      },
      outbound: { listen: '127.0.0.1:0', ...extra.outbound },
      ...(extra.limits === undefined ? {} : { limits: extra.limits }),
      databases:
        server === undefined
          ? []
          : [
              {
                name: 'shop',
                listen: '127.0.0.1:0',
                upstream: `postgres://127.0.0.1:${server.port}/shop`,
                credentials: { user: server.user },
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
  const open = async (port: number): Promise<pg.Client> => {
    if (server === undefined) throw new Error('the service of this test has no database');
    const client = new pg.Client({ host: '127.0.0.1', port, user: server.user, database: 'shop' });
    client.on('error', () => undefined);
    clients.push(client);
    await client.connect();
    return client;
  };
  const owner = server && (await open(server.port));
  const through = (): Promise<pg.Client> => open(sidecar.ports.databases['shop'] ?? 0);
  const fetched = async (port: number | undefined, method: string, path: string, init: AskInit): Promise<Reply> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...init });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const disposal = stack.move();
  return {
    coordinator,
    get owner() {
      if (owner === undefined) throw new Error('the service of this test has no database');
      return owner;
    },
    sidecar,
    serve(next) {
      app = next;
      seen = [];
    },
    get seen() {
      return seen;
    },
    client: through,
    async sql(mark, text) {
      const client = await through();
      try {
        for (const statement of ['BEGIN', text, 'COMMIT']) await client.query(`${statement} /*atomesh_gid='${mark}'*/`);
      } finally {
        await client.end();
      }
    },
    ask: (method, path, init = {}) => fetched(sidecar.ports.inbound, method, path, init),
    call: (mark, method, path, init = {}) =>
      fetched(sidecar.ports.outbound, method, path, { ...init, headers: { ...init.headers, 'atomesh-gid': mark } }),
    async begin() {
      return (await coordinator.begin({ timeoutMs: 30_000, retryIntervalMs: 50 })).gid;
    },
    over: (gid) =>
      until(`${gid} is over`, async () => {
        const view = await coordinator.read(gid, 2_000);
        return view?.status === 'succeed' || view?.status === 'failed' ? view : undefined;
      }),
    async total() {
      const found = await owner?.query<{ balance: number }>('SELECT balance FROM account WHERE id = 1');
      return found?.rows[0]?.balance ?? NaN;
    },
    async stopCoordinator() {
      await running?.close(0);
      running = undefined;
    },
    async startAgain() {
      running = await startCoordinator(options, log);
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
