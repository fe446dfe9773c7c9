/** INSERT … ON CONFLICT DO UPDATE before PostgreSQL 18: which rows it may meet, told from the client's text. */
import { assert } from '../../../src/platform/assert.ts';
import type { StatementPlan } from '../../sql/statement.ts';
import type { RelationFacts, UniqueIndexFacts } from '../catalog.ts';
import { quoteName, quoteText } from '../identifier.ts';
import type { ParsedStatement, Tree } from '../parse.ts';
import { child, children, integer, ofKind, stringConstant, strings, text, unwrap } from '../tree.ts';
import type { Anatomy } from './anatomy.ts';
import type { Change, ChangePart } from './capture.ts';
import { lockingUpsertPart } from './locking.ts';
import { refuse } from './refusal.ts';

/** On 14 to 17 the rows that INSERT … DO UPDATE may meet must be known before it runs. */
export function upsertPart(change: Change, conflict: Tree): ChangePart | StatementPlan {
  const hint =
    'Write VALUES with parameters or constants for the columns of the conflict target, cast those of a SELECT, or use PostgreSQL 18.';
  const index = conflictIndex(change.facts, child(conflict, 'infer'));
  if (index === undefined || index.nullsNotDistinct) {
    return refuse('INSERT … ON CONFLICT DO UPDATE with this conflict target is not supported', hint);
  }
  // The server cannot say of a row that it sends to a partition whether it was inserted or updated.
  if (change.facts.relkind === 'p') {
    return refuse('INSERT … ON CONFLICT DO UPDATE of a partitioned table is not supported', 'Use PostgreSQL 18.');
  }
  const key = change.facts.uniqueIndexes.find((candidate) => candidate.isKey);
  if (key?.columns.some((column) => change.assigned.has(column)) === true) {
    return refuse('INSERT … ON CONFLICT DO UPDATE that changes the primary key is not supported', hint);
  }
  if (change.suffix !== '')
    return refuse('INSERT … ON CONFLICT DO UPDATE within another statement is not supported', hint);
  const conflicting = conflictingSql(change, index);
  if (conflicting === undefined) {
    return refuse('INSERT … ON CONFLICT DO UPDATE of rows that are computed like this is not supported', hint);
  }
  return lockingUpsertPart(change, conflicting);
}

/** The condition on rows of the target, called `atomesh_t`, that the values may conflict with; undefined when it cannot be told ahead. */
function conflictingSql(change: Change, index: UniqueIndexFacts): string | undefined {
  const { node } = change.anatomy.statement;
  const select = child(child(node, 'selectStmt') ?? {}, 'SelectStmt');
  const listed = children(node, 'cols').map((item) => text(child(item, 'ResTarget') ?? {}, 'name') ?? '');
  const columns = listed.length > 0 ? listed : change.facts.columns.map((column) => column.name);
  const positions = index.columns.map((column) => columns.indexOf(column));
  if (select === undefined || positions.includes(-1) || index.equals.includes(null)) return undefined;
  const targets = index.columns.map((name, place): Target => {
    const column = change.facts.columns.find((candidate) => candidate.name === name);
    const position = positions[place];
    assert(column !== undefined && position !== undefined, 'an index is over columns of its table');
    return {
      position,
      sql: `atomesh_t.${quoteName(name)}`,
      type: `${quoteName(column.typeSchema)}.${quoteName(column.typeName)}`,
      equals: index.equals[place] ?? '',
    };
  });
  const rows = children(select, 'valuesLists');
  return rows.length > 0 ? valuesSql(rows, targets, change) : selectSql(select, targets, change.anatomy);
}

/** A column of the conflict target. */
interface Target {
  /** Of its values in the rows that are inserted. */
  readonly position: number;
  readonly sql: string;
  readonly type: string;
  /**
   * The equality operator of the index: another one may call other values equal, and a name without a schema may mean one that the
   * session's search_path lends.
   */
  readonly equals: string;
}

/** From the client's own constants and parameters, row by row. */
function valuesSql(rows: readonly Tree[], targets: readonly Target[], { anatomy }: Change): string | undefined {
  const values = rows.map((row) => {
    const items = children(child(row, 'List') ?? {}, 'items');
    return targets.map(({ position }) => constantSql(items[position], anatomy.statement.source));
  });
  if (values.some((row) => row.includes(undefined))) return undefined;
  const [only] = targets;
  if (only !== undefined && targets.length === 1 && rows.length > 1) {
    const list = values.map(([value]) => `(${value})::${only.type}`);
    return `${only.sql} ${only.equals} ANY (ARRAY[${list.join(', ')}])`;
  }
  const alternatives = values.map((row) =>
    targets.map(({ sql, equals, type }, index) => `${sql} ${equals} (${row[index]})::${type}`).join(' AND '),
  );
  return alternatives.map((condition) => `(${condition})`).join(' OR ');
}

