/**
 * What the examples of the client library have in common: a coordinator in a process of its own, a PostgreSQL server, and
 * services on plain `node:http` in front of databases of their own. Everything is stopped and removed at the end.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import {
  barrierSql,
  branchListener,
  type BranchReply,
  type BranchRequest,
  connectCoordinator,
  connectDtm,
  type DtmClient,
  type Gid,
} from '../src/client/index.ts';
import { openScreen, type Screen } from './demo/screen.ts';
import { freePort } from './support/free-port.ts';
import { call } from './support/http.ts';
import { type PostgresServer, startPostgres } from './support/postgres-server.ts';
import { type ManagedProcess, openProcesses, type ProcessGroup } from './support/processes.ts';

export interface ExampleOptions {
  readonly output: NodeJS.WriteStream;
  /** Ends the example early; everything is stopped and removed all the same. */
  readonly signal: AbortSignal;
}

export interface Database {
  readonly url: string;
  readonly pool: pg.Pool;
}

/** What an example plays on. */
export interface Stage {
  readonly screen: Screen;
  readonly signal: AbortSignal;
  /** A tick or a cross; one cross and the example has failed. */
  readonly check: Screen['check'];
  readonly dtm: DtmClient;
  readonly coordinatorUrl: string;
  /** A database with a barrier's table and what `sql` makes. */
  database(name: string, sql: string): Promise<Database>;
  /** A service in this process that answers each path as `routes` say. Resolves with its URL. */
  serve(routes: Readonly<Record<string, Serve>>): Promise<string>;
  /** A service in a process of its own, not started yet; it gets `environment` and listens on `port` of 127.0.0.1. */
  process(name: string, file: URL, port: number, environment: Readonly<Record<string, string>>): ManagedProcess;
  /** Resolves with `succeed` or `failed` when the global transaction has ended; it has 10 s. */
  endOf(gid: Gid): Promise<string>;
}

export type Serve = (request: BranchRequest) => Promise<BranchReply>;

const CLI = fileURLToPath(new URL('../cli/main.ts', import.meta.url));
const OPTIONS = fileURLToPath(new URL('support/coordinator.yaml', import.meta.url));
const END_MS = 10_000;
const ANSWER_MS = 5000;

/** Opens the stage, has `play` play on it, and closes it; answers whether every check held and `play` came to its end. */
export async function onStage(
  title: string,
  { output, signal }: ExampleOptions,
  play: (stage: Stage) => Promise<void>,
): Promise<boolean> {
  const screen = openScreen(output);
  screen.headline(title);
  await using stack = new AsyncDisposableStack();
  const folder = await openFolder(stack);
  const processes = stack.use(openProcesses(folder));
  const [coordinator, postgres] = await Promise.all([startCoordinator(processes, folder, signal), startPostgres()]);
  stack.use(postgres);
  screen.step('a coordinator and a PostgreSQL server are running');

  let failed = 0;
  const check: Screen['check'] = (holds, text, found) => {
    if (!holds) failed += 1;
    screen.check(holds, text, found);
  };
  try {
    await play(openStage(stack, { screen, signal, check, processes, postgres, coordinatorUrl: coordinator.url }));
  } catch (error) {
    signal.throwIfAborted();
    check(false, 'the example was played to its end', error instanceof Error ? error.message : String(error));
    screen.lines(['', `  The end of the coordinator's log:`, await coordinator.process.lastLines(8)]);
  }
  screen.headline(failed === 0 ? 'Every check held.' : `${failed} ${failed === 1 ? 'check' : 'checks'} did not hold.`);
  return failed === 0;
}

async function openFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-example-'));
  const removeAtExit = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  stack.defer(async () => {
    process.off('exit', removeAtExit);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });
  return folder;
}

async function startCoordinator(
  processes: ProcessGroup,
  folder: string,
  signal: AbortSignal,
): Promise<{ readonly url: string; readonly process: ManagedProcess }> {
  const port = String(await freePort());
  const url = `http://127.0.0.1:${port}`;
  const coordinator = processes.add({
    name: 'coordinator',
    command: [CLI, 'coordinator', '--config', OPTIONS],
    environment: {
      COORDINATOR_PORT: port,
      COORDINATOR_GRPC_PORT: String(await freePort()),
      COORDINATOR_FOLDER: folder,
    },
    isReady: async () => (await call('GET', `${url}/readyz`, { timeoutMs: 2000 })).status === 200,
  });
  await coordinator.start(signal);
  return { url, process: coordinator };
}

type Parts = Pick<Stage, 'screen' | 'signal' | 'check' | 'coordinatorUrl'> & {
  readonly processes: ProcessGroup;
  readonly postgres: PostgresServer;
};

function openStage(stack: AsyncDisposableStack, { processes, postgres, ...parts }: Parts): Stage {
  const dtm = connectDtm({ url: parts.coordinatorUrl });
  stack.defer(() => dtm.close());
  const coordinator = connectCoordinator({ url: parts.coordinatorUrl, timeoutMs: ANSWER_MS });
  stack.defer(() => coordinator.close());
  return {
    ...parts,
    dtm,
    async database(name, sql) {
      await postgres.run('postgres', `create database ${name}`);
      await postgres.run(name, barrierSql('postgres') + sql);
      const pool = new pg.Pool({ connectionString: postgres.url(name), max: 5 });
      stack.defer(() => pool.end());
      return { url: postgres.url(name), pool };
    },
    async serve(routes) {
      const server = createServer((request, response) => {
        const serve = routes[request.url?.split('?')[0] ?? ''] ?? notFound;
        void branchListener(serve)(request, response);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      stack.defer(async () => {
        server.closeAllConnections();
        server.close();
        await once(server, 'close');
      });
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    process: (name, file, port, environment) =>
      processes.add({
        name,
        command: [fileURLToPath(file)],
        environment: { ...environment, COORDINATOR_URL: parts.coordinatorUrl, PORT: String(port) },
        // Whatever it answers, it listens.
        isReady: async () => (await call('GET', `http://127.0.0.1:${port}/`, { timeoutMs: 2000 })).status > 0,
      }),
    async endOf(gid) {
      const transaction = await coordinator.read(gid, END_MS);
      return transaction?.status ?? 'unknown';
    },
  };
}

const notFound: Serve = () => Promise.resolve({ status: 404, headers: {}, body: '' });
