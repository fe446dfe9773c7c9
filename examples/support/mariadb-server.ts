/** A real MariaDB server from the operating system's packages, for tests: 127.0.0.1 only, on a port of its own. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection } from 'mysql2/promise';
import { endWithUs } from './end-with-us.ts';
import { freePort } from './free-port.ts';
import { programOf } from './programs.ts';
import { until } from './until.ts';

export interface MariadbServer {
  readonly port: number;
  /** Who may do everything, and needs no password. */
  readonly user: 'atomesh';
  /** Runs statements over a connection of its own, one after the other. */
  run(statements: string): Promise<void>;
  /** Kills the server as a crash would, and starts it again with its data. */
  crash(): Promise<void>;
  /** Stops the server and deletes its data. */
  [Symbol.asyncDispose](): Promise<void>;
}

const run = promisify(execFile);
/** Servers do not run as root: root starts them as this user. */
export const NOBODY = 65_534;

/**
 * Starts an empty server, with these further options of mariadbd. Rejects with `ProgramMissing` when the operating system has none.
 */
export async function startMariadb(options: readonly string[] = []): Promise<MariadbServer> {
  const binary = await programOf('mariadbd', 'mariadb-server');
  const install = await programOf('mariadb-install-db', 'mariadb-server');
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-mariadb-'));
  try {
    return await startIn(folder, { binary, install, further: options });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(
  folder: string,
  {
    binary,
    install,
    further,
  }: { readonly binary: string; readonly install: string; readonly further: readonly string[] },
): Promise<MariadbServer> {
  // MariaDB does not run as root unless it is told to; then root starts it as `nobody`.
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (asRoot) await chown(folder, NOBODY, NOBODY);
  const data = join(folder, 'data');
  const socket = join(folder, 'socket');
  const options = {
    ...identity,
    cwd: folder,
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC', TMPDIR: folder },
  };
  await run(
    install,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    options,
  );
  const port = await freePort();
  const serverArguments = [
    '--no-defaults',
    `--datadir=${data}`,
    `--port=${port}`,
    `--socket=${socket}`,
    '--bind-address=127.0.0.1',
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-buffer-pool-size=64M',
    '--max-connections=200',
    '--skip-name-resolve',
    `--pid-file=${join(folder, 'pid')}`,
    ...further,
  ];
  return await serve({ name: 'MariaDB', binary, serverArguments, options, folder, socket, port });
}

/** How a server is started, and where it listens. */
export interface Launch {
  readonly name: string;
  readonly binary: string;
  readonly serverArguments: readonly string[];
  readonly options: {
    readonly uid?: number;
    readonly gid?: number;
    readonly cwd: string;
    readonly env: NodeJS.ProcessEnv;
  };
  /** Deleted with the server. */
  readonly folder: string;
  /** Where root comes in without a password. */
  readonly socket: string;
  readonly port: number;
}

/** Starts a server of MariaDB or MySQL on data that is there. Rejects with what it says when it does not start. */
export async function serve(launch: Launch): Promise<MariadbServer> {
  const { folder, port } = launch;
  let child = start(launch);
  try {
    await ready(launch, child);
  } catch (error) {
    await kill(child.process);
    throw error;
  }
  return {
    port,
    user: 'atomesh',
    run: (statements) => runAs({ host: '127.0.0.1', port, user: 'atomesh' }, statements),
    async crash() {
      await kill(child.process);
      child = start(launch);
      await ready(launch, child);
    },
    async [Symbol.asyncDispose]() {
      await kill(child.process);
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
}

interface Started {
  readonly process: ChildProcess;
  /** The end of what it has said. */
  readonly errors: () => string;
}

function start({ binary, serverArguments, options, folder }: Launch): Started {
  const child = spawn(binary, serverArguments, { ...options, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  endWithUs(child, 'SIGKILL', folder);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  return { process: child, errors: () => errors };
}

async function ready({ name, socket }: Launch, child: Started): Promise<void> {
  await until(`${name} is ready`, async () => {
    if (isOver(child.process)) return 'over';
    // Root without a password comes in through the socket only; over TCP comes a user for the tests.
    await runAs({ socketPath: socket, user: 'root' }, GRANT);
    return 'ready';
  });
  if (isOver(child.process)) throw new Error(`${name} did not start:\n${child.errors()}`);
}

const GRANT = `create user if not exists 'atomesh'@'127.0.0.1';
grant all on *.* to 'atomesh'@'127.0.0.1' with grant option`;

interface Address {
  readonly host?: string;
  readonly port?: number;
  readonly socketPath?: string;
  readonly user: string;
}

async function runAs(address: Address, statements: string): Promise<void> {
  const connection = await createConnection({ ...address, multipleStatements: true });
  try {
    await connection.query(statements);
  } finally {
    await connection.end();
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (isOver(child)) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function isOver(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
