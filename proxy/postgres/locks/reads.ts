/**
 * SELECT … FOR UPDATE and its weaker forms inside a global transaction: a row that another, unfinished one has changed is waited for, so
 * what is read and locked is what has been decided.
 */
import type { Capture, OwnParameter } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import type { ParsedStatement, Tree } from '../parse.ts';
import {
  child,
  children,
  integer,
  ofKind,
  relationName,
  text,
  unwrap,
  type QualifiedName,
  type References,
} from '../tree.ts';
import { keyIndex, lockKey, type LockKey } from '../undo/lock-key.ts';

/** Locks no more than the key: what is not read needs no decision. Source: PostgreSQL, src/include/nodes/lockoptions.h. */
const KEY_SHARE = 'LCS_FORKEYSHARE';
const NOWAIT = 'LockWaitError';
const SKIP_LOCKED = 'LockWaitSkip';

const OWN_PARAMETERS: readonly OwnParameter[] = ['gid', 'committed-gids'];

/** Clauses that may follow the condition of a query that locks rows. */
const AFTER_WHERE: readonly string[] = ['window', 'order', 'limit', 'offset', 'fetch', 'for'];

interface LockedTable {
  /** Its row lock. */
  readonly key: LockKey;
  readonly policy: string;
}

/**
 * The statement with one more condition for each table that it locks: that nobody else holds the row. The server looks at it before it
 * locks a row, and again of the newest version when it had to wait for the lock. Undefined where nothing is locked that could be held:
 * then it runs as it came.
 */
export function lockingRead(
  statement: ParsedStatement,
  references: References,
  factsOf: (name: QualifiedName) => RelationFacts | 'missing',
): Capture | undefined {
  const { kind, node } = statement;
  const clauses = ofKind(children(node, 'lockingClause'), 'LockingClause');
  if (kind !== 'SelectStmt' || clauses.length === 0) return undefined;
  const tables = tablesOf(children(node, 'fromClause')).filter((table) => !isExpression(table, references));
  const locked = tables.flatMap((table): readonly LockedTable[] => {
    const alias = nameOf(table);
    const clause = clauses.find((one) => locks(one, alias));
    const facts = factsOf(relationName(table));
    if (clause === undefined || facts === 'missing' || !canBeHeld(facts, table)) return [];
    const index = keyIndex(facts);
    if (index === undefined) return [];
    return [{ key: lockKey(facts, index, quoteName(alias)), policy: text(clause, 'waitPolicy') ?? '' }];
  });
  const from = Math.min(...tables.map((table) => integer(table, 'location') ?? 0));
  if (locked.length === 0) return undefined;
  const parameters = references.parameters;
  const own = { gid: `$${parameters + 1}::pg_catalog.text`, taken: `$${parameters + 2}::pg_catalog.text[]` };
  const conditions = locked.map((table) => freeSql(table, own)).join(' AND ');
  const sql = withCondition(statement, from, conditions);
  return {
    command: 'SELECT',
    sql,
    sqlWhenEntered: sql,
    returnsRows: true,
    clientParameters: parameters,
    ownParameters: OWN_PARAMETERS,
    locks: locked.map(({ key }) => key.relation),
    read: {
      waits: !locked.some(({ policy }) => policy === NOWAIT),
      keepsLocks: locked.length < leavesOf(children(node, 'fromClause')),
    },
  };
}

/** The tables that the query reads itself; those behind the alias of a join cannot be named. */
function tablesOf(items: readonly Tree[]): readonly Tree[] {
  return items.flatMap((item): readonly Tree[] => {
    const inner = unwrap(item);
    if (inner?.kind === 'RangeVar') return [inner.node];
    if (inner?.kind !== 'JoinExpr' || child(inner.node, 'alias') !== undefined) return [];
    return tablesOf([child(inner.node, 'larg'), child(inner.node, 'rarg')].filter((side) => side !== undefined));
  });
}

/** Everything that the query reads, whatever it is. */
function leavesOf(items: readonly Tree[]): number {
  let count = 0;
  for (const item of items) {
    const join = child(item, 'JoinExpr');
    const sides = join === undefined ? [] : [child(join, 'larg'), child(join, 'rarg')];
    count += join === undefined ? 1 : leavesOf(sides.filter((side) => side !== undefined));
  }
  return count;
}

/** A name without a schema may be that of a common table expression. */
function isExpression(table: Tree, { tableExpressions }: References): boolean {
  const { schema, name } = relationName(table);
  return schema === undefined && tableExpressions.includes(name);
}

function nameOf(table: Tree): string {
  const alias = child(table, 'alias');
  return (alias === undefined ? undefined : text(alias, 'aliasname')) ?? relationName(table).name;
}

/** True when the clause locks the rows of the table: it names it, or names none. */
function locks(clause: Tree, alias: string): boolean {
  if (text(clause, 'strength') === KEY_SHARE) return false;
  const named = ofKind(children(clause, 'lockedRels'), 'RangeVar').map((name) => relationName(name).name);
  return named.length === 0 || named.includes(alias);
}

/** A table with row locks of its own. The rows of tables that inherit from it are locked under those. */
function canBeHeld(facts: RelationFacts, table: Tree): boolean {
  return (
    (facts.relkind === 'r' || facts.relkind === 'p') &&
    facts.persistence === 'permanent' &&
    facts.schema !== 'pg_catalog' &&
    !(facts.hasHeirs && table['inh'] === true)
  );
}

function freeSql({ key, policy }: LockedTable, own: { readonly gid: string; readonly taken: string }): string {
  const skips = policy === SKIP_LOCKED;
  return `atomesh.row_is_free(${key.relation}::pg_catalog.oid, ${key.sql}, ${own.gid}, ${own.taken}, ${skips})`;
}

/** The client's own text with a condition added to its WHERE, or a WHERE of its own. `from`: where its first table stands. */
function withCondition({ source, start, end }: ParsedStatement, from: number, condition: string): string {
  const tokens = source.tokensWithin(from, end);
  let depth = 0;
  let where: { readonly start: number; readonly end: number } | undefined;
  let next = end;
  for (const [index, token] of tokens.entries()) {
    if (token.text === '(' || token.text === '[') depth += 1;
    if (token.text === ')' || token.text === ']') depth -= 1;
    if (depth !== 0 || !token.isKeyword || tokens[index - 1]?.text === '.') continue;
    if (token.text === 'where') where = token;
    if (!AFTER_WHERE.includes(token.text)) continue;
    next = token.start;
    break;
  }
  // Behind a line break: the client's text may end in a comment.
  const rest = source.slice(next, end);
  if (where === undefined) return `${source.slice(start, next)}\nWHERE ${condition}\n${rest}`;
  return `${source.slice(start, where.start)}WHERE (${source.slice(where.end, next)}\n) AND ${condition}\n${rest}`;
}
