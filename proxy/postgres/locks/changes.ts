/**
 * A change that is not captured, and all the same waits for rows that an unfinished global transaction has changed: the client's own
 * statement with one condition more.
 */
import { assert } from '../../../src/platform/assert.ts';
import type { Capture } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import type { ParsedStatement, Token, Tree } from '../parse.ts';
import { child, children, ofKind, relationName, text, unwrap, type QualifiedName, type References } from '../tree.ts';
import { anatomyOf, type Anatomy, type Range } from '../undo/anatomy.ts';
import { actionsOf, isChange, withComputed, type Actions } from '../undo/target.ts';
import { takeApart } from '../undo/text/with-clause.ts';
import { addCondition, freeSql, heldTable, inserted, OWN_PARAMETERS, type Insertion } from './condition.ts';

interface Conditions {
  /** What the row locks that it asks for are filed under. */
  readonly relation: number;
  readonly insertions: readonly Insertion[];
  readonly takesValues: boolean;
}

/**
 * The statement with the condition that nobody else holds a row that it updates or deletes, for each of its changes that it can be put
 * into. Undefined where there is none: then it runs as it came. The server asks it of a row before it locks it, and again of the newest
 * version when it had to wait for the lock; of a row that ON CONFLICT has found behind the lock, which the conflict's error gives back.
 */
export function waitingChange(
  statement: ParsedStatement,
  references: References,
  factsOf: (name: QualifiedName) => RelationFacts | 'missing',
): Capture | undefined {
  const { parameters } = references;
  const changes = changesOf(statement);
  const conditions = changes.flatMap((change) => conditionsOf(change, parameters, factsOf) ?? []);
  if (conditions.length === 0) return undefined;
  const insertions = conditions.flatMap((each) => each.insertions);
  const { sql, places } = inserted(
    statement,
    insertions.toSorted((one, other) => one.at - other.at),
  );
  return {
    command: isChange(statement.kind) ? actionsOf(statement).command : 'SELECT',
    sql,
    sqlWhenEntered: sql,
    returnsRows: statement.kind === 'SelectStmt' || child(statement.node, 'returningClause') !== undefined,
    clientParameters: parameters,
    ownParameters: OWN_PARAMETERS,
    locks: [...new Set(conditions.map(({ relation }) => relation))],
    read: {
      waits: true,
      keepsLocks: conditions.length < changes.length,
      takesValues: conditions.some((each) => each.takesValues),
      places,
    },
  };
}

/** The statement itself, and the changes of its WITH clause. */
function changesOf(statement: ParsedStatement): readonly ParsedStatement[] {
  const parts = takeApart(statement)?.expressions ?? [];
  const inner = parts.flatMap((part) => (part.kind === 'change' ? [part.statement] : []));
  return isChange(statement.kind) ? [...inner, statement] : inner;
}

function conditionsOf(
  statement: ParsedStatement,
  parameters: number,
  factsOf: (name: QualifiedName) => RelationFacts | 'missing',
): Conditions | undefined {
  const actions = actionsOf(statement);
  const { updates, deletes } = actions;
  const target = child(statement.node, 'relation');
  if (target === undefined || (!updates && !deletes)) return undefined;
  const anatomy = anatomyOf(statement);
  const table = heldTable(factsOf(relationName(target)), target, anatomy.targetName);
  // A condition reads the row, and with that the policies of SELECT would hold as well (PG source: rewrite/rowsecurity.c).
  if (table === undefined || table.facts.rowSecurity) return undefined;
  const frees = withComputed(actions, table.facts);
  const insertions = (): readonly Insertion[] | undefined => {
    const free = freeSql(table, parameters, { skips: false, frees });
    if (statement.kind === 'InsertStmt') return inConflict(anatomy, free);
    if (statement.kind === 'MergeStmt') return inMerge(anatomy, free);
    const joined = joinedNames(statement.node, anatomy.targetName);
    return joined && inWhere(anatomy, freeSql(table, parameters, { skips: false, joined, frees }));
  };
  const found = insertions();
  return found && { relation: table.relation, insertions: found, takesValues: takesValues(frees, table.facts) };
}

/** Whether it may take unique values, or refer to rows, of which the condition knows nothing. */
function takesValues({ inserts, assigned }: Actions, facts: RelationFacts): boolean {
  const bound = [...facts.uniqueIndexes, ...facts.otherUniques, ...facts.foreignKeys];
  return inserts || bound.some(({ columns }) => columns.some((column) => assigned.has(column)));
}

/** UPDATE and DELETE. The row that a cursor is at is named by nothing else. */
function inWhere(anatomy: Anatomy, free: string): readonly Insertion[] | undefined {
  const { statement, where, returning } = anatomy;
  if (unwrap(child(statement.node, 'whereClause'))?.kind === 'CurrentOfExpr') return undefined;
  return addCondition(where, returning?.keyword ?? statement.end, free);
}

