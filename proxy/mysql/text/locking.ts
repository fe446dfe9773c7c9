/** The clauses of a SELECT that locks the rows that it reads. */
import { isOrder, readName, readTables, unicode } from './change.ts';
import {
  findWord,
  isBalanced,
  isEmpty,
  isOperator,
  isWord,
  splitAtCommas,
  textOf,
  type Source,
  type Span,
} from './span.ts';
import type { TableReference } from './statement.ts';

/** What is done about a row that somebody else has locked. */
export type LockPolicy = 'wait' | 'nowait' | 'skip';

export interface LockingClause {
  /** The names of the tables that it locks, as the statement calls them; empty for all. */
  readonly of: readonly string[];
  readonly policy: LockPolicy;
}

export interface LockingSelect {
  readonly kind: 'locking-select';
  /** The list of tables, behind FROM. */
  readonly from: Span;
  readonly tables: readonly TableReference[];
  /** Without its first word. */
  readonly where: Span | undefined;
  /** Where `WHERE …` would begin if there were none: behind this token. */
  readonly behind: number;
  /**
   * ORDER BY and LIMIT as they have to stand in a reading of other columns, which reads the rows up to the last one that the statement
   * answers with: text.
   */
  readonly order: string;
  /** Where the statement has them. */
  readonly ordering: Span;
  readonly clauses: readonly LockingClause[];
  /** The text of the clauses. */
  readonly locking: Span;
}

/** `what` continues "a locking read that …". */
interface Unclear {
  readonly kind: 'unclear';
  readonly what: string;
}

/** The places at which a statement, or a query within it, asks for locks. */
export function lockingPlaces(source: Source, { from, to }: Span): readonly number[] {
  const places: number[] = [];
  for (let place = from; place < to; place += 1) {
    const isLocking =
      (isWord(source, place, 'for') && isWord(source, place + 1, 'update', 'share')) ||
      (isWord(source, place, 'lock') && isWord(source, place + 1, 'in') && isWord(source, place + 2, 'share'));
    if (isLocking) places.push(place);
  }
  return places;
}

/** Of a statement with such places. `nothing`: it names no table. */
export function readLocking(source: Source, span: Span): LockingSelect | Unclear | { readonly kind: 'nothing' } {
  if (!isWord(source, span.from, 'select')) return unclear('is not one plain SELECT');
  const [at = span.to, ...others] = lockingPlaces(source, span);
  const locking = { from: at, to: span.to };
  const query = { from: span.from, to: at };
  const clauses = isBalanced(source, query) ? readClauses(source, locking) : undefined;
  if (clauses === undefined || clauses.length !== others.length + 1)
    return unclear('has a locking clause in a place that is not known');
  const from = findWord(source, query, 'from');
  if (from === at || (from + 2 === at && isWord(source, from + 1, 'dual'))) return { kind: 'nothing' };
  const shaping = findWord(source, query, ...SHAPING);
  if (shaping < at) return unclear(`has ${source.tokens[shaping]?.text.toUpperCase()}`);
  const list = { from: span.from + 1, to: from };
  if (hasWord(source, list, 'over')) return unclear('has a window function');
  const aggregate = aggregateIn(source, list);
  if (aggregate === 'min' || aggregate === 'max') {
    return unclear(
      `has ${aggregate.toUpperCase()}(), which may read a single row of many; write ORDER BY … LIMIT 1, which`,
    );
  }
  const where = findWord(source, { from: from + 1, to: at }, 'where', 'order', 'limit');
  const order = findWord(source, { from: where, to: at }, 'order', 'limit');
  const limit = findWord(source, { from: order, to: at }, 'limit');
  const condition = isWord(source, where, 'where') ? { from: where + 1, to: order } : undefined;
  if (hasAssignment(source, { from, to: at })) return unclear('sets a variable');
  const tables = { from: from + 1, to: where };
  if (hasWord(source, tables, 'select', 'values', 'lateral', 'json_table')) return unclear('reads more than tables');
  if (condition !== undefined && isEmpty(condition)) return unclear('could not be analysed with certainty');
  const found = readTables(source, tables, {
    where: condition,
    order: order === at ? undefined : { from: order, to: at },
  });
  if (found === undefined || !isOrder(source, { from: order, to: limit })) {
    return unclear('could not be analysed with certainty');
  }
  // All rows are read for one that is made of them.
  const rest =
    aggregate === undefined ? orderText(source, { list, order, limit, to: at }, found.tables.length > 1) : '';
  if (rest === undefined)
    return unclear('has an ORDER BY or a LIMIT that would not mean the same in a reading of other columns');
  return {
    kind: 'locking-select',
    from: tables,
    tables: found.tables,
    where: condition,
    behind: where - 1,
    order: rest,
    ordering: { from: order, to: at },
    clauses,
    locking,
  };
}

function unclear(what: string): Unclear {
  return { kind: 'unclear', what };
}

/** With these a row of the answer is made of several, or of another number of them, or goes elsewhere. */
const SHAPING = [
  'distinct',
  'distinctrow',
  'sql_calc_found_rows',
  'group',
  'having',
  'window',
  'union',
  'intersect',
  'except',
  'minus',
  'procedure',
  'into',
];

const AGGREGATES: ReadonlySet<string> = new Set(
  'count,sum,avg,min,max,group_concat,bit_and,bit_or,bit_xor,std,stddev,stddev_pop,stddev_samp,variance,var_pop,var_samp,json_arrayagg,json_objectagg,st_collect,median,percentile_cont,percentile_disc'.split(
    ',',
  ),
);

