/** The planner for one PostgreSQL session: parses, asks the catalogue for what it must know, classifies, captures or refuses. */
import { assert } from '../../src/platform/assert.ts';
import type { Planned, PlannedFor, PlannedStatement, Planner, SessionSettings } from '../sql/planner.ts';
import type { Capture, StatementPlan } from '../sql/statement.ts';
import { factKey, type RelationFacts } from './catalog.ts';
import { SessionFacts } from './facts/session-facts.ts';
import { SharedFacts } from './facts/shared-facts.ts';
import type { Needs } from './facts/shared-plans.ts';
import { classifyOutside, planOutside } from './locks/outside.ts';
import { waitingChange } from './locks/changes.ts';
import { lockingRead } from './locks/reads.ts';
import { parse, type ParsedStatement } from './parse.ts';
import { planChange } from './undo/change.ts';
import { classify, type Class } from './undo/classify.ts';
import { changeInOperation, inOperation } from './operation/classify.ts';
import { executedStatement, planExecute, type Executed } from './undo/text/execute.ts';
import { classifyRecorded, planRecorded, recordedClass } from './triggers/plan.ts';
import { refuse, refuseAs, refuseHard, unlessTooMany } from './undo/refusal.ts';
import { preparedPlan, type Preparing } from './xa/planner.ts';
import {
  children,
  references,
  stringConstant,
  text,
  type CalledName,
  type QualifiedName,
  type References,
} from './tree.ts';

export interface PlannerOptions {
  /** `none`: every change that would have to be captured is refused. Inside an operation nothing is captured. */
  readonly mode: 'undo' | 'none';
  /** This database has the rows of the service's operations: inside them, changes of every other database are refused. */
  readonly carriesBarrier: boolean;
  /** Most rows that one statement may change. */
  readonly maxRows: number;
  /** Who writes the images: statements that are rewritten (the default), or triggers of the tables. */
  readonly capture?: 'statements' | 'triggers';
  /** What becomes of statements whose local transactions could be prepared; undefined: none is. Inside an operation none is either. */
  readonly preparing?: Preparing | undefined;
}

/** Unsafe functions whose effect does not end with the transaction that calls them. */
const LEAVES_THE_TRANSACTION =
  /^(?:dblink|pg_file_|pg_create_|pg_drop_|pg_replication_|pg_logical_emit_message|pg_import_|pg_export_snapshot|pg_restore_|pg_clear_|binary_upgrade_)/;
/** Unsafe functions that change what has no triggers. */
const LARGE_OBJECTS = /^lo(?:_|write)/;
/** In front of a text in the cache: what its plans are for. No text has this character. */
const CACHED: Readonly<Record<PlannedFor, string>> = { undo: '', operation: '\0', outside: '\0\0' };

/** A planner for one session, of those that share what they read of the catalogue. `loadParser` of parse.ts must have resolved. */
export function createPlanner(options: PlannerOptions, shared: SharedFacts = new SharedFacts()): Planner {
  return new SessionPlanner(options, shared);
}

class SessionPlanner implements Planner {
  readonly #options: PlannerOptions;
  readonly #shared: SharedFacts;
  readonly #known: SessionFacts;
  #searchPath: string | undefined;
  /** A statement was planned that may set the search path: the end of a transaction, or of a part of it, may set it back. */
  #isPathOpen = false;

  constructor(options: PlannerOptions, shared: SharedFacts) {
    this.#options = options;
    this.#shared = shared;
    this.#known = new SessionFacts(shared);
  }

