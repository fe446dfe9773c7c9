/** Turns statements of MySQL and MariaDB into what is done with them inside a global transaction. Pure. */
import { columnOf, type TableFacts } from './catalog.ts';
import { askingChange, askingInsertion, keysOnly } from './locks/asking.ts';
import type { ParsedStatement } from './parse.ts';
import { callsUnknown } from './text/functions.ts';
import { readLocking } from './text/locking.ts';
import type { Source } from './text/span.ts';
import type { Assignment, ChangeStatement, InsertStatement, TableName, TableReference } from './text/statement.ts';
import { planOther, type OtherPlan } from './text/verbs.ts';
import type { Capture, CapturedTable } from './undo/capture.ts';
import { refuseUnchecked, refuseUnfit, USUAL_CHECKS, type SessionChecks } from './undo/checks.ts';
import type { ParameterValue } from './undo/given.ts';
import { keptTables } from './facts/kept-tables.ts';
import { captureInsert, type Insertion } from './undo/insert.ts';
import { assignsVariables, capturePinned } from './undo/pinned.ts';
import type { ParentKey } from './undo/lock-key.ts';
import { lockingRead, type LockingRead } from './undo/locking-read.ts';
import { parentKey, referring } from './undo/parents.ts';
import { refuse, refuseRead, type Refused } from './undo/refusal.ts';
import { captured, locked, type Actions } from './undo/target.ts';
import { captureUpsert } from './undo/upsert.ts';

export type StatementPlan = Exclude<OtherPlan, { readonly kind: 'locks' }> | Capture | LockingRead | Refused;

export type Planned =
  | StatementPlan
  /** These tables' facts must be known first (catalog-sql.ts), then the statement is planned again. */
  | {
      readonly kind: 'facts-needed';
      readonly tables: readonly { readonly database: string; readonly table: string }[];
    };

/** What a plan depends on beside the statement. */
export interface PlanContext {
  /** The session's database; undefined when it has none. */
  readonly database: string | undefined;
  /** Facts by database and table as they were written; `none` for a table that does not exist; undefined where they are not known. */
  readonly facts: (database: string, table: string) => TableFacts | 'none' | undefined;
  /** True of a temporary table of the session, which hides one of the same name; by default of none. */
  readonly isTemporary?: (database: string, table: string) => boolean;
  /** Settings of the session; by default the usual ones. */
  readonly checks?: SessionChecks;
  /** The client's parameters; empty for a text that is run as it is. */
  readonly parameters: readonly ParameterValue[];
  /** The change is prepared: its rows need no images, and it is to be known whether others hold them (locks/asking.ts). */
  readonly asks?: boolean;
}

/** The plan for one statement. */
export function plan(parsed: ParsedStatement, context: PlanContext): Planned {
  const { statement, source, span } = parsed;
  if (statement.kind === 'unclear') {
    return refuse(`${statement.verb.toUpperCase()} that ${statement.what}`, 'Write it in a plainer form.');
  }
  if (statement.kind === 'other') {
    const other = planOther(source, span);
    return other.kind === 'locks' ? planLocking(parsed, context) : other;
  }
  const asks = context.asks === true;
  const called = asks ? calledAgain(parsed, statement) : callsUnknown(source, span);
  const hidden = called === undefined ? undefined : refuse(`a call of ${called}(), which may change rows,`);
  if (hidden !== undefined && !asks) return hidden;
  const temporary = planTemporary(parsed, context);
  if (temporary !== undefined) return temporary;
  const unfit = hidden ?? refuseUnfit(context.checks ?? USUAL_CHECKS, statement.kind.toUpperCase());
  if (unfit !== undefined && !asks) return unfit;
  const planned = 'rows' in statement ? planInsert(statement, parsed, context) : planChange(statement, parsed, context);
  // What not even a prepared transaction takes back is said ahead of what cannot be asked about.
  return unfit !== undefined && planned.kind === 'capture' ? unfit : planned;
}

