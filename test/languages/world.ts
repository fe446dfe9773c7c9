/** The services of the chosen languages, each with its sidecar and its database, and one coordinator: every part a process of its own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '../../examples/support/free-port.ts';
import { call } from '../../examples/support/http.ts';
import { type ManagedProcess, openProcesses, type ProcessGroup } from '../../examples/support/processes.ts';
import { until } from '../../examples/support/until.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { type Databases, openDatabases } from './databases.ts';
import { type Service, type ServiceName, SERVICES } from './services.ts';
import { openStandIn, type StandIn } from './stand-in.ts';

export interface World extends AsyncDisposable {
  readonly databases: Databases;
  readonly coordinator: CoordinatorClient;
  /** In place of the services that are not run. */
  readonly standIn: StandIn;
  /** The application itself; its sidecar is another process. */
  processOf(service: ServiceName): ManagedProcess;
  /** Sends a request to a service, through its sidecar. */
  send(service: ServiceName, path: string, body: object, headers?: Readonly<Record<string, string>>): Promise<Reply>;
  /** Waits until every global transaction is over and has left nothing behind. */
  untilQuiet(): Promise<void>;
  /** The last lines of every log. */
  logs(): Promise<string>;
}

export interface Reply {
  readonly status: number;
  readonly text: string;
  /** Of the answer. */
  readonly gid: string | undefined;
}

const CLI = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const REPLY_MS = 40_000;
const QUIET_MS = 20_000;
const LOG_LINES = 15;

const run = promisify(execFile);

