/** What the suites of the DTM clients talk to: a coordinator of its own process, databases, and a service in TypeScript. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { call } from '../../examples/support/http.ts';
import { startMariadb } from '../../examples/support/mariadb-server.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { openProcesses } from '../../examples/support/processes.ts';
import { startRedis } from '../../examples/support/redis-server.ts';
import { branchListener } from '../../src/client/branch/listener.ts';
import { serveBehindBarrier } from '../../src/client/branch/serve.ts';
import { postgresBarrier } from '../../src/client/barrier/postgres.ts';
import { barrierSql } from '../../src/client/barrier/schema.ts';

export interface World extends AsyncDisposable {
  /** Where everything is, as environment variables that the suites read. */
  readonly environment: Readonly<Record<string, string>>;
  /** A folder that goes with the world. */
  readonly folder: string;
  /** The last lines of the coordinator's log. */
  readonly coordinatorLog: () => Promise<string>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The table of the services, in both databases; a negative balance is refused by the database itself. */
const ACCOUNTS = 'create table account (name varchar(64) primary key, balance integer not null check (balance >= 0));';

/** Starts everything, with the coordinator's own defaults. What has been started is stopped again when something fails. */
export async function startWorld(): Promise<World> {
  await using started = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-clients-'));
  started.defer(() => rm(folder, { recursive: true, force: true }));
  const postgres = started.use(await startPostgres());
  const mariadb = started.use(await startMariadb());
  const redis = started.use(await startRedis());
  await postgres.run('postgres', 'create database bank');
  await postgres.run('bank', `${barrierSql('postgres')}${ACCOUNTS}`);
  await mariadb.run(`${barrierSql('mysql')}create database bank; use bank; ${ACCOUNTS}`);
  const participant = started.use(await startParticipant(postgres.url('bank')));

  const processes = started.use(openProcesses(folder));
  const [http, grpc] = [await freePort(), await freePort()];
  const config = join(folder, 'coordinator.yaml');
  await writeFile(
    config,
    [
      `listen: 127.0.0.1:${http}`,
      `grpc: { listen: "127.0.0.1:${grpc}" }`,
      `store: { sqlite: { path: ${join(folder, 'coordinator.db')} } }`,
      'log: { level: warn }',
      '',
    ].join('\n'),
  );
  const coordinator = processes.add({
    name: 'coordinator',
    command: [join(ROOT, 'cli', 'main.ts'), 'coordinator', '--config', config],
    environment: {},
    isReady: async () => (await call('GET', `http://127.0.0.1:${http}/api/ping`)).status === 200,
  });
  await coordinator.start();

  const all = started.move();
  return {
    folder,
    environment: {
      ATOMESH_HTTP: `http://127.0.0.1:${http}`,
      ATOMESH_GRPC: `127.0.0.1:${grpc}`,
      POSTGRES_PORT: String(postgres.port),
      MARIADB_PORT: String(mariadb.port),
      REDIS_PORT: String(redis.port),
      PARTICIPANT_HTTP: participant.url,
    },
    coordinatorLog: () => coordinator.lastLines(20),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

interface Participant extends AsyncDisposable {
  readonly url: string;
}

/**
 * A service that uses this package's barrier in the PostgreSQL database that the clients' own barriers use: whatever the operation,
 * it moves `amount` to the account `name`, once.
 */
async function startParticipant(url: string): Promise<Participant> {
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  // A connection that is cut while it waits in the pool: the server is stopped after the participant, but may fail before.
  pool.on('error', () => undefined);
  const barrier = postgresBarrier(pool);
  const server = createServer(
    branchListener((request) =>
      serveBehindBarrier(request, barrier, async (tx, _branch, body) => {
        const { name, amount } = body as { readonly name: string; readonly amount: number };
        await tx.query('update account set balance = balance + $2 where name = $1', [name, amount]);
      }),
    ),
  );
  const port = await freePort();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, '127.0.0.1', resolve);
  await promise;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await pool.end();
    },
  };
}
