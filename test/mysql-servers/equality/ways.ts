/** What carries statements out inside global transactions: the parts of a session over a driver's connection, or a whole sidecar. */
import type { Connection } from 'mysql2/promise';
import { sidecarOptions } from '../../../proxy/options.ts';
import { startSidecar } from '../../../proxy/proxy.ts';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import { connectCoordinator } from '../../../src/client/connect.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { startCoordinator } from '../../../src/coordinator.ts';
import { coordinatorOptions } from '../../../src/options.ts';
import { monotonicSeconds } from '../../../src/platform/clock.ts';
import { newGid } from '../../../src/platform/random.ts';
import { RESOURCE, silent, type World } from '../second-phase/world.ts';
import { capturingClient, throughClient, type Client } from './client.ts';

export interface Way extends AsyncDisposable {
  /** Where clients connect. */
  readonly port: number;
  begin(): Promise<Gid>;
  /** A session of the gid over this connection, which goes to `port`. */
  client(connection: Connection, gid: Gid): Client;
  /** Decides the gid, and says how it has ended if not as decided. */
  end(gid: Gid, outcome: 'commit' | 'rollback'): Promise<string | undefined>;
}

/** How long a decision may take on a busy machine, and how often it is asked about: a dirty branch tells of itself only when asked. */
const END_MS_MAX = 30_000;
const ASK_MS = 500;

/** Plans, and captures by the statements that they say, in `database`. */
export function byParts(world: World, database: string, known: Map<string, TableFacts | 'none'>): Way {
  return {
    port: world.server.port,
    async begin() {
      const gid = newGid();
      await world.finisher.open(gid, RESOURCE);
      return gid;
    },
    client: (connection, gid) => capturingClient(connection, { world, gid, database, known }),
    async end(gid, outcome) {
      const deadline = monotonicSeconds() + END_MS_MAX / 1000;
      for (;;) {
        const { result, detail } = await world.finisher[outcome](gid, RESOURCE);
        if (result === 'success') return undefined;
        // Two that are rolled back at once may be a deadlock: a coordinator asks again.
        if (result !== 'ongoing' || monotonicSeconds() > deadline) return `the ${outcome} is ${result}: ${detail}`;
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A sidecar and a coordinator in this process. `RESOURCE` is what the branches are called. */
export async function bySidecar(world: World, database: string, escalate: 'off' | 'xa'): Promise<Way> {
  await using stack = new AsyncDisposableStack();
  const settings = { listen: '127.0.0.1:0', grpc: { listen: 'off' }, store: { memory: {} } };
  const server = await startCoordinator(coordinatorOptions.parse(settings), silent);
  stack.defer(() => server.close(100));
  const coordinator = connectCoordinator({ url: server.url, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  const [service = '', name = ''] = RESOURCE.split('/');
  const options = sidecarOptions.parse({
    service,
    coordinator: { url: server.url, timeout: '2s' },
    control: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
    databases: [
      {
        engine: 'mysql',
        name,
        listen: '127.0.0.1:0',
        upstream: `mysql://127.0.0.1:${world.server.port}/${database}`,
        credentials: { user: world.login.user },
        lockTimeout: '40ms',
        escalate,
      },
    ],
  });
  const sidecar = await startSidecar(options, silent);
  stack.defer(() => sidecar.close(0));
  const disposal = stack.move();
  return {
    port: sidecar.ports.databases[name] ?? 0,
    begin: async () => (await coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 50 })).gid,
    client: (connection, gid) => throughClient(connection, gid),
    async end(gid, outcome) {
      await (outcome === 'commit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
      const wanted = outcome === 'commit' ? 'succeed' : 'failed';
      const deadline = monotonicSeconds() + END_MS_MAX / 1000;
      for (;;) {
        const view = await coordinator.read(gid, ASK_MS);
        if (view?.status === wanted) return undefined;
        const isDirty = view?.branches.some(({ status }) => status === 'dirty') === true;
        if (isDirty || monotonicSeconds() > deadline)
          return `the ${outcome} did not end: ${view?.status} ${JSON.stringify(view?.branches)}`;
      }
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
