/** Two services with a database each, their sidecars and the coordinator as processes that can be killed, and lines that can be cut. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../examples/support/free-port.ts';
import { call } from '../../examples/support/http.ts';
import { startMariadb } from '../../examples/support/mariadb-server.ts';
import { openProcesses, type ManagedProcess } from '../../examples/support/processes.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { startCuttable, type Cuttable } from '../cluster/cuttable.ts';
import { startMysql } from '../mysql-servers/mysql-server.ts';
import { startOnMariadb } from './on-mariadb.ts';
import { startOnPostgres } from './on-postgres.ts';
import type { BankServer, Books, Session } from './server.ts';

export const SERVICES = ['north', 'south'] as const;
export type Service = (typeof SERVICES)[number];

export interface Stage extends AsyncDisposable {
  readonly coordinator: CoordinatorClient;
  readonly coordinatorProcess: ManagedProcess;
  readonly sidecars: Readonly<Record<Service, ManagedProcess>>;
  /** Those of the databases; services of one kind share one. */
  readonly servers: readonly BankServer[];
  /** Everything that goes over TCP between the parts: sidecars to their databases, and to the coordinator. */
  readonly lines: readonly Cuttable[];
  /** What has no row images is carried out there, and prepared. */
  prepares(service: Service): boolean;
  /** An application's session, through the sidecar of the service. */
  connect(service: Service): Promise<Session>;
  /** What stands in a service's database, read past the sidecar. */
  books(service: Service): Promise<Books>;
}

const SERVERS = {
  postgres: startOnPostgres,
  mariadb: () => startOnMariadb(startMariadb),
  mysql: () => startOnMariadb(startMysql),
} as const;
type ServerKind = keyof typeof SERVERS;

/** The database of a service, and what its sidecar is told about it. */
export interface ServiceKind {
  /** Default `postgres`. */
  readonly server?: ServerKind;
  /** Default `undo`. */
  readonly mode?: 'undo' | 'xa';
  /** Default `xa`. */
  readonly escalate?: 'xa' | 'off';
}

export interface StageOptions extends Partial<Readonly<Record<Service, ServiceKind>>> {
  /** SQL that is run in each database of this kind once it is ready: for a build with a fault in it. */
  readonly fault?: Partial<Readonly<Record<ServerKind, string>>>;
}

const PROCESS = fileURLToPath(new URL('../mesh-crash/process.ts', import.meta.url));

/** Starts all of it. */
export async function openStage(options: StageOptions = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bank-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const servers = await startServers(stack, options);
  const processes = stack.use(openProcesses(folder));
  const add = (name: string, role: string, options: object, probe: string): ManagedProcess =>
    processes.add({
      name,
      command: [PROCESS, role, JSON.stringify(options)],
      environment: {},
      isReady: async () => (await call('GET', `http://${probe}/readyz`, { timeoutMs: 2_000 })).status < 500,
    });
  const coordinatorAt = `127.0.0.1:${await freePort()}`;
  const coordinatorProcess = add(
    'coordinator',
    'coordinator',
    { listen: coordinatorAt, grpc: { listen: 'off' }, store: { sqlite: { path: join(folder, 'coordinator.db') } } },
    coordinatorAt,
  );
  const lines: Cuttable[] = [];
  const openLine = async (port: number): Promise<number> => {
    const line = stack.use(await startCuttable(port));
    lines.push(line);
    return line.port;
  };
  const ports: Partial<Record<Service, number>> = {};
  const sidecarOf = async (service: Service): Promise<ManagedProcess> => {
    const [sql, control, admin] = [await freePort(), await freePort(), await freePort()];
    ports[service] = sql;
    const coordinatorPort = await openLine(Number(coordinatorAt.split(':')[1]));
    const databasePort = await openLine(servers[service].port);
    const database = { ...servers[service].upstream(service, databasePort), ...modeOf(options[service]) };
    const own = sidecarOptionsOf(service, { sql, control, admin, coordinator: coordinatorPort, database });
    return add(service, 'sidecar', own, `127.0.0.1:${admin}`);
  };
  const sidecars = { north: await sidecarOf('north'), south: await sidecarOf('south') };
  for (const process of [coordinatorProcess, ...Object.values(sidecars)]) await process.start();
  const coordinator = connectCoordinator({ url: `http://${coordinatorAt}`, timeoutMs: 3_000 });
  stack.defer(() => coordinator.close());
  const owned = stack.move();
  return {
    coordinator,
    coordinatorProcess,
    sidecars,
    servers: [...new Set(Object.values(servers))],
    lines,
    prepares(service) {
      const { mode, escalate } = modeOf(options[service]);
      return mode === 'xa' || escalate === 'xa';
    },
    connect: (service) => servers[service].connect(service, ports[service] ?? 0),
    books: (service) => servers[service].books(service),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function modeOf({ mode = 'undo', escalate = 'xa' }: ServiceKind = {}): Required<
  Pick<ServiceKind, 'mode' | 'escalate'>
> {
  return { mode, escalate };
}

/** Starts a server of each kind that is wanted, and makes the services' databases on them. */
async function startServers(
  stack: AsyncDisposableStack,
  options: StageOptions,
): Promise<Readonly<Record<Service, BankServer>>> {
  const started = new Map<ServerKind, BankServer>();
  const serverOf = async (service: Service): Promise<BankServer> => {
    const { server = 'postgres' } = options[service] ?? {};
    const known = started.get(server);
    const own = known ?? stack.use(await SERVERS[server]());
    started.set(server, own);
    await own.create(service, options.fault?.[server] ?? '');
    return own;
  };
  return { north: await serverOf('north'), south: await serverOf('south') };
}

interface SidecarParts {
  readonly sql: number;
  readonly control: number;
  readonly admin: number;
  readonly coordinator: number;
  /** Where the database is, and how it takes part. */
  readonly database: object;
}

/** As in the YAML. */
function sidecarOptionsOf(service: Service, parts: SidecarParts): object {
  return {
    service,
    coordinator: { url: `http://127.0.0.1:${parts.coordinator}`, timeout: '2s' },
    control: { listen: `127.0.0.1:${parts.control}` },
    admin: { listen: `127.0.0.1:${parts.admin}` },
    databases: [
      {
        name: 'main',
        listen: `127.0.0.1:${parts.sql}`,
        lockTimeout: '700ms',
        ...parts.database,
      },
    ],
  };
}
