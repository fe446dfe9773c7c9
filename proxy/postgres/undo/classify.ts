/** Rule zero: what may pass inside a global transaction, what is captured, and that everything else is refused. */
import type { GidSetting, StatementPlan, TransactionVerb } from '../../sql/statement.ts';
import type { ParsedStatement, Tree } from '../parse.ts';
import {
  child,
  children,
  integer,
  ofKind,
  qualifiedName,
  references,
  stringConstant,
  strings,
  text,
  unwrap,
  type References,
} from '../tree.ts';
import { always, refuse, refuseHard } from './refusal.ts';
import { isChange } from './target.ts';

/** What a statement is, as far as its text alone tells. */
export type Class =
  | { readonly kind: 'plan'; readonly plan: StatementPlan }
  /** Harmless if all that it calls and reads is. */
  | { readonly kind: 'read'; readonly references: References }
  | { readonly kind: 'change'; readonly references: References }
  /** EXECUTE: what the name stands for decides. The references are those of its arguments. */
  | { readonly kind: 'execute'; readonly name: string; readonly references: References };

const PASS: Class = { kind: 'plan', plan: { kind: 'pass' } };

/** No rollback concerns a temporary table, but event triggers fire when one is made; nothing else in the statement runs. */
const CREATES_TEMPORARY: Class = {
  kind: 'read',
  references: { ...references({}), functions: [{ schema: 'pg_catalog', name: 'pg_event_trigger' }] },
};

const VERBS: Readonly<Record<string, TransactionVerb>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'begin',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
  TRANS_STMT_SAVEPOINT: 'savepoint',
  TRANS_STMT_ROLLBACK_TO: 'rollback-to',
  TRANS_STMT_RELEASE: 'release',
};

/** Statements that change no rows and run no others. */
const HARMLESS: ReadonlySet<string> = new Set([
  'VariableShowStmt',
  'DeallocateStmt',
  'ClosePortalStmt',
  'ListenStmt',
  'UnlistenStmt',
  'NotifyStmt',
  'LockStmt',
  'ConstraintsSetStmt',
]);

/** Sorts one statement. */
export function classify({ kind, node }: ParsedStatement): Class {
  if (HARMLESS.has(kind)) return PASS;
  switch (kind) {
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      return classifyChange(node);
    case 'SelectStmt':
      return classifySelect(node);
    case 'DeclareCursorStmt':
      return classifyInner(node, 'DECLARE');
    case 'PrepareStmt':
      return classifyPrepare(node);
    case 'ExecuteStmt':
      return { kind: 'execute', name: text(node, 'name') ?? '', references: references(node) };
    case 'FetchStmt':
      return plan({ kind: 'pass', fetches: text(node, 'portalname') ?? '' });
    case 'TransactionStmt':
      return plan(transactionPlan(node));
    case 'VariableSetStmt':
      return plan(settingPlan(node));
    case 'DiscardStmt':
      return plan(discardPlan(node));
    case 'ExplainStmt':
      return classifyExplain(node);
    case 'CopyStmt':
      return classifyCopy(node);
    case 'CreateStmt':
      return text(child(node, 'relation') ?? {}, 'relpersistence') === 't' ? CREATES_TEMPORARY : plan(refuseKind(kind));
    default:
      return plan(refuseKind(kind));
  }
}

function plan(value: StatementPlan): Class {
  return { kind: 'plan', plan: value };
}

function classifyChange(node: Tree): Class {
  const found = references(node);
  const refusal = refuseNested(found, changesInWith(node));
  return refusal === undefined ? { kind: 'change', references: found } : plan(refusal);
}

/** How many parts of its own WITH clause change rows. */
function changesInWith(node: Tree): number {
  const tables = ofKind(children(child(node, 'withClause') ?? {}, 'ctes'), 'CommonTableExpr');
  return tables.filter((table) => isChange(unwrap(child(table, 'ctequery'))?.kind ?? '')).length;
}

function classifySelect(node: Tree): Class {
  const gid = gidCall(node);
  if (gid !== undefined) return plan(gid);
  if (child(node, 'intoClause') !== undefined) return plan(refuse('SELECT INTO is not supported'));
  const found = references(node);
  const changes = changesInWith(node);
  const refusal = refuseNested(found, changes);
  if (refusal !== undefined) return plan(refusal);
  return { kind: changes > 0 ? 'change' : 'read', references: found };
}

const NESTED: Readonly<Record<string, string>> = {
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
  'SELECT INTO': 'SELECT INTO',
};

