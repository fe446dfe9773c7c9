/** Checks what the catalogue says of the target of a change: whether its images tell all that the change does. */
import type { StatementPlan } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import type { ParsedStatement } from '../parse.ts';
import { child, children, ofKind, text } from '../tree.ts';
import { ALL_TRIGGER_NAMES } from '../triggers/generate.ts';
import { keyIndex, unlockableUniques } from './lock-key.ts';
import { refuse, refuseHard } from './refusal.ts';

/** What a statement may do to the rows of its target. */
export interface Actions {
  /** The word for texts. */
  readonly command: 'INSERT' | 'UPDATE' | 'DELETE' | 'MERGE';
  readonly inserts: boolean;
  readonly updates: boolean;
  readonly deletes: boolean;
  /** Columns that its updating part assigns, and those that are computed from them. */
  readonly assigned: ReadonlySet<string>;
}

const COMMANDS: Readonly<Record<string, Actions['command']>> = {
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
};

/** True for the kinds of statement that change rows of one target. */
export function isChange(kind: string): boolean {
  return kind in COMMANDS;
}

/** What the statement may do by its text alone; it must be one of those kinds. */
export function actionsOf({ kind, node }: Pick<ParsedStatement, 'kind' | 'node'>): Actions {
  const command = COMMANDS[kind] ?? 'DELETE';
  const conflict = child(node, 'onConflictClause') ?? {};
  const clauses = ofKind(children(node, 'mergeWhenClauses'), 'MergeWhenClause');
  const has = (type: string): boolean => clauses.some((clause) => text(clause, 'commandType') === type);
  const assigning =
    command === 'MERGE'
      ? clauses.filter((clause) => text(clause, 'commandType') === 'CMD_UPDATE')
      : [command === 'UPDATE' ? node : conflict];
  const targets = assigning.flatMap((owner) => ofKind(children(owner, 'targetList'), 'ResTarget'));
  return {
    command,
    inserts: command === 'INSERT' || has('CMD_INSERT'),
    updates: command === 'UPDATE' || text(conflict, 'action') === 'ONCONFLICT_UPDATE' || has('CMD_UPDATE'),
    deletes: command === 'DELETE' || has('CMD_DELETE'),
    assigned: new Set(targets.flatMap((target) => text(target, 'name') ?? [])),
  };
}

/** The same actions where they assign generated columns as well: which columns one is computed from is not known, so it may be any. */
export function withComputed(actions: Actions, { columns }: RelationFacts): Actions {
  const computed = columns.filter(({ generated }) => generated !== undefined).map(({ name }) => name);
  if (actions.assigned.size === 0 || computed.length === 0) return actions;
  return { ...actions, assigned: new Set([...actions.assigned, ...computed]) };
}

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema', 'atomesh']);

const KINDS: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialised view',
  f: 'a foreign table',
};

