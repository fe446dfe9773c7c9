/**
 * One hot row: clients that add to it, each time in a global transaction of their own, beside the same by plain transactions. Nothing is
 * promised of the ratio; but more clients must not make the row slower than half of what few reach.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { alternate, closedLoop, startChild, startDatabaseSidecar, type Part, type Result } from '../measure.ts';

const FEW = 4;
const MANY = 32;
const SECONDS = 3;
const WARM_UP_SECONDS = 2;
const ROUNDS = 3;
/** Of what few clients reach. */
const COLLAPSE_RATIO = 0.5;
const ADD = 'update counter set n = n + 1 where id = 1';

/** Throughput of a row that everybody wants. */
export const locksPart: Part = { name: 'locks', run };

/** One unit of work of one client, on a session of its own. */
type Work = (session: pg.Client) => Promise<void>;

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    await using postgres = await startPostgres({ settings: { fsync: 'on' } });
    await postgres.run(
      'postgres',
      'create table counter (id int primary key, n bigint not null); insert into counter values (1, 0)',
    );
    await initialiseDatabase({ connectionString: postgres.url('postgres') });
    await using coordinator = await startChild('coordinator-process.ts', join(folder, 'bench.db'));
    const url = `http://127.0.0.1:${coordinator.port}`;
    await using sidecar = await startDatabaseSidecar(postgres.port, { url }, { lockTimeout: '60s' });
    const client = connectCoordinator({ url, timeoutMs: 30_000 });
    try {
      const inGid: Work = async (session) => {
        const { gid } = await client.begin({ timeoutMs: 120_000 });
        await session.query(`${ADD} /*atomesh_gid='${gid}'*/`);
        await client.submit(gid);
      };
      const plain: Work = async (session) => void (await session.query(ADD));
      const at = (port: number, work: Work, clients: number) => (): Promise<number> =>
        perSecond({ port, work, clients, seconds: SECONDS });
      await perSecond({ port: sidecar.port, work: inGid, clients: MANY, seconds: WARM_UP_SECONDS });
      const measured = await alternate(ROUNDS, {
        fewPlain: at(postgres.port, plain, FEW),
        few: at(sidecar.port, inGid, FEW),
        manyPlain: at(postgres.port, plain, MANY),
        many: at(sidecar.port, inGid, MANY),
      });
      const { fewPlain, few, manyPlain, many } = measured;
      return [
        compared(`one row, ${FEW} clients, a gid for each change`, few, fewPlain),
        compared(`one row, ${MANY} clients, a gid for each change`, many, manyPlain),
        {
          ...compared(`one row, ${MANY} clients against ${FEW}`, many, few),
          target: COLLAPSE_RATIO,
          pass: many >= COLLAPSE_RATIO * few,
        },
      ];
    } finally {
      await client.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function compared(name: string, value: number, baseline: number): Result {
  return { name, value, unit: 'changes/s', baseline, ratio: value / baseline, pass: true };
}

interface Load {
  readonly port: number;
  readonly work: Work;
  readonly clients: number;
  readonly seconds: number;
}

/** Units of work a second; one that fails ends the benchmark. */
async function perSecond({ port, work, clients, seconds }: Load): Promise<number> {
  const sessions = Array.from(
    { length: clients },
    () => new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' }),
  );
  try {
    for (const session of sessions) await session.connect();
    const { count, seconds: took } = await closedLoop(clients, { seconds }, async (place) => {
      const session = sessions[place];
      if (session === undefined) throw new Error(`there is no session ${place}`);
      await work(session);
    });
    return count / took;
  } finally {
    await Promise.all(sessions.map((session) => session.end()));
  }
}