/** `captured`: how many of its changes are where they can be captured, in a WITH clause of the statement itself. */
function refuseNested(found: References, captured: number): StatementPlan | undefined {
  for (const call of found.settings) {
    const name = stringConstant(children(call, 'args')[0]);
    if (name === undefined || name.toLowerCase() === 'atomesh.gid') {
      return always(
        refuse(
          'set_config with a computed name, or of atomesh.gid within a larger statement, is not supported',
          "Write SELECT set_config('atomesh.gid', …, true) as a statement of its own.",
        ),
      );
    }
    const setting = refuseSetting(name, undefined);
    if (setting !== undefined) return setting;
  }
  const [nested] = found.nestedWrites;
  if (nested !== undefined && found.nestedWrites.length !== captured) {
    return refuse(
      `${NESTED[nested] ?? nested} within another statement is not supported`,
      'Write the change as a statement of its own.',
    );
  }
  return undefined;
}

/** A statement that holds a query: what the query is decides. */
function classifyInner(node: Tree, verb: string): Class {
  const inner = unwrap(child(node, 'query'));
  if (inner?.kind !== 'SelectStmt')
    return plan(refuse(`${verb} of anything but SELECT is not supported`, 'Run the statement itself.'));
  const found = classifySelect(inner.node);
  return found.kind === 'change'
    ? plan(refuse(`${verb} of a statement that changes rows is not supported`, 'Run the statement itself.'))
    : found;
}

/** What was prepared is looked at when it is executed. Of a gid nobody would learn then. */
function classifyPrepare(node: Tree): Class {
  const inner = unwrap(child(node, 'query'));
  const names = inner === undefined ? [] : references(inner.node).settings;
  return names.some((call) => stringConstant(children(call, 'args')[0])?.toLowerCase() === 'atomesh.gid')
    ? plan(always(refuse('PREPARE of set_config of atomesh.gid is not supported', 'Run the statement itself.')))
    : PASS;
}

/** Nothing runs without ANALYZE but what computes the arguments of EXECUTE. */
function classifyExplain(node: Tree): Class {
  if (isAnalyze(node)) return classifyInner(node, 'EXPLAIN ANALYZE');
  const inner = unwrap(child(node, 'query'));
  return inner?.kind === 'ExecuteStmt' ? { kind: 'read', references: references(inner.node) } : PASS;
}

function transactionPlan(node: Tree): StatementPlan {
  const kind = text(node, 'kind') ?? '';
  const verb = VERBS[kind];
  if (verb === undefined)
    return always(refuse('two-phase commit by hand (PREPARE TRANSACTION, COMMIT PREPARED) is not supported'));
  const name = text(node, 'savepoint_name');
  const chained = node['chain'] === true && (verb === 'commit' || verb === 'rollback');
  return { kind: 'control', verb: chained ? `${verb}-and-chain` : verb, ...(name === undefined ? {} : { name }) };
}

/** Settings that change how this text is read, or switch checks of the database off. */
const GUARDED: ReadonlySet<string> = new Set([
  'standard_conforming_strings',
  'session_replication_role',
  'atomesh.branch',
  'atomesh.committed',
  'client_encoding',
]);

function settingPlan(node: Tree): StatementPlan {
  const kind = text(node, 'kind');
  const name = (text(node, 'name') ?? '').toLowerCase();
  const scope = node['is_local'] === true ? 'local' : 'session';
  // RESET ALL takes the gid with it.
  if (kind === 'VAR_RESET_ALL') return { kind: 'set-gid', setting: { scope: 'session', value: undefined } };
  if (name !== 'atomesh.gid') return refuseSetting(name, constantText(children(node, 'args')[0])) ?? { kind: 'pass' };
  if (kind === 'VAR_RESET' || kind === 'VAR_SET_DEFAULT')
    return { kind: 'set-gid', setting: { scope, value: undefined } };
  const value = constantText(children(node, 'args')[0]);
  if (value === undefined)
    return always(
      refuse('SET atomesh.gid to anything but a constant is not supported', "Write SET atomesh.gid = '…'."),
    );
  return { kind: 'set-gid', setting: { scope, value: value === '' ? undefined : value } };
}

function refuseSetting(name: string, value: string | undefined): StatementPlan | undefined {
  const lower = name.toLowerCase();
  if (!GUARDED.has(lower)) return undefined;
  if (lower === 'client_encoding' && /^utf-?8$/i.test(value ?? '')) return undefined;
  if (lower === 'standard_conforming_strings' && /^(on|true|yes|1)$/i.test(value ?? '')) return undefined;
  return always(refuse(`changing ${lower} is not supported`, 'Change it before the global transaction.'));
}

function constantText(node: Tree | undefined): string | undefined {
  const string = stringConstant(node);
  if (string !== undefined) return string;
  const inner = unwrap(node);
  if (inner?.kind !== 'A_Const') return undefined;
  const number = child(inner.node, 'ival');
  if (number !== undefined) return String(integer(number, 'ival') ?? 0);
  const decimal = child(inner.node, 'fval');
  return decimal === undefined ? undefined : text(decimal, 'fval');
}

