/**
 * A change that is prepared, and not captured, is carried out like a capture of which nothing is written: all that it meets is asked for behind
 * it. So it is not built upon what another, unfinished global transaction may have to restore. Pure.
 */
import {
  readSqlOf,
  type Capture,
  type CapturedTable,
  type Conclusion,
  type Found,
  type RowLock,
} from '../undo/capture.ts';

/** The table with nothing of its rows but keys, locks and what they refer to: whose they are needs no image. */
export function keysOnly(table: CapturedTable): CapturedTable {
  const columns = table.columns.filter(({ name }) => table.key.includes(name));
  return { ...table, columns, readSql: readSqlOf({ columns, locks: table.locks }, []) };
}

/** Of rows that exist. Pinned to those that were read it changes no others; a row that came to match since is met where it names one itself. */
export function askingChange(capture: Capture): Capture {
  return {
    ...capture,
    conclude: (before, { affectedRows }, after) =>
      before.every((rows) => rows.length === 0) && affectedRows > 0
        ? { kind: 'again' }
        : askedOf(capture.tables, before, after),
  };
}

/** Of rows that may be new: asked about as far as they are found. */
export function askingInsertion(capture: Capture): Capture {
  return { ...capture, conclude: (before, _, after) => askedOf(capture.tables, before, after) };
}

/** Nobody else may hold a row as it was, or as it is, or one that it refers to now, or have claimed one that is gone. */
function askedOf(tables: readonly CapturedTable[], before: Found, after: Found): Conclusion {
  const shared: RowLock[] = [];
  const freed: RowLock[] = [];
  for (const [index, { locks, parents }] of tables.entries()) {
    const [earlier, later] = [before[index] ?? [], after[index] ?? []];
    for (const [place, { relation, isReferred }] of locks.entries()) {
      const [old, now] = [earlier, later].map((rows) => new Set(rows.map((row) => row.locks[place] ?? '')));
      const gone = [...(old ?? [])].filter((key) => now?.has(key) !== true);
      shared.push(...named(relation, [...(now ?? []), ...gone]));
      if (isReferred) freed.push(...named(relation, gone));
    }
    for (const [place, { relation }] of parents.entries()) {
      const [old, now] = [earlier, later].map((rows) => new Set(rows.map((row) => row.parents[place] ?? '')));
      shared.push(
        ...named(
          relation,
          [...(now ?? [])].filter((key) => old?.has(key) !== true),
        ),
      );
    }
  }
  return { kind: 'captured', records: [], locks: [], claims: [], shared, freed };
}

/** An empty key locks nothing. */
function named(relation: string, keys: readonly string[]): readonly RowLock[] {
  return keys.filter((key) => key !== '').map((key) => ({ relation, key }));
}
