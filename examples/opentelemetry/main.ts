/**
 * OpenTelemetry carries the gid: two services of Node.js, plain `node:http`, `fetch` and `pg`, without one line of Atomesh in
 * them. `atomesh run --trace-agent node` starts each with its sidecar and with OpenTelemetry's automatic instrumentation.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Database, type ExampleOptions, onStage, type Stage } from '../stage.ts';
import { freePort } from '../support/free-port.ts';
import { call } from '../support/http.ts';
import { INHERITED, openProcesses, type ProcessGroup } from '../support/processes.ts';
import { until } from '../support/until.ts';

const CLI = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const SERVICE = fileURLToPath(new URL('service', import.meta.url));
/** Downloading the packages is most of it. */
const INSTALL_MS_MAX = 300_000;
const INIT_MS_MAX = 30_000;

const run_ = promisify(execFile);

type Name = 'orders' | 'payments';

/** Runs the example; answers whether every check held. */
export function run(options: ExampleOptions): Promise<boolean> {
  return onStage('OpenTelemetry: services without a line of Atomesh in their code', options, async (stage) => {
    await using stack = new AsyncDisposableStack();
    const folder = await install(stage, stack);
    const databases: Databases = {
      orders: await stage.database('orders', ORDERS_SCHEMA),
      payments: await stage.database('payments', PAYMENTS_SCHEMA),
    };
    const processes = stack.use(openProcesses(folder));
    const payments = await startService({ stage, processes, databases }, 'payments', {});
    const orders = await startService({ stage, processes, databases }, 'orders', { PAYMENTS_URL: payments });
    stage.screen.step('both services run, each with its sidecar and with OpenTelemetry');
    await codeKnowsNothing(stage);
    await committed({ stage, databases, orders });
    await rolledBack({ stage, databases, orders });
  });
}

const ORDERS_SCHEMA = `
  create table orders (id bigint generated always as identity primary key, customer text not null, amount int not null);
  create table totals (id int primary key, amount int not null);
  insert into totals values (1, 0);`;
const PAYMENTS_SCHEMA = `
  create table account (customer text primary key, balance int not null);
  create table payment (order_id bigint primary key, customer text not null, amount int not null);
  insert into account values ('ada', 100);`;

type Databases = Readonly<Record<Name, Database>>;

/** A copy of the services, with their packages; gone with `stack`. */
async function install(stage: Stage, stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-otel-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  await cp(SERVICE, folder, { recursive: true });
  stage.screen.step('installing the packages of the services with npm');
  await run_(
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'],
    {
      cwd: folder,
      timeout: INSTALL_MS_MAX,
      signal: stage.signal,
    },
  );
  return folder;
}

interface World {
  readonly stage: Stage;
  readonly processes: ProcessGroup;
  readonly databases: Databases;
}

/** Starts a service behind its sidecar, as anybody would in a shell; resolves with the URL that others call it at. */
async function startService(
  { stage, processes, databases }: World,
  name: Name,
  more: Readonly<Record<string, string>>,
): Promise<string> {
  const config = fileURLToPath(new URL(`${name}.yaml`, import.meta.url));
  const url = `http://127.0.0.1:${await freePort()}`;
  const database = databases[name].url;
  const environment = {
    ...more,
    COORDINATOR_URL: stage.coordinatorUrl,
    POSTGRES_PORT: new URL(database).port,
    INBOUND_PORT: new URL(url).port,
    PORT: String(await freePort()),
    // The database itself: `atomesh run` leads the service to its sidecar instead.
    DATABASE_URL: database,
  };
  await run_(process.execPath, [CLI, 'db', 'init', '--config', config], {
    env: { ...INHERITED, ...environment },
    timeout: INIT_MS_MAX,
  });
  const service = processes.add({
    name,
    command: [CLI, 'run', '--config', config, '--trace-agent', 'node', '--', process.execPath, `${name}.ts`],
    environment,
    isReady: async () => (await call('GET', `${url}/health`, { timeoutMs: 2000 })).status === 200,
  });
  await service.start(stage.signal);
  return url;
}

async function codeKnowsNothing(stage: Stage): Promise<void> {
  const files = (await readdir(SERVICE)).filter((file) => file.endsWith('.ts'));
  const texts = await Promise.all(files.map((file) => readFile(join(SERVICE, file), 'utf8')));
  const words = texts.join('\n').match(/atomesh|gid\b|traceparent|opentelemetry/gi) ?? [];
  stage.check(words.length === 0, `the code of the services (${files.join(', ')}) names neither`, words.join(', '));
}

interface Shop {
  readonly stage: Stage;
  readonly databases: Databases;
  /** Where customers come in. */
  readonly orders: string;
}

async function committed({ stage, databases, orders }: Shop): Promise<void> {
  stage.screen.scene(1, 'an order that is paid', ['Ada has 100 and orders for 30.']);
  const { status, gid } = await order(orders, 30);
  stage.check(status === 201, 'the order is taken', `status ${status}`);
  stage.check((await stage.endOf(gid)) === 'succeed', 'the global transaction has succeeded');
  const branches = await branchesOf(stage, gid);
  stage.check(
    branches === 'orders/orders, payments/payments',
    'both databases took part: OpenTelemetry has carried the gid into the call and into the SQL of both',
    branches,
  );
  await checkBooks(stage, databases, '1 order for 30, 1 payment, Ada has 70');
}

async function rolledBack({ stage, databases, orders }: Shop): Promise<void> {
  stage.screen.scene(2, 'an order that cannot be paid', [
    'Ada orders for 90. By the time the payment is refused, the order, the total, the payment and the account are written.',
  ]);
  const { status, gid } = await order(orders, 90);
  stage.check(status === 409, 'the order is refused', `status ${status}`);
  stage.check((await stage.endOf(gid)) === 'failed', 'the global transaction is rolled back');
  await checkBooks(stage, databases, '1 order for 30, 1 payment, Ada has 70');
}

async function order(url: string, amount: number): Promise<{ readonly status: number; readonly gid: Gid }> {
  const answer = await fetch(`${url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ customer: 'ada', amount }),
    signal: AbortSignal.timeout(30_000),
  });
  await answer.arrayBuffer();
  return { status: answer.status, gid: (answer.headers.get('atomesh-gid') ?? 'none') as Gid };
}

type Gid = Parameters<Stage['endOf']>[0];

/** The resources of the branches, in order. */
async function branchesOf({ coordinatorUrl }: Stage, gid: Gid): Promise<string> {
  const { body } = await call('GET', `${coordinatorUrl}/v1/transactions/${encodeURIComponent(gid)}`);
  const { branches } = body as { readonly branches: readonly { readonly resource: string }[] };
  return branches.map(({ resource }) => resource).join(', ');
}

/** What both databases hold; a second phase may take a moment longer than the answer to the customer. */
async function checkBooks(stage: Stage, { orders, payments }: Databases, expected: string): Promise<void> {
  const read = async (): Promise<string> => {
    const { rows: written } = await orders.pool.query<{ text: string }>(
      `select concat((select count(*) from orders), ' order for ', (select amount from totals)) as text`,
    );
    const { rows: paid } = await payments.pool.query<{ text: string }>(
      `select concat((select count(*) from payment), ' payment, Ada has ', (select balance from account)) as text`,
    );
    return `${written[0]?.text}, ${paid[0]?.text}`;
  };
  const found = await until('the books are right', async () => ((await read()) === expected ? expected : undefined), {
    withinMs: 5000,
  }).catch(read);
  stage.check(found === expected, `the books say: ${expected}`, found);
}
