/** Statements without a gid through the sidecar, against PgBouncer in session mode, in one run: `apt-get install pgbouncer`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../examples/support/free-port.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { ProgramMissing, programOf } from '../../examples/support/programs.ts';
import { until } from '../../examples/support/until.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import {
  alternate,
  askLoad,
  NO_COORDINATOR,
  startChild,
  startDatabaseSidecar,
  type Part,
  type Result,
} from '../measure.ts';
import type { SqlLoad, SqlLoadAnswer } from '../sql-load.ts';

const CLIENTS = 16;
const SECONDS = 2;
const ROUNDS = 7;
const TARGET = 0.9;
const NOBODY = 65_534;
/** What `pgbench -S -M prepared` runs. */
const SELECT: SqlLoad['work'] = [{ text: 'select abalance from account where aid = $1', hasParameter: true }];

async function run(): Promise<readonly Result[]> {
  const program = await programOf('pgbouncer', 'pgbouncer').catch((error: unknown) => {
    if (error instanceof ProgramMissing) return undefined;
    throw error;
  });
  if (program === undefined) {
    console.log(
      '\npgbouncer is not installed, and is not compared with. On Debian and Ubuntu: apt-get install pgbouncer',
    );
    return [];
  }
  await using postgres = await startPostgres();
  await postgres.run(
    'postgres',
    'create table account (aid int primary key, abalance int not null); insert into account select n, 0 from generate_series(1, 10000) n',
  );
  await initialiseDatabase({ connectionString: postgres.url('postgres') });
  await using sidecar = await startDatabaseSidecar(postgres.port, NO_COORDINATOR);
  await using relay = await startChild('tcp-relay.ts', String(postgres.port));
  await using bouncer = await startBouncer(program, postgres.port);
  await using load = await startChild('sql-load.ts');
  const measure = async (port: number): Promise<number> => {
    const question: SqlLoad = {
      port,
      database: 'postgres',
      clients: CLIENTS,
      seconds: SECONDS,
      prepare: [],
      work: SELECT,
    };
    return (await askLoad<SqlLoadAnswer>(load, question)).perSecond;
  };
  const sides = {
    direct: () => measure(postgres.port),
    pgbouncer: () => measure(bouncer.port),
    relay: () => measure(relay.port),
    sidecar: () => measure(sidecar.port),
  };
  await alternate(1, sides);
  return resultsOf(await alternate(ROUNDS, sides));
}

function resultsOf(rates: Readonly<Record<'direct' | 'pgbouncer' | 'relay' | 'sidecar', number>>): readonly Result[] {
  const against = (what: string, value: number, baseline: number, target?: number): Result => {
    const ratio = value / baseline;
    const judged = target === undefined ? { pass: true } : { target, pass: ratio >= target };
    return {
      name: `select without a gid, ${CLIENTS} clients, ${what}`,
      value,
      unit: '1/s',
      baseline,
      ratio,
      ...judged,
    };
  };
  const { direct, pgbouncer, relay, sidecar } = rates;
  return [
    against('against PgBouncer in session mode', sidecar, pgbouncer, TARGET),
    against('a bare TCP relay in Node.js against PgBouncer', relay, pgbouncer),
    against('PgBouncer against a direct connection', pgbouncer, direct),
  ];
}

/** Everything else as PgBouncer comes; the log is silent. */
const CONFIGURATION = (port: number, target: number): string => `[databases]
postgres = host=127.0.0.1 port=${target} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = session
default_pool_size = ${2 * CLIENTS}
max_client_conn = 200
log_connections = 0
log_disconnections = 0
`;

interface Bouncer extends AsyncDisposable {
  readonly port: number;
}

/** Starts it, as `nobody` when this is root: it does not run as that. */
async function startBouncer(program: string, target: number): Promise<Bouncer> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-pgbouncer-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const port = await freePort();
  const file = join(folder, 'pgbouncer.ini');
  await writeFile(file, CONFIGURATION(port, target));
  const isRoot = process.getuid?.() === 0;
  if (isRoot) {
    await chmod(folder, 0o711);
    await chown(file, NOBODY, NOBODY);
  }
  const child = spawn(program, ['-q', file], {
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2_000);
  });
  stack.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  });
  await until('pgbouncer listens', async () => {
    if (child.exitCode !== null) throw new Error(`pgbouncer ended: ${said}`);
    const probe = connect({ port, host: '127.0.0.1' });
    await once(probe, 'connect');
    probe.destroy();
    return true;
  });
  const owned = stack.move();
  return { port, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

export const pgbouncerPart: Part = { name: 'pgbouncer', run };
