/** A server with a database twice, a coordinator, and a sidecar that stands in front of one of the two in one way or in several. */
import type { MariadbServer } from '../../examples/support/mariadb-server.ts';
import { initialiseDatabase } from '../../proxy/mysql/setup/init.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startSidecar, type Sidecar } from '../../proxy/proxy.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

export interface Behind {
  readonly coordinator: CoordinatorClient;
  readonly ports: Sidecar['ports'];
}

export interface BehindOptions {
  /** Creates the tables of `shop`, which is behind the sidecar, and those of its like `plain`, and fills them. */
  readonly schema: string;
  /** The options of each listener, by its name. */
  readonly listeners: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Where the sidecar finds the coordinator that is at this URL; by default there. */
  readonly coordinatorOf?: ((url: string) => string) | undefined;
  /** The `limits` of the sidecar, where they are not the usual ones. */
  readonly limits?: Readonly<Record<string, unknown>> | undefined;
}

/** Starts all of it; what is to be ended goes onto the stack. */
export async function startBehind(
  stack: AsyncDisposableStack,
  server: MariadbServer,
  { schema, listeners, coordinatorOf = (url) => url, limits = {} }: BehindOptions,
): Promise<Behind> {
  for (const name of ['shop', 'plain']) await server.run(`create database ${name}; use ${name}; ${schema}`);
  await initialiseDatabase({ host: '127.0.0.1', port: server.port, user: server.user });
  const log = openLog('test', 'silent');
  const settings = { listen: '127.0.0.1:0', grpc: { listen: 'off' }, store: { memory: {} } };
  const process_ = await startCoordinator(coordinatorOptions.parse(settings), log);
  stack.defer(() => process_.close(100));
  const coordinator = connectCoordinator({ url: process_.url, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  const databases = Object.entries(listeners).map(([name, options]) => ({
    engine: 'mysql',
    name,
    listen: '127.0.0.1:0',
    upstream: `mysql://127.0.0.1:${server.port}/shop`,
    credentials: { user: server.user },
    ...options,
  }));
  const sidecar = await startSidecar(
    sidecarOptions.parse({
      service: 'orders',
      coordinator: { url: coordinatorOf(process_.url), timeout: '2s' },
      control: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      limits,
      databases,
    }),
    log,
  );
  stack.defer(() => sidecar.close(0));
  return { coordinator, ports: sidecar.ports };
}
