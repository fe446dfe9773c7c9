/** Cleaning a barrier up by age, in batches, whatever database keeps it. */
import { CodedError } from '../../contract/errors.ts';
import { parseGid, type Gid } from '../../contract/transaction.ts';
import type { CleanOptions } from './types.ts';

/** A row that is old enough to go. `Place` is where the next batch goes on. */
export interface OldRow<Place> {
  readonly gid: string;
  readonly place: Place;
}

/** The rows of a barrier in the order of their age. */
export interface OldRows<Place> {
  /** At most `limit` rows older than the age, oldest first, after `place` when there is one. */
  list(place: Place | undefined, limit: number): Promise<readonly OldRow<Place>[]>;
  /** Deletes these rows in one local transaction; answers how many were still there. */
  delete(places: readonly Place[]): Promise<number>;
}

/**
 * Below this a row may not go, whoever asks: two days. Rows of other clients bear the time of their own sessions' zones in MySQL,
 * and zones are up to 26 hours apart; what is left is for requests that were on their way.
 */
const AGE_MS_MIN = 172_800_000;
const BATCH_ROWS = 500;
const BATCH_ROWS_MAX = 10_000;

/** Deletes the old rows that `options` allows to go; answers how many went. */
export async function cleanRows<Place>(rows: OldRows<Place>, options: CleanOptions): Promise<number> {
  const { batchRows: limit = BATCH_ROWS, isOver, signal } = options;
  const known = new Map<string, boolean>();
  let deleted = 0;
  let place: Place | undefined;
  for (;;) {
    if (signal?.aborted === true) return deleted;
    const batch = await rows.list(place, limit);
    const last = batch.at(-1);
    if (last === undefined) return deleted;
    const going = isOver === undefined ? batch : await finishedOf(batch, isOver, known);
    if (going.length > 0) deleted += await rows.delete(going.map((row) => row.place));
    place = last.place;
    known.clear();
  }
}

/** Checks what a user asked for, before anything is read. Throws `CodedError` `BAD_REQUEST`. */
export function checkCleanOptions({ olderThanMs, batchRows = BATCH_ROWS }: CleanOptions): void {
  if (!Number.isSafeInteger(olderThanMs) || olderThanMs < AGE_MS_MIN) {
    throw new CodedError('BAD_REQUEST', `rows of the barrier cannot go after ${olderThanMs} ms`, {
      hint: `Use a whole number of milliseconds, ${AGE_MS_MIN} (two days) or more: longer than a global transaction may stay unfinished.`,
    });
  }
  if (!Number.isInteger(batchRows) || batchRows < 1 || batchRows > BATCH_ROWS_MAX) {
    throw new CodedError('BAD_REQUEST', `${batchRows} is no number of rows for a batch`, {
      hint: `Use 1 to ${BATCH_ROWS_MAX}.`,
    });
  }
}

/** One question a transaction, one after the other: cleaning up has time, and the coordinator has better things to do. */
async function finishedOf<Place>(
  batch: readonly OldRow<Place>[],
  isOver: (gid: Gid) => Promise<boolean>,
  known: Map<string, boolean>,
): Promise<readonly OldRow<Place>[]> {
  const going: OldRow<Place>[] = [];
  for (const row of batch) {
    const gid = parseGid(row.gid);
    const over = known.get(row.gid) ?? (gid !== undefined && (await isOver(gid)));
    known.set(row.gid, over);
    if (over) going.push(row);
  }
  return going;
}
