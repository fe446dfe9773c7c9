/** Two databases on one server behind a sidecar, and a coordinator: all of them processes that are killed between two steps and started again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import mysql from 'mysql2/promise';
import { freePort } from '../../../examples/support/free-port.ts';
import { call } from '../../../examples/support/http.ts';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { openProcesses } from '../../../examples/support/processes.ts';
import { initialiseDatabase } from '../../../proxy/mysql/setup/init.ts';
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import { connectCoordinator } from '../../../src/client/connect.ts';
import { startGate, type Moment } from './gate.ts';

/** Who dies. */
export type Victim = 'sidecar' | 'server' | 'coordinator';

/** Where somebody dies: at an XA command, or as soon as the client has heard that its local transaction is committed. */
export interface Death {
  readonly victim: Victim;
  readonly at: Moment | 'heard';
}

export interface Stage extends AsyncDisposable {
  readonly coordinator: CoordinatorClient;
  /** Where clients of each database connect. */
  readonly ports: Readonly<Record<'one' | 'two', number>>;
  /** The next step of that kind kills, and all is started again. `over`: resolves when that is done. */
  arm(death: Death): { readonly over: Promise<void> };
  /** Kills now. */
  strike(victim: Victim): Promise<void>;
  /** The end of what the sidecar has said. */
  lastLines(): Promise<string>;
  /** A connection past the sidecar; each is a new one, for servers die here. */
  owner<T>(work: (connection: mysql.Connection) => Promise<T>): Promise<T>;
}

const PROCESS = fileURLToPath(new URL('../../mesh-crash/process.ts', import.meta.url));
/** What was carried out has to be there after a crash; servers of tests save themselves the writing otherwise. */
const DURABLE = 'set global innodb_flush_log_at_trx_commit = 1';
const TABLES =
  'create table account (id int primary key, v int not null); insert into account values (1, 0); create table bare (v int not null); insert into bare values (0)';

/** Starts all of it. In database `one` all is prepared, in `two` what has no images is. */
export async function openStage(startServer: () => Promise<MariadbServer>): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-xa-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const server = stack.use(await startServer());
  for (const name of ['one', 'two']) await server.run(`create database ${name}; use ${name}; ${TABLES}`);
  await server.run(DURABLE);
  await initialiseDatabase({ host: '127.0.0.1', port: server.port, user: server.user });

  const strike = async (victim: Victim): Promise<void> => {
    if (victim === 'server') {
      await server.crash();
      await server.run(DURABLE);
      return;
    }
    const process_ = victim === 'coordinator' ? coordinatorProcess : sidecar;
    await process_.kill();
    await process_.start();
  };
  let plan: { readonly death: Death; readonly over: PromiseWithResolvers<void> } | undefined;
  const gate = stack.use(
    await startGate(server.port, ({ when, command }) => {
      if (plan === undefined || plan.death.at === 'heard') return 'pass';
      const { death, over } = plan;
      if (plan.death.at.when !== when || plan.death.at.command !== command) return 'pass';
      plan = undefined;
      void strike(death.victim).then(over.resolve, over.reject);
      // A coordinator is not on this way: what is here goes on.
      return death.victim === 'coordinator' ? 'pass' : 'lost';
    }),
  );
  const [url, control, admin] = [await freePort(), await freePort(), await freePort()];
  const ports = { one: await freePort(), two: await freePort() };
  const processes = stack.use(openProcesses(folder));
  const environment = { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(folder, 'compiled') };
  const isReady = async (path: string): Promise<boolean> =>
    (await call('GET', `http://127.0.0.1:${path}`, { timeoutMs: 2_000 })).status < 500;
  const coordinatorProcess = processes.add({
    name: 'coordinator',
    command: [
      PROCESS,
      'coordinator',
      JSON.stringify({
        listen: `127.0.0.1:${url}`,
        grpc: { listen: 'off' },
        store: { sqlite: { path: join(folder, 'coordinator.db') } },
      }),
    ],
    environment,
    isReady: () => isReady(`${url}/readyz`),
  });
  await coordinatorProcess.start();
  const database = (name: 'one' | 'two', own: object): object => ({
    engine: 'mysql',
    name,
    listen: `127.0.0.1:${ports[name]}`,
    upstream: `mysql://127.0.0.1:${gate.port}/${name}`,
    credentials: { user: server.user },
    xa: { recover: '1s' },
    ...own,
  });
  const sidecar = processes.add({
    name: 'sidecar',
    command: [
      PROCESS,
      'sidecar',
      JSON.stringify({
        service: 'orders',
        coordinator: { url: `http://127.0.0.1:${url}`, timeout: '2s' },
        control: { listen: `127.0.0.1:${control}` },
        admin: { listen: `127.0.0.1:${admin}` },
        databases: [database('one', { mode: 'xa' }), database('two', { escalate: 'xa' })],
      }),
    ],
    environment,
    isReady: () => isReady(`${admin}/readyz`),
  });
  await sidecar.start();
  const coordinator = connectCoordinator({ url: `http://127.0.0.1:${url}`, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  const disposal = stack.move();
  return {
    coordinator,
    ports,
    strike,
    lastLines: () => sidecar.lastLines(8),
    arm(death) {
      const over = Promise.withResolvers<void>();
      plan = { death, over };
      return { over: over.promise };
    },
    async owner(work) {
      const connection = await mysql.createConnection({
        host: '127.0.0.1',
        port: server.port,
        user: server.user,
        multipleStatements: true,
      });
      connection.on('error', () => undefined);
      try {
        return await work(connection);
      } finally {
        connection.destroy();
      }
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
