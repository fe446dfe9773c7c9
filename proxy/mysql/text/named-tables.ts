/**
 * The tables and views that a statement of any kind may read, told by where their names stand. Pure. What cannot be told from a table
 * counts as one, so that there may be more names than tables, and never fewer.
 */
import { readName } from './change.ts';
import { behindParenthesis, findWord, isOperator, isWord, type Source, type Span } from './span.ts';
import type { TableName } from './statement.ts';

/** Without the names of common table expressions where they hide a table. */
export function namedTables(source: Source, span: Span): readonly TableName[] {
  const hidden = expressionsIn(source, span);
  return namesIn(source, readPart(source, span))
    .filter(
      ({ name, place }) =>
        name.database !== undefined ||
        !hidden.some(({ table, from, to }) => table === name.table && place >= from && place < to),
    )
    .map(({ name: { database, table } }) => ({ database, table }));
}

/** What SHOW names is not read: a query within it is. */
function readPart(source: Source, { from, to }: Span): Span {
  if (!isWord(source, from, 'show')) return { from, to };
  let place = from;
  while (place < to && !isWord(source, place, 'select') && !isOperator(source, place, '(')) place += 1;
  return { from: place, to };
}

interface Named {
  readonly name: TableName;
  readonly place: number;
}

/** Of one pair of parentheses. */
interface Level {
  /** A comma is followed by a table. */
  isList: boolean;
  /** FROM begins a list of tables, and is no part of a function's arguments. */
  hasQuery: boolean;
}

/**
 * What words are where tables may be named. `list`: a table follows, or several; `one`: one follows; `modifier`: one of these may stand in
 * front of it; `end`: behind it no comma is followed by a table. None of them can be a name without quotes.
 */
const ROLES: ReadonlyMap<string, 'list' | 'one' | 'modifier' | 'end'> = new Map([
  ...['from', 'join', 'straight_join', 'update', 'using'].map((word) => [word, 'list'] as const),
  ...['table', 'into', 'insert', 'replace'].map((word) => [word, 'one'] as const),
  ...['low_priority', 'high_priority', 'delayed', 'ignore'].map((word) => [word, 'modifier'] as const),
  ...['with', 'select', 'where', 'set', 'having', 'values', 'group', 'order'].map((word) => [word, 'end'] as const),
]);

function namesIn(source: Source, { from, to }: Span): readonly Named[] {
  const found: Named[] = [];
  const outer: Level[] = [];
  let level: Level = { isList: false, hasQuery: true };
  let isNext = false;
  for (let place = from; place < to; place += 1) {
    const token = source.tokens[place];
    if (token?.kind === 'operator') {
      switch (token.text) {
        case '(':
          outer.push(level);
          // Where a table may be named there is a list of them within, or a query.
          level = { isList: isNext, hasQuery: false };
          break;
        case ')':
          level = outer.pop() ?? level;
          isNext = false;
          break;
        case ',':
          isNext = level.isList;
          break;
        case '{':
          // `{ OJ`, of which the word may be any.
          place += 1;
          isNext = true;
          break;
        case '.':
          // In front of a name.
          break;
        default:
          isNext = false;
      }
      continue;
    }
    const role = roleAt(source, place, level);
    if (role === 'modifier') continue;
    if (role === 'end') {
      level.isList = false;
      level.hasQuery ||= token?.text === 'select';
    }
    if (role === 'list') level.isList = true;
    const name = role === undefined && isNext ? readName(source, place, to) : undefined;
    if (name !== undefined) found.push({ name, place });
    isNext = role === 'list' || role === 'one';
  }
  return found;
}

function roleAt(source: Source, place: number, { hasQuery }: Level): ReturnType<typeof ROLES.get> {
  const token = source.tokens[place];
  if (token?.kind !== 'word') return undefined;
  const role = token.text === 'duplicate' ? 'end' : ROLES.get(token.text);
  if (role === undefined || !isWord(source, place, token.text)) return undefined;
  switch (token.text) {
    case 'from':
      // Elsewhere it is part of a function's arguments.
      return hasQuery ? role : undefined;
    case 'update':
      // FOR UPDATE, and ON DUPLICATE KEY UPDATE.
      return isWord(source, place - 1, 'for', 'key') ? undefined : role;
    case 'insert':
    case 'replace':
      // They are functions, too.
      return isOperator(source, place + 1, '(') ? undefined : role;
    case 'group':
    case 'order':
      // Within a list of tables an index may be said to be FOR ORDER BY.
      return isWord(source, place - 1, 'for') ? undefined : role;
    case 'duplicate':
      return isWord(source, place - 1, 'on') && isWord(source, place + 1, 'key') ? role : undefined;
    default:
      return role;
  }
}

/** A common table expression: what it is called, and where that hides a table. */
interface Expression extends Span {
  readonly table: string;
}

function expressionsIn(source: Source, span: Span): readonly Expression[] {
  const found: Expression[] = [];
  for (let place = span.from; place < span.to; place += 1) {
    if (source.tokens[place]?.text !== 'with' || !isWord(source, place, 'with')) continue;
    const isRecursive = isWord(source, place + 1, 'recursive');
    const to = endOfQuery(source, { from: place, to: span.to });
    let at = place + (isRecursive ? 2 : 1);
    for (;;) {
      const name = readName(source, at, to);
      const columns = name === undefined ? undefined : (behindParenthesis(source, name.next, to) ?? name.next);
      if (name === undefined || columns === undefined || !isWord(source, columns, 'as')) break;
      const behind = behindParenthesis(source, columns + 1, to);
      if (behind === undefined) break;
      // Within its own query only a recursive one is meant by its name.
      if (name.database === undefined) found.push({ table: name.table, from: isRecursive ? columns + 1 : behind, to });
      if (!isOperator(source, behind, ',')) break;
      at = behind + 1;
    }
  }
  return found;
}

/** Where the query that begins there ends: with the parenthesis around it, or with what may follow it in a change. */
function endOfQuery(source: Source, { from, to }: Span): number {
  const end = findWord(source, { from, to }, 'duplicate', 'returning');
  let depth = 0;
  for (let place = from; place < end; place += 1) {
    if (isOperator(source, place, '(')) depth += 1;
    if (isOperator(source, place, ')')) depth -= 1;
    if (depth < 0) return place;
  }
  return end;
}
