/** The clauses of UPDATE and DELETE. */
import {
  behindParenthesis,
  findWord,
  isBalanced,
  isEmpty,
  isOperator,
  isWord,
  splitAtCommas,
  type Source,
  type Span,
} from './span.ts';
import type { Assignment, ChangeStatement, Statement, TableName, TableReference } from './statement.ts';
import { isTree, maskedText, treeOf, treesIn } from './tree.ts';

/** Behind these the rest of a statement is not part of what is read here. */
const LATER = [
  'where',
  'order',
  'limit',
  'returning',
  'for',
  'window',
  'group',
  'having',
  'union',
  'procedure',
  'into',
];

/** An UPDATE or a DELETE, for one or several tables. */
export function readChange(source: Source, whole: Span): Statement {
  const verb = isWord(source, whole.from, 'update') ? 'update' : 'delete';
  const end = verb === 'delete' ? findWord(source, whole, 'returning') : whole.to;
  const span = { from: whole.from, to: end };
  let place = span.from + 1;
  let isIgnoring = false;
  while (isWord(source, place, 'low_priority', 'ignore', 'quick')) {
    isIgnoring ||= isWord(source, place, 'ignore');
    place += 1;
  }
  const rest = { from: place, to: span.to };
  const read = verb === 'update' ? readUpdate(source, rest) : readDelete(source, rest);
  if (typeof read === 'string') return unclear(verb, read);
  const clauses = readClauses(source, { from: read.next, to: span.to });
  if (clauses === undefined) return unclear(verb, 'has clauses behind its tables that are not known');
  const found = readTables(source, read.from, clauses);
  if (found === undefined) return unclear(verb, 'could not be analysed with certainty');
  if (found.isJoined && clauses.order !== undefined) return unclear(verb, 'has ORDER BY or LIMIT with several tables');
  const change: ChangeStatement = {
    kind: verb,
    from: read.from,
    ...found,
    assignments: read.assignments,
    targets: read.targets,
    ...clauses,
    behind: read.next - 1,
    isIgnoring,
    returning: end === whole.to ? undefined : { from: end, to: whole.to },
  };
  return change;
}

interface Beginning {
  readonly from: Span;
  readonly assignments: readonly Assignment[];
  readonly targets: readonly TableName[];
  /** Where the clauses behind it begin. */
  readonly next: number;
}

function readUpdate(source: Source, rest: Span): Beginning | string {
  const set = findWord(source, rest, 'set');
  const next = findWord(source, { from: set, to: rest.to }, ...LATER);
  const assignments = readAssignments(source, { from: set + 1, to: next });
  if (set === rest.to || assignments === undefined) return 'could not be analysed with certainty';
  return { from: { from: rest.from, to: set }, assignments, targets: [], next };
}

/** DELETE FROM t …, DELETE a, b FROM …, and DELETE FROM a, b USING …. */
function readDelete(source: Source, rest: Span): Beginning | string {
  const from = findWord(source, rest, 'from');
  if (from === rest.to) return 'could not be analysed with certainty';
  const using = findWord(source, { from: from + 1, to: rest.to }, 'using', ...LATER, 'join', 'on');
  const isUsing = isWord(source, using, 'using');
  if (isUsing && from !== rest.from) return 'could not be analysed with certainty';
  const named: Span = isUsing ? { from: from + 1, to: using } : { from: rest.from, to: from };
  const start = (isUsing ? using : from) + 1;
  const next = findWord(source, { from: start, to: rest.to }, ...LATER);
  const targets = isEmpty(named) ? [] : splitAtCommas(source, named).map((part) => readTarget(source, part));
  const known = targets.filter((target) => target !== undefined);
  if (known.length !== targets.length) return 'could not be analysed with certainty';
  return { from: { from: start, to: next }, assignments: [], targets: known, next };
}

/** `t`, `d.t`, and the old way of writing both: `t.*`. */
function readTarget(source: Source, { from, to }: Span): TableName | undefined {
  const end = isOperator(source, to - 1, '*') && isOperator(source, to - 2, '.') ? to - 2 : to;
  const name = readName(source, from, end);
  return name?.next === end ? name : undefined;
}

/** A name of up to two parts at a place, and what is behind it. */
export function readName(
  source: Source,
  place: number,
  to: number,
): (TableName & { readonly next: number }) | undefined {
  const first = nameAt(source, place, to);
  if (first === undefined) return undefined;
  if (!isOperator(source, place + 1, '.') || place + 1 >= to) {
    return { database: undefined, table: first, next: place + 1 };
  }
  const second = nameAt(source, place + 2, to);
  return second === undefined ? undefined : { database: first, table: second, next: place + 3 };
}

function nameAt({ tokens, text }: Source, place: number, to: number): string | undefined {
  const token = tokens[place];
  if (token === undefined || place >= to) return undefined;
  if (token.kind === 'name') return unicode(token.text);
  // The names of tables may differ by their case alone.
  return token.kind === 'word' ? unicode(text.slice(token.start, token.end)) : undefined;
}

