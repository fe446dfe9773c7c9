/**
 * What a coordinator does when it comes back to a store full of unfinished transactions: how soon it is ready, how long until all of
 * them are driven to their end, and whether its branches get more calls at once than `limits.calls` allows. And how long it takes, set up
 * as it comes, to finish 1,000 sagas that are stuck because the one service that they all call takes a second for each answer.
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

/** What waits in the store, and how the service answers that is called for it. */
interface Stuck {
  readonly transactions: number;
  readonly steps: number;
  readonly destinations: number;
  readonly answerMs: number;
  /** `limits.calls` of the coordinator; its default where absent. */
  readonly calls?: number;
}

/**
 * Few calls at once, so that the limit is what is met, each long enough that it is reached, and so short that the end can be waited for. One
 * destination gets a quarter of the calls: several, so that it is the limit of all that is reached.
 */
const MANY = { transactions: 100_000, steps: 1, destinations: 8, answerMs: 100, calls: 256 } as const satisfies Stuck;
const SLOW: Stuck = { transactions: 1000, steps: 2, destinations: 1, answerMs: 1000 };
const READY_SECONDS_MOST = 30;
const SLOW_SECONDS_MOST = 15;
const INSERTS_AT_ONCE = 2000;
const DRIVEN_MS_MOST = 15 * 60_000;

/** Restart over each store; `--transactions` makes it shorter. */
export const restartPart: Part = {
  name: 'restart',
  run: async ({ transactions = MANY.transactions }) => {
    const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
    try {
      await using postgres = await startPostgres({ settings: { fsync: 'on' } });
      await postgres.run('postgres', 'create database slow');
      const many = { ...MANY, transactions };
      return [
        ...resultsOfMany('SQLite', many, await restartOver(join(folder, 'many.db'), many)),
        ...resultsOfMany('PostgreSQL', many, await restartOver(postgres.url('postgres'), many)),
        ...resultsOfSlow('SQLite', await restartOver(join(folder, 'slow.db'), SLOW)),
        ...resultsOfSlow('PostgreSQL', await restartOver(postgres.url('slow'), SLOW)),
      ];
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** Seconds from the start of the process. */
interface Restarted extends Branches {
  readonly ready: number;
  readonly driven: number;
  /** How long a new saga took right after it was ready. */
  readonly newMs: number;
}

async function restartOver(place: string, stuck: Stuck): Promise<Restarted> {
  const { transactions, steps, destinations, answerMs, calls } = stuck;
  await using branches = await startChild('./branches-process.ts', String(destinations), String(answerMs));
  await using stub = await startChild('./bare-server.ts');
  await fill(place, stuck, (await askBranches(branches)).ports);
  const startedAt = performance.now();
  const secondsSoFar = (): number => (performance.now() - startedAt) / 1000;
  const words = calls === undefined ? [] : [String(calls)];
  await using coordinator = await startChild('./coordinator-process.ts', place, ...words);
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
      if ((await askBranches(branches)).answered < transactions * steps) return undefined;
      const unfinished = await fetch(`${url}/v1/transactions?status=submitted&limit=1`);
      return (await unfinished.text()) === '{"transactions":[]}' ? true : undefined;
    },
    { withinMs: DRIVEN_MS_MOST },
  );
  return { ready, driven: secondsSoFar(), newMs, ...(await askBranches(branches)) };
}

function resultsOfMany(name: string, { transactions, calls }: Required<Stuck>, all: Restarted): readonly Result[] {
  const { ready, driven, newMs, answered, most, doubled } = all;
  const label = `${transactions} unfinished, ${name}`;
  return [
    atMost(`${label}: ready (at most)`, ready, 's', READY_SECONDS_MOST),
    { name: `${label}: a new saga of two steps meanwhile`, value: newMs, unit: 'ms', pass: true },
    { name: `${label}: all have ended`, value: driven, unit: 's', pass: true },
    { name: `${label}: ended per second`, value: transactions / (driven - ready), unit: '1/s', pass: true },
    atMost(`${label}: calls in flight (at most)`, most, '', calls),
    atMost(`${label}: calls while one for the same was in flight (at most)`, doubled, '', 0),
    { name: `${label}: calls repeated after a time limit`, value: answered - transactions, unit: '', pass: true },
  ];
}

function resultsOfSlow(name: string, { driven, answered, doubled }: Restarted): readonly Result[] {
  const { transactions, steps, answerMs } = SLOW;
  const label = `${transactions} stuck sagas of ${steps} steps that take ${answerMs} ms, ${name}`;
  return [
    atMost(`${label}: all have ended (at most)`, driven, 's', SLOW_SECONDS_MOST),
    atMost(`${label}: calls repeated (at most)`, answered - transactions * steps, '', 0),
    atMost(`${label}: calls while one for the same was in flight (at most)`, doubled, '', 0),
  ];
}

function atMost(name: string, value: number, unit: string, target: number): Result {
  return { name, value, unit, target, pass: value <= target };
}

/** Sagas in the state in which a coordinator leaves them that dies right after their begin. */
async function fill(place: string, { transactions, steps }: Stuck, ports: readonly number[]): Promise<void> {
  const log = openLog('bench', 'warn');
  const store: Store = place.startsWith('postgres:')
    ? await openPostgresStore({ url: place }, log)
    : await openSqliteStore(place, log);
  try {
    let begun = 0;
    await closedLoop(INSERTS_AT_ONCE, { count: transactions }, async () => {
      begun += 1;
      const url = `http://127.0.0.1:${ports[begun % ports.length]}`;
      const stepsOfOne = Array.from({ length: steps }, (_, index) => ({
        id: `0${index + 1}` as BranchId,
        action: `${url}/out`,
        compensate: `${url}/out-back`,
        payload: 'e30=',
      }));
      const gid: Gid = newGid();
      const at = now();
      const saga = start({ gid, mode: 'saga', identity: '', protocol: 'http', steps: stepsOfOne }, 'submitted', '', at);
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
