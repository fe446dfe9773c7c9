/** Sagas that a coordinator has left behind, and how another one finishes them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { type Coordinator, startCoordinator } from '../../src/coordinator.ts';
import type { BranchId, Gid, Instant } from '../../src/contract/transaction.ts';
import { start } from '../../src/engine/start.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { now } from '../../src/platform/clock.ts';
import { openLog } from '../../src/platform/log.ts';
import type { Store } from '../../src/runner/ports.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Participant } from './cluster.ts';

export interface Recovery {
  /** From the start of the coordinator until it is ready, until every saga has succeeded, in milliseconds. */
  readonly readyMs: number;
  readonly doneMs: number;
  readonly calls: number;
  readonly inFlightMax: number;
}

export interface Stuck {
  readonly store: 'sqlite' | 'postgres';
  readonly sagas: number;
  /** Of each saga, one after the other. */
  readonly branches: number;
  readonly participant: Participant;
  /** Limits of the coordinator; without it the defaults. */
  readonly limits?: { readonly calls: number };
  readonly withinMs: number;
}

const LOG = openLog('recovery', 'error');
/** Sagas that are inserted at the same time. */
const INSERTS = 2000;
/** The coordinator of a store that belongs to one process at a time calls itself so. */
const OWNER = 'coordinator';

/** Leaves the sagas in a fresh store, starts a coordinator on it, and waits until all have succeeded. Rejects when that takes longer than `withinMs`. */
export async function recover({ store: kind, ...stuck }: Stuck): Promise<Recovery> {
  if (kind === 'sqlite') {
    const folder = await mkdtemp(join(tmpdir(), 'atomesh-recovery-'));
    try {
      const path = join(folder, 'atomesh.db');
      return await recoverFrom({ sqlite: { path } }, await openSqliteStore(path, LOG), stuck);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  await using server = await startPostgres();
  const url = server.url('postgres');
  return await recoverFrom({ postgres: { url } }, await openPostgresStore({ url }, LOG), stuck);
}

async function recoverFrom(where: object, store: Store, stuck: Omit<Stuck, 'store'>): Promise<Recovery> {
  const { sagas, branches, participant, limits = {}, withinMs } = stuck;
  await leave(store, sagas, branches, participant.url);
  await store.close();
  const options = coordinatorOptions.parse({
    listen: '127.0.0.1:0',
    grpc: { listen: '127.0.0.1:0' },
    store: where,
    limits,
  });
  const startedAt = now();
  const coordinator = await startCoordinator(options, LOG);
  try {
    const readyMs = now() - startedAt;
    await until('every saga has succeeded', () => isDone(coordinator, participant, sagas * branches), { withinMs });
    const doneMs = now() - startedAt;
    return { readyMs, doneMs, calls: participant.calls.length, inFlightMax: participant.inFlightMax };
  } finally {
    await coordinator.close(0);
  }
}

async function leave(store: Store, sagas: number, branches: number, url: string): Promise<void> {
  const lease = { owner: OWNER, until: (now() - 1) as Instant };
  const steps = Array.from({ length: branches }, (_, index) => ({
    id: String(index + 1).padStart(2, '0') as BranchId,
    action: `${url}/out`,
    compensate: `${url}/back`,
    payload: 'eyJhbW91bnQiOjMwfQ==',
  }));
  for (let from = 0; from < sagas; from += INSERTS) {
    const inserts = Array.from({ length: Math.min(INSERTS, sagas - from) }, (_, index) => {
      const gid = `stuck-${from + index}` as Gid;
      const request = { gid, mode: 'saga', identity: gid, protocol: 'http', steps } as const;
      return store.insert(start(request, 'submitted', gid, now()), lease);
    });
    await Promise.all(inserts);
  }
}

/** Every branch has been called, and the store knows no unfinished transaction any more. */
async function isDone(coordinator: Coordinator, { calls }: Participant, wanted: number): Promise<true | undefined> {
  if (calls.length < wanted) return undefined;
  const answer = await fetch(`${coordinator.url}/v1/transactions?status=submitted&limit=1`);
  const { transactions } = (await answer.json()) as { readonly transactions: readonly unknown[] };
  return transactions.length === 0 ? true : undefined;
}