/** The condition of ON CONFLICT DO UPDATE. */
function inConflict({ statement, body, returning }: Anatomy, free: string): readonly Insertion[] | undefined {
  const end = returning?.keyword ?? statement.end;
  const tokens = statement.source.tokensWithin(body.start, end);
  const isAt = (index: number): boolean =>
    ['do', 'update', 'set'].every((word, offset) => isWord(tokens, index + offset, word));
  const from = tokens.findLastIndex((_, index) => isAt(index));
  if (from < 0) return undefined;
  const keyword = outside(tokens, from).find((index) => isWord(tokens, index, 'where'));
  const where = keyword === undefined ? undefined : rangeOf(tokens.slice(keyword + 1));
  return addCondition(where, end, free);
}

/** Each WHEN … THEN of MERGE that updates or deletes: asked last, of a row that it would change. */
function inMerge({ statement, body }: Anatomy, free: string): readonly Insertion[] | undefined {
  const clauses = ofKind(children(statement.node, 'mergeWhenClauses'), 'MergeWhenClause');
  const tokens = statement.source.tokensWithin(body.start, body.end);
  const words = outside(tokens, 0);
  const whens = words.filter((index) => isWord(tokens, index, 'when'));
  if (whens.length !== clauses.length) return undefined;
  return clauses.flatMap((clause, position): readonly Insertion[] => {
    if (!['CMD_UPDATE', 'CMD_DELETE'].includes(text(clause, 'commandType') ?? '')) return [];
    const from = whens[position];
    const then = words.find((index) => from !== undefined && index > from && isWord(tokens, index, 'then'));
    const end = then === undefined ? undefined : tokens[then];
    assert(from !== undefined && then !== undefined && end !== undefined, 'every WHEN has its THEN');
    if (child(clause, 'condition') === undefined) return [{ at: end.start, sql: `\nAND ${free} ` }];
    const and = words.find((index) => index > from && isWord(tokens, index, 'and'));
    const condition = and === undefined ? undefined : rangeOf(tokens.slice(and + 1, then));
    assert(condition !== undefined, 'a condition stands behind AND');
    return addCondition(condition, condition.end, free);
  });
}

/**
 * The names of the other tables of UPDATE … FROM and DELETE … USING; undefined when two are called the same, or one has no name: then it
 * could not be said which rows the condition is for.
 */
function joinedNames(node: Tree, targetName: string): readonly string[] | undefined {
  const names = namesOf([...children(node, 'fromClause'), ...children(node, 'usingClause')]);
  const isSure = new Set([...names, targetName]).size === names.length + 1 && !names.includes('');
  return isSure ? names : undefined;
}

/** What can be referred to: behind the alias of a join, nothing but that. */
function namesOf(items: readonly Tree[]): readonly string[] {
  return items.flatMap((item): readonly string[] => {
    const { kind, node } = unwrap(item) ?? { kind: '', node: {} };
    const alias = text(child(node, 'alias') ?? {}, 'aliasname');
    if (alias !== undefined) return [alias];
    if (kind === 'RangeVar') return [text(node, 'relname') ?? ''];
    if (kind !== 'JoinExpr') return [''];
    return namesOf([child(node, 'larg'), child(node, 'rarg')].filter((side) => side !== undefined));
  });
}

function isWord(tokens: readonly Token[], index: number, word: string): boolean {
  const token = tokens[index];
  return token?.isKeyword === true && token.text === word && !LABELS.has(tokens[index - 1]?.text ?? '');
}

/** Behind these a keyword is a name. */
const LABELS: ReadonlySet<string> = new Set(['.', 'as']);
const OPENING: Readonly<Record<string, string>> = { ')': '(', ']': '[' };

/** The positions from `from` on that lie outside all parentheses and outside CASE … END. */
function outside(tokens: readonly Token[], from: number): readonly number[] {
  const open: string[] = [];
  const found: number[] = [];
  for (let index = from; index < tokens.length; index += 1) {
    const word = tokens[index]?.text ?? '';
    if (word === '(' || word === '[') open.push(word);
    else if (word in OPENING) open.length = Math.max(0, open.lastIndexOf(OPENING[word] ?? ''));
    else if (isWord(tokens, index, 'case')) open.push('case');
    else if (isWord(tokens, index, 'end') && open.at(-1) === 'case') open.pop();
    else if (open.length === 0) found.push(index);
  }
  return found;
}

function rangeOf(tokens: readonly Token[]): Range | undefined {
  const [first, last] = [tokens[0], tokens.at(-1)];
  return first === undefined || last === undefined ? undefined : { start: first.start, end: last.end };
}
