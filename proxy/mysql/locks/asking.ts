/**
 * A change that is prepared, and not captured, is carried out like a capture of which nothing is written: all that it meets is asked for behind
 * it. So it is not built upon what another, unfinished global transaction may have to restore. Pure.
 */
import { quoteName } from '../identifier.ts';
import { textOf, type Source } from '../text/span.ts';
import type { Assignment } from '../text/statement.ts';
import {
  ours,
  readSqlOf,
  type Capture,
  type CapturedTable,
  type Conclusion,
  type Found,
  type RowLock,
} from '../undo/capture.ts';
import { givenValue } from '../undo/given.ts';
import { rowsSql } from '../undo/image.ts';

/**
 * The table with nothing of its rows but keys, locks and what they refer to: whose they are needs no image. `assignments`: what the statement,
 * without parameters, assigns in its rows.
 */
export function keysOnly(table: CapturedTable, assignments: readonly Assignment[], source: Source): CapturedTable {
  const columns = table.columns.filter(({ name }) => table.key.includes(name));
  const movedSql = movedBy({ ...table, columns }, assignments, source);
  const own = { ...table, columns, readSql: readSqlOf({ columns, locks: table.locks }, []) };
  return movedSql === undefined ? own : { ...own, movedSql };
}

/** Undefined where no key is assigned, or another value than a constant: where the rows have gone is then not known. */
function movedBy(table: CapturedTable, assignments: readonly Assignment[], source: Source): CapturedTable['movedSql'] {
  // Of several for one column the last one counts.
  const assigned = table.key.flatMap(
    (name) => assignments.findLast(({ column }) => column.toLowerCase() === name.toLowerCase()) ?? [],
  );
  const isConstant = assigned.every(({ value }) => givenValue(source, value, []).kind === 'constant');
  if (assigned.length === 0 || !isConstant) return undefined;
  const names = new Set(assigned.map(({ column }) => column.toLowerCase()));
  const kept = table.key.filter((name) => !names.has(name.toLowerCase()));
  return (images, row) => {
    const now = assigned.map(
      ({ column, value }) => `${ours(`${row}.${quoteName(column)}`)} = (${textOf(source, value)})`,
    );
    return [...now, ...(kept.length === 0 ? [] : [ours(rowsSql({ ...table, key: kept }, images, row))])].join(' AND ');
  };
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
