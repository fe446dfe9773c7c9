/**
 * Keeps global transactions in one SQLite file, on a thread of its own, so that the event loop never waits for a disk.
 * Group commit: what is asked while a database transaction runs shares the next one.
 */
import { Worker } from 'node:worker_threads';
import type { Gid, Instant } from '../contract/transaction.ts';
import { dueFromBegin } from '../engine/deadline.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { agesFrom } from '../engine/retention.ts';
import type { Log } from '../platform/log.ts';
import type { Lease, Records, Store, Stored } from '../runner/ports.ts';
import type { Birth, Columns, Row, WorkerStart } from './sqlite-protocol.ts';
import { WorkerQueue } from './sqlite-queue.ts';

/** A store that can fail for good. */
export interface SqliteStore extends Store, Records {
  /**
   * Resolves when the file can no longer be trusted (a failed commit, a corrupt page): every call rejects from then on,
   * and the process should end. What was answered before is on disk.
   */
  readonly failed: Promise<Error>;
}

/**
 * Opens the file, or makes it (readable by its owner only). Rejects with `CodedError` STORE_FAILED when it cannot be
 * used: held by another coordinator, of another application, newer than this program, or SQLite itself is too old.
 * Later failures of writes reject with STORE_FAILED too. `pagesMax` bounds the file, in pages of 4 KiB.
 */
export async function openSqliteStore(
  path: string,
  log?: Log,
  options: { readonly pagesMax?: number } = {},
): Promise<SqliteStore> {
  const start: WorkerStart = { path, pagesMax: options.pagesMax };
  // The worker's file has the ending of this one: `.ts` in development, `.js` in the package.
  const file = new URL(`./sqlite-worker${import.meta.url.slice(-3)}`, import.meta.url);
  const queue = new WorkerQueue(new Worker(file, { workerData: start, name: 'atomesh-sqlite' }), (error) =>
    log?.error({ path, hint: error.hint }, `a batch of writes was refused: ${error.message}`),
  );
  await queue.opened;
  void queue.failed.then((error) =>
    log?.fatal({ path, hint: error.hint }, `the store has failed for good: ${error.message}`),
  );
  return storeOver(queue);
}

function storeOver(queue: WorkerQueue): SqliteStore {
  return {
    failed: queue.failed,
    close: () => queue.close(),
    insert: (transaction, lease) =>
      queue.ask(
        [
          'insert',
          transaction.gid,
          ...birthOf(transaction),
          ...columnsOf(transaction, lease, dueFromBegin(transaction)),
        ],
        'now',
        asIs,
      ),
    save: (next, version, lease, dueAt, durability) =>
      queue.ask(['save', next.gid, version, ...columnsOf(next, lease, dueAt)], durability, asIs),
    read: (gid) => queue.ask(['read', gid], 'now', (row) => (row === undefined ? undefined : storedOf(row))),
    claimDue: (now, lease, limit, ownUntil = Number.MAX_SAFE_INTEGER as Instant) =>
      queue.ask(['claimDue', now, lease.owner, lease.until, limit, ownUntil], 'now', storedOfAll),
    claim: (gid, now, lease) =>
      queue.ask(['claim', gid, now, lease.owner, lease.until], 'now', (row) =>
        typeof row === 'string' ? row : storedOf(row),
      ),
    renew: (gids, lease) =>
      queue.ask(['renew', gids, lease.owner, lease.until], 'now', (lost) => lost as readonly Gid[]),
    list: (filter) => queue.ask(['list', filter], 'now', storedOfAll),
    deleteFinished: (before, limit) => queue.ask(['deleteFinished', before, limit], 'soon', asIs),
    readRecord: (category, key) => queue.ask(['readRecord', category, key], 'now', asIs),
    saveRecord: (record, version, now) => queue.ask(['saveRecord', record, version, now], 'now', asIs),
    deleteRecord: (category, key) => queue.ask(['deleteRecord', category, key], 'now', asIs),
    listRecords: (category, after, limit) => queue.ask(['listRecords', category, after, limit], 'now', asIs),
  };
}

function asIs<T>(answer: T): T {
  return answer;
}

function storedOfAll(rows: readonly Row[]): readonly Stored[] {
  return rows.map(storedOf);
}

function birthOf({ mode, createdAt }: GlobalTransaction): Birth {
  return [mode, createdAt];
}

function columnsOf(transaction: GlobalTransaction, lease: Lease, dueAt: Instant | undefined): Columns {
  const { status } = transaction;
  return [lease.owner, lease.until, dueAt ?? null, status, agesFrom(transaction) ?? null, JSON.stringify(transaction)];
}

/** The body is our own JSON: what was stored is what comes back. */
function storedOf([body, version]: Row): Stored {
  return { transaction: JSON.parse(body) as GlobalTransaction, version };
}