/** What is called in clauses that are read ahead of a change which is asked about, or run again behind a duplicate key. */
function calledAgain(
  { source, span }: ParsedStatement,
  statement: ChangeStatement | InsertStatement,
): string | undefined {
  if ('rows' in statement) {
    const { kind, isIgnoring, onDuplicate } = statement;
    const isPlain = kind === 'insert' && !isIgnoring && onDuplicate === undefined;
    return isPlain ? undefined : callsUnknown(source, { from: span.from, to: onDuplicate?.span.from ?? span.to });
  }
  const clauses = [statement.from, statement.where, statement.order].filter((each) => each !== undefined);
  return clauses.map((each) => callsUnknown(source, each)).find((name) => name !== undefined);
}

/** The tables that a statement changes, or whose rows it locks, and those joined to them: without those of which no database is known. */
export function tablesIn(
  { statement, source, span }: ParsedStatement,
  selected: string | undefined,
): readonly { readonly database: string; readonly table: string }[] {
  return namedIn(statement, { source, span }).flatMap(({ database = selected, table }) =>
    database === undefined ? [] : [{ database, table }],
  );
}

function namedIn(
  statement: ParsedStatement['statement'],
  { source, span }: Pick<ParsedStatement, 'source' | 'span'>,
): readonly TableName[] {
  if (statement.kind === 'unclear') return [];
  if (statement.kind !== 'other') return 'rows' in statement ? [statement.table] : statement.tables;
  if (planOther(source, span).kind !== 'locks') return [];
  const select = readLocking(source, span);
  return 'tables' in select ? select.tables : [];
}

/** Rows of temporary tables are nobody else's, and no affair of a global transaction. */
function planTemporary(parsed: ParsedStatement, { database, isTemporary }: PlanContext): Planned | undefined {
  if (isTemporary === undefined) return undefined;
  const tables = tablesIn(parsed, database);
  const count = tables.filter((each) => isTemporary(each.database, each.table)).length;
  if (count === 0) return undefined;
  if (count === tables.length) return { kind: 'pass' };
  return refuse(
    'a change of a temporary table and another one at once',
    'Change one of them at a time, and read the other one in a subquery.',
  );
}

type FactsNeeded = Extract<Planned, { readonly kind: 'facts-needed' }>;
type Looked = { readonly kind: 'facts'; readonly facts: readonly TableFacts[] } | FactsNeeded | Refused;

/** The facts of tables, in their order; what else there is to do while they are not known. */
function look(tables: readonly TableName[], { database, facts }: PlanContext): Looked {
  const known: TableFacts[] = [];
  const missing: { database: string; table: string }[] = [];
  for (const { database: written, table } of tables) {
    const where = written ?? database;
    if (where === undefined) return refuse(`a change of ${table}, while no database is selected,`);
    const found = facts(where, table);
    if (found === 'none') return refuse(`a change of ${where}.${table}, which is no table that the sidecar can see,`);
    if (found === undefined) missing.push({ database: where, table });
    else known.push(found);
  }
  return missing.length > 0 ? { kind: 'facts-needed', tables: missing } : { kind: 'facts', facts: known };
}

const ALIASES = 'Give them aliases.';

/** What two tables are called: our columns could not be told apart. The server allows it for tables of two databases. */
function namesakeIn(tables: readonly TableReference[]): string | undefined {
  const names = tables.map(({ alias, table }) => alias ?? table);
  return names.find((name, index) => names.indexOf(name) !== index);
}

/** The locks of rows that the changed ones may come to refer to, or cease to. */
function parentsOf(
  facts: TableFacts,
  actions: Actions,
  context: PlanContext,
): readonly ParentKey[] | FactsNeeded | Refused {
  const keys: ParentKey[] = [];
  const missing: FactsNeeded['tables'][number][] = [];
  for (const foreignKey of referring(facts, actions)) {
    const { database, table } = foreignKey;
    const parent = context.facts(database, table);
    if (parent === undefined) missing.push({ database, table });
    if (parent === undefined || parent === 'none') continue;
    const key = parentKey(facts, foreignKey, parent);
    if (key === undefined) continue;
    // Of a parent that cannot be told it is not asked whose it is.
    if ('kind' in key && context.asks === true) continue;
    if ('kind' in key) return key;
    keys.push(key);
  }
  return missing.length > 0 ? { kind: 'facts-needed', tables: missing } : keys;
}