/** A name of the text, in which each character is a byte, as the catalogue says it. */
export function unicode(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** The assignments of SET or ON DUPLICATE KEY UPDATE; undefined where one is none. */
export function readAssignments(source: Source, span: Span): readonly Assignment[] | undefined {
  if (isEmpty(span)) return undefined;
  const assignments: Assignment[] = [];
  for (const { from, to } of splitAtCommas(source, span)) {
    const parts: string[] = [];
    let place = from;
    for (;;) {
      const part = nameAt(source, place, to);
      if (part === undefined) return undefined;
      parts.push(part);
      if (!isOperator(source, place + 1, '.')) break;
      place += 2;
    }
    const equals = place + 1;
    const value = { from: equals + 1, to };
    const isAssignment = isOperator(source, equals, '=') || isOperator(source, equals, ':=');
    const column = parts.at(-1);
    if (!isAssignment || isEmpty(value) || column === undefined || !isExpression(source, value)) return undefined;
    assignments.push({ table: parts.at(-2), column, value });
  }
  return assignments;
}

/** True when the grammar takes the span for one expression. */
export function isExpression(source: Source, span: Span): boolean {
  if (isEmpty(span) || !isBalanced(source, span)) return false;
  // A constant, a parameter or DEFAULT needs no grammar.
  if (span.to - span.from === 1 && source.tokens[span.from]?.kind !== 'operator') return true;
  const tree = treeOf(`select ${maskedText(source, span)} from t`);
  return tree?.['type'] === 'select' && treesIn(tree['columns']).length === 1 && treesIn(tree['from']).length === 1;
}

interface Clauses {
  readonly where: Span | undefined;
  readonly order: Span | undefined;
}

/** WHERE, ORDER BY and LIMIT, in this order, and nothing else. */
function readClauses(source: Source, { from, to }: Span): Clauses | undefined {
  const isWhere = isWord(source, from, 'where');
  const order = findWord(source, { from, to }, 'order', 'limit');
  if (!isWhere && order !== from && from !== to) return undefined;
  const where = { from: from + 1, to: order };
  if (isWhere && isEmpty(where)) return undefined;
  const unknown = findWord(
    source,
    { from: from + 1, to },
    ...LATER.filter((word) => word !== 'order' && word !== 'limit'),
  );
  if (unknown < to) return undefined;
  const rest = { from: order, to };
  if (!isBalanced(source, { from, to }) || !isOrder(source, rest)) return undefined;
  return { where: isWhere ? where : undefined, order: isEmpty(rest) ? undefined : rest };
}

/** A number in ORDER BY names a column of a SELECT, and means nothing elsewhere. */
export function isOrder(source: Source, { from, to }: Span): boolean {
  const limit = findWord(source, { from, to }, 'limit');
  if (limit < to && (to - limit !== 2 || !['number', 'parameter'].includes(source.tokens[limit + 1]?.kind ?? ''))) {
    return false;
  }
  if (limit === from) return true;
  if (!isWord(source, from + 1, 'by')) return false;
  return splitAtCommas(source, { from: from + 2, to: limit }).every((item) => {
    const isDirected = isWord(source, item.to - 1, 'asc', 'desc');
    const value = { from: item.from, to: isDirected ? item.to - 1 : item.to };
    const isNumber = ['number', 'parameter'].includes(source.tokens[value.from]?.kind ?? '');
    return !(isNumber && value.to - value.from === 1) && isExpression(source, value);
  });
}

/** What the grammar says of the SELECT that reads the same rows: it must find the clauses where we do. */
export function readTables(
  source: Source,
  from: Span,
  { where, order }: Clauses,
): { readonly tables: readonly TableReference[]; readonly isJoined: boolean } | undefined {
  if (isEmpty(from) || !isBalanced(source, from)) return undefined;
  const masked = maskedText(source, withoutHints(source, from));
  const condition = where === undefined ? '' : ` where ${maskedText(source, where)}`;
  const tree = treeOf(
    `select 1 from ${masked}${condition}${order === undefined ? '' : ` ${maskedText(source, order)}`}`,
  );
  if (tree?.['type'] !== 'select' || tree['locking_read'] || tree['groupby'] || tree['having']) return undefined;
  if (isTree(tree['where']) !== (where !== undefined)) return undefined;
  const references = treesIn(tree['from']);
  const tables = references.map((reference): TableReference | undefined => {
    const { db, table, as } = reference;
    if (typeof table !== 'string') return undefined;
    return {
      database: typeof db === 'string' ? unicode(db) : undefined,
      table: unicode(table),
      alias: typeof as === 'string' ? unicode(as) : undefined,
    };
  });
  const isDerived = tables.includes(undefined);
  const named = tables.filter((table) => table !== undefined);
  if (named.length === 0 || !hasAll(source, from, named)) return undefined;
  return { tables: named, isJoined: isDerived || tables.length > 1 || isOperator(source, from.from, '(') };
}

/** Every name that the grammar found is one of the tokens. */
function hasAll({ tokens }: Source, { from, to }: Span, tables: readonly TableReference[]): boolean {
  const names = new Set(tokens.slice(from, to).map(({ text }) => unicode(text).toLowerCase()));
  return tables.every(({ database, table, alias }) =>
    [database, table, alias].every((name) => name === undefined || names.has(name.toLowerCase())),
  );
}

/** The grammar knows neither PARTITION (…) nor index hints; they stand behind the one table. */
function withoutHints(source: Source, { from, to }: Span): Span {
  const hint = findWord(source, { from, to }, 'partition', 'use', 'force', 'ignore');
  if (hint === to || isEmpty({ from, to: hint })) return { from, to };
  let place = hint;
  while (place < to && !isOperator(source, place, '(')) place += 1;
  return behindParenthesis(source, place, to) === to ? { from, to: hint } : { from, to };
}

function unclear(verb: string, what: string): Statement {
  return { kind: 'unclear', verb, what };
}