  plan(text: string, settings: SessionSettings, nowMs: number, work: PlannedFor): Planned {
    const unreadable = refuseSettings(settings);
    if (unreadable !== undefined) return whole(text, unreadable);
    this.#followSearchPath(settings.get('search_path'));
    this.#known.follow();
    const serverMajor = Number.parseInt(settings.get('server_version') ?? '', 10);
    const key = CACHED[work] + text;
    const kept = this.#shared.plans.find(key);
    if (kept !== undefined) {
      const question = this.#known.question(kept.needs, [], nowMs);
      if (question !== undefined) return question;
      const found = this.#known.planIn(kept);
      // The end of a transaction whose path is open is planned by the session itself, which looks up names again behind it.
      if (found?.serverMajor === serverMajor && !(found.isControl && this.#isPathOpen)) return found.planned;
    }
    const parsed = parse(text);
    if (parsed.kind === 'syntax-error') {
      return whole(
        text,
        refuseAs('42601', parsed.message, 'Inside a global transaction a statement must be understood before it runs.'),
      );
    }
    if (parsed.kind === 'too-complex') {
      return whole(
        text,
        refuseAs('54001', 'statement too complex', 'Split it, or pass long lists as array parameters.'),
      );
    }
    const classes = parsed.statements.map((statement) => this.#classify(statement, work));
    const executed = parsed.statements.map((statement, index) => this.#executed(statement, classes[index]));
    const all = [...classes, ...executed.flatMap((each) => each?.found ?? [])];
    const question = this.#known.question(
      { relations: all.flatMap(relationsOf).map(factKey), functions: all.flatMap(functionsOf).map(factKey) },
      classes.flatMap((found) => (found.kind === 'execute' ? found.name : [])),
      nowMs,
    );
    if (question !== undefined) return question;
    this.#known.forgetPrepared();
    const run = parsed.statements.map((statement, index) => executed[index]?.statement ?? statement);
    const plans = parsed.statements.map((statement, index) => {
      const found = classes[index];
      assert(found !== undefined, 'every statement was classified');
      const plan = {
        undo: () => this.#planInBranch(statement, found, serverMajor, executed[index]),
        operation: () => this.#planInOperation(statement, found),
        outside: () => planOutside(statement, found, executed[index], this.#facts),
      }[work]();
      return { plan, start: statement.start, length: statement.end - statement.start };
    });
    const planned: Planned = {
      kind: 'plans',
      plans: work === 'undo' ? apart(plans, run, classes, this.#unlessPrepared(unsure)) : plans,
    };
    if (!this.#forgetNames(run)) this.#keep(key, planned, classes, { serverMajor, isControl: run.some(isControl) });
    return planned;
  }

  learn(rows: readonly (readonly (string | null)[])[], nowMs: number): void {
    this.#known.learn(rows, nowMs);
  }

  forget(): void {
    this.#known.forget();
  }

  catalogueMoved(): void {
    this.#shared.moved();
    this.forget();
  }

  get knowsNames(): boolean {
    return !this.#known.isEmpty;
  }

  pathMoved(): void {
    this.forget();
    this.#isPathOpen = true;
  }

  /** Servers report it from PostgreSQL 18 on. Names that are not qualified mean something else from now on. */
  #followSearchPath(searchPath: string | undefined): void {
    if (searchPath === this.#searchPath) return;
    if (this.#searchPath !== undefined) this.forget();
    this.#searchPath = searchPath;
  }

  /** True when names mean something else behind these statements: what they set, the end of a transaction or of a part of it sets back. */
  #forgetNames(statements: readonly ParsedStatement[]): boolean {
    const renames = statements.some(mayRename);
    const controls = statements.flatMap(({ kind, node }) => (kind === 'TransactionStmt' ? [text(node, 'kind')] : []));
    if (!renames && (!this.#isPathOpen || controls.length === 0)) return false;
    this.forget();
    this.#isPathOpen =
      renames || !controls.some((kind) => kind === 'TRANS_STMT_COMMIT' || kind === 'TRANS_STMT_ROLLBACK');
    return true;
  }

  #keep(
    text: string,
    planned: Planned,
    classes: readonly Class[],
    of: { readonly serverMajor: number; readonly isControl: boolean },
  ): void {
    // A name may stand for another statement by the next time.
    if (classes.some(({ kind }) => kind === 'execute')) return;
    const needs: Needs = {
      relations: [...new Set(classes.flatMap(relationsOf).map(factKey))],
      functions: [...new Set(classes.flatMap(functionsOf).map(factKey))],
    };
    const facts = this.#known.lasting(needs);
    if (facts === undefined) this.#known.forgetFleeting();
    else this.#shared.plans.keep(text, needs, { planned, ...of, ...facts });
  }

  /** What an EXECUTE runs; undefined when that is not known yet, or when there is no such statement. */
  #executed(statement: ParsedStatement, found: Class | undefined): Executed | undefined {
    if (found?.kind !== 'execute') return undefined;
    const facts = this.#known.prepared(found.name);
    return facts === undefined || facts === 'missing' ? undefined : executedStatement(statement, found.name, facts);
  }

  #planInBranch(
    statement: ParsedStatement,
    found: Class,
    serverMajor: number,
    executed: Executed | undefined,
  ): StatementPlan {
    const plan = this.#planOne(statement, found, serverMajor, executed);
    return this.#unlessPrepared(plan, () => this.#waiting(statement, found, executed));
  }

  #unlessPrepared(plan: StatementPlan, waiting: () => Capture | undefined = () => undefined): StatementPlan {
    const { preparing } = this.#options;
    return preparing === undefined ? plan : preparedPlan(plan, preparing, waiting);
  }

  /** A change that is not captured, as it waits for row locks of others; undefined where it cannot. */
  #waiting(statement: ParsedStatement, found: Class, executed: Executed | undefined): Capture | undefined {
    const change = executed ?? { statement, found };
    if (change.found.kind !== 'change') return undefined;
    const capture = waitingChange(change.statement, change.found.references, this.#facts);
    if (capture === undefined) return undefined;
    const waits = unlessTooMany({ kind: 'capture', capture });
    const plan = executed === undefined ? waits : planExecute(statement, executed, waits);
    return plan.kind === 'capture' ? plan.capture : undefined;
  }

  #planOne(
    statement: ParsedStatement,
    found: Class,
    serverMajor: number,
    executed: Executed | undefined,
  ): StatementPlan {
    if (found.kind === 'plan') return found.plan;
    const calls = this.#refuseCalls(found);
    if (this.#options.capture === 'triggers') return this.#planRecorded(statement, found, calls, executed);
    if (calls !== undefined) return calls;
    if (found.kind === 'read') return this.#planRead(statement, found.references);
    if (found.kind === 'execute') {
      // The server says that there is no such statement.
      if (executed === undefined) return { kind: 'pass', isByName: true };
      const plan = this.#planOne(executed.statement, executed.found, serverMajor, undefined);
      return planExecute(statement, executed, plan);
    }
    const { maxRows } = this.#options;
    const context = { serverMajor, maxRows, facts: this.#facts };
    return this.#unlessNone(unlessTooMany(planChange(statement, found.references, context)));
  }

  #planRead(statement: ParsedStatement, references: References): StatementPlan {
    const capture = this.#options.mode === 'undo' ? lockingRead(statement, references, this.#facts) : undefined;
    return capture === undefined ? { kind: 'pass' } : unlessTooMany({ kind: 'capture', capture });
  }

  readonly #facts = (name: QualifiedName): RelationFacts | 'missing' =>
    this.#known.relation(factKey(name)) ?? 'missing';

  #unlessNone(plan: StatementPlan): StatementPlan {
    const isChange = plan.kind === 'capture' || plan.kind === 'change' || (plan.kind === 'refuse' && plan.escalates);
    return this.#options.mode === 'none' && isChange ? changeRefused : plan;
  }

  #classify(statement: ParsedStatement, work: PlannedFor): Class {
    if (work === 'operation') return inOperation(statement, this.#options.carriesBarrier);
    if (work === 'outside') return classifyOutside(statement);
    return this.#options.capture === 'triggers' ? classifyRecorded(statement) : classify(statement);
  }

  /** `calls`: why what it calls would be refused. What leaves the transaction no trigger takes back. */
  #planRecorded(
    statement: ParsedStatement,
    found: Exclude<Class, { kind: 'plan' }>,
    calls: StatementPlan | undefined,
    executed: Executed | undefined,
  ): StatementPlan {
    if (calls?.kind === 'refuse' && calls.escalates !== true) return calls;
    if (calls !== undefined && functionsOf(found).some(({ name }) => LARGE_OBJECTS.test(name))) return calls;
    const context = { maxRows: this.#options.maxRows, calls: calls !== undefined, facts: this.#facts };
    const { parameters } = found.references;
    if (found.kind === 'execute' && executed !== undefined) {
      const inner = recordedClass(executed.statement, executed.found);
      if (inner.kind === 'plan') return planExecute(statement, executed, inner.plan);
      const plan = this.#planRecorded(executed.statement, inner, this.#refuseCalls(inner) ?? calls, undefined);
      if (plan.kind !== 'capture' || plan.capture.recorded === undefined) return planExecute(statement, executed, plan);
      return this.#unlessNone(planRecorded(statement, parameters, { ...context, calls: true }));
    }
    if (found.kind === 'change' || calls !== undefined)
      return this.#unlessNone(planRecorded(statement, parameters, context));
    return found.kind === 'read' ? this.#planRead(statement, found.references) : { kind: 'pass', isByName: true };
  }

  /** What may call a function that changes rows is a change. */
  #planInOperation(statement: ParsedStatement, found: Class): StatementPlan {
    if (found.kind === 'plan') return found.plan;
    return this.#refuseCalls(found) === undefined
      ? { kind: 'pass' }
      : changeInOperation(statement.kind, this.#options.carriesBarrier);
  }

  #refuseCalls(found: Class): StatementPlan | undefined {
    const called = functionsOf(found).flatMap((name) => this.#known.called(factKey(name))?.unsafe ?? []);
    const behind = relationsOf(found).flatMap((name) => {
      const facts = this.#known.relation(factKey(name));
      if (facts === undefined || facts === 'missing') return [];
      return 'rp'.includes(facts.relkind) ? facts.unsafeOnRead : facts.unsafeFunctions;
    });
    const [unsafe] = [...called, ...behind];
    if (unsafe === undefined) return undefined;
    const refusal = LEAVES_THE_TRANSACTION.test(unsafe) ? refuseHard : refuse;
    return refusal(
      `a call of the function ${unsafe}, which may change rows, is not supported`,
      'Declare it STABLE or IMMUTABLE if it changes nothing.',
    );
  }
}

const changeRefused = refuseHard(
  'a change through a database with mode: none is refused',
  "Set mode: undo for this database in the sidecar's configuration.",
);

const PATH_SETTINGS: ReadonlySet<string> = new Set(['search_path', 'role', 'session_authorization']);

/** True for a statement behind which names that are not qualified may mean something else. */
function mayRename({ kind, node }: ParsedStatement): boolean {
  if (kind === 'DiscardStmt') return true;
  if (kind === 'VariableSetStmt') {
    return text(node, 'kind') === 'VAR_RESET_ALL' || PATH_SETTINGS.has((text(node, 'name') ?? '').toLowerCase());
  }
  if (kind !== 'SelectStmt') return false;
  return references(node).settings.some((call) => {
    const name = stringConstant(children(call, 'args')[0]);
    return name === undefined || PATH_SETTINGS.has(name.toLowerCase());
  });
}

function isControl({ kind }: ParsedStatement): boolean {
  return kind === 'TransactionStmt';
}

/** The text is read as the server reads it only under these settings. All three are reported by the server. */
function refuseSettings(settings: SessionSettings): StatementPlan | undefined {
  const encoding = settings.get('client_encoding') ?? '';
  if (encoding.toUpperCase() !== 'UTF8') {
    return refuseHard(`client_encoding ${encoding} is not supported`, 'Set client_encoding to UTF8.');
  }
  if (settings.get('standard_conforming_strings') === 'off') {
    return refuseHard('standard_conforming_strings = off is not supported', 'Set standard_conforming_strings to on.');
  }
  const major = Number.parseInt(settings.get('server_version') ?? '', 10);
  if (!(major >= 14))
    return refuseHard(
      `PostgreSQL ${settings.get('server_version') ?? ''} is not supported`,
      'Use PostgreSQL 14 or later.',
    );
  return undefined;
}

function whole(text: string, plan: StatementPlan): Planned {
  return { kind: 'plans', plans: [{ plan, start: 0, length: Buffer.byteLength(text) }] };
}

const PREPARES: ReadonlySet<string> = new Set(['PrepareStmt', 'DeallocateStmt']);

/**
 * The statements of one text are planned before the first of them runs: one that uses a name behind one that may change what names mean
 * gets the plan `otherwise`.
 */
function apart(
  plans: readonly PlannedStatement[],
  statements: readonly ParsedStatement[],
  classes: readonly Class[],
  otherwise: StatementPlan,
): readonly PlannedStatement[] {
  const isBehind = (index: number, renames: (statement: ParsedStatement) => boolean): boolean =>
    statements.slice(0, index).some(renames);
  return plans.map((planned, index) => {
    const found = classes[index];
    if (found === undefined || planned.plan.kind === 'refuse') return planned;
    const isExecute = found.kind === 'execute';
    // What is of the server's own schema means the same whatever comes before.
    const called = functionsOf(found).filter(({ schema }) => schema !== 'pg_catalog');
    const usesNames = isExecute || relationsOf(found).length > 0 || called.length > 0;
    const isUnsure =
      (usesNames && isBehind(index, (statement) => statement.kind === 'CreateStmt' || mayRename(statement))) ||
      (isExecute && isBehind(index, ({ kind }) => PREPARES.has(kind)));
    return isUnsure ? { ...planned, plan: otherwise } : planned;
  });
}

const unsure = refuse(
  'a statement in one text behind SET, CREATE or PREPARE is not supported',
  'Send one statement at a time.',
);

function relationsOf(found: Class): readonly QualifiedName[] {
  return found.kind === 'plan' ? [] : found.references.relations;
}

function functionsOf(found: Class): readonly CalledName[] {
  return found.kind === 'plan' ? [] : found.references.functions;
}
