/** A real MariaDB server from the operating system's packages, for tests: 127.0.0.1 only, on a port of its own. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection } from 'mysql2/promise';
import { freePort } from './free-port.ts';
import { programOf } from './programs.ts';
import { until } from './until.ts';

export interface MariadbServer {
  readonly port: number;
  /** Who may do everything, and needs no password. */
  readonly user: 'atomesh';
  /** Runs statements over a connection of its own, one after the other. */
  run(statements: string): Promise<void>;
  /** Stops the server and deletes its data. */
  [Symbol.asyncDispose](): Promise<void>;
}

const run = promisify(execFile);
const NOBODY = 65_534;

/** Starts an empty server. Rejects with `ProgramMissing` when the operating system has none. */
export async function startMariadb(): Promise<MariadbServer> {
  const binary = await programOf('mariadbd', 'mariadb-server');
  const install = await programOf('mariadb-install-db', 'mariadb-server');
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-mariadb-'));
  try {
    return await startIn(folder, binary, install);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(folder: string, binary: string, install: string): Promise<MariadbServer> {
  // MariaDB does not run as root unless it is told to; then root starts it as `nobody`.
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (asRoot) await chown(folder, NOBODY, NOBODY);
  const data = join(folder, 'data');
  const socket = join(folder, 'socket');
  const options = { ...identity, cwd: folder, env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' } };
  await run(
    install,
    ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    options,
  );
  const port = await freePort();
  const child = spawn(
    binary,
    [
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
    ],
    { ...options, stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  );
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  const killAtExit = (): void => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  process.once('exit', killAtExit);
  const server: MariadbServer = {
    port,
    user: 'atomesh',
    run: (statements) => runAs({ host: '127.0.0.1', port, user: 'atomesh' }, statements),
    async [Symbol.asyncDispose]() {
      await kill(child);
      process.off('exit', killAtExit);
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
  try {
    await until('MariaDB is ready', async () => {
      if (isOver(child)) return 'over';
      // Root without a password comes in through the socket only; over TCP comes a user for the tests.
      await runAs({ socketPath: socket, user: 'root' }, GRANT);
      return 'ready';
    });
    if (isOver(child)) throw new Error(`MariaDB did not start:\n${errors}`);
  } catch (error) {
    await kill(child);
    process.off('exit', killAtExit);
    throw error;
  }
  return server;
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