/** A table that does not exist, or that is never captured, is read as it is: the server says what there is to say. */
function planLocking({ source, span }: ParsedStatement, context: PlanContext): Planned {
  const select = readLocking(source, span);
  if (select.kind === 'nothing') return { kind: 'pass' };
  if (select.kind === 'unclear') return refuseRead(`a locking read that ${select.what}`);
  const policies = new Set(select.clauses.map(({ policy }) => policy));
  if (policies.size > 1) return refuseRead('a locking read that waits for some of its tables and not for others');
  const unfit = refuseUnfit(context.checks ?? USUAL_CHECKS, 'a locking read');
  if (unfit !== undefined) return unfit;
  const alike = namesakeIn(select.tables);
  if (alike !== undefined) return refuseRead(`a locking read of two tables that are called ${alike}`, ALIASES);
  const tables: CapturedTable[] = [];
  const missing: FactsNeeded['tables'][number][] = [];
  for (const { database: written, table, alias = table } of select.tables) {
    const database = written ?? context.database;
    const isLocked = select.clauses.some(({ of }) => of.length === 0 || of.includes(alias));
    if (database === undefined || !isLocked || context.isTemporary?.(database, table) === true) continue;
    const facts = context.facts(database, table);
    if (facts === undefined) missing.push({ database, table });
    if (facts === undefined || facts === 'none') continue;
    const found = locked(facts, alias);
    if (found === undefined) continue;
    if ('kind' in found) return found;
    tables.push(found);
  }
  if (missing.length > 0) return { kind: 'facts-needed', tables: missing };
  return tables.length === 0 ? { kind: 'pass' } : lockingRead(select, { source, span }, tables);
}

function planChange(statement: ChangeStatement, parsed: ParsedStatement, context: PlanContext): Planned {
  const read = (facts: PlanContext['facts']): readonly CapturedTable[] | Planned =>
    tablesChanged(statement, parsed.source, { ...context, facts });
  const tables = context.asks === true ? read(context.facts) : keptTables(statement, context, read);
  if ('kind' in tables) return tables;
  const capture = capturePinned(statement, parsed, tables);
  return context.asks === true ? askingChange(capture) : capture;
}

function tablesChanged(
  statement: ChangeStatement,
  source: Source,
  context: PlanContext,
): readonly CapturedTable[] | Planned {
  if (assignsVariables(statement, source))
    return refuse(`${statement.kind.toUpperCase()} whose condition sets a variable`);
  const alike = namesakeIn(statement.tables);
  if (alike !== undefined)
    return refuse(`${statement.kind.toUpperCase()} of two tables that are called ${alike}`, ALIASES);
  const looked = look(statement.tables, context);
  if (looked.kind !== 'facts') return looked;
  const changed = changedTables(statement, looked.facts, context.database);
  if (!Array.isArray(changed)) return changed as Refused;
  const tables: CapturedTable[] = [];
  for (const { facts, alias, assignments } of changed as readonly ChangedTable[]) {
    const isUpdate = statement.kind === 'update';
    const actions: Actions = {
      command: statement.kind.toUpperCase(),
      inserts: false,
      deletes: !isUpdate,
      assigned: isUpdate ? assignments.map(({ column }) => column) : undefined,
    };
    const table = captureable(facts, actions, { alias, isJoined: statement.isJoined }, context);
    if ('kind' in table) return table;
    if (tables.some(({ database, table: name }) => database === table.database && name === table.table)) {
      return refuse(`${actions.command} of ${table.table} under two names`);
    }
    const parents = parentsOf(facts, actions, context);
    if (!Array.isArray(parents)) return parents as FactsNeeded | Refused;
    const own = { ...table, parents: parents as readonly ParentKey[] };
    tables.push(context.asks === true ? keysOnly(own, assignments, source) : own);
  }
  return tables;
}

