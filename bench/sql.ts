/** What the sidecar costs a database client: statements without a gid against a bare relay, captured statements against plain ones. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../proxy/postgres/schema.ts';
import { connectCoordinator } from '../src/client/connect.ts';
import { alternate, askLoad, medianOf, startChild, startDatabaseSidecar, type Part, type Result } from './measure.ts';
import type { SqlLoad, SqlLoadAnswer } from './sql-load.ts';

const CLIENTS = 16;
const SECONDS = 2;
const WARM_UP_SECONDS = 4;
const ROUNDS = 5;
const SELECT = [{ text: 'select balance from account where id = $1', hasParameter: true }];
const UPDATE = [{ text: 'update account set balance = balance + 1 where id = $1', hasParameter: true }];
const HUNDRED_ROWS = [
  {
    text: 'update account set balance = balance + 1 where id between $1::int % 100 * 100 + 1 and $1::int % 100 * 100 + 100',
    hasParameter: true,
  },
];

/** The sequence that interceptors at the driver's level use: a round trip each. */
const CLASSIC = [
  { text: 'begin', hasParameter: false },
  { text: 'select id, balance from account where id = $1 for update', hasParameter: true },
  { text: 'update account set balance = balance + 1 where id = $1', hasParameter: true },
  { text: 'select id, balance from account where id = $1', hasParameter: true },
  {
    text: `insert into classic_undo (gid, images) values ('classic', '{"before":[1],"after":[2]}' || $1::text)`,
    hasParameter: true,
  },
  {
    text: `insert into classic_lock (key, gid) values ('account:' || $1::text, 'classic') on conflict (key) do update set gid = excluded.gid`,
    hasParameter: true,
  },
  { text: 'commit', hasParameter: false },
];

