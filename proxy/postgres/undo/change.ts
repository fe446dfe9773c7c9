/** Checks one INSERT, UPDATE or DELETE against what the catalogue says of its target, and plans its capture. */
import type { StatementPlan } from '../../sql/statement.ts';
import type { RelationFacts, UniqueIndexFacts } from '../catalog.ts';
import { quoteName, quoteText } from '../identifier.ts';
import type { ParsedStatement, Tree } from '../parse.ts';
import { child, children, integer, stringConstant, strings, text, unwrap, type References } from '../tree.ts';
import { anatomyOf, type Anatomy } from './anatomy.ts';
import { assembleCapture, type Change, type ChangePart } from './capture.ts';
import { lockingUpdatePart, lockingUpsertPart } from './locking.ts';
import { lockableIndexes } from './lock-key.ts';
import { refuse } from './refusal.ts';
import { resultColumnNames } from './result-columns.ts';
import { plainReturningPart, returningPart } from './returning.ts';

export interface ChangeContext {
  readonly serverMajor: number;
  readonly maxRows: number;
}

const PER_ROW = 'Write it as one INSERT, UPDATE or DELETE of one table, with a subquery in place of the join.';

/** The plan for a change of `facts`; `references` are those of the whole statement. */
export function planChange(
  statement: ParsedStatement,
  facts: RelationFacts,
  references: References,
  context: ChangeContext,
): StatementPlan {
  const command = commandOf(statement.kind);
  const shape = refuseShape(statement, command);
  if (shape !== undefined) return shape;
  if (facts.persistence === 'temporary') return { kind: 'pass' };
  const assigned = assignedColumns(statement);
  const target = refuseTarget(facts, command, assigned);
  if (target !== undefined) return target;
  const anatomy = anatomyOf(statement);
  const reserved = [anatomy.targetName, ...references.tableExpressions, ...facts.columns.map((column) => column.name)];
  const taken = reserved.find((name) => name.startsWith('atomesh_'));
  if (taken !== undefined)
    return refuse(`the name "${taken}" cannot be used`, 'Names that begin with atomesh_ are reserved.');
  const names = namesOf(anatomy, facts, context.serverMajor);
  if (names === 'unknown') {
    return refuse(
      'a RETURNING expression whose column name only the server can tell is not supported',
      'Give every expression in RETURNING a name with AS.',
    );
  }
  const change: Change = {
    ...context,
    command,
    anatomy,
    facts,
    assigned,
    clientParameters: references.parameters,
    resultColumns: names,
  };
  const part = partOf(change);
  return 'kind' in part ? part : { kind: 'capture', capture: assembleCapture(change, part) };
}

function commandOf(kind: string): Change['command'] {
  if (kind === 'InsertStmt') return 'INSERT';
  return kind === 'UpdateStmt' ? 'UPDATE' : 'DELETE';
}

function refuseShape(statement: ParsedStatement, command: Change['command']): StatementPlan | undefined {
  const { node } = statement;
  if (children(node, 'fromClause').length > 0) return refuse('UPDATE … FROM is not supported', PER_ROW);
  if (children(node, 'usingClause').length > 0) return refuse('DELETE … USING is not supported', PER_ROW);
  if (child(child(node, 'whereClause') ?? {}, 'CurrentOfExpr') !== undefined) {
    return refuse(`${command} … WHERE CURRENT OF is not supported`, 'Select the row by its primary key.');
  }
  return undefined;
}

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema', 'atomesh']);

const KINDS: Readonly<Record<string, string>> = {
  p: 'a partitioned table',
  v: 'a view',
  m: 'a materialised view',
  f: 'a foreign table',
};

function refuseTarget(
  facts: RelationFacts,
  command: Change['command'],
  assigned: ReadonlySet<string>,
): StatementPlan | undefined {
  const name = `"${facts.schema}"."${facts.name}"`;
  if (SYSTEM_SCHEMAS.has(facts.schema)) return refuse(`${command} of ${name} is not supported`);
  if (facts.relkind !== 'r') {
    return refuse(
      `${command} of ${name}, ${KINDS[facts.relkind] ?? 'which is no table'}, is not supported`,
      'Change the table behind it.',
    );
  }
  if (facts.persistence === 'unlogged') {
    return refuse(
      `${command} of the unlogged table ${name} is not supported`,
      `A crash would empty it. Make it durable: ALTER TABLE ${name} SET LOGGED.`,
    );
  }
  if (facts.inherits) return refuse(`${command} of ${name}, which inherits or is a partition, is not supported`);
  if (facts.rules) return refuse(`${command} of ${name}, which has rules, is not supported`, 'Replace the rule.');
  if (facts.rowSecurity) return refuse(`${command} of ${name}, which has row-level security, is not supported`);
  if (facts.triggers.length > 0) {
    return refuse(
      `${command} of ${name}, which has triggers (${facts.triggers.join(', ')}), is not supported`,
      'What a trigger does elsewhere cannot be seen. Drop it, or make the change outside the global transaction.',
    );
  }
  if (facts.unsafeFunctions.length > 0) {
    return refuse(
      `${command} of ${name} calls ${facts.unsafeFunctions.join(', ')}, which may change rows, and is not supported`,
      'Declare the function STABLE or IMMUTABLE if it changes nothing.',
    );
  }
  if (command === 'DELETE' && facts.cascadesOnDelete) {
    return refuse(
      `DELETE of ${name}, to which a foreign key with ON DELETE CASCADE or SET NULL refers, is not supported`,
      'Delete the referring rows first, in statements of their own, and declare the foreign key ON DELETE RESTRICT.',
    );
  }
  const cascading = facts.cascadesOnUpdateOf.find((column) => assigned.has(column));
  if (cascading !== undefined) {
    return refuse(
      `changing "${cascading}" of ${name}, to which a foreign key with ON UPDATE CASCADE or SET NULL refers, is not supported`,
    );
  }
  return refuseColumns(facts, name, assigned);
}

