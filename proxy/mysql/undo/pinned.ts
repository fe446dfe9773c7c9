/** UPDATE and DELETE: the rows are read and locked by the client's own clauses, and then changed by these and their keys. */
import { findWord, parametersIn, placesOf, textOf, type Source, type Span } from '../text/span.ts';
import type { ChangeStatement } from '../text/statement.ts';
import {
  concluded,
  noColumns,
  ours,
  ownName,
  pairs,
  readColumns,
  type Capture,
  type CapturedTable,
  type Conclusion,
  type Found,
  type Outcome,
  type Step,
} from './capture.ts';
import { quoteName, tableName } from '../identifier.ts';
import { namedRow, type NamedColumn } from './named-row.ts';
import { rowsSql } from './image.ts';
import { refuse } from './refusal.ts';

/** The capture of a change of tables that may be captured. */
export function capturePinned(
  statement: ChangeStatement,
  { source, span }: { readonly source: Source; readonly span: Span },
  tables: readonly CapturedTable[],
): Capture {
  const isDelete = statement.kind === 'delete';
  const [table] = tables;
  const isNamed = tables.length === 1 && table !== undefined && table.movedSql === undefined;
  const named = isNamed ? namedRow(statement, source, table) : undefined;
  const atOnce = named && {
    change: { sql: textOf(source, span), parameters: [] },
    after: isDelete || table === undefined ? undefined : readNamed(table, named),
  };
  return {
    kind: 'capture',
    tables,
    looksFirst: false,
    before: (locks) => beforeStep(statement, source, tables, locks),
    change: (before) => ({ ...pinned(statement, { source, span }, tables, before), isPlain: false }),
    after: (before, outcome) =>
      isDelete && outcome?.affectedRows === rowsIn(before) ? undefined : afterStep(tables, before),
    // Of a DELETE is read what it has left, where that is not nothing.
    needsOutcome: isDelete,
    ...(atOnce === undefined ? {} : { atOnce }),
    answersRows: statement.returning !== undefined,
    conclude: (before, outcome, after) => {
      if (isDelete) return concludeDelete(tables, { before, after }, outcome);
      return atOnce === undefined
        ? concludeUpdate(tables, before, after)
        : concludeNamed(tables, { before, after }, outcome);
    },
  };
}

/** What was read by its key alone need not have been meant: the rest of the condition decides. */
function concludeNamed(
  tables: readonly CapturedTable[],
  { before, after }: { readonly before: Found; readonly after: Found },
  outcome: Outcome,
): Conclusion {
  if (before.some((rows) => rows.length > 0)) return concludeUpdate(tables, before, after);
  // A row that came to match between reading and changing was changed without an image.
  return outcome.affectedRows === 0 ? concluded(tables, [[]], []) : { kind: 'again' };
}

function readNamed(table: CapturedTable, named: readonly NamedColumn[]): Step {
  const own = { ...table, row: '`atomesh_row`' };
  const condition = named
    .map(({ column, value }) => `${ours(`${own.row}.${quoteName(column)}`)} = ${value}`)
    .join(' AND ');
  return {
    sql: `SELECT ${readColumns(own)} FROM ${ownName(table)} AS ${own.row} WHERE ${condition} FOR UPDATE`,
    parameters: [],
  };
}

function beforeStep(
  { from, where, order }: ChangeStatement,
  source: Source,
  tables: readonly CapturedTable[],
  locks: boolean,
): Step {
  const clauses = [from, ...(where === undefined ? [] : [where]), ...(order === undefined ? [] : [order])];
  const condition = where === undefined ? '' : `\nWHERE ${textOf(source, where)}`;
  const rest = order === undefined ? '' : `\n${textOf(source, order)}`;
  return {
    sql: `SELECT ${tables.map(readColumns).join(', ')} FROM ${textOf(source, from)}${condition}${rest}${locks ? '\nFOR UPDATE' : ''}`,
    parameters: clauses.flatMap((span) => parametersIn(source, span)),
  };
}

/**
 * The client's text with the keys as a further condition: it is about no row that was not read, even if one came to match since, and
 * whatever the condition says the second time. What it says in warnings and errors is said all the same.
 */