function captureable(
  facts: TableFacts,
  actions: Actions,
  { alias, isJoined }: { readonly alias: string; readonly isJoined: boolean },
  { checks = USUAL_CHECKS, asks }: PlanContext,
): CapturedTable | Refused {
  // What triggers and cascading keys do elsewhere is taken back with the rest.
  const plain: Actions = { command: actions.command, inserts: false, deletes: false, assigned: undefined };
  if (asks === true) return captured(facts, plain, alias, isJoined);
  return refuseUnchecked(checks, facts, actions) ?? captured(facts, actions, alias, isJoined);
}

interface ChangedTable {
  readonly facts: TableFacts;
  readonly alias: string;
  readonly assignments: readonly Assignment[];
}

/** Which of the tables of a statement are changed by it. */
function changedTables(
  statement: ChangeStatement,
  facts: readonly TableFacts[],
  database: string | undefined,
): readonly ChangedTable[] | Refused {
  const all = statement.tables.flatMap((reference, index) => {
    const found = facts[index];
    return found === undefined ? [] : [{ reference, facts: found, alias: reference.alias ?? reference.table }];
  });
  const unclear = refuse(`${statement.kind.toUpperCase()} of which it is not clear what table it changes`);
  const chosen = new Map<(typeof all)[number], Assignment[]>();
  if (statement.kind === 'delete') {
    if (statement.targets.length === 0 && statement.isJoined) return unclear;
    const targets =
      statement.targets.length === 0
        ? all.map(({ alias }) => ({ database: undefined, table: alias }))
        : statement.targets;
    for (const target of targets) {
      const found = all.filter((each) => isCalled(each.reference, each.facts, target, database));
      const [only] = found;
      if (only === undefined || found.length > 1) return unclear;
      chosen.set(only, []);
    }
  }
  for (const assignment of statement.assignments) {
    const { table, column } = assignment;
    const named = table === undefined ? all : all.filter(({ alias }) => alias === table);
    const found = named.filter((each) => columnOf(each.facts, column) !== undefined);
    const [only] = found;
    if (only === undefined || found.length > 1) return unclear;
    chosen.set(only, [...(chosen.get(only) ?? []), assignment]);
  }
  return [...chosen].map(([{ facts: own, alias }, assignments]) => ({ facts: own, alias, assignments }));
}

function isCalled(
  reference: TableReference,
  facts: TableFacts,
  target: TableName,
  database: string | undefined,
): boolean {
  if ((reference.alias ?? reference.table) !== target.table) return false;
  return target.database === undefined || target.database === (reference.database ?? database ?? facts.database);
}

function planInsert(statement: InsertStatement, { source, span }: ParsedStatement, context: PlanContext): Planned {
  const looked = look([statement.table], context);
  if (looked.kind !== 'facts') return looked;
  const [facts] = looked.facts;
  if (facts === undefined) return refuse('INSERT into no table');
  const isReplace = statement.kind === 'replace';
  const assigned = statement.onDuplicate?.assignments.map(({ column }) => column);
  const actions: Actions = { command: statement.kind.toUpperCase(), inserts: true, deletes: isReplace, assigned };
  const table = captureable(facts, actions, { alias: statement.table.table, isJoined: false }, context);
  if ('kind' in table) return table;
  const parents = parentsOf(facts, actions, context);
  if (!Array.isArray(parents)) return parents as FactsNeeded | Refused;
  const asks = context.asks === true;
  const own = { ...table, parents: parents as readonly ParentKey[] };
  const insertion: Insertion = {
    statement,
    source,
    span,
    facts,
    table: asks ? keysOnly(own, statement.onDuplicate?.assignments ?? [], source) : own,
    parameters: context.parameters,
  };
  const isPlain = !isReplace && !statement.isIgnoring && statement.onDuplicate === undefined;
  const capture = isPlain ? captureInsert(insertion) : captureUpsert(insertion);
  return asks && capture.kind === 'capture' ? askingInsertion(capture) : capture;
}
