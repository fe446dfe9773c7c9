/**
 * SELECT … FOR UPDATE and its weaker forms inside a global transaction: a row that another, unfinished one has changed is waited for, so
 * what is read and locked is what has been decided.
 */
import type { Capture } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
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
import {
  addCondition,
  freeSql,
  heldTable,
  inserted,
  OWN_PARAMETERS,
  type HeldTable,
  type Insertion,
} from './condition.ts';

/** Locks no more than the key: what is not read needs no decision. Source: PostgreSQL, src/include/nodes/lockoptions.h. */
const KEY_SHARE = 'LCS_FORKEYSHARE';
const NOWAIT = 'LockWaitError';
const SKIP_LOCKED = 'LockWaitSkip';

/** Clauses that may follow the condition of a query that locks rows. */
const AFTER_WHERE: readonly string[] = ['group', 'having', 'window', 'order', 'limit', 'offset', 'fetch', 'for'];

interface LockedTable {
  readonly table: HeldTable;
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
    if (clause === undefined) return [];
    const held = heldTable(factsOf(relationName(table)), table, alias);
    return held === undefined ? [] : [{ table: held, policy: text(clause, 'waitPolicy') ?? '' }];
  });
  const from = Math.min(...tables.map((table) => integer(table, 'location') ?? 0));
  if (locked.length === 0) return undefined;
  const parameters = references.parameters;
  const conditions = locked.map(({ table, policy }) => freeSql(table, parameters, { skips: policy === SKIP_LOCKED }));
  const { sql, places } = inserted(statement, insertionsOf(statement, from, conditions.join(' AND ')));
  return {
    command: 'SELECT',
    sql,
    sqlWhenEntered: sql,
    returnsRows: true,
    clientParameters: parameters,
    ownParameters: OWN_PARAMETERS,
    locks: locked.map(({ table }) => table.relation),
    read: {
      waits: !locked.some(({ policy }) => policy === NOWAIT),
      keepsLocks: locked.length < leavesOf(children(node, 'fromClause')),
      places,
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

/** Adds a condition to the WHERE of the query, or a WHERE of its own. `from`: where its first table stands. */
function insertionsOf({ source, end }: ParsedStatement, from: number, condition: string): readonly Insertion[] {
  const tokens = source.tokensWithin(from, end);
  let depth = 0;
  let where: number | undefined;
  let next: number | undefined;
  for (const [index, token] of tokens.entries()) {
    if (token.text === '(' || token.text === '[') depth += 1;
    if (token.text === ')' || token.text === ']') depth -= 1;
    if (depth !== 0 || !token.isKeyword || tokens[index - 1]?.text === '.') continue;
    if (token.text === 'where') where = index;
    if (!AFTER_WHERE.includes(token.text)) continue;
    next = index;
    break;
  }
  const content = where === undefined ? [] : tokens.slice(where + 1, next);
  const [first, last] = [content[0], content.at(-1)];
  const range = first === undefined || last === undefined ? undefined : { start: first.start, end: last.end };
  return addCondition(range, (next === undefined ? undefined : tokens[next]?.start) ?? end, condition);
}