export function pinned(
  { where, behind }: Pick<ChangeStatement, 'where' | 'behind'>,
  { source, span }: { readonly source: Source; readonly span: Span },
  tables: readonly CapturedTable[],
  before: Found,
): Step {
  const pins = tables.map((table, index) => {
    const images = (before[index] ?? []).map(({ image }) => image);
    const pin = `(${images.length === 0 ? noRow(table) : rowsSql(table, images, table.row)})`;
    if (tables.length === 1) return pin;
    // An outer join has rows without one of this table.
    const [first] = table.key;
    return `(${pin} OR ${table.row}.${quoteName(first ?? '')} IS NULL)`;
  });
  const keys = ours(pins.join(' AND '));
  const whole = placesOf(source, span);
  const { text } = source;
  const parameters = parametersIn(source, span);
  if (where === undefined) {
    const at = source.tokens[behind]?.end ?? whole.end;
    return { sql: `${text.slice(whole.start, at)} WHERE ${keys}${text.slice(at, whole.end)}`, parameters };
  }
  const { start, end } = placesOf(source, where);
  const condition = `(${text.slice(start, end)}\n) AND ${keys}`;
  return { sql: `${text.slice(whole.start, start)}${condition}${text.slice(end, whole.end)}`, parameters };
}

/** False for every row, which a server does not see beforehand: of what matches nothing for certain MariaDB does not say how many rows matched. */
function noRow({ key, row }: CapturedTable): string {
  return `CONCAT(${row}.${quoteName(key[0] ?? '')}) IS NULL`;
}

/** Locking, so that it reads what is there, and not what the snapshot of the local transaction has; all of it is locked already. */
function afterStep(tables: readonly CapturedTable[], before: Found): Step | undefined {
  const reads = tables.flatMap((table, index) => {
    const images = (before[index] ?? []).map(({ image }) => image);
    if (images.length === 0) return [];
    const own = { ...table, row: '`atomesh_row`' };
    // The columns of the other tables of a joined change are there, and empty.
    const columns = tables.map((each, place) => (place === index ? readColumns(own) : noColumns(each)));
    const moved = table.movedSql === undefined ? [] : [table.movedSql(images, own.row)];
    return [ours(rowsSql(table, images, own.row)), ...moved].map(
      (condition) => `SELECT ${columns.join(', ')} FROM ${ownName(table)} AS ${own.row} WHERE ${condition} FOR UPDATE`,
    );
  });
  if (reads.length === 0) return undefined;
  return {
    sql: reads.length === 1 ? reads.join('') : reads.map((read) => `(${read})`).join(' UNION ALL '),
    parameters: [],
  };
}

/** Fewer rows than were read may have been changed; those are the same before and after. A row that is gone has another key now. */
function concludeUpdate(tables: readonly CapturedTable[], before: Found, after: Found): Conclusion {
  const moved = tables.find((_, index) => (before[index] ?? []).length !== (after[index] ?? []).length);
  if (moved !== undefined) {
    return refuse(
      `changing the key of ${tableName(moved)}`,
      'Delete the row and insert it anew, or make the change outside the global transaction.',
    );
  }
  const changed = tables.map((table, index) => pairs(table, before[index] ?? [], after[index] ?? []));
  return concluded(tables, changed, [before, after]);
}

/**
 * A condition may find rows that a DELETE by it leaves: without strict mode MariaDB takes a text that is no time for the time zero, but not in a
 * DELETE. What was read is locked, so that whatever is gone went by the statement.
 */
function concludeDelete(
  tables: readonly CapturedTable[],
  { before, after }: { readonly before: Found; readonly after: Found },
  outcome: Outcome,
): Conclusion {
  if (rowsIn(before) - rowsIn(after) !== outcome.affectedRows) return { kind: 'again' };
  const changed = tables.map((table, index) => pairs(table, before[index] ?? [], after[index] ?? []));
  return concluded(tables, changed, [before]);
}

function rowsIn(found: Found): number {
  return found.reduce((sum, rows) => sum + rows.length, 0);
}

/** True when the condition or the order assigns a variable: it would do so once more. */
export function assignsVariables({ where, order, from }: ChangeStatement, source: Source): boolean {
  return [from, where, order].some((span) => {
    if (span === undefined) return false;
    for (let place = span.from; place < span.to; place += 1) if (source.tokens[place]?.text === ':=') return true;
    return findWord(source, span, 'into') < span.to;
  });
}
