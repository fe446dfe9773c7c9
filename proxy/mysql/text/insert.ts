/** The clauses of INSERT and REPLACE. */
import { isExpression, readAssignments, readName, unicode } from './change.ts';
import {
  behindParenthesis,
  findWord,
  isEmpty,
  isOperator,
  isWord,
  splitAtCommas,
  type Source,
  type Span,
} from './span.ts';
import type { InsertStatement, Statement } from './statement.ts';
import { maskedText } from './tree.ts';

/** An INSERT or a REPLACE in any of its forms. */
export function readInsert(source: Source, whole: Span): Statement {
  const verb = isWord(source, whole.from, 'insert') ? 'insert' : 'replace';
  const end = findWord(source, whole, 'returning');
  const span = { from: whole.from, to: end };
  const unclear = (what: string): Statement => ({ kind: 'unclear', verb, what });
  let place = span.from + 1;
  while (isWord(source, place, 'low_priority', 'delayed', 'high_priority', 'ignore')) place += 1;
  const modifiers = { from: span.from + 1, to: place };
  if (isWord(source, place, 'into')) place += 1;
  const name = readName(source, place, span.to);
  if (name === undefined) return unclear('could not be analysed with certainty');
  place = behindPartition(source, name.next, span.to);
  const duplicate = findDuplicate(source, { from: place, to: span.to });
  const body = readBody(source, { from: place, to: duplicate });
  if (typeof body === 'string') return unclear(body);
  const assignments =
    duplicate === span.to ? undefined : readAssignments(source, { from: duplicate + DUPLICATE.length, to: span.to });
  if (duplicate < span.to && assignments === undefined) return unclear('could not be analysed with certainty');
  const insert: InsertStatement = {
    kind: verb,
    table: { database: name.database, table: name.table },
    verb: span.from,
    modifiers,
    isIgnoring: findWord(source, modifiers, 'ignore') < modifiers.to,
    ...body,
    onDuplicate: assignments === undefined ? undefined : { span: { from: duplicate, to: span.to }, assignments },
    returning: end === whole.to ? undefined : { from: end, to: whole.to },
    to: span.to,
  };
  return insert;
}

const DUPLICATE = ['on', 'duplicate', 'key', 'update'];

/** Where ON DUPLICATE KEY UPDATE begins; the end of the span without one. */
function findDuplicate(source: Source, span: Span): number {
  let { from } = span;
  for (;;) {
    const on = findWord(source, { from, to: span.to }, 'on');
    if (on === span.to || DUPLICATE.every((word, index) => isWord(source, on + index, word))) return on;
    from = on + 1;
  }
}

function behindPartition(source: Source, place: number, to: number): number {
  if (!isWord(source, place, 'partition')) return place;
  return behindParenthesis(source, place + 1, to) ?? place;
}

type Body = Pick<InsertStatement, 'columns' | 'rows'>;

/** The columns and what goes into them; a text says why it could not be read. */
function readBody(source: Source, { from, to }: Span): Body | string {
  if (isWord(source, from, 'set')) return readSet(source, { from: from + 1, to });
  let place = from;
  let columns: readonly string[] | undefined;
  const behind = behindParenthesis(source, place, to);
  if (behind !== undefined && !isWord(source, place + 1, 'select', 'with', 'table', 'values')) {
    columns = readColumns(source, { from: place + 1, to: behind - 1 });
    if (columns === undefined) return 'could not be analysed with certainty';
    place = behind;
  }
  if (!isWord(source, place, 'values', 'value')) {
    const isQuery = isWord(source, place, 'select', 'with', 'table') || isOperator(source, place, '(');
    return isQuery ? { columns, rows: undefined } : 'could not be analysed with certainty';
  }
  const rows = readRows(source, { from: place + 1, to });
  return rows === undefined ? 'could not be analysed with certainty' : { columns, rows };
}

function readColumns(source: Source, span: Span): readonly string[] | undefined {
  if (isEmpty(span)) return [];
  const columns = splitAtCommas(source, span).map(({ from, to }) => {
    const token = source.tokens[to - 1];
    // It may be qualified with its table.
    const isName = token?.kind === 'name' || token?.kind === 'word';
    if (!isName || (to - from !== 1 && !isOperator(source, to - 2, '.'))) return undefined;
    return unicode(token.kind === 'name' ? token.text : source.text.slice(token.start, token.end));
  });
  const known = columns.filter((column) => column !== undefined);
  return known.length === columns.length ? known : undefined;
}

function readSet(source: Source, span: Span): Body | string {
  const assignments = readAssignments(source, span);
  if (assignments === undefined) return 'could not be analysed with certainty';
  return { columns: assignments.map(({ column }) => column), rows: [assignments.map(({ value }) => value)] };
}

/** The rows of VALUES; undefined where something else follows them than a name for the row. */
function readRows(source: Source, { from, to }: Span): readonly (readonly Span[])[] | undefined {
  const rows: (readonly Span[])[] = [];
  const seen = new Set<string>();
  let place = from;
  while (place < to) {
    if (isWord(source, place, 'row')) place += 1;
    const behind = behindParenthesis(source, place, to);
    if (behind === undefined) return undefined;
    const inside = { from: place + 1, to: behind - 1 };
    const values = isEmpty(inside) ? [] : splitAtCommas(source, inside);
    // The rows of one statement mostly look the same.
    const shape = isEmpty(inside) ? '' : maskedText(source, inside);
    if (!seen.has(shape) && !values.every((value) => isExpression(source, value))) return undefined;
    seen.add(shape);
    rows.push(values);
    if (behind === to || isRowName(source, { from: behind, to })) return rows;
    if (!isOperator(source, behind, ',')) return undefined;
    place = behind + 1;
  }
  return undefined;
}

/** `AS new` and `AS new (a, b)`: what ON DUPLICATE KEY UPDATE calls the row that was to be inserted. */
function isRowName(source: Source, { from, to }: Span): boolean {
  if (!isWord(source, from, 'as') || readName(source, from + 1, to) === undefined) return false;
  return from + 2 === to || behindParenthesis(source, from + 2, to) === to;
}