/** The first aggregate function of a list of columns that is not in a query of its own; MIN and MAX before all others. */
function aggregateIn(source: Source, { from, to }: Span): string | undefined {
  const isQuery: boolean[] = [];
  const found: string[] = [];
  for (let place = from; place < to; place += 1) {
    if (isOperator(source, place, '(')) isQuery.push(isWord(source, place + 1, 'select', 'with'));
    else if (isOperator(source, place, ')')) isQuery.pop();
    const token = source.tokens[place];
    const isCall = token?.kind === 'word' && AGGREGATES.has(token.text) && isOperator(source, place + 1, '(');
    if (isCall && !isQuery.includes(true)) found.push(token.text);
  }
  return found.find((name) => name === 'min' || name === 'max') ?? found[0];
}

/** True when one of the words is there, in parentheses or not. */
function hasWord(source: Source, { from, to }: Span, ...words: readonly string[]): boolean {
  for (let place = from; place < to; place += 1) if (isWord(source, place, ...words)) return true;
  return false;
}

function hasAssignment(source: Source, { from, to }: Span): boolean {
  for (let place = from; place < to; place += 1) if (isOperator(source, place, ':=')) return true;
  return false;
}

interface Rest {
  /** What is selected. */
  readonly list: Span;
  readonly order: number;
  readonly limit: number;
  readonly to: number;
}

/** ORDER BY and LIMIT for a reading of other columns; undefined where there is none that is the same for certain. */
function orderText(source: Source, { list, order, limit, to }: Rest, isJoined: boolean): string | undefined {
  const ordered = { from: order, to: limit };
  const isSame = isEmpty(ordered) || !namesSelected(source, ordered, list, isJoined);
  // Without a limit all rows are read, in whatever order.
  if (limit === to) return isSame && !isEmpty(ordered) ? textOf(source, ordered) : '';
  const last = lastRow(source, { from: limit + 1, to });
  if (!isSame || last === undefined) return undefined;
  return `${isEmpty(ordered) ? '' : `${textOf(source, ordered)} `}LIMIT ${last}`;
}

/**
 * True when a name in ORDER BY, where it has no table's in front of it, may be one that the list of what is selected gives: there it is
 * looked for first. In a reading of one table a column that is selected by its own name means the same.
 */
function namesSelected(source: Source, ordered: Span, list: Span, isJoined: boolean): boolean {
  const given = new Set(splitAtCommas(source, list).flatMap((item) => givenName(source, item) ?? []));
  for (let place = ordered.from + 2; place < ordered.to; place += 1) {
    const token = source.tokens[place];
    const isName = token?.kind === 'name' || (token?.kind === 'word' && token.text !== 'asc' && token.text !== 'desc');
    if (!isName || isOperator(source, place - 1, '.')) continue;
    if (isOperator(source, place + 1, '.') || isOperator(source, place + 1, '(')) continue;
    if (isJoined || given.has(token.text.toLowerCase())) return true;
  }
  return false;
}

/** The name that an item of the list gives to something else than the column of that name. */
function givenName(source: Source, { from, to }: Span): string | undefined {
  const last = source.tokens[to - 1];
  if (to - from < 2 || last === undefined || isOperator(source, to - 2, '.')) return undefined;
  if (last.kind === 'operator' || last.kind === 'number') return undefined;
  const name = (last.kind === 'string' ? last.text.slice(1, -1) : last.text).toLowerCase();
  const value = isWord(source, to - 2, 'as') ? to - 2 : to - 1;
  const column = readName(source, from, value);
  const isColumn =
    column?.next === value && unicode(source.tokens[value - 1]?.text ?? '').toLowerCase() === unicode(name);
  return isColumn ? undefined : name;
}

/** The number of the last row that a LIMIT lets through, with those that it passes over. */
function lastRow(source: Source, { from, to }: Span): string | undefined {
  const [first, middle, last, ...more] = source.tokens.slice(from, to);
  if (first === undefined || more.length > 0) return undefined;
  if (middle === undefined) return first.kind === 'number' || first.kind === 'parameter' ? first.text : undefined;
  if (last === undefined || (middle.text !== ',' && middle.text !== 'offset')) return undefined;
  const isPlain = [first, last].every(({ text }) => /^[0-9]{1,19}$/.test(text));
  return isPlain ? `${BigInt(first.text) + BigInt(last.text)}` : undefined;
}

/** FOR UPDATE and FOR SHARE, of both servers, and the older LOCK IN SHARE MODE; undefined where there is anything else. */
function readClauses(source: Source, { from, to }: Span): readonly LockingClause[] | undefined {
  const clauses: LockingClause[] = [];
  let place = from;
  while (place < to) {
    const isOld = isWord(source, place, 'lock') && isWord(source, place + 3, 'mode');
    if (!isOld && !isWord(source, place, 'for')) return undefined;
    place += isOld ? 4 : 2;
    const of: string[] = [];
    while (isWord(source, place, 'of') || (of.length > 0 && isOperator(source, place, ','))) {
      const name = readName(source, place + 1, to);
      if (name === undefined) return undefined;
      of.push(name.table);
      place = name.next;
    }
    const policy = policyAt(source, place);
    place += policy.length;
    clauses.push({ of, policy: policy.kind });
  }
  return clauses;
}

function policyAt(source: Source, place: number): { readonly kind: LockPolicy; readonly length: number } {
  if (isWord(source, place, 'nowait')) return { kind: 'nowait', length: 1 };
  if (isWord(source, place, 'skip') && isWord(source, place + 1, 'locked')) return { kind: 'skip', length: 2 };
  const seconds = isWord(source, place, 'wait') ? source.tokens[place + 1] : undefined;
  if (seconds?.kind !== 'number') return { kind: 'wait', length: 0 };
  return { kind: Number(seconds.text) === 0 ? 'nowait' : 'wait', length: 2 };
}
