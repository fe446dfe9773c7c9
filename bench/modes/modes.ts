/**
 * What a transaction of DTM's modes costs: submitted over HTTP with `wait_result`, two branches answered by a stub, on both stores.
 * Compared with the requests per second of a bare `node:http` server, and with the original DTM where the environment's DTM_BINARY
 * names one, turn about in one run; servers, stub and load share the machine.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PostgresServer, startPostgres } from '../../examples/support/postgres-server.ts';
import { commitsPerTransaction } from './commits.ts';
import { TRANSACT } from './load.ts';
import { startDtm } from './dtm-server.ts';
import {
  alternate,
  type Child,
  getText,
  type LoadConnection,
  loadServer,
  type Part,
  percentileOf,
  type Result,
  startChild,
} from '../measure.ts';

const IN_FLIGHT = 64;
const ROUNDS = 5;
const ROUND_SECONDS = 2;
/** What is measured is compiled code: by count, because a busy machine does little in any time. */
const WARM_UP = { count: 6000 };
/** DTM comes compiled. */
const WARM_UP_OTHERS = { seconds: 3 };
const COMMIT_TRANSACTIONS = 6000;
const COMMITS_MOST = 0.25;
const DTM_BINARY = process.env['DTM_BINARY'];
const MODES = ['saga', 'tcc', 'msg'] as const;

/** The least of the bare server's rate, and the least of the rate that DTM has on its store of this kind. */
const STORES = [
  { store: 'SQLite', ratioLeast: 0.045, dtm: 'boltdb', gainLeast: 5 },
  { store: 'PostgreSQL', ratioLeast: 0.02, dtm: 'PostgreSQL', gainLeast: 3 },
] as const;

/** Transactions per second, the time of one, the coordinator's processor time for it, and database commits. */
export const modesPart: Part = { name: 'modes', run };

/** Something that takes load in its turn. */
interface Side {
  readonly port: number;
  readonly once: (connection: LoadConnection) => Promise<void>;
  /** Milliseconds of each run. */
  readonly times: number[];
  /** Of the process that bears the load, where it tells. */
  readonly cpu: Child | undefined;
  microseconds: number;
  count: number;
}

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  await using resources = new AsyncDisposableStack();
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  // Durable, as PostgreSQL comes and as anybody with money runs it.
  const postgres = resources.use(await startPostgres({ settings: { fsync: 'on' } }));
  await postgres.run('postgres', 'create database coordinator');
  const sides = await openSides(resources, folder, postgres);
  for (const side of sides.values()) await load(side, side.cpu === undefined ? WARM_UP_OTHERS : WARM_UP);
  const rates = await alternate(
    ROUNDS,
    Object.fromEntries([...sides].map(([name, side]) => [name, () => measureRound(side)])),
  );
  const results = MODES.flatMap((mode) => STORES.flatMap((kind) => resultsOf(mode, kind, sides, rates)));
  for (const mode of MODES) {
    const side = sideOf(sides, `${mode}, PostgreSQL`);
    const value = await commitsPerTransaction({
      url: postgres.url('postgres'),
      database: 'coordinator',
      count: COMMIT_TRANSACTIONS,
      load: (count) => load(side, { count }),
    });
    const name = `${mode}, PostgreSQL, database commits for each (at most)`;
    results.push({ name, value, unit: '', target: COMMITS_MOST, pass: value <= COMMITS_MOST });
  }
  return results;
}

