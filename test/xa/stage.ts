/** A sidecar as a process of its own that is killed between two steps of a prepared local transaction, and started again. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { call } from '../../examples/support/http.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { openProcesses } from '../../examples/support/processes.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { startRelay } from '../mesh-crash/relay.ts';

/** A step: a command to the database, or a call between sidecar and coordinator; `before` it arrives, or `after`, before its answer does. */
export interface Gate {
  readonly when: 'before' | 'after';
  readonly step: 'enlist' | 'PREPARE TRANSACTION' | 'COMMIT PREPARED' | 'ROLLBACK PREPARED' | 'commit' | 'rollback';
}

export interface Stage extends AsyncDisposable {
  readonly coordinator: CoordinatorClient;
  readonly owner: pg.Client;
  /** Where clients connect. */
  readonly through: pg.ClientConfig;
  /** Kills the sidecar when the next step of that kind is reached, and starts it again; resolves when that is done. */
  killAt(gate: Gate): Promise<void>;
}

const PROCESS = fileURLToPath(new URL('../mesh-crash/process.ts', import.meta.url));

/** Starts all of it; `schema` fills the database. */
export async function openStage(schema: string): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-xa-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const server = stack.use(await startPostgres());
  await initialiseDatabase({ connectionString: server.url('postgres') });
  await server.run('postgres', schema);

  let plan: { readonly gate: Gate; readonly done: PromiseWithResolvers<void> } | undefined;
  /** True when the sidecar has died of it: whatever was on its way reaches nobody. */
  const reach = async (when: Gate['when'], step: string): Promise<boolean> => {
    if (plan?.gate.when !== when || plan.gate.step !== step) return false;
    const { done } = plan;
    plan = undefined;
    try {
      await sidecar.kill();
      void sidecar.start().then(done.resolve, done.reject);
    } catch (error) {
      done.reject(error);
    }
    return true;
  };

  const coordinatorProcess = await startCoordinator(
    coordinatorOptions.parse({ listen: '127.0.0.1:0', grpc: { listen: 'off' }, store: { memory: {} } }),
    openLog('test', 'silent'),
  );
  stack.defer(() => coordinatorProcess.close(100));
  const coordinator = connectCoordinator({ url: coordinatorProcess.url, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  const toCoordinator = stack.use(
    await startRelay(coordinatorProcess.url, async ({ when, method, path }) =>
      method === 'POST' && path.endsWith('/branches') && (await reach(when, 'enlist')) ? 'lost' : 'pass',
    ),
  );
  const [control, admin, sql] = [await freePort(), await freePort(), await freePort()];
  const toControl = stack.use(
    await startRelay(`http://127.0.0.1:${control}`, async ({ when, path }) =>
      (await reach(when, path.split('/').at(-1) ?? '')) ? 'lost' : 'pass',
    ),
  );
  const toDatabase = stack.use(await startDatabaseRelay(server.port, reach));
  const processes = stack.use(openProcesses(folder));
  const sidecar = processes.add({
    name: 'sidecar',
    command: [
      PROCESS,
      'sidecar',
      JSON.stringify({
        service: 'orders',
        coordinator: { url: toCoordinator.url, timeout: '2s' },
        control: { listen: `127.0.0.1:${control}`, advertise: toControl.url },
        admin: { listen: `127.0.0.1:${admin}` },
        databases: [
          {
            name: 'shop',
            listen: `127.0.0.1:${sql}`,
            upstream: `postgres://127.0.0.1:${toDatabase.port}/postgres`,
            credentials: { user: 'postgres' },
          },
        ],
      }),
    ],
    environment: { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(folder, 'compiled') },
    isReady: async () => (await call('GET', `http://127.0.0.1:${admin}/readyz`, { timeoutMs: 2_000 })).status < 500,
  });
  await sidecar.start();
  const owner = new pg.Client({ connectionString: server.url('postgres') });
  await owner.connect();
  stack.defer(() => owner.end());
  const disposal = stack.move();
  return {
    coordinator,
    owner,
    through: { host: '127.0.0.1', port: sql, user: 'postgres', database: 'postgres' },
    killAt(gate) {
      const done = Promise.withResolvers<void>();
      plan = { gate, done };
      return done.promise;
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}

const COMMANDS = ['PREPARE TRANSACTION', 'COMMIT PREPARED', 'ROLLBACK PREPARED'] as const;

/** Stands between the sidecar and its database, and knows the commands that a step is about. */
async function startDatabaseRelay(
  target: number,
  reach: (when: Gate['when'], step: string) => Promise<boolean>,
): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: target, noDelay: true });
    let sent: string | undefined;
    const handOn = async (from: Socket, to: Socket, look: (chunk: Buffer) => Promise<boolean>): Promise<void> => {
      for await (const chunk of from) {
        if (await look(chunk as Buffer)) break;
        to.write(chunk as Buffer);
      }
    };
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', end).on('close', () => sockets.delete(socket));
    }
    const there = handOn(near, far, async (chunk) => {
      const text = chunk.toString('latin1');
      sent = COMMANDS.find((command) => text.includes(command)) ?? sent;
      return sent !== undefined && (await reach('before', sent));
    });
    const back = handOn(far, near, async () => sent !== undefined && (await reach('after', sent)));
    void Promise.allSettled([there.finally(end), back.finally(end)]);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
