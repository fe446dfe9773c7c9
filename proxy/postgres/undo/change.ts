/** Checks a statement with changes against what the catalogue says of their targets, and plans its capture. */
import { assert } from '../../../src/platform/assert.ts';
import type { StatementPlan } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import type { ParsedStatement } from '../parse.ts';
import { child, children, relationName, text, type QualifiedName, type References } from '../tree.ts';
import { anatomyOf, type Anatomy } from './anatomy.ts';
import { assembleCapture, type CapturedChange, type Change, type ChangePart, type TableExpression } from './capture.ts';
import { lockingUpdatePart } from './locking.ts';
import { refuse, refuseAs } from './refusal.ts';
import { resultColumnNames } from './text/result-columns.ts';
import { plainReturningPart, returningPart } from './returning.ts';
import { namesWithin, sourcesOf, type FactsOf, type Source } from './text/sources.ts';
import { actionsOf, isChange, refuseTarget, runsCode, withComputed } from './target.ts';
import { undoOrder } from './undo-order.ts';
import { upsertPart } from './upsert.ts';
import { takeApart } from './text/with-clause.ts';

export interface ChangeContext {
  readonly serverMajor: number;
  readonly maxRows: number;
  /** `missing`: there is no such relation. */
  readonly facts: (name: QualifiedName) => RelationFacts | 'missing';
}

/** The plan for a statement that changes rows; `references` are those of the whole statement. */
export function planChange(statement: ParsedStatement, references: References, context: ChangeContext): StatementPlan {
  const taken = [...references.tableExpressions, ...references.relations.map(({ name }) => name)].find(isReserved);
  if (taken !== undefined) return refuseName(taken);
  const apart = takeApart(statement);
  if (apart === undefined) {
    return refuse(
      'a WITH clause of this form around a change is not supported',
      'Write its parts as statements of their own.',
    );
  }
  const expressions: TableExpression[] = [];
  const changes: CapturedChange[] = [];
  for (const expression of apart.expressions) {
    if (expression.kind === 'as-is') {
      expressions.push(expression);
      continue;
    }
    const captured = captureOf(expression.statement, references, context, String(changes.length + 2));
    if (isPlan(captured)) {
      if (captured.kind !== 'pass') return captured;
      expressions.push({ kind: 'as-is', sql: expression.sql });
      continue;
    }
    changes.push(captured);
    expressions.push({ kind: 'change', head: expression.head, captured });
  }
  const shared = { isRecursive: apart.isRecursive, expressions, clientParameters: references.parameters };
  if (!isChange(statement.kind)) {
    if (changes.length === 0) return { kind: 'pass' };
    const ordered = undoOrder(changes);
    if (ordered === undefined) return refuseOrder();
    return capture({ ...shared, main: { kind: 'query', sql: apart.body }, changes: ordered });
  }
  const captured = captureOf(statement, references, context, '');
  if (isPlan(captured)) {
    if (captured.kind !== 'pass' || changes.length === 0) return captured;
    return refuse('a change of a temporary table together with one of another table is not supported');
  }
  const ordered = undoOrder([...changes, captured]);
  if (ordered === undefined) return refuseOrder();
  return capture({ ...shared, main: { kind: 'change', captured }, changes: ordered });
}

function capture(statement: Parameters<typeof assembleCapture>[0]): StatementPlan {
  return { kind: 'capture', capture: assembleCapture(statement) };
}

function refuseOrder(): StatementPlan {
  return refuse(
    'a statement that changes several tables which refer to each other is not supported',
    'Write each change as a statement of its own.',
  );
}

function isReserved(name: string): boolean {
  return name.startsWith('atomesh_');
}

function refuseName(name: string): StatementPlan {
  return refuse(`the name "${name}" cannot be used`, 'Names that begin with atomesh_ are reserved.');
}

function isPlan(found: CapturedChange | ChangePart | StatementPlan): found is StatementPlan {
  return 'kind' in found;
}