/** Starts everything that `services` need, in `folder`. What has been started is stopped again when something fails. */
export async function startWorld(services: readonly Service[], folder: string): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const databases = stack.use(await openDatabases(services));
  const ports = await choosePorts();
  const environment: Readonly<Record<string, string>> = {
    ...ports,
    ...Object.fromEntries(services.map((it) => [`${upper(it.name)}_POSTGRES_PORT`, String(databases.portOf(it))])),
    ATOMESH_PASSWORD: databases.passwords.atomesh,
    COORDINATOR_FOLDER: folder,
  };
  const url = (part: string): string => `http://127.0.0.1:${ports[`${part}_PORT`]}`;

  const absent = SERVICES.filter((service) => !services.includes(service));
  const stoodInFor = ['MAIL_PORT', ...absent.map(({ name }) => `${upper(name)}_INBOUND_PORT`)];
  const standIn = stack.use(await openStandIn(stoodInFor.map((name) => Number(ports[name]))));
  const processes = stack.use(openProcesses(folder));
  const parts = await defineParts(processes, { services, folder, environment, databases, url });
  try {
    await startParts(parts, services, environment);
  } catch (error) {
    throw new Error(`the services could not be started\n${await logsOf(parts)}`, { cause: error });
  }
  const coordinator = connectCoordinator({ url: url('COORDINATOR'), timeoutMs: 10_000 });
  stack.defer(() => coordinator.close());

  const owned = stack.move();
  return {
    databases,
    coordinator,
    standIn,
    processOf(service) {
      const found = parts.services.find(({ name }) => name === service);
      if (found === undefined) throw new Error(`${service} is not run`);
      return found;
    },
    send: (service, path, body, headers = {}) => send(`${url(`${upper(service)}_INBOUND`)}${path}`, body, headers),
    untilQuiet: () => untilQuiet(coordinator, databases),
    logs: () => logsOf(parts),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Wiring {
  readonly services: readonly Service[];
  readonly folder: string;
  /** What the YAML files ask the environment for. */
  readonly environment: Readonly<Record<string, string>>;
  readonly databases: Databases;
  /** The HTTP listener of a part, such as `ORDERS_ADMIN`. */
  readonly url: (part: string) => string;
}

interface Parts {
  readonly coordinator: ManagedProcess;
  readonly sidecars: readonly ManagedProcess[];
  readonly services: readonly ManagedProcess[];
}

async function defineParts(processes: ProcessGroup, wiring: Wiring): Promise<Parts> {
  const { services, environment, url } = wiring;
  const atomesh = (name: string, command: readonly string[], part: string): ManagedProcess =>
    processes.add({
      name,
      command: [CLI, ...command],
      environment,
      isReady: async () => (await call('GET', `${url(part)}/readyz`)).status === 200,
    });
  const config = fileURLToPath(new URL('../../examples/shop/coordinator.yaml', import.meta.url));
  const coordinator = atomesh('coordinator', ['coordinator', '--config', config], 'COORDINATOR');
  const sidecars = services.map(({ name, folder }) =>
    atomesh(`${name}-sidecar`, ['sidecar', '--config', join(folder, 'sidecar.yaml')], `${upper(name)}_ADMIN`),
  );
  const applications: ManagedProcess[] = [];
  for (const service of services) applications.push(await defineService(processes, wiring, service));
  return { coordinator, sidecars, services: applications };
}

async function defineService(processes: ProcessGroup, wiring: Wiring, service: Service): Promise<ManagedProcess> {
  const { folder, environment, databases, url } = wiring;
  const part = upper(service.name);
  const start = await service.start(folder, {
    port: environment[`${part}_PORT`] ?? '',
    database: {
      host: '127.0.0.1',
      port: environment[`${part}_SQL_PORT`] ?? '',
      user: 'shop',
      password: databases.passwords.shop,
    },
    outboundUrl: url(`${part}_OUTBOUND`),
    doorUrl: (name) => url(`${upper(name)}_INBOUND`),
  });
  return processes.add({
    ...start,
    name: service.name,
    isReady: async () => (await call('GET', `${url(part)}/health`)).status === 200,
  });
}

async function startParts(
  parts: Parts,
  services: readonly Service[],
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  await Promise.all(
    services.map(({ folder }) =>
      run(process.execPath, [CLI, 'db', 'init', '--config', join(folder, 'sidecar.yaml'), '--grant-to', 'shop'], {
        env: { PATH: process.env['PATH'], ...environment },
        timeout: 60_000,
      }),
    ),
  );
  await parts.coordinator.start();
  await Promise.all(parts.sidecars.map((sidecar) => sidecar.start()));
  await Promise.all(parts.services.map((service) => service.start()));
}

async function choosePorts(): Promise<Readonly<Record<string, string>>> {
  const kinds = ['PORT', 'INBOUND_PORT', 'OUTBOUND_PORT', 'CONTROL_PORT', 'ADMIN_PORT', 'SQL_PORT'];
  const names = SERVICES.flatMap(({ name }) => kinds.map((kind) => `${upper(name)}_${kind}`));
  const ports: [string, string][] = [];
  for (const name of ['COORDINATOR_PORT', 'MAIL_PORT', ...names]) ports.push([name, String(await freePort())]);
  return Object.fromEntries(ports);
}

async function send(url: string, body: object, headers: Readonly<Record<string, string>>): Promise<Reply> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(REPLY_MS),
  });
  const gid = response.headers.get('atomesh-gid') ?? undefined;
  return { status: response.status, text: await response.text(), gid };
}

async function untilQuiet(coordinator: CoordinatorClient, databases: Databases): Promise<void> {
  await until(
    'every global transaction is over',
    async () => {
      for (const status of ['prepared', 'submitted', 'aborting'] as const) {
        const { transactions } = await coordinator.list({ status });
        const [first] = transactions;
        if (first !== undefined) throw new Error(`${first.gid} is ${status}: ${JSON.stringify(first.branches)}`);
      }
      const left = await databases.leftovers();
      if (left !== '') throw new Error(left);
      return true;
    },
    { withinMs: QUIET_MS },
  );
}

async function logsOf({ coordinator, sidecars, services }: Parts): Promise<string> {
  const texts: string[] = [];
  for (const part of [coordinator, ...sidecars, ...services]) {
    texts.push(`── ${part.name}`, await part.lastLines(LOG_LINES));
  }
  return texts.join('\n');
}

function upper(name: ServiceName): string {
  return name.toUpperCase();
}
