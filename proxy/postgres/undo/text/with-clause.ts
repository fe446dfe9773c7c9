/** Takes the WITH clause of a statement apart: which of its parts change rows, and where they lie in the client's text. */
import type { ParsedStatement, Token, Tree } from '../../parse.ts';
import { child, children, integer, ofKind, unwrap } from '../../tree.ts';
import { isChange } from '../target.ts';

/** A part of the clause. `head`: its name with its column names; `statement`: the change in its parentheses. */
export type WithExpression =
  | { readonly kind: 'as-is'; readonly sql: string }
  | { readonly kind: 'change'; readonly sql: string; readonly head: string; readonly statement: ParsedStatement };

export interface Apart {
  readonly isRecursive: boolean;
  readonly expressions: readonly WithExpression[];
  /** The text behind the clause. */
  readonly body: string;
}

/** The parts of a statement; undefined when the clause has a form that is not known here. */
export function takeApart(statement: ParsedStatement): Apart | undefined {
  const { node, source, start, end } = statement;
  const clause = child(node, 'withClause');
  if (clause === undefined) return { isRecursive: false, expressions: [], body: source.slice(start, end) };
  const tables = ofKind(children(clause, 'ctes'), 'CommonTableExpr');
  const tokens = source.tokensWithin(start, end);
  const expressions: WithExpression[] = [];
  let bodyStart = start;
  for (const [index, table] of tables.entries()) {
    const from = integer(table, 'location') ?? 0;
    const next = tables[index + 1];
    const to = next === undefined ? undefined : (integer(next, 'location') ?? 0);
    const own = tokens.filter((token) => token.start >= from && (to === undefined || token.start < to));
    const found = expressionOf(table, own, statement);
    if (found === undefined) return undefined;
    // Behind it stands the comma before the next one, or the statement itself.
    const behind = own.slice(found.length);
    const isLast = to === undefined;
    if (isLast ? behind.length === 0 : behind.length !== 1 || behind[0]?.text !== ',') return undefined;
    if (isLast) bodyStart = behind[0]?.start ?? end;
    expressions.push(found.expression);
  }
  return { isRecursive: clause['recursive'] === true, expressions, body: source.slice(bodyStart, end) };
}

interface Found {
  readonly expression: WithExpression;
  /** How many tokens it takes. */
  readonly length: number;
}

function expressionOf(table: Tree, tokens: readonly Token[], { source }: ParsedStatement): Found | undefined {
  const as = tokens.findIndex((token) => token.isKeyword && token.text === 'as');
  const open = tokens.findIndex((token, index) => index > as && token.text === '(');
  const close = closing(tokens, open);
  const [first, last] = [tokens[0], tokens[as - 1]];
  if (as < 1 || open < 0 || close === undefined || first === undefined || last === undefined) return undefined;
  const [begin, finish] = [tokens[open + 1], tokens[close - 1]];
  if (begin === undefined || finish === undefined) return undefined;
  const length = close + 1 + searchLength(tokens.slice(close + 1));
  const sql = source.slice(first.start, tokens[length - 1]?.end ?? finish.end);
  const inner = unwrap(child(table, 'ctequery'));
  if (inner === undefined) return undefined;
  if (!isChange(inner.kind)) return { expression: { kind: 'as-is', sql }, length };
  // A WITH of its own could only hold queries, and is rare.
  if (child(inner.node, 'withClause') !== undefined) return undefined;
  const statement = { ...inner, start: begin.start, end: finish.end, source };
  return { expression: { kind: 'change', sql, head: source.slice(first.start, last.end), statement }, length };
}

/** What may stand behind the parts of the clause: the comma before the next name, or the statement itself. */
const STATEMENT: ReadonlySet<string> = new Set([
  'select',
  'values',
  'table',
  '(',
  'insert',
  'update',
  'delete',
  'merge',
]);

/** How many of the tokens behind the parenthesis belong to SEARCH and CYCLE. A comma may stand in them, and so only the last one ends them. */
function searchLength(tokens: readonly Token[]): number {
  if (tokens[0]?.text !== 'search' && tokens[0]?.text !== 'cycle') return 0;
  const end = tokens.findIndex(({ text, isKeyword }) => STATEMENT.has(text) && (isKeyword || text === '('));
  return end < 0 ? tokens.length - 1 : end;
}

function closing(tokens: readonly Token[], open: number): number | undefined {
  let depth = 0;
  for (let index = open; index < tokens.length && index >= 0; index += 1) {
    if (tokens[index]?.text === '(') depth += 1;
    if (tokens[index]?.text === ')') depth -= 1;
    if (depth === 0) return index;
  }
  return undefined;
}
