/** SELECT … FOR UPDATE and its like: a row that another, unfinished global transaction has changed is no row to build upon. */
import { textOf, parametersIn, type Source, type Span } from '../text/span.ts';
import type { LockingSelect } from '../text/locking.ts';
import { ours, readColumns, type CapturedTable, type Found, type RowLock, type Step } from './capture.ts';
import { rowsSql } from './image.ts';
import { pinned } from './pinned.ts';

/**
 * How a reading that locks rows is carried out:
 *
 * 1. `before([])` locks the rows by the client's own clauses, and answers their keys, for `readFound`. An error is the client's answer.
 * 2. Whether another global transaction holds one of `locksOf` its answer is asked over another connection, of what is committed: the row
 *    is locked now, so whoever changed it has ended its local transaction. Where one is held, the end of its holder is waited for (from
 *    the start, and in no local transaction that keeps the row from it), or not, where `waits` is false: then the answer is the server's
 *    to NOWAIT. With `skips` the rows are left out: `before` once more, with all that were `heldAmong` what was found so far, until none is.
 * 3. `read` is the client's text, which answers with rows of those and no others: one that has come to match since is not among them.
 */
export interface LockingRead {
  readonly kind: 'locking-read';
  /** Those whose rows are locked, and can be held. Of their images only the key is there. */
  readonly tables: readonly CapturedTable[];
  readonly before: (leftOut: Found) => Step;
  readonly read: (found: Found) => Step;
  readonly waits: boolean;
  readonly skips: boolean;
}

/** The plan for a SELECT that locks rows of these tables. */
export function lockingRead(
  select: LockingSelect,
  { source, span }: { readonly source: Source; readonly span: Span },
  tables: readonly CapturedTable[],
): LockingRead {
  const policies = select.clauses.map(({ policy }) => policy);
  return {
    kind: 'locking-read',
    tables,
    before: (leftOut) => beforeStep(select, source, tables, leftOut),
    read: (found) => pinned(select, { source, span }, tables, found),
    waits: !policies.includes('nowait'),
    skips: policies.includes('skip'),
  };
}

function beforeStep(
  { from, where, order, ordering, locking }: LockingSelect,
  source: Source,
  tables: readonly CapturedTable[],
  leftOut: Found,
): Step {
  const conditions = [
    ...(where === undefined ? [] : [`(${textOf(source, where)}\n)`]),
    ...tables.flatMap((table, index) => {
      const images = (leftOut[index] ?? []).map(({ image }) => image);
      // Not NOT: an outer join has rows without one of this table.
      return images.length === 0 ? [] : [ours(`(${rowsSql(table, images, table.row)}) IS NOT TRUE`)];
    }),
  ];
  const condition = conditions.length === 0 ? '' : `\nWHERE ${conditions.join(' AND ')}`;
  return {
    sql: `SELECT ${tables.map(readColumns).join(', ')} FROM ${textOf(source, from)}${condition}\n${order}\n${textOf(source, locking)}`,
    parameters: [from, ...(where === undefined ? [] : [where]), ...(order === '' ? [] : [ordering])].flatMap((each) =>
      parametersIn(source, each),
    ),
  };
}

/** The row locks of rows that were found, each once. */
export function locksOf(tables: readonly CapturedTable[], found: Found): readonly RowLock[] {
  const locks = tables.flatMap(({ locks: keys }, index) =>
    (found[index] ?? []).flatMap((row) =>
      keys.map(({ relation }, place) => ({ relation, key: row.locks[place] ?? '' })),
    ),
  );
  return [...new Map(locks.filter(({ key }) => key !== '').map((lock) => [nameOf(lock), lock])).values()];
}

/** The rows of which another global transaction holds a lock. */
export function heldAmong(tables: readonly CapturedTable[], found: Found, held: readonly RowLock[]): Found {
  const names = new Set(held.map(nameOf));
  return tables.map(({ locks }, index) =>
    (found[index] ?? []).filter((row) =>
      locks.some(({ relation }, place) => names.has(nameOf({ relation, key: row.locks[place] ?? '' }))),
    ),
  );
}

function nameOf({ relation, key }: RowLock): string {
  return `${relation} ${key}`;
}
