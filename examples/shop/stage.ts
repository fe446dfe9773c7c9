/**
 * The whole shop on one machine: PostgreSQL with three databases, three services, a sidecar beside each, a coordinator.
 * Every part is a process of its own, as in production, on a free port of 127.0.0.1. Where a MariaDB is installed, a customers' club on it
 * may be a fourth service.
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
import { openClubDatabase, type ClubDatabase } from './club/database.ts';
import { openDatabases, SERVICES, type ServiceName, type ShopDatabases } from './databases.ts';

export interface ShopOptions {
  /** Without sidecars the services talk to each other and to their databases directly, and nothing holds them together. */
  readonly sidecars: boolean;
  /** With the customers' club where a MariaDB is installed, and with a word to `progress` where none is. Needs the sidecars. Default false. */
  readonly club?: boolean;
  /** Hears what is being started. */
  readonly progress?: (line: string) => void;
  /** Ends the start, and every later call of the shop's. */
  readonly signal?: AbortSignal | undefined;
}

export interface OrderRequest {
  readonly customer: string;
  readonly item: string;
  readonly quantity: number;
  /** A card of the club: the order brings points. */
  readonly card?: string;
}

/** The customers' club, with a sidecar of its own. */
export interface Club {
  readonly database: ClubDatabase;
  readonly service: ManagedProcess;
  readonly sidecar: ManagedProcess;
  /** Where the service finds its database: its sidecar's listener. */
  readonly serviceDatabaseUrl: string;
}

export interface Shop extends AsyncDisposable {
  readonly databases: ShopDatabases;
  readonly coordinator: ManagedProcess;
  readonly coordinatorUrl: string;
  readonly services: Readonly<Record<ServiceName, ManagedProcess>>;
  readonly sidecars: Readonly<Record<ServiceName, ManagedProcess>>;
  /** Undefined where there is none. */
  readonly club: Club | undefined;
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
  const clubDatabase = options.club === true ? await openClubDatabase(databases.passwords) : undefined;
  if (typeof clubDatabase === 'string') options.progress?.(`without the club, which needs MariaDB: ${clubDatabase}`);
  else if (clubDatabase !== undefined) options.progress?.("MariaDB with the club's database");
  const club = typeof clubDatabase === 'object' ? stack.use(clubDatabase) : undefined;
  const wiring = wire(databases, await choosePorts(databases, club, folder), options.sidecars);
  const parts = defineParts(stack.use(openProcesses(folder)), wiring, club);
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
  peerUrl(service: ServiceName | 'club'): string;
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

type Parts = Pick<Shop, 'coordinator' | 'sidecars' | 'services' | 'club'>;

function defineParts(processes: ProcessGroup, wiring: Wiring, club: ClubDatabase | undefined): Parts {
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
          CLUB_URL: wiring.peerUrl('club'),
        },
        isReady: () => answersWith(404, `${wiring.url(upper(name))}/`),
      }),
    ),
    club: club && defineClub(processes, wiring, club),
  };
}

function defineClub(processes: ProcessGroup, wiring: Wiring, database: ClubDatabase): Club {
  const { environment } = wiring;
  const serviceDatabaseUrl = database.url(Number(environment['CLUB_SQL_PORT']));
  return {
    database,
    serviceDatabaseUrl,
    sidecar: processes.add({
      name: 'club-sidecar',
      command: [CLI, 'sidecar', '--config', fileOf('club/club.yaml')],
      environment,
      isReady: () => answersWith(200, `${wiring.url('CLUB_ADMIN')}/readyz`),
    }),
    service: processes.add({
      name: 'club',
      command: [fileOf(`club/service${EXTENSION}`)],
      environment: { PORT: environment['CLUB_PORT'] ?? '', DATABASE_URL: serviceDatabaseUrl },
      isReady: () => answersWith(404, `${wiring.url('CLUB')}/`),
    }),
  };
}

async function startParts(parts: Parts, wiring: Wiring, options: ShopOptions): Promise<void> {
  const { club } = parts;
  if (options.sidecars) {
    options.progress?.('the tables of Atomesh in each database (atomesh db init)');
    await Promise.all([
      ...SERVICES.map((name) => initDatabase(`${name}.yaml`, ['--grant-to', 'shop'], wiring.environment)),
      ...(club === undefined ? [] : [initDatabase('club/club.yaml', clubRights(club), wiring.environment)]),
    ]);
    options.progress?.('a coordinator, and a sidecar beside each service');
    await parts.coordinator.start(options.signal);
    const sidecars = [...SERVICES.map((name) => parts.sidecars[name]), ...(club === undefined ? [] : [club.sidecar])];
    await Promise.all(sidecars.map((sidecar) => sidecar.start(options.signal)));
  }
  options.progress?.(`the services orders, accounts${club === undefined ? '' : ', club'} and stock`);
  const services = [...SERVICES.map((name) => parts.services[name]), ...(club === undefined ? [] : [club.service])];
  await Promise.all(services.map((service) => service.start(options.signal)));
}

/** The options of `atomesh db init` for MariaDB, where accounts have hosts and none of the two may create databases. */
function clubRights({ database: { accounts, administrator } }: Club): readonly string[] {
  return ['--admin-user', administrator, '--grant-to', accounts.shop, '--finisher', accounts.atomesh];
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
async function choosePorts(
  databases: ShopDatabases,
  club: ClubDatabase | undefined,
  folder: string,
): Promise<Readonly<Record<string, string>>> {
  const names = [
    'COORDINATOR_PORT',
    'ORDERS_OUTBOUND_PORT',
    ...[...SERVICES, 'club' as const].flatMap((service) =>
      ['PORT', 'INBOUND_PORT', 'CONTROL_PORT', 'ADMIN_PORT', 'SQL_PORT'].map((port) => `${upper(service)}_${port}`),
    ),
  ];
  const ports = await Promise.all(names.map(async (name) => [name, String(await freePort())] as const));
  return {
    ...Object.fromEntries(ports),
    POSTGRES_PORT: String(databases.server.port),
    MARIADB_PORT: String(club?.server.port ?? ''),
    ATOMESH_PASSWORD: databases.passwords.atomesh,
    COORDINATOR_FOLDER: folder,
  };
}

async function initDatabase(
  file: string,
  options: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  await run(process.execPath, [CLI, 'db', 'init', '--config', fileOf(file), ...options], {
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

function upper(service: ServiceName | 'club'): string {
  return service.toUpperCase();
}

function forEachService<T>(make: (service: ServiceName) => T): Readonly<Record<ServiceName, T>> {
  return { orders: make('orders'), accounts: make('accounts'), stock: make('stock') };
}