function refuseColumns(facts: RelationFacts, name: string, assigned: ReadonlySet<string>): StatementPlan | undefined {
  const primary = facts.uniqueIndexes.find((index) => index.isPrimary);
  if (primary === undefined) {
    return refuse(
      `changing ${name}, which has no primary key, is not supported`,
      `Add one: ALTER TABLE ${name} ADD PRIMARY KEY (…).`,
    );
  }
  if (!lockableIndexes(facts).includes(primary)) {
    return refuse(
      `changing ${name} is not supported: its primary key has a type or a collation in which equal values may look different`,
      'Use a key of an integer, text, uuid, numeric, date or time type with a deterministic collation.',
    );
  }
  const identity = facts.columns.find((column) => column.identityAlways && assigned.has(column.name));
  if (identity !== undefined)
    return refuse(`changing "${identity.name}" of ${name}, GENERATED ALWAYS AS IDENTITY, is not supported`);
  return undefined;
}

/** The columns that UPDATE or DO UPDATE assigns; those of an INSERT list are not among them. */
function assignedColumns({ kind, node }: ParsedStatement): ReadonlySet<string> {
  const owner = kind === 'UpdateStmt' ? node : (child(node, 'onConflictClause') ?? {});
  return new Set(children(owner, 'targetList').flatMap((item) => text(child(item, 'ResTarget') ?? {}, 'name') ?? []));
}

function namesOf(
  anatomy: Anatomy,
  facts: RelationFacts,
  serverMajor: number,
): readonly string[] | undefined | 'unknown' {
  const { returning } = anatomy;
  if (returning === undefined) return undefined;
  const given = [returning.oldName, returning.newName].filter((name) => name !== undefined);
  const names = resultColumnNames(returning.expressions, {
    columns: facts.columns.map((column) => column.name),
    target: anatomy.targetName,
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

/** On 14 to 17 the rows that INSERT … DO UPDATE may meet must be known before it runs. */
function upsertPart(change: Change, conflict: Tree): ChangePart | StatementPlan {
  const hint =
    'Write VALUES with parameters or constants for the columns of the conflict target, or use PostgreSQL 18.';
  const index = conflictIndex(change.facts, child(conflict, 'infer'));
  if (index === undefined || index.nullsNotDistinct) {
    return refuse('INSERT … ON CONFLICT DO UPDATE with this conflict target is not supported', hint);
  }
  const primary = change.facts.uniqueIndexes.find((candidate) => candidate.isPrimary);
  if (primary?.columns.some((column) => change.assigned.has(column)) === true) {
    return refuse('INSERT … ON CONFLICT DO UPDATE that changes the primary key is not supported', hint);
  }
  const values = conflictValues(change, index);
  if (values === undefined) return refuse('INSERT … ON CONFLICT DO UPDATE of computed rows is not supported', hint);
  return lockingUpsertPart(change, index, values);
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

/** The client's text of the conflict columns' values, row by row; undefined unless all are parameters or constants. */
function conflictValues(change: Change, index: UniqueIndexFacts): readonly (readonly string[])[] | undefined {
  const { node, source } = change.anatomy.statement;
  const select = child(child(node, 'selectStmt') ?? {}, 'SelectStmt');
  const rows = select === undefined ? [] : children(select, 'valuesLists');
  const listed = children(node, 'cols').map((item) => text(child(item, 'ResTarget') ?? {}, 'name') ?? '');
  const columns = listed.length > 0 ? listed : change.facts.columns.map((column) => column.name);
  const positions = index.columns.map((column) => columns.indexOf(column));
  if (rows.length === 0 || positions.includes(-1)) return undefined;
  const values = rows.map((row) => {
    const items = children(child(row, 'List') ?? {}, 'items');
    return positions.map((position) => constantSql(items[position], source));
  });
  return values.every((row): row is string[] => row.every((value) => value !== undefined)) ? values : undefined;
}

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
