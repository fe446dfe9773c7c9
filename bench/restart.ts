/**
 * What a coordinator does when it comes back to a store full of unfinished transactions: how soon it is ready, how long until all of
 * them are driven to their end, and whether its branches get more calls at once than `limits.calls` allows.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../examples/support/postgres-server.ts';
import { until } from '../examples/support/until.ts';
import type { BranchId, Gid } from '../src/contract/transaction.ts';
import { start } from '../src/engine/start.ts';
import { now } from '../src/platform/clock.ts';
import { openLog } from '../src/platform/log.ts';
import { newGid } from '../src/platform/random.ts';
import type { Store } from '../src/runner/ports.ts';
import { openPostgresStore } from '../src/store/postgres.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { TRANSACT } from './modes/load.ts';
import { type Child, closedLoop, loadServer, type Part, type Result, startChild } from './measure.ts';

const TRANSACTIONS = 100_000;
const READY_SECONDS_MOST = 30;
/** `limits.calls` of the coordinator: low, so that the limit is what is met. */
const CALLS_MAX = 256;
/** Long enough that the limit is reached, and so short that the end can be waited for. */
const ANSWER_MS = 100;
/** One destination gets a quarter of the calls: several, so that it is the limit of all that is reached. */
const DESTINATIONS = 8;
const INSERTS_AT_ONCE = 2000;
const DRIVEN_MS_MOST = 15 * 60_000;

/** Restart over each store; `--transactions` makes it shorter. */
export const restartPart: Part = {
  name: 'restart',
  run: async ({ transactions = TRANSACTIONS }) => {
    const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
    try {
      await using postgres = await startPostgres({ settings: { fsync: 'on' } });
      return [
        ...(await restartOver('SQLite', join(folder, 'coordinator.db'), transactions)),
        ...(await restartOver('PostgreSQL', postgres.url('postgres'), transactions)),
      ];
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function restartOver(name: string, place: string, transactions: number): Promise<readonly Result[]> {
  await using branches = await startChild('./branches-process.ts', String(DESTINATIONS), String(ANSWER_MS));
  await using stub = await startChild('./bare-server.ts');
  await fill(place, transactions, (await askBranches(branches)).ports);
  const startedAt = performance.now();
  const secondsSoFar = (): number => (performance.now() - startedAt) / 1000;
  await using coordinator = await startChild('./coordinator-process.ts', place, String(CALLS_MAX));
  const url = `http://127.0.0.1:${coordinator.port}`;
  await until('the coordinator is ready', async () => ((await fetch(`${url}/readyz`)).ok ? true : undefined), {
    withinMs: DRIVEN_MS_MOST,
  });
  const ready = secondsSoFar();
  const newAt = performance.now();
  await loadServer(coordinator.port, 1, { count: 1 }, (connection) => TRANSACT.saga(connection, stub.port));
  const newMs = performance.now() - newAt;
  await until(
    'every transaction has ended',
    async () => {
      if ((await askBranches(branches)).answered < transactions) return undefined;
      const unfinished = await fetch(`${url}/v1/transactions?status=submitted&limit=1`);
      return (await unfinished.text()) === '{"transactions":[]}' ? true : undefined;
    },
    { withinMs: DRIVEN_MS_MOST },
  );
  const driven = secondsSoFar();
  const { answered, most, doubled } = await askBranches(branches);
  const label = `${transactions} unfinished, ${name}`;
  return [
    atMost(`${label}: ready (at most)`, ready, 's', READY_SECONDS_MOST),
    { name: `${label}: a new saga of two steps meanwhile`, value: newMs, unit: 'ms', pass: true },
    { name: `${label}: all have ended`, value: driven, unit: 's', pass: true },
    { name: `${label}: ended per second`, value: transactions / (driven - ready), unit: '1/s', pass: true },
    atMost(`${label}: calls in flight (at most)`, most, '', CALLS_MAX),
    atMost(`${label}: calls while one for the same was in flight (at most)`, doubled, '', 0),
    { name: `${label}: calls repeated after a time limit`, value: answered - transactions, unit: '', pass: true },
  ];
}

function atMost(name: string, value: number, unit: string, target: number): Result {
  return { name, value, unit, target, pass: value <= target };
}

/** Sagas of one step in the state in which a coordinator leaves them that dies right after their begin. */
async function fill(place: string, transactions: number, ports: readonly number[]): Promise<void> {
  const log = openLog('bench', 'warn');
  const store: Store = place.startsWith('postgres:')
    ? await openPostgresStore({ url: place }, log)
    : await openSqliteStore(place, log);
  try {
    let begun = 0;
    await closedLoop(INSERTS_AT_ONCE, { count: transactions }, async () => {
      begun += 1;
      const url = `http://127.0.0.1:${ports[begun % ports.length]}`;
      const step = { id: '01' as BranchId, action: `${url}/out`, compensate: `${url}/out-back`, payload: 'e30=' };
      const gid: Gid = newGid();
      const at = now();
      const saga = start({ gid, mode: 'saga', identity: '', protocol: 'http', steps: [step] }, 'submitted', '', at);
      // The lease of the dead one is over.
      await store.insert(saga, { owner: 'an earlier life', until: at });
    });
  } finally {
    await store.close();
  }
}

interface Branches {
  readonly ports: readonly number[];
  readonly answered: number;
  readonly most: number;
  readonly doubled: number;
}

async function askBranches(branches: Child): Promise<Branches> {
  return (await branches.ask('how far?')) as Branches;
}