/** `SELECT [pg_catalog.]set_config('atomesh.gid', value, is_local)` and nothing else. */
function gidCall(select: Tree): StatementPlan | undefined {
  const targets = children(select, 'targetList');
  const call = child(child(child(targets[0] ?? {}, 'ResTarget') ?? {}, 'val') ?? {}, 'FuncCall');
  if (targets.length !== 1 || call === undefined) return undefined;
  const name = qualifiedName(strings(children(call, 'funcname')));
  const [setting, value, local] = children(call, 'args').map(withoutCast);
  if (name.name !== 'set_config' || (name.schema !== undefined && name.schema !== 'pg_catalog')) return undefined;
  if (stringConstant(setting)?.toLowerCase() !== 'atomesh.gid') return undefined;
  if (
    ['fromClause', 'whereClause', 'withClause', 'intoClause', 'groupClause', 'havingClause', 'limitCount'].some(
      (field) => field in select,
    )
  ) {
    return undefined;
  }
  const scope = scopeOf(local);
  const given = stringConstant(value) ?? parameterNumber(value);
  if (scope === undefined || given === undefined) {
    return always(
      refuse(
        'set_config of atomesh.gid with a computed value, or with a computed third argument, is not supported',
        "Write SELECT set_config('atomesh.gid', $1, true).",
      ),
    );
  }
  return { kind: 'set-gid', setting: { scope, value: given === '' ? undefined : given } };
}

function withoutCast(node: Tree): Tree {
  const inner = unwrap(node);
  const argument = inner?.kind === 'TypeCast' ? child(inner.node, 'arg') : undefined;
  return argument ?? node;
}

function parameterNumber(node: Tree | undefined): number | undefined {
  const inner = unwrap(node);
  return inner?.kind === 'ParamRef' ? integer(inner.node, 'number') : undefined;
}

function scopeOf(node: Tree | undefined): GidSetting['scope'] | undefined {
  const constant = child(node ?? {}, 'A_Const');
  const value = constant && child(constant, 'boolval');
  if (value !== undefined) return value['boolval'] === true ? 'local' : 'session';
  const word = stringConstant(node)?.toLowerCase();
  if (word === 'true' || word === 't') return 'local';
  return word === 'false' || word === 'f' ? 'session' : undefined;
}

function discardPlan(node: Tree): StatementPlan {
  const target = text(node, 'target');
  if (target === 'DISCARD_ALL') return { kind: 'set-gid', setting: { scope: 'session', value: undefined } };
  return { kind: 'pass' };
}

function isAnalyze(node: Tree): boolean {
  return children(node, 'options').some((item) => text(child(item, 'DefElem') ?? {}, 'defname') === 'analyze');
}

function classifyCopy(node: Tree): Class {
  if (node['is_program'] === true || text(node, 'filename') !== undefined) {
    return plan(refuseHard('COPY to a file or a program of the server is not supported', 'Use COPY … TO STDOUT.'));
  }
  if (node['is_from'] === true) return plan(refuse('COPY FROM is not supported', 'Use INSERT with several rows.'));
  const query = child(node, 'query');
  return query === undefined ? { kind: 'read', references: references(node) } : classifyInner(node, 'COPY');
}

const NAMED: Readonly<Record<string, string>> = {
  TruncateStmt: 'TRUNCATE',
  CallStmt: 'CALL',
  DoStmt: 'DO',
  CreateTableAsStmt: 'CREATE TABLE AS',
  RefreshMatViewStmt: 'REFRESH MATERIALIZED VIEW',
};

/**
 * What the server refuses in a transaction block, or what takes effect outside the transaction that it runs in.
 * Source: PostgreSQL, src/backend/tcop/utility.c (`PreventInTransactionBlock`) and the commands it is called from.
 */
const OUTSIDE_TRANSACTIONS: ReadonlySet<string> = new Set([
  'VacuumStmt',
  'CreatedbStmt',
  'DropdbStmt',
  'AlterDatabaseStmt',
  'CreateTableSpaceStmt',
  'DropTableSpaceStmt',
  'AlterSystemStmt',
  'CreateSubscriptionStmt',
  'AlterSubscriptionStmt',
  'DropSubscriptionStmt',
  'CheckPointStmt',
  'LoadStmt',
]);

const WAYS_OUT: Readonly<Record<string, string>> = {
  TruncateStmt: 'Use DELETE.',
  CallStmt: 'Run the statements of the procedure themselves.',
  DoStmt: 'Run the statements of the block themselves.',
};

function refuseKind(kind: string): StatementPlan {
  const words = kind
    .replace(/Stmt$/, '')
    .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toUpperCase();
  const refusal = OUTSIDE_TRANSACTIONS.has(kind) ? refuseHard : refuse;
  return refusal(`${NAMED[kind] ?? words} is not supported`, WAYS_OUT[kind]);
}