/** Why a change of the relation cannot be captured; undefined when it can. `isOnly`: written with ONLY. */
export function refuseTarget(facts: RelationFacts, actions: Actions, isOnly: boolean): StatementPlan | undefined {
  const name = `"${facts.schema}"."${facts.name}"`;
  const { command } = actions;
  if (SYSTEM_SCHEMAS.has(facts.schema)) return refuseHard(`${command} of ${name} is not supported`);
  if (facts.relkind === 'f') {
    return refuseHard(`${command} of ${name}, a foreign table, is not supported`, 'Change it where it is stored.');
  }
  if (facts.relkind !== 'r' && facts.relkind !== 'p') {
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
  if (facts.partitionTrouble !== null) {
    return refuse(`${command} of ${name}, which has ${facts.partitionTrouble}, is not supported`);
  }
  if (facts.hasHeirs && !isOnly && command !== 'INSERT') {
    return refuse(
      `${command} of ${name}, from which other tables inherit, is not supported`,
      `Write ONLY ${name}, and change the other tables by statements of their own.`,
    );
  }
  if (facts.rules) return refuse(`${command} of ${name}, which has rules, is not supported`, 'Replace the rule.');
  if (facts.rowSecurity) return refuse(`${command} of ${name}, which has row-level security, is not supported`);
  return (
    refuseTriggers(facts, actions, name) ??
    refuseFunctions(facts, actions, name) ??
    refuseReferences(facts, actions, name) ??
    refuseUnvalidated(facts, actions, name) ??
    refuseUnsteady(facts, actions, name) ??
    refuseColumns(facts, actions, name)
  );
}

/** True when a change of the relation may run code that changes other rows: of a temporary table, that alone concerns a rollback. */
export function runsCode({ rules, triggers, unsafeFunctions }: RelationFacts): boolean {
  return rules || triggers.length > 0 || unsafeFunctions.length > 0;
}

/** Undoing an insertion deletes, and the other way round: a trigger on either counts for both. */
function refuseTriggers(
  { triggers }: RelationFacts,
  { command, inserts, updates, deletes }: Actions,
  name: string,
): StatementPlan | undefined {
  // Those that record changes do nothing unless they are told of a branch, which this statement does not do.
  const others = triggers.filter(({ name: trigger }) => !ALL_TRIGGER_NAMES.includes(trigger));
  const firing = others.filter(
    (trigger) => (updates && trigger.onUpdate) || ((inserts || deletes) && (trigger.onInsert || trigger.onDelete)),
  );
  if (firing.length === 0) return undefined;
  return refuse(
    `${command} of ${name}, which has triggers (${firing.map((trigger) => trigger.name).join(', ')}), is not supported`,
    'What a trigger does elsewhere cannot be seen. Drop it, or make the change outside the global transaction.',
  );
}

function refuseFunctions(
  { unsafeFunctions, seekingChecks }: RelationFacts,
  { command, updates, deletes }: Actions,
  name: string,
): StatementPlan | undefined {
  const [seeking] = seekingChecks;
  // What writes the row back has a search path of its own.
  if (seeking !== undefined && (updates || deletes)) {
    return refuse(
      `${command} of ${name}, of which a check calls ${seeking}, which reads tables, is not supported`,
      `Give the function a search path: ALTER FUNCTION ${seeking} SET search_path = ….`,
    );
  }
  if (unsafeFunctions.length === 0) return undefined;
  return refuse(
    `${command} of ${name} calls ${unsafeFunctions.join(', ')}, which may change rows, and is not supported`,
    'Declare the function STABLE or IMMUTABLE if it changes nothing.',
  );
}

function refuseReferences(
  facts: RelationFacts,
  { command, inserts, deletes, assigned }: Actions,
  name: string,
): StatementPlan | undefined {
  // Written ahead of the row that it refers to, it would have to go ahead of that too, and the order of a rollback is the reverse.
  const late = facts.foreignKeys.some(
    ({ restrictsLate, columns }) => restrictsLate && (inserts || columns.some((column) => assigned.has(column))),
  );
  if (late) {
    return refuse(
      `${command} of ${name}, which has a foreign key that is DEFERRABLE and RESTRICT, is not supported`,
      'Declare it NO ACTION, which looks at the references at the end as well.',
    );
  }
  if (deletes && facts.cascadesOnDelete) {
    return refuse(
      `${command} of ${name}, to which a foreign key with ON DELETE CASCADE or SET NULL refers, is not supported`,
      'Delete the referring rows first, in statements of their own, and declare the foreign key ON DELETE RESTRICT.',
    );
  }
  // What a row gives up without a claim may be gone when it comes back.
  const unclaimed = facts.foreignKeys.find(
    ({ parent, columns }) => parent === undefined && (deletes || columns.some((column) => assigned.has(column))),
  );
  if (unclaimed !== undefined) {
    return refuse(
      `${command} of ${name}, which has a foreign key (${unclaimed.columns.join(', ')}) to values that cannot be claimed, is not supported`,
      'Let it refer to columns of an integer, text, uuid, numeric, date or time type with a deterministic collation.',
    );
  }
  const cascading = facts.cascadesOnUpdateOf.find((column) => assigned.has(column));
  return cascading === undefined
    ? undefined
    : refuse(
        `changing "${cascading}" of ${name}, to which a foreign key with ON UPDATE CASCADE or SET NULL refers, is not supported`,
      );
}

/** A row that breaks a constraint can be mended or deleted, and then not be written back. */
function refuseUnvalidated(
  facts: RelationFacts,
  { command, deletes, assigned }: Actions,
  name: string,
): StatementPlan | undefined {
  const broken = facts.unvalidated.find(({ columns }) => deletes || columns.some((column) => assigned.has(column)));
  return broken === undefined
    ? undefined
    : refuse(
        `${command} of ${name}, which may have rows that break its constraint ${broken.name}, is not supported`,
        `Put them right outside the global transaction, and then: ALTER TABLE ${name} VALIDATE CONSTRAINT "${broken.name}".`,
      );
}

/** What a row is read as, or written back under, may say no by then, though it said yes when the row was written. */
function refuseUnsteady(
  { unsteadyChecks }: RelationFacts,
  { command, updates, deletes }: Actions,
  name: string,
): StatementPlan | undefined {
  // A row that was inserted is read again when it is taken away: only the check of a domain speaks there, and the row has met it once.
  const found = unsteadyChecks.find(({ domain, isOfMoment }) => updates || deletes || (domain !== null && isOfMoment));
  if (found === undefined) return undefined;
  const where = found.domain === null ? found.name : `${found.name} of the domain ${found.domain}`;
  return found.isOfMoment
    ? refuse(
        `${command} of ${name}, whose check ${where} goes by the time or the session, is not supported`,
        'A row that meets it now may fail it when it is written back. Check in the application what is true only for a while.',
      )
    : refuse(
        `${command} of ${name}, which may have rows that break the check ${where}, is not supported`,
        `Put them right outside the global transaction, and then: ALTER DOMAIN ${quoteName(found.domain ?? '')} VALIDATE CONSTRAINT ${quoteName(found.name)}.`,
      );
}

function refuseColumns(
  facts: RelationFacts,
  { command, deletes, assigned }: Actions,
  name: string,
): StatementPlan | undefined {
  if (!facts.uniqueIndexes.some((index) => index.isKey)) {
    return refuse(
      `changing ${name}, which has no primary key and no unique index over columns that are NOT NULL, is not supported`,
      `Add one: ALTER TABLE ${name} ADD PRIMARY KEY (…).`,
    );
  }
  if (keyIndex(facts) === undefined) {
    return refuse(
      `changing ${name} is not supported: its primary key has a type or a collation in which equal values may look different`,
      'Use a key of an integer, text, uuid, numeric, date or time type with a deterministic collation.',
    );
  }
  const identity = facts.columns.find((column) => column.identityAlways && assigned.has(column.name));
  if (identity !== undefined)
    return refuse(`changing "${identity.name}" of ${name}, GENERATED ALWAYS AS IDENTITY, is not supported`);
  const freed = unlockableUniques(facts).find(
    ({ columns }) => deletes || columns.some((column) => assigned.has(column)),
  );
  return freed === undefined
    ? undefined
    : refuse(
        `${command} of ${name}, which may free a value of ${freed.name}, is not supported: such values cannot be kept from others`,
        'Use a unique constraint over plain columns of an integer, text, uuid, numeric, date or time type.',
      );
}
