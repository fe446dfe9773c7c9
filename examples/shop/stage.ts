/**
 * The whole shop on one machine: PostgreSQL with three databases, three services, a sidecar beside each, a coordinator.
 * Every part is a process of its own, as in production, on a free port of 127.0.0.1.
 */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { TransactionList, TransactionView } from '../../src/contract/messages.ts';
import type { GlobalStatus } from '../../src/contract/transaction.ts';
import { freePort } from '../support/free-port.ts';
import { call, type Answer } from '../support/http.ts';
import { INHERITED, openProcesses, type ManagedProcess, type ProcessGroup } from '../support/processes.ts';
import { openDatabases, SERVICES, type ServiceName, type ShopDatabases } from './databases.ts';

export interface ShopOptions {
  /** Without sidecars the services talk to each other and to their databases directly, and nothing holds them together. */
  readonly sidecars: boolean;
  /** Hears what is being started. */
  readonly progress?: (line: string) => void;
  /** Ends the start, and every later call of the shop's. */
  readonly signal?: AbortSignal | undefined;
}

export interface OrderRequest {
  readonly customer: string;
  readonly item: string;
  readonly quantity: number;
}

export interface Shop extends AsyncDisposable {
  readonly databases: ShopDatabases;
  readonly coordinator: ManagedProcess;
  readonly coordinatorUrl: string;
  readonly services: Readonly<Record<ServiceName, ManagedProcess>>;
  readonly sidecars: Readonly<Record<ServiceName, ManagedProcess>>;
  /** Where customers come in: the inbound listener of the orders service's sidecar. */
  readonly doorUrl: string;
  /** Holds the logs of all processes and the coordinator's database; deleted with the shop. */
  readonly folder: string;
  /** Where a service finds its database: its sidecar's listener, as the role `shop`. */
  serviceDatabaseUrl(service: ServiceName): string;
  /** Sends an order; `express` orders must be decided within three seconds. */
  order(request: OrderRequest, options?: { readonly express?: boolean }): Promise<Answer>;
  /** A global transaction as the coordinator knows it, once it is over or `waitMs` have passed. */
  transaction(gid: string, waitMs?: number): Promise<TransactionView>;
  /** The global transactions of one status, or all, in the order of their gids. */
  transactions(status?: GlobalStatus): Promise<readonly TransactionView[]>;
}

/** `.ts` in a checkout, `.js` in a build. */
const EXTENSION = import.meta.url.slice(-3);
const CLI = fileURLToPath(new URL(`../../cli/main${EXTENSION}`, import.meta.url));
const ORDER_TIMEOUT_MS = 40_000;

const run = promisify(execFile);

