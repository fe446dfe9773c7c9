/** What the examples with a cache have in common: a coordinator, PostgreSQL and Redis, and services that are started beside them. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TransactionList } from '../../src/contract/messages.ts';
import type { GlobalStatus } from '../../src/contract/transaction.ts';
import { freePort } from './free-port.ts';
import { call } from './http.ts';
import { startPostgres, type PostgresServer } from './postgres-server.ts';
import { openProcesses, type ManagedProcess } from './processes.ts';
import { startRedis, type RedisServer } from './redis-server.ts';
import { until } from './until.ts';

export interface Service {
  readonly process: ManagedProcess;
  readonly url: string;
}

export interface RedisStage extends AsyncDisposable {
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  /** Not started yet. */
  readonly coordinator: ManagedProcess;
  readonly coordinatorUrl: string;
  /** A service that is not started yet: it gets `environment` and PORT, and answers `GET /ready`. */
  service(name: string, file: URL, environment: Readonly<Record<string, string>>): Promise<Service>;
  /** How many global transactions have this status, at most 1,000. */
  count(status: GlobalStatus): Promise<number>;
  /** Resolves when no global transaction is unfinished. */
  allFinished(signal: AbortSignal): Promise<void>;
  /** The last words of every process, for whoever has to find out what went wrong. */
  lastWords(): Promise<readonly string[]>;
}

const CLI = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const OPTIONS = fileURLToPath(new URL('coordinator.yaml', import.meta.url));
const FINISHED_MS = 30_000;

/** Starts the servers, each of them empty. Rejects with `ProgramMissing` when there is no Redis on this machine. */
export async function openRedisStage(): Promise<RedisStage> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const postgres = stack.use(await startPostgres());
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-example-'));
  const removeAtExit = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  stack.defer(async () => {
    process.off('exit', removeAtExit);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });
  const processes = stack.use(openProcesses(folder));
  const members: ManagedProcess[] = [];
  const add = (definition: Parameters<typeof processes.add>[0]): ManagedProcess => {
    const member = processes.add(definition);
    members.push(member);
    return member;
  };

  const port = String(await freePort());
  const coordinatorUrl = `http://127.0.0.1:${port}`;
  const coordinator = add({
    name: 'coordinator',
    command: [CLI, 'coordinator', '--config', OPTIONS],
    environment: {
      COORDINATOR_PORT: port,
      COORDINATOR_GRPC_PORT: String(await freePort()),
      COORDINATOR_FOLDER: folder,
    },
    isReady: () => isReady(`${coordinatorUrl}/readyz`),
  });
  const count = (status: GlobalStatus): Promise<number> => countOf(coordinatorUrl, status);
  const owned = stack.move();
  return {
    postgres,
    redis,
    coordinator,
    coordinatorUrl,
    async service(name, file, environment) {
      const own = String(await freePort());
      const url = `http://127.0.0.1:${own}`;
      const command = [fileURLToPath(file)];
      const isUp = (): Promise<boolean> => isReady(`${url}/ready`);
      return { url, process: add({ name, command, environment: { ...environment, PORT: own }, isReady: isUp }) };
    },
    count,
    async allFinished(signal) {
      const counts = (): Promise<number[]> => Promise.all((['prepared', 'submitted', 'aborting'] as const).map(count));
      const probe = async (): Promise<true | undefined> => {
        if ((await counts()).some((found) => found > 0)) return undefined;
        return true;
      };
      await until('every global transaction is finished', probe, { withinMs: FINISHED_MS, signal });
    },
    lastWords: () =>
      Promise.all(members.map(async (member) => `The end of the log of ${member.name}:\n${await member.lastLines(8)}`)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function isReady(url: string): Promise<boolean> {
  return (await call('GET', url, { timeoutMs: 2000 })).status === 200;
}

async function countOf(coordinatorUrl: string, status: GlobalStatus): Promise<number> {
  const answer = await call('GET', `${coordinatorUrl}/v1/transactions?status=${status}&limit=1000`);
  if (answer.status !== 200) throw new Error(`the coordinator answers ${answer.status}`);
  return (answer.body as TransactionList).transactions.length;
}