/** Every side by its name, its servers started. */
async function openSides(
  resources: AsyncDisposableStack,
  folder: string,
  postgres: PostgresServer,
): Promise<ReadonlyMap<string, Side>> {
  const sides = new Map<string, Side>();
  const add = (name: string, port: number, once: Side['once'], cpu?: Child): void => {
    sides.set(name, { port, once, times: [], cpu, microseconds: 0, count: 0 });
  };
  const bare = resources.use(await startChild('./bare-server.ts'));
  const stub = resources.use(await startChild('./bare-server.ts'));
  add('bare', bare.port, async (connection) => void (await connection.send(getText('/'))), bare);
  const addModes = (label: string, port: number, cpu?: Child): void => {
    for (const mode of MODES) add(`${mode}, ${label}`, port, (load) => TRANSACT[mode](load, stub.port), cpu);
  };
  for (const { store, dtm } of STORES) {
    const isSqlite = store === 'SQLite';
    const place = isSqlite ? join(folder, 'coordinator.db') : postgres.url('coordinator');
    const coordinator = resources.use(await startChild('./coordinator-process.ts', place));
    addModes(store, coordinator.port, coordinator);
    if (DTM_BINARY === undefined) continue;
    const server = resources.use(await startDtm(DTM_BINARY, join(folder, dtm), isSqlite ? undefined : postgres));
    addModes(`DTM with ${dtm}`, server.port);
  }
  return sides;
}

function load({ port, once }: Side, until: Parameters<typeof loadServer>[2]): ReturnType<typeof loadServer> {
  return loadServer(port, IN_FLIGHT, until, once);
}

async function measureRound(side: Side): Promise<number> {
  const before = await cpuMicroseconds(side);
  const { count, seconds } = await loadServer(side.port, IN_FLIGHT, { seconds: ROUND_SECONDS }, async (connection) => {
    const start = performance.now();
    await side.once(connection);
    side.times.push(performance.now() - start);
  });
  side.microseconds += (await cpuMicroseconds(side)) - before;
  side.count += count;
  return count / seconds;
}

async function cpuMicroseconds({ cpu }: Side): Promise<number> {
  return cpu === undefined ? Number.NaN : Number(await cpu.ask('cpu'));
}

function resultsOf(
  mode: (typeof MODES)[number],
  { store, ratioLeast, dtm, gainLeast }: (typeof STORES)[number],
  sides: ReadonlyMap<string, Side>,
  rates: Readonly<Record<string, number>>,
): Result[] {
  const name = `${mode}, ${store}`;
  const side = sideOf(sides, name);
  const rate = rates[name] ?? Number.NaN;
  const bare = rates['bare'] ?? Number.NaN;
  const ratio = rate / bare;
  const cpu = cpuEach(side);
  const baseline = cpuEach(sideOf(sides, 'bare'));
  const results: Result[] = [
    { name, value: rate, unit: '1/s', baseline: bare, ratio, target: ratioLeast, pass: ratio >= ratioLeast },
    ...percentiles(name, side),
    {
      name: `${name}, CPU time; baseline: of a bare request`,
      value: cpu,
      unit: 'µs',
      baseline,
      ratio: cpu / baseline,
      pass: true,
    },
  ];
  const other = sides.get(`${mode}, DTM with ${dtm}`);
  const otherRate = rates[`${mode}, DTM with ${dtm}`];
  if (other === undefined || otherRate === undefined) return results;
  const against = `${name}, against DTM with ${dtm}`;
  const gain = rate / otherRate;
  return [
    ...results,
    {
      name: against,
      value: rate,
      unit: '1/s',
      baseline: otherRate,
      ratio: gain,
      target: gainLeast,
      pass: gain >= gainLeast,
    },
    ...percentiles(against, side, other),
  ];
}

/** Of the process that bears the load, in microseconds. */
function cpuEach({ microseconds, count }: Side): number {
  return microseconds / count;
}

function percentiles(name: string, { times }: Side, other?: Side): Result[] {
  return [0.5, 0.99].map((fraction) => {
    const value = percentileOf(times, fraction);
    const compared = other === undefined ? undefined : percentileOf(other.times, fraction);
    return {
      name: `${name}, p${fraction * 100}`,
      value,
      unit: 'ms',
      ...(compared === undefined ? {} : { baseline: compared, ratio: value / compared }),
      pass: true,
    };
  });
}

function sideOf(sides: ReadonlyMap<string, Side>, name: string): Side {
  const side = sides.get(name);
  if (side === undefined) throw new Error(`there is no side ${name}`);
  return side;
}
