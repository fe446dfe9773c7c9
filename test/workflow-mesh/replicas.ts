/** Two replicas of one service, each an application and a sidecar in a process of its own, on one coordinator and one database. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { call as ask } from '../../examples/support/http.ts';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { openProcesses, type ManagedProcess, type ProcessGroup } from '../../examples/support/processes.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

/** What a program does of one request, with its mark and its own replica; answers the status. */
export type Program = (mark: string, replica: Replica) => Promise<number>;

export interface Replica {
  readonly name: string;
  /** The inbound listener. */
  readonly door: string;
  /** Both of its processes die: nobody is answered, and its database sessions end. */
  kill(): Promise<void>;
  /** A call through its outbound listener; the status. */
  call(mark: string, path: string): Promise<number>;
  /** A local transaction with one statement through its SQL listener. */
  sql(mark: string, text: string): Promise<void>;
}

export interface Replicas extends AsyncDisposable {
  readonly a: Replica;
  readonly b: Replica;
  readonly coordinator: CoordinatorClient;
  /** The database past the sidecars. */
  readonly owner: pg.Client;
  serve(program: Program): void;
}

const PROCESS = fileURLToPath(new URL('../mesh-crash/process.ts', import.meta.url));

/** Starts them. The control URL that both advertise leads to whichever replica is there, `b` first where both are. */
export async function startReplicas(bank: string, rerunAfter: string): Promise<Replicas> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-replicas-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const server = stack.use(await startPostgres());
  await server.run('postgres', 'CREATE DATABASE shop');
  await initialiseDatabase({ connectionString: server.url('shop') });
  await server.run(
    'shop',
    'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL); INSERT INTO account VALUES (1, 0)',
  );
  const log = openLog('test', 'silent');
  const store = { sqlite: { path: join(folder, 'coordinator.db') } };
  const options = { listen: '127.0.0.1:0', grpc: { listen: 'off' }, store };
  const running = await startCoordinator(coordinatorOptions.parse(options), log);
  stack.defer(() => running.close(100));
  const coordinator = connectCoordinator({ url: running.url, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  const owner = new pg.Client({ connectionString: server.url('shop') });
  await owner.connect();
  stack.defer(() => owner.end());

  let program: Program = () => Promise.resolve(200);
  const controls = { a: await freePort(), b: await freePort() };
  const balancer = stack.use(await startBalancer([controls.b, controls.a]));
  const group = stack.use(openProcesses(folder));
  const shared = { server, group, bank, rerunAfter, coordinator: running.url, control: balancer.url };
  const start = async (name: 'a' | 'b'): Promise<Replica> => {
    const { replica, dispose } = await startReplica(name, controls[name], shared, (mark) => program(mark, replica));
    stack.defer(dispose);
    return replica;
  };
  const [a, b] = [await start('a'), await start('b')];
  const owned = stack.move();
  return {
    a,
    b,
    coordinator,
    owner,
    serve: (next) => void (program = next),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Shared {
  readonly server: PostgresServer;
  readonly group: ProcessGroup;
  readonly bank: string;
  readonly rerunAfter: string;
  readonly coordinator: string;
  readonly control: string;
}

async function startReplica(
  name: string,
  control: number,
  { server, group, bank, rerunAfter, coordinator, control: advertise }: Shared,
  serve: (mark: string) => Promise<number>,
): Promise<{ readonly replica: Replica; readonly dispose: () => void }> {
  const app = createServer((request, response) => {
    request.resume();
    const mark = String(request.headers['atomesh-gid'] ?? '');
    void serve(mark)
      .catch(() => 500)
      .then((status) => response.writeHead(status).end(`served by ${name}`));
  });
  const dispose = (): void => end(app);
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  const [inbound, outbound, admin, sql] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const at = (port: number): string => `127.0.0.1:${port}`;
  const sidecar: ManagedProcess = group.add({
    name: `sidecar-${name}`,
    command: [
      PROCESS,
      'sidecar',
      JSON.stringify({
        service: 'orders',
        coordinator: { url: coordinator, timeout: '2s' },
        control: { listen: at(control), advertise },
        admin: { listen: at(admin) },
        inbound: {
          listen: at(inbound),
          target: `http://${at((app.address() as AddressInfo).port)}`,
          transactions: [{ match: 'POST /trips', begin: { workflow: true, timeout: '60s', rerunAfter } }],
        },
        outbound: { listen: at(outbound), upstreams: { bank: { url: bank } } },
        databases: [
          {
            name: 'shop',
            listen: at(sql),
            upstream: `postgres://127.0.0.1:${server.port}/shop`,
            credentials: { user: server.user },
          },
        ],
      }),
    ],
    environment: {},
    isReady: async () => (await ask('GET', `http://${at(admin)}/readyz`, { timeoutMs: 2_000 })).status < 500,
  });
  await sidecar.start();
  const replica: Replica = {
    name,
    door: `http://${at(inbound)}`,
    async kill() {
      end(app);
      await sidecar.kill();
    },
    async call(mark, path) {
      const headers = { 'atomesh-gid': mark };
      return (await fetch(`http://${at(outbound)}/bank${path}`, { method: 'POST', headers })).status;
    },
    async sql(mark, text) {
      const client = new pg.Client({ host: '127.0.0.1', port: sql, user: server.user, database: 'shop' });
      client.on('error', () => undefined);
      await client.connect();
      try {
        for (const statement of ['BEGIN', text, 'COMMIT']) await client.query(`${statement} /*atomesh_gid='${mark}'*/`);
      } finally {
        await client.end().catch(() => undefined);
      }
    },
  };
  return { replica, dispose };
}

function end(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** A name for several: each connection goes to the first of `ports` at which somebody listens. */
async function startBalancer(ports: readonly number[]): Promise<AsyncDisposable & { readonly url: string }> {
  const sockets = new Set<Socket>();
  const lead = (client: Socket, [port, ...others]: readonly number[]): void => {
    if (port === undefined) return void client.destroy();
    const target = connect({ port, host: '127.0.0.1' });
    target.once('error', () => lead(client, others));
    target.once('connect', () => {
      target.removeAllListeners('error').on('error', () => client.destroy());
      client.on('close', () => target.destroy());
      target.on('close', () => client.destroy());
      client.pipe(target).pipe(client);
    });
  };
  const server = createTcpServer((client) => {
    sockets.add(client);
    client.on('error', () => undefined);
    client.on('close', () => sockets.delete(client));
    lead(client, ports);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