/** Starts everything; rejects, with everything stopped again, when a part does not come up. */
export async function openShop(options: ShopOptions): Promise<Shop> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-shop-'));
  const removeAtExit = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  stack.defer(async () => {
    process.off('exit', removeAtExit);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });

  options.progress?.('PostgreSQL 18 with the databases orders, accounts and stock');
  const databases = stack.use(await openDatabases());
  const wiring = wire(databases, await choosePorts(databases, folder), options.sidecars);
  const parts = defineParts(stack.use(openProcesses(folder)), wiring);
  await startParts(parts, wiring, options);

  const owned = stack.move();
  return {
    ...parts,
    ...customersOf(wiring, options.signal),
    databases,
    folder,
    serviceDatabaseUrl: wiring.databaseUrl,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Who finds whom where. */
interface Wiring {
  /** What the YAML files ask the environment for. */
  readonly environment: Readonly<Record<string, string>>;
  readonly coordinatorUrl: string;
  readonly doorUrl: string;
  /** The HTTP listener of a part, such as `ORDERS_ADMIN`. */
  url(part: string): string;
  readonly databaseUrl: (service: ServiceName) => string;
  /** Where the orders service calls another one. */
  peerUrl(service: ServiceName): string;
}

function wire(databases: ShopDatabases, environment: Readonly<Record<string, string>>, sidecars: boolean): Wiring {
  const url = (part: string): string => `http://127.0.0.1:${environment[`${part}_PORT`]}`;
  return {
    environment,
    coordinatorUrl: url('COORDINATOR'),
    doorUrl: url(sidecars ? 'ORDERS_INBOUND' : 'ORDERS'),
    url,
    databaseUrl: (service) =>
      sidecars
        ? `postgres://shop:${databases.passwords.shop}@127.0.0.1:${environment[`${upper(service)}_SQL_PORT`]}/${service}`
        : databases.url(service, 'shop'),
    peerUrl: (service) => (sidecars ? `${url('ORDERS_OUTBOUND')}/${service}` : url(upper(service))),
  };
}

type Parts = Pick<Shop, 'coordinator' | 'sidecars' | 'services'>;

function defineParts(processes: ProcessGroup, wiring: Wiring): Parts {
  const atomesh = (name: string, command: readonly string[], part: string): ManagedProcess =>
    processes.add({
      name,
      command: [CLI, ...command],
      environment: wiring.environment,
      isReady: () => answersWith(200, `${wiring.url(part)}/readyz`),
    });
  return {
    coordinator: atomesh('coordinator', ['coordinator', '--config', fileOf('coordinator.yaml')], 'COORDINATOR'),
    sidecars: forEachService((name) =>
      atomesh(`${name}-sidecar`, ['sidecar', '--config', fileOf(`${name}.yaml`)], `${upper(name)}_ADMIN`),
    ),
    services: forEachService((name) =>
      processes.add({
        name,
        command: [fileOf(`${name}${EXTENSION}`)],
        environment: {
          PORT: wiring.environment[`${upper(name)}_PORT`] ?? '',
          DATABASE_URL: wiring.databaseUrl(name),
          ACCOUNTS_URL: wiring.peerUrl('accounts'),
          STOCK_URL: wiring.peerUrl('stock'),
        },
        isReady: () => answersWith(404, `${wiring.url(upper(name))}/`),
      }),
    ),
  };
}

async function startParts(parts: Parts, wiring: Wiring, options: ShopOptions): Promise<void> {
  if (options.sidecars) {
    options.progress?.('the tables of Atomesh in each database (atomesh db init)');
    await Promise.all(SERVICES.map((name) => initDatabase(name, wiring.environment)));
    options.progress?.('a coordinator, and a sidecar beside each service');
    await parts.coordinator.start(options.signal);
    await Promise.all(SERVICES.map((name) => parts.sidecars[name].start(options.signal)));
  }
  options.progress?.('the services orders, accounts and stock');
  await Promise.all(SERVICES.map((name) => parts.services[name].start(options.signal)));
}

/** What the shop's customers do, and what its operators ask the coordinator. */
function customersOf(
  wiring: Wiring,
  signal: AbortSignal | undefined,
): Pick<Shop, 'coordinatorUrl' | 'doorUrl' | 'order' | 'transaction' | 'transactions'> {
  const { coordinatorUrl, doorUrl } = wiring;
  return {
    coordinatorUrl,
    doorUrl,
    order: (request, { express = false } = {}) =>
      call('POST', `${doorUrl}${express ? '/orders/express' : '/orders'}`, {
        body: request,
        timeoutMs: ORDER_TIMEOUT_MS,
        signal,
      }),
    async transaction(gid, waitMs = 0) {
      const wait = waitMs === 0 ? '' : `?wait=${waitMs}ms`;
      const url = `${coordinatorUrl}/v1/transactions/${encodeURIComponent(gid)}${wait}`;
      return (await ask(url, waitMs + 5000, signal)) as TransactionView;
    },
    async transactions(status) {
      const filter = status === undefined ? '' : `?status=${status}`;
      return ((await ask(`${coordinatorUrl}/v1/transactions${filter}`, 5000, signal)) as TransactionList).transactions;
    },
  };
}

/** What the YAML files beside this file ask the environment for. */
async function choosePorts(databases: ShopDatabases, folder: string): Promise<Readonly<Record<string, string>>> {
  const names = [
    'COORDINATOR_PORT',
    'ORDERS_OUTBOUND_PORT',
    ...SERVICES.flatMap((service) =>
      ['PORT', 'INBOUND_PORT', 'CONTROL_PORT', 'ADMIN_PORT', 'SQL_PORT'].map((port) => `${upper(service)}_${port}`),
    ),
  ];
  const ports = await Promise.all(names.map(async (name) => [name, String(await freePort())] as const));
  return {
    ...Object.fromEntries(ports),
    POSTGRES_PORT: String(databases.server.port),
    ATOMESH_PASSWORD: databases.passwords.atomesh,
    COORDINATOR_FOLDER: folder,
  };
}

async function initDatabase(service: ServiceName, environment: Readonly<Record<string, string>>): Promise<void> {
  await run(process.execPath, [CLI, 'db', 'init', '--config', fileOf(`${service}.yaml`), '--grant-to', 'shop'], {
    env: { ...INHERITED, ...environment },
    timeout: 30_000,
  });
}

async function answersWith(status: number, url: string): Promise<boolean> {
  return (await call('GET', url, { timeoutMs: 2000 })).status === status;
}

async function ask(url: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<unknown> {
  const { status, body } = await call('GET', url, { timeoutMs, signal });
  if (status !== 200) throw new Error(`the coordinator answers ${status}: ${JSON.stringify(body)}`);
  return body;
}

function fileOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

function upper(service: ServiceName): string {
  return service.toUpperCase();
}

function forEachService<T>(make: (service: ServiceName) => T): Readonly<Record<ServiceName, T>> {
  return { orders: make('orders'), accounts: make('accounts'), stock: make('stock') };
}