const SCHEMA = `
  create table account (id int primary key, balance bigint not null, note text);
  insert into account select id, 0, md5(id::text) from generate_series(1, 10000) id;
  create table classic_undo (id bigserial primary key, gid text not null, images text not null);
  create table classic_lock (key text primary key, gid text not null);`;

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    // Durable at first, as PostgreSQL comes and as anybody with money runs it.
    await using postgres = await startPostgres({ settings: { fsync: 'on' } });
    await postgres.run('postgres', SCHEMA);
    await initialiseDatabase({ connectionString: postgres.url('postgres') });
    await using coordinator = await startChild('coordinator-process.ts', join(folder, 'bench.db'));
    const coordinatorUrl = `http://127.0.0.1:${coordinator.port}`;
    await using sidecar = await startDatabaseSidecar(postgres.port, { url: coordinatorUrl });
    await using relay = await startChild('tcp-relay.ts', String(postgres.port));
    await using load = await startChild('sql-load.ts');
    const measure = async (
      port: number,
      work: SqlLoad['work'],
      options: Partial<SqlLoad> = {},
    ): Promise<SqlLoadAnswer> => {
      const question: SqlLoad = {
        port,
        database: 'postgres',
        clients: CLIENTS,
        seconds: SECONDS,
        prepare: [],
        work,
        ...options,
      };
      return askLoad<SqlLoadAnswer>(load, question);
    };
    const client = connectCoordinator({ url: coordinatorUrl, timeoutMs: 5000 });
    try {
      const passing = await measurePassing(measure, relay.port, sidecar.port);
      const captured: Captured = async (options) => {
        // A global transaction for each client, as in life: two clients in one would contend for its branch.
        const begun = Array.from({ length: options?.clients ?? CLIENTS }, () => client.begin({ timeoutMs: 600_000 }));
        const gids = (await Promise.all(begun)).map(({ gid }) => gid);
        const prepare = gids.map((gid) => `set atomesh.gid = '${gid}'`);
        const answer = await measure(sidecar.port, options?.work ?? UPDATE, { ...options, prepare });
        await Promise.all(gids.map((gid) => client.submit(gid)));
        await Promise.all(gids.map((gid) => client.read(gid, 60_000)));
        return answer;
      };
      const one = await measureOne(measure, captured, sidecar.port);
      const durable = await measureMany(measure, captured, sidecar.port);
      // What is left is the work: the wait for the disk is the same for every commit, and as long as the disk pleases.
      await postgres.run('postgres', 'alter database postgres set synchronous_commit = off');
      const work = await measureMany(measure, captured, sidecar.port);
      return [
        ...passing,
        ...one,
        ...manyResults(work, 'no wait for the disk', { classic: 2.5 }),
        ...manyResults(durable, 'fsync on', { plain: 1.6 }),
      ];
    } finally {
      await client.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Measure = (port: number, work: SqlLoad['work'], options?: Partial<SqlLoad>) => Promise<SqlLoadAnswer>;

async function measurePassing(measure: Measure, relayPort: number, sidecarPort: number): Promise<readonly Result[]> {
  const throughput = await alternate(ROUNDS, {
    relay: async () => (await measure(relayPort, SELECT)).perSecond,
    sidecar: async () => (await measure(sidecarPort, SELECT)).perSecond,
  });
  const latency = await alternate(ROUNDS, {
    relay: async () => (await measure(relayPort, SELECT, { clients: 1, seconds: 1 })).medianMs,
    sidecar: async () => (await measure(sidecarPort, SELECT, { clients: 1, seconds: 1 })).medianMs,
  });
  const ratio = throughput.sidecar / throughput.relay;
  const added = latency.sidecar - latency.relay;
  return [
    {
      name: `select without a gid, ${CLIENTS} clients, against a bare TCP relay`,
      value: throughput.sidecar,
      unit: '1/s',
      baseline: throughput.relay,
      ratio,
      target: 0.9,
      pass: ratio >= 0.9,
    },
    {
      name: 'select without a gid, 1 client, time added to a bare TCP relay',
      value: added,
      unit: 'ms',
      target: 0.1,
      pass: added <= 0.1,
    },
  ];
}

/** Measures updates inside a global transaction of their own, which is then committed. */
type Captured = (options?: Partial<SqlLoad>) => Promise<SqlLoadAnswer>;

async function measureOne(measure: Measure, captured: Captured, port: number): Promise<readonly Result[]> {
  // A sidecar runs for days: what is measured is compiled code.
  await captured({ seconds: WARM_UP_SECONDS });
  await captured({ seconds: WARM_UP_SECONDS, clients: 1 });
  const one = await alternate(ROUNDS, {
    plain: async () => (await measure(port, UPDATE, { clients: 1 })).medianMs,
    captured: async () => (await captured({ clients: 1 })).medianMs,
  });
  const hundred = await alternate(ROUNDS, {
    plain: async () => (await measure(port, HUNDRED_ROWS, { clients: 1, seconds: 1 })).medianMs,
    captured: async () => (await captured({ clients: 1, seconds: 1, work: HUNDRED_ROWS })).medianMs,
  });
  const firsts: number[] = [];
  for (let round = 0; round < ROUNDS * 4; round += 1) firsts.push((await captured({ clients: 1, count: 1 })).medianMs);
  return [
    atMost('captured update, 1 client, time against a plain one through the sidecar', one, 1.6),
    atMost('captured update of 100 rows, 1 client, time against a plain one through the sidecar', hundred, 2),
    {
      name: 'first captured update of a gid, with its enlistment',
      value: medianOf(firsts),
      unit: 'ms',
      pass: true,
    },
  ];
}

function atMost(name: string, times: { readonly plain: number; readonly captured: number }, target: number): Result {
  const ratio = times.captured / times.plain;
  const { captured: value, plain: baseline } = times;
  return { name: `${name} (at most)`, value, unit: 'ms', baseline, ratio, target, pass: ratio <= target };
}

interface Many {
  readonly plain: number;
  readonly captured: number;
  readonly classic: number;
}

function measureMany(measure: Measure, captured: Captured, port: number): Promise<Many> {
  return alternate(ROUNDS, {
    plain: async () => (await measure(port, UPDATE)).perSecond,
    captured: async () => (await captured()).perSecond,
    classic: async () => (await measure(port, CLASSIC)).perSecond,
  });
}

/** Bounds: of the classic sequence's time at least so many times the captured update's, and of that at most so many times the plain one's. */
interface Bounds {
  readonly classic?: number;
  readonly plain?: number;
}

function manyResults(many: Many, disk: string, bounds: Bounds): readonly Result[] {
  const gain = many.captured / many.classic;
  const cost = many.plain / many.captured;
  return [
    {
      name: `captured update, ${CLIENTS} clients, ${disk}, against the classic sequence`,
      value: many.captured,
      unit: '1/s',
      baseline: many.classic,
      ratio: gain,
      ...(bounds.classic === undefined ? { pass: true } : { target: bounds.classic, pass: gain >= bounds.classic }),
    },
    {
      name: `plain update, ${CLIENTS} clients, ${disk}, against a captured one (at most)`,
      value: many.plain,
      unit: '1/s',
      baseline: many.captured,
      ratio: cost,
      ...(bounds.plain === undefined ? { pass: true } : { target: bounds.plain, pass: cost <= bounds.plain }),
    },
  ];
}

export const sqlPart: Part = { name: 'sql', run };
