/** Where the parts of an INSERT, UPDATE, DELETE or MERGE lie in the client's text, found by tokens and tree locations. */
import { assert } from '../../../src/platform/assert.ts';
import type { ParsedStatement, Token, Tree } from '../parse.ts';
import { child, children, integer, ofKind, text, unwrap } from '../tree.ts';

/** A byte range of the text. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface Anatomy {
  readonly statement: ParsedStatement;
  /** The client's own common table expressions without WITH, and whether they are RECURSIVE. */
  readonly tableExpressions: Range | undefined;
  readonly isRecursive: boolean;
  /** From the verb to the end of the statement. */
  readonly body: Range;
  /** The condition behind the statement's own WHERE (of UPDATE and DELETE), and where that keyword begins. */
  readonly where: (Range & { readonly keyword: number }) | undefined;
  /** The tables of UPDATE … FROM, without the keyword, and where that begins. */
  readonly from: (Range & { readonly keyword: number }) | undefined;
  readonly returning: Returning | undefined;
  /** The name by which the statement refers to its target. */
  readonly targetName: string;
  /** The RangeVar of the target. */
  readonly target: Tree;
}

export interface Returning {
  /** Where the keyword begins. */
  readonly keyword: number;
  /** The list of expressions. */
  readonly list: Range;
  readonly expressions: readonly Tree[];
  /** The client's own names for the row before and after (RETURNING WITH (OLD AS o, NEW AS n)). */
  readonly oldName: string | undefined;
  readonly newName: string | undefined;
}

const BEFORE_TARGET: ReadonlySet<string> = new Set(['only', '(', 'into', 'from']);
const VERBS: ReadonlySet<string> = new Set(['insert', 'update', 'delete', 'merge']);

/** Takes the statement apart; it must be an InsertStmt, UpdateStmt, DeleteStmt or MergeStmt. */
export function anatomyOf(statement: ParsedStatement): Anatomy {
  const { node, source, start, end } = statement;
  const target = child(node, 'relation');
  assert(target !== undefined, 'a change has a target');
  const tokens = source.tokensWithin(start, end);
  const verb = verbIndex(tokens, integer(target, 'location') ?? 0);
  const withClause = child(node, 'withClause');
  const isRecursive = withClause?.['recursive'] === true;
  const body = tokens.slice(verb);
  const returning = returningOf(node, body, end);
  const alias = child(target, 'alias');
  const where = whereOf(statement, body, returning === undefined ? end : returning.keyword);
  return {
    statement,
    tableExpressions:
      withClause === undefined
        ? undefined
        : { start: at(tokens, isRecursive ? 2 : 1).start, end: at(tokens, verb - 1).end },
    isRecursive,
    body: { start: at(tokens, verb).start, end },
    where,
    from: fromOf(statement, body, where?.keyword ?? returning?.keyword ?? end),
    returning,
    targetName: (alias === undefined ? undefined : text(alias, 'aliasname')) ?? text(target, 'relname') ?? '',
    target,
  };
}

function at(tokens: readonly Token[], index: number): Token {
  const token = tokens[index];
  assert(token !== undefined, 'the tree and the tokens are of the same text');
  return token;
}

function verbIndex(tokens: readonly Token[], targetLocation: number): number {
  let index = tokens.findIndex((token) => token.start === targetLocation) - 1;
  while (BEFORE_TARGET.has(at(tokens, index).text)) index -= 1;
  assert(VERBS.has(at(tokens, index).text), 'the verb stands before the target');
  return index;
}

/** What a reserved word may stand behind without being the one that begins a clause: `t.where`, `IS DISTINCT FROM`. */
const NO_CLAUSE_BEHIND: ReadonlySet<string> = new Set(['.', 'distinct']);

/** The first clause that begins with the reserved word, outside all parentheses. */
function topLevel(tokens: readonly Token[], word: string): number | undefined {
  let depth = 0;
  for (const [index, token] of tokens.entries()) {
    if (token.text === '(' || token.text === '[') depth += 1;
    if (token.text === ')' || token.text === ']') depth -= 1;
    if (depth !== 0 || !token.isKeyword || token.text !== word) continue;
    if (!NO_CLAUSE_BEHIND.has(tokens[index - 1]?.text ?? '')) return index;
  }
  return undefined;
}

function whereOf({ node }: ParsedStatement, tokens: readonly Token[], end: number): Anatomy['where'] {
  return child(node, 'whereClause') === undefined ? undefined : clauseOf(tokens, 'where', end);
}

function fromOf({ kind, node }: ParsedStatement, tokens: readonly Token[], end: number): Anatomy['from'] {
  const isThere = kind === 'UpdateStmt' && children(node, 'fromClause').length > 0;
  return isThere ? clauseOf(tokens, 'from', end) : undefined;
}

function clauseOf(tokens: readonly Token[], word: string, end: number): Range & { readonly keyword: number } {
  const index = topLevel(tokens, word);
  assert(index !== undefined, 'the clause has its keyword');
  const content = tokens.slice(index + 1).filter((token) => token.start < end);
  return { keyword: at(tokens, index).start, start: at(content, 0).start, end: at(content, content.length - 1).end };
}

function returningOf(node: Tree, tokens: readonly Token[], end: number): Returning | undefined {
  const clause = child(node, 'returningClause');
  if (clause === undefined) return undefined;
  const keyword = topLevel(tokens, 'returning');
  assert(keyword !== undefined, 'the list has its keyword');
  const options = ofKind(children(clause, 'options'), 'ReturningOption');
  let first = keyword + 1;
  if (options.length > 0) first = tokens.findIndex((token, index) => index > keyword && token.text === ')') + 1;
  const named = (which: string): string | undefined => {
    const option = options.find((item) => text(item, 'option') === which);
    return option === undefined ? undefined : text(option, 'value');
  };
  return {
    keyword: at(tokens, keyword).start,
    list: { start: at(tokens, first).start, end },
    expressions: children(clause, 'exprs'),
    oldName: named('RETURNING_OPTION_OLD'),
    newName: named('RETURNING_OPTION_NEW'),
  };
}

/** True when an expression of the list refers to a row by this name (`old.x`, or `old` where no column is called so). */
export function mentionsRow(expressions: readonly Tree[], name: string, columns: readonly string[]): boolean {
  const visit = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return false;
    if (Array.isArray(value)) return value.some(visit);
    const node = value as Tree;
    const inner = unwrap(node);
    if (inner?.kind === 'ColumnRef') {
      const fields = children(inner.node, 'fields');
      const first = child(fields[0] ?? {}, 'String');
      if (first !== undefined && text(first, 'sval') === name) return fields.length > 1 || !columns.includes(name);
    }
    return Object.values(node).some(visit);
  };
  return visit(expressions);
}
