/** Two services with a database each, their sidecars and the coordinator as processes that can be killed, and lines that can be cut. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { call } from '../../examples/support/http.ts';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { openProcesses, type ManagedProcess } from '../../examples/support/processes.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { startCuttable, type Cuttable } from '../cluster/cuttable.ts';

export const SERVICES = ['north', 'south'] as const;
export type Service = (typeof SERVICES)[number];

export const BALANCE = 1_000;
export const ACCOUNTS_EACH = 3;
export const LISTS_EACH = 3;

export interface Stage extends AsyncDisposable {
  readonly postgres: PostgresServer;
  readonly coordinator: CoordinatorClient;
  readonly coordinatorProcess: ManagedProcess;
  readonly sidecars: Readonly<Record<Service, ManagedProcess>>;
  /** Everything that goes over TCP between the parts: sidecars to their databases, and to the coordinator. */
  readonly lines: readonly Cuttable[];
  /** How an application gets to its database through its sidecar. */
  through(service: Service): pg.ClientConfig;
  /** A question to a service's database, past the sidecar. */
  ask<Row extends pg.QueryResultRow>(service: Service, sql: string): Promise<readonly Row[]>;
}

export interface StageOptions {
  /** SQL that is run in each database once it is ready: for a build with a fault in it. */
  readonly fault?: string;
  /** The mode of south's database; north's is `undo`. */
  readonly south?: 'undo' | 'xa';
}

const PROCESS = fileURLToPath(new URL('../mesh-crash/process.ts', import.meta.url));

/** The names carry their service, so that accounts and lists of both can stand side by side. */
const schemaOf = (service: Service): string => `
  CREATE TABLE account (account text PRIMARY KEY, balance int NOT NULL, version int NOT NULL);
  CREATE TABLE movement (gid text, account text, amount int NOT NULL, version int NOT NULL, balance int NOT NULL, PRIMARY KEY (gid, account));
  CREATE TABLE list (key text PRIMARY KEY, items int[] NOT NULL);
  INSERT INTO account SELECT '${service} ' || n, ${BALANCE}, 0 FROM generate_series(1, ${ACCOUNTS_EACH}) n;
  INSERT INTO list SELECT '${service} ' || n, '{}' FROM generate_series(1, ${LISTS_EACH}) n;`;

/** Starts all of it. */
export async function openStage({ fault = '', south = 'undo' }: StageOptions = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bank-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const postgres = stack.use(await startPostgres());
  for (const service of SERVICES) {
    await postgres.run('postgres', `CREATE DATABASE ${service}`);
    await initialiseDatabase({ connectionString: postgres.url(service) });
    await postgres.run(service, `${schemaOf(service)} ${fault}`);
  }
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
    const options = sidecarOptionsOf(service, {
      sql,
      control,
      admin,
      coordinator: await openLine(Number(coordinatorAt.split(':')[1])),
      postgres: await openLine(postgres.port),
      mode: service === 'south' ? south : 'undo',
    });
    return add(service, 'sidecar', options, `127.0.0.1:${admin}`);
  };
  const sidecars = { north: await sidecarOf('north'), south: await sidecarOf('south') };
  for (const process of [coordinatorProcess, ...Object.values(sidecars)]) await process.start();
  const coordinator = connectCoordinator({ url: `http://${coordinatorAt}`, timeoutMs: 3_000 });
  stack.defer(() => coordinator.close());
  const owned = stack.move();
  return {
    postgres,
    coordinator,
    coordinatorProcess,
    sidecars,
    lines,
    through: (service) => ({ host: '127.0.0.1', port: ports[service] ?? 0, user: postgres.user, database: service }),
    async ask<Row extends pg.QueryResultRow>(service: Service, sql: string) {
      const client = new pg.Client({ connectionString: postgres.url(service) });
      await client.connect();
      try {
        return (await client.query<Row>(sql)).rows;
      } finally {
        await client.end();
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface SidecarParts {
  readonly sql: number;
  readonly control: number;
  readonly admin: number;
  readonly coordinator: number;
  readonly postgres: number;
  readonly mode: 'undo' | 'xa';
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
        upstream: `postgres://127.0.0.1:${parts.postgres}/${service}`,
        credentials: { user: 'postgres' },
        lockTimeout: '700ms',
        mode: parts.mode,
      },
    ],
  };
}