const COMBINING: ReadonlySet<string> = new Set(['union', 'intersect', 'except', 'all', 'distinct']);

/**
 * From the client's query, which runs a second time under the same snapshot. Should it give other rows then, a row is updated that
 * was not locked, and the statement fails. A bare parameter or constant is given its type by the column that it goes to, which it
 * would not be here.
 */
function selectSql(select: Tree, columns: readonly Target[], { statement, body }: Anatomy): string | undefined {
  const [first] = columns;
  assert(first !== undefined, 'an index has a column');
  // One operator stands for all the columns of a row.
  if (columns.some(({ equals }) => equals !== first.equals)) return undefined;
  const untyped = ofKind(children(select, 'targetList'), 'ResTarget').some((target) =>
    ['ParamRef', 'A_Const'].includes(unwrap(child(target, 'val'))?.kind ?? ''),
  );
  if (untyped || text(select, 'op') !== 'SETOP_NONE') return undefined;
  const tokens = statement.source.tokensWithin(body.start, body.end);
  const end = tokens.findLastIndex(({ text: word }, index) => word === 'on' && tokens[index + 1]?.text === 'conflict');
  const start = tokens.findIndex(({ text: word, isKeyword }) => isKeyword && (word === 'select' || word === 'with'));
  const [begin, last] = [tokens[start], tokens[end - 1]];
  if (begin === undefined || last === undefined || start > end) return undefined;
  const before = tokens[start - 1]?.text ?? '';
  // In parentheses, or a part of a larger query: what begins here is not all of it.
  if (COMBINING.has(before) || before === '(') return undefined;
  const names = Array.from(
    { length: Math.max(...columns.map(({ position }) => position)) + 1 },
    (_, index) => `a${index + 1}`,
  );
  const list = columns.map(({ position, type }) => `s.a${position + 1}::${type}`);
  const row = `(${columns.map(({ sql }) => sql).join(', ')})`;
  return `${row} ${first.equals} ANY (SELECT ${list.join(', ')} FROM (${statement.source.slice(begin.start, last.end)}\n) AS s (${names.join(', ')}))`;
}

function conflictIndex(facts: RelationFacts, infer: Tree | undefined): UniqueIndexFacts | undefined {
  if (infer === undefined) return undefined;
  const constraint = text(infer, 'conname');
  if (constraint !== undefined) return facts.uniqueIndexes.find((index) => index.constraint === constraint);
  const elements = children(infer, 'indexElems').map((item) => text(child(item, 'IndexElem') ?? {}, 'name'));
  const names = new Set(elements);
  return facts.uniqueIndexes.find(
    (index) => names.size === index.columns.length && index.columns.every((column) => names.has(column)),
  );
}

/** The client's text of a value; undefined unless it is a parameter or a constant. */
function constantSql(node: Tree | undefined, source: ParsedStatement['source']): string | undefined {
  const inner = unwrap(node);
  if (inner?.kind === 'ParamRef') return `$${String(inner.node['number'])}`;
  if (inner?.kind === 'TypeCast') {
    // The cast that the client wrote decides the value; ours to the column's type follows it.
    const value = constantSql(child(inner.node, 'arg'), source);
    const type = child(inner.node, 'typeName');
    const names = type === undefined ? [] : strings(children(type, 'names'));
    const isPlain =
      type !== undefined && children(type, 'typmods').length === 0 && children(type, 'arrayBounds').length === 0;
    return value === undefined || !isPlain || names.length === 0
      ? undefined
      : `${value}::${names.map(quoteName).join('.')}`;
  }
  if (inner?.kind !== 'A_Const') return undefined;
  const string = stringConstant(node);
  if (string !== undefined) return quoteText(string);
  const location = integer(inner.node, 'location');
  if (location === undefined || 'isnull' in inner.node) return undefined;
  // The grammar folds a sign into the constant behind it.
  const [first, second] = source.tokensWithin(location, source.byteLength);
  const last = first?.text === '-' || first?.text === '+' ? second : first;
  return first === undefined || last === undefined ? undefined : source.slice(first.start, last.end);
}
