/** INSERT of rows that cannot exist: their keys are in the statement, or are those that the server gives out. */
import { columnOf, type TableFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import { isOperator, isWord, parametersIn, placesOf, textOf, type Source, type Span } from '../text/span.ts';
import type { InsertStatement } from '../text/statement.ts';
import {
  concluded,
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
import { givenValue, isZero, type GivenValue, type ParameterValue } from './given.ts';
import { refuse, type Refused } from './refusal.ts';

/** What the capture of an insertion is made of. */
export interface Insertion {
  readonly statement: InsertStatement;
  readonly source: Source;
  readonly span: Span;
  readonly facts: TableFacts;
  readonly table: CapturedTable;
  /** What the client's parameters are, in their order; empty for a text without any. */
  readonly parameters: readonly ParameterValue[];
}

/** Where the keys of the inserted rows come from. */
type Keys =
  /** For each row its key, column by column, as the client wrote it. */
  | { readonly kind: 'given'; readonly rows: readonly (readonly Span[])[] }
  /** The server numbers that many rows, one after the other. */
  | { readonly kind: 'numbered'; readonly count: number | 'as many as were inserted' };

/** The capture of a plain INSERT. */
export function captureInsert(insertion: Insertion): Capture | Refused {
  const { statement, source, span, table } = insertion;
  const keys = keysOf(insertion);
  if (keys.kind === 'refuse') return keys;
  const { start, end } = placesOf(source, span);
  const change: Step = { sql: source.text.slice(start, end), parameters: parametersIn(source, span) };
  return {
    kind: 'capture',
    tables: [table],
    looksFirst: false,
    before: undefined,
    change: () => ({ ...change, isPlain: false }),
    after: (_, outcome) => readInserted(insertion, keys, outcome),
    needsOutcome: keys.kind === 'numbered',
    answersRows: statement.returning !== undefined,
    conclude: (_, outcome, after) => conclude(table, outcome, after),
  };
}

/** The rows that were inserted and nothing else: as many as the server says. */
function conclude(table: CapturedTable, outcome: Outcome, after: Found): Conclusion {
  const [inserted = []] = after;
  if (inserted.length !== outcome.affectedRows) {
    return refuse('INSERT of a row that cannot be found by the key in the statement', 'Write the key as it is stored.');
  }
  return concluded([table], [pairs(table, [], inserted)], [after]);
}

/** Where the keys come from, or why they cannot be known. */
function keysOf(insertion: Insertion): Keys | Refused {
  const { statement, facts, table } = insertion;
  const numbered = table.key.find((name) => columnOf(facts, name)?.isAutoIncrement === true);
  if (statement.rows === undefined) {
    const isNumbered =
      table.key.length === 1 && numbered !== undefined && statement.columns?.every((name) => !isSame(name, numbered));
    if (isNumbered === true && facts.autoIncrementMode < 2)
      return { kind: 'numbered', count: 'as many as were inserted' };
    return refuse(
      'INSERT … SELECT, whose rows have keys that cannot be known,',
      'Read the rows and insert them by VALUES, or let it be prepared: escalate: xa in the sidecar configuration, and the gid named at BEGIN.',
    );
  }
  const keys = statement.rows.map((row) => table.key.map((name) => ({ name, span: valueOf(insertion, row, name) })));
  const isGiven = keys.map((key) => key.every(({ name, span }) => isKnown(insertion, name, span)));
  if (isGiven.every(Boolean)) {
    return { kind: 'given', rows: keys.map((key) => key.flatMap(({ span }) => (span === undefined ? [] : [span]))) };
  }
  const isNumbered = keys.every(
    (key) =>
      key.length === 1 && key.every(({ name, span }) => isSame(name, numbered ?? '') && isGenerated(insertion, span)),
  );
  // A zero is stored as one in the mode NO_AUTO_VALUE_ON_ZERO. The answer to one row says so; to several, or with rows, it does not.
  const hasZero = keys.some((key) => key.some(({ span }) => isZero(given(insertion, span))));
  const isTold = !hasZero || (keys.length === 1 && statement.returning === undefined && !setsLastId(insertion));
  if (isNumbered && isTold) return { kind: 'numbered', count: keys.length };
  return refuse(
    'INSERT of a row whose key cannot be known',
    'Write the key as a constant or a parameter, in all rows or in none.',
  );
}

function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** What the statement gives for a column; undefined where it gives nothing. */
export function valueOf({ statement, facts }: Insertion, row: readonly Span[], name: string): Span | undefined {
  // Without a list the values are for the visible columns in their order; generated ones are given DEFAULT.
  const columns = statement.columns ?? facts.columns.flatMap((each) => (each.isInvisible === true ? [] : [each.name]));
  const place = columns.findIndex((column) => isSame(column, name));
  return place === -1 ? undefined : row[place];
}

/** True when the value is one that the row can be found by. */
function isKnown(insertion: Insertion, name: string, span: Span | undefined): boolean {
  const value = given(insertion, span);
  if (value.kind !== 'constant') return false;
  if (columnOf(insertion.facts, name)?.isAutoIncrement !== true) return true;
  // A zero, and what is no number, may be read as the wish for the next number. A parameter that is a double is written with an exponent.
  return value.text === undefined || /^(?:'-?0*[1-9][0-9]*'|-?0*[1-9][0-9]*(?:e0)?)$/.test(value.text);
}

/** True when the server gives the column its next number. */
function isGenerated(insertion: Insertion, span: Span | undefined): boolean {
  const value = given(insertion, span);
  return value.kind === 'default' || value.kind === 'null' || isZero(value);
}

/** True when LAST_INSERT_ID(…) is called: what the answer says is then what it was given. */
function setsLastId({ source, span }: Insertion): boolean {
  for (let place = span.from; place < span.to; place += 1) {
    if (isWord(source, place, 'last_insert_id') && !isOperator(source, place + 2, ')')) return true;
  }
  return false;
}

function given({ source, parameters }: Insertion, span: Span | undefined): GivenValue {
  return span === undefined ? { kind: 'default' } : givenValue(source, span, parameters);
}

/** Reads the rows of these keys, as they are now. */
function readInserted(
  { statement, table, source }: Insertion,
  keys: Keys,
  outcome: Outcome | undefined,
): Step | undefined {
  const own = { ...table, row: '`atomesh_row`' };
  const read = (condition: string, parameters: readonly number[]): Step => ({
    sql: `SELECT ${readColumns(own)} FROM ${ownName(table)} AS ${own.row} WHERE ${condition} FOR UPDATE`,
    parameters,
  });
  if (keys.kind === 'given') return read(...givenCondition(table.key, keys.rows, source, own.row));
  if (outcome === undefined || outcome.affectedRows === 0) return undefined;
  const count = keys.count === 'as many as were inserted' ? outcome.affectedRows : keys.count;
  const [name = ''] = table.key;
  // Rows as an answer do not say which number was the first.
  const first = statement.returning === undefined ? outcome.insertId : 'LAST_INSERT_ID()';
  // Consecutive, but for the step that the session's variable says.
  const numbers = Array.from({ length: count }, (_, index) =>
    index === 0 ? first : `${first} + ${index} * @@auto_increment_increment`,
  );
  return read(`${ours(`${own.row}.${quoteName(name)}`)} IN (${numbers.join(', ')})`, []);
}

/** The condition for rows by the client's own words for their keys, and the parameters in these. */
function givenCondition(
  columns: readonly string[],
  rows: readonly (readonly Span[])[],
  source: Source,
  row: string,
): [string, readonly number[]] {
  const tuple = (items: readonly string[]): string => (items.length === 1 ? items.join() : `(${items.join(', ')})`);
  const left = tuple(columns.map((name) => ours(`${row}.${quoteName(name)}`)));
  const right = rows.map((values) => tuple(values.map((value) => textOf(source, value))));
  return [
    `${left} IN (${right.join(', ')})`,
    rows.flatMap((values) => values.flatMap((value) => parametersIn(source, value))),
  ];
}