/** The capture of one change; `pass` for one of a temporary table, which no other session sees and no rollback concerns. */
function captureOf(
  statement: ParsedStatement,
  references: References,
  context: ChangeContext,
  suffix: string,
): CapturedChange | StatementPlan {
  const { node } = statement;
  const target = child(node, 'relation');
  assert(target !== undefined, 'a change has a target');
  const name = relationName(target);
  const facts = context.facts(name);
  if (facts === 'missing') {
    return refuseAs(
      '42P01',
      `relation "${name.schema === undefined ? '' : `${name.schema}.`}${name.name}" does not exist`,
      'Check the name and the search_path.',
    );
  }
  if (facts.persistence === 'temporary') {
    if (!runsCode(facts)) return { kind: 'pass' };
    return refuse(
      `a change of the temporary table ${facts.name}, which calls functions or has triggers or rules, is not supported`,
      'What they do elsewhere cannot be seen. Make the table without them.',
    );
  }
  const actions = withComputed(actionsOf(statement), facts);
  const { command, assigned } = actions;
  // Before 18 the rows of an UPDATE are read first, by a query, which knows no cursor.
  const isByCursor = child(child(node, 'whereClause') ?? {}, 'CurrentOfExpr') !== undefined;
  if (isByCursor && command === 'UPDATE' && context.serverMajor < 18) {
    return refuse(
      'UPDATE … WHERE CURRENT OF before PostgreSQL 18 is not supported',
      'Select the row by its primary key.',
    );
  }
  if (command === 'MERGE' && context.serverMajor < 18) {
    return refuse(
      'MERGE before PostgreSQL 18 is not supported',
      'Write it as INSERT … ON CONFLICT, UPDATE and DELETE.',
    );
  }
  const refusal = refuseTarget(facts, actions, target['inh'] !== true);
  if (refusal !== undefined) return refusal;
  const anatomy = anatomyOf(statement);
  const items = sourceItems(node);
  const sourceNames = namesWithin(items);
  const taken = [anatomy.targetName, ...sourceNames, ...facts.columns.map((column) => column.name)].find(isReserved);
  if (taken !== undefined) return refuseName(taken);
  const tables = tablesOf({ name: anatomy.targetName, columns: facts.columns.map((column) => column.name) }, items, {
    isMerge: command === 'MERGE',
    factsOf: factsOutside(references, context),
  });
  const names = namesOf(anatomy, facts, tables, context.serverMajor);
  if (names === 'unknown') {
    return refuse(
      'a RETURNING expression whose column name only the server can tell is not supported',
      'Give every expression in RETURNING a name with AS.',
    );
  }
  const { maxRows, serverMajor } = context;
  const change: Change = {
    command,
    anatomy,
    facts,
    assigned,
    maxRows,
    serverMajor,
    resultColumns: names,
    sourceNames,
    suffix,
  };
  const part = partOf(change);
  return isPlan(part) ? part : { change, part };
}

/** The other tables: `fromClause` of UPDATE, `usingClause` of DELETE, the source of MERGE. */
function sourceItems(node: ParsedStatement['node']): readonly ParsedStatement['node'][] {
  const source = child(node, 'sourceRelation');
  return [...children(node, 'fromClause'), ...children(node, 'usingClause'), ...(source === undefined ? [] : [source])];
}

/** The tables of a bare star, in its order: MERGE gives those of its source first. */
function tablesOf(
  target: Source,
  items: readonly ParsedStatement['node'][],
  { isMerge, factsOf }: { readonly isMerge: boolean; readonly factsOf: FactsOf },
): readonly Source[] | undefined {
  const sources = sourcesOf(items, factsOf);
  if (sources === undefined) return undefined;
  return isMerge ? [...sources, target] : [target, ...sources];
}

/** A name without a schema may be that of a common table expression, whose columns are not known. */
function factsOutside({ tableExpressions }: References, { facts }: ChangeContext): FactsOf {
  return (name) => {
    if (name.schema === undefined && tableExpressions.includes(name.name)) return undefined;
    const found = facts(name);
    return found === 'missing' ? undefined : found;
  };
}

function namesOf(
  anatomy: Anatomy,
  facts: RelationFacts,
  tables: readonly Source[] | undefined,
  serverMajor: number,
): readonly string[] | undefined | 'unknown' {
  const { returning } = anatomy;
  if (returning === undefined) return undefined;
  const given = [returning.oldName, returning.newName].filter((name) => name !== undefined);
  const names = resultColumnNames(returning.expressions, {
    columns: facts.columns.map((column) => column.name),
    tables,
    rowNames: [...(serverMajor >= 18 ? ['old', 'new'] : []), ...given],
    serverMajor,
  });
  return names ?? 'unknown';
}

function partOf(change: Change): ChangePart | StatementPlan {
  if (change.serverMajor >= 18) return returningPart(change);
  if (change.command === 'UPDATE') return lockingUpdatePart(change);
  const conflict = child(change.anatomy.statement.node, 'onConflictClause');
  if (conflict === undefined || text(conflict, 'action') !== 'ONCONFLICT_UPDATE') return plainReturningPart(change);
  return upsertPart(change, conflict);
}
