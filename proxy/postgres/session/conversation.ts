/** A session that belongs to a global transaction: what it consists of, and what both protocols do with it alike. */
import type { Mark } from '../../../src/contract/transaction.ts';
import { assert } from '../../../src/platform/assert.ts';
import { now } from '../../../src/platform/clock.ts';
import type { ServedTraces } from '../../binding/from-sql-comment.ts';
import type { SqlEvent } from '../../sql/event.ts';
import type { PlannedFor, PlannedStatement, Planner, SessionSettings } from '../../sql/planner.ts';
import { badMark, bind, joinedLate, lockingRows, markOf, markOfSetting, succeeded } from '../../sql/session.ts';
import type { Capture, GidSetting, Refusal, StatementPlan } from '../../sql/statement.ts';
import { workOf, type UndoBranch, type Work } from '../../sql/work.ts';
import type { SessionOperations } from '../../branch/operation-rows.ts';
import { withoutPosition, type CaptureDeps } from './capture-run.ts';
import type { Exchange } from './exchange.ts';
import type { Injected } from './injected.ts';
import type { ClientFrame } from './pass-watch.ts';
import { contradictoryComments, endedBefore } from './refusals.ts';
import type { Twins } from './twins.ts';
import { markOfStatement, PREPARED_SQL, recall, touch, type Statement, type Statements } from './statements.ts';
import { READY_FOR_QUERY } from '../wire/backend-state.ts';
import { FLUSH, SYNC } from '../wire/bodiless.ts';
import { encodeError } from '../wire/error.ts';
import { HEADER_BYTES } from '../wire/frames.ts';

/** The session that is being served. `state` is the one thing that changes hands. */
export interface Conversation extends CaptureDeps {
  readonly exchange: Exchange;
  readonly injected: Injected;
  readonly planner: Planner;
  readonly settings: SessionSettings;
  readonly statements: Statements;
  readonly twins: Twins;
  readonly resource: string;
  /** Why the session can belong to no global transaction; undefined where it can. */
  readonly foreign: Refusal | undefined;
  /** Statements outside any global transaction wait for row locks too. */
  readonly respectsLocks: boolean;
  readonly traces: ServedTraces;
  /** The mark that the session's application_name stands for, when it is the traceparent of a known trace. */
  readonly ambientMark: () => Mark | 'ambiguous' | undefined;
  readonly operations: SessionOperations;
  /** The client's next message, waiting for it if need be; `undefined` in its place when the global transaction was rolled back. */
  nextOrDoom(): Promise<ClientFrame | undefined>;
  /** The client's next message, waiting for it if need be. */
  next(): Promise<ClientFrame>;
  /** The type of the message behind the current one, when it has arrived. */
  peek(): number | undefined;
  /** Resolves when no cancel request is on its way any more; undefined when none is. */
  readonly cancelling: () => Promise<void> | undefined;
  readonly toClient: (bytes: Buffer) => void;
  /** What is said to the client from now on goes out when the promise has resolved. */
  readonly holdClient: (until: Promise<void>) => void;
  /** Counts for the metrics. */
  readonly count: (what: SqlEvent) => void;
}

/** What the session does for its mark; undefined without one. */
export function currentWork(c: Conversation): Work | undefined {
  const mark = markOf(c.state);
  return mark === undefined ? undefined : workOf(mark, c.resource);
}

/** What statements are planned for while the session has no mark. */
function workOutside({ respectsLocks }: Conversation): PlannedFor {
  return respectsLocks ? 'outside' : 'undo';
}

/** True when the plans of the next statement's captures ask for row locks, and nothing is captured. */
export function waitsOutside(c: Conversation): boolean {
  return c.respectsLocks && markOf(c.state) === undefined && c.state.block !== 'failed';
}

/** The branch that captured changes belong to. */
export function currentBranch(c: Conversation): UndoBranch {
  const work = currentWork(c);
  assert(work?.kind === 'undo', 'what is captured belongs to a branch');
  return work.branch;
}

/** An EXECUTE is asked for what it runs, and both it and that for names and facts; what else comes between is worth another. */
const ROUNDS = 6;

/** The plans of a text, asking the server's catalogue where needed; undefined when that failed and the client has its error. */
export async function plansOf(
  c: Conversation,
  text: string,
  isInPipeline: boolean,
  work: PlannedFor = currentWork(c)?.kind ?? workOutside(c),
): Promise<readonly PlannedStatement[] | undefined> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const planned = c.planner.plan(text, c.settings, now(), work);
    if (planned.kind === 'plans') return planned.plans;
    // A failed block answers nothing but its end; the server says so by itself.
    if (c.state.block === 'failed') return [whole(text, { kind: 'pass' })];
    const { about: name, sql, parameters } = planned;
    const rows = await ask(c, { name, sql, parameters, isInPipeline, isAnew: name === 'facts' });
    if (rows === undefined) {
      // What it was told so far was true for this statement.
      c.planner.forget();
      return undefined;
    }
    c.planner.learn(rows, now());
  }
  return [whole(text, { kind: 'refuse', refusal: factsRefusal })];
}

function whole(text: string, plan: StatementPlan): PlannedStatement {
  return { plan, start: 0, length: Buffer.byteLength(text) };
}

/**
 * The prepared statement of that name. One that is not remembered, or not for certain, is asked of the server; undefined when it
 * has none, `'failed'` when it could not be asked and the client has its error.
 */
export async function statementOf(
  c: Conversation,
  name: Buffer,
  isInPipeline: boolean,
): Promise<Statement | undefined | 'failed'> {
  const key = name.toString('latin1');
  if (c.statements.byName.get(key)?.isDoubtful === true && c.exchange.pending > 0) {
    // The answer to its Parse is as good as a question, after which the server takes a statement for one of several.
    c.exchange.addUnanswered(FLUSH);
    await c.exchange.settled();
    if (c.exchange.isSkipping) return 'failed';
  }
  const known = c.statements.byName.get(key);
  if (known?.isDoubtful === false) touch(c.statements, known);
  // A failed block answers nothing; the unnamed statement is not in the catalogue.
  if (known?.isDoubtful === false || key === '' || c.state.block === 'failed') return known;
  const question = { name: 'statement', sql: PREPARED_SQL, parameters: [name.toString('utf8')], isInPipeline };
  const rows = await ask(c, question);
  return rows === undefined ? 'failed' : recall(c.statements, key, rows);
}

/**
 * The answer to a question of ours in the client's session; undefined when it failed, and the client has the error. `isAnew` as for
 * `Injected.query`.
 */
export async function ask(
  c: Conversation,
  question: {
    readonly name: string;
    readonly sql: string;
    readonly parameters: readonly (string | null)[];
    readonly isInPipeline: boolean;
    readonly isAnew?: boolean;
  },
): Promise<(string | null)[][] | undefined> {
  const { state } = c;
  const { name, sql, parameters, isInPipeline, isAnew = false } = question;
  const rows = await c.injected.query(name, sql, parameters, { isInPipeline, isAnew, passOn: c.toClient });
  // Outside a block our question is a local transaction of its own: its end is not the end of the client's, nor of its gid.
  if (state.block === 'idle') c.state = state;
  return rows;
}

/** The plan of a text without a mark: only what begins or ends a block matters, for one may be named behind it in the same pipeline. */
export function controlIn(c: Conversation, text: string): StatementPlan {
  const planned = c.planner.plan(text, c.settings, now(), workOutside(c));
  const [only, ...others] = planned.kind === 'plans' ? planned.plans : [];
  return only?.plan.kind === 'control' && others.length === 0 ? only.plan : { kind: 'pass' };
}

/** Binds the session to the mark that a text's comments name. A refusal when that cannot be. */
export function bindByComment(c: Conversation, statement: Statement): Refusal | undefined {
  // A failed block takes nothing but its end, which must be let through whatever its comment says.
  if (c.state.block === 'failed') return undefined;
  const found = markOfStatement(statement, c.traces);
  if (found === undefined) {
    const ambient = markOf(c.state) === undefined ? c.ambientMark() : undefined;
    return ambient === undefined || ambient === 'ambiguous' ? undefined : bindTo(c, ambient, 'local');
  }
  if (found.kind === 'malformed') return badMark(found.text);
  // That several requests have its trace matters where it changes something, and nothing else says to what it belongs.
  if (found.kind !== 'mark') return found.kind === 'ambiguous' ? undefined : contradictoryComments;
  // A named statement keeps the comment that it was prepared with; what the session says now is newer.
  if (statement.name !== '' && markOf(c.state) !== undefined) return undefined;
  return bindTo(c, found.mark, 'local');
}

/** Carries out SET atomesh.gid. */
export function bindBySetting(
  c: Conversation,
  setting: GidSetting,
  parameter: (number: number) => string | undefined,
): Refusal | undefined {
  const wanted = markOfSetting(setting, parameter);
  return wanted.kind === 'refused' ? wanted.refusal : bindTo(c, wanted.mark, setting.scope);
}

function bindTo(c: Conversation, mark: Mark | undefined, scope: 'local' | 'session'): Refusal | undefined {
  const isOff = c.operations.isOff && mark !== undefined && workOf(mark, c.resource).kind === 'operation';
  if (mark !== undefined && !isOff && c.foreign !== undefined) return c.foreign;
  const bound = bind(c.state, isOff ? undefined : mark, scope);
  if (bound.kind === 'refused') return bound.refusal;
  c.state = bound.state;
  return undefined;
}

/** Names a mark, and remembers when statements of the same pipeline have run without one. */
export function naming(c: Conversation, hasRun: boolean, name: () => Refusal | undefined): Refusal | undefined {
  const before = markOf(c.state);
  const refusal = name();
  if (hasRun && before === undefined && markOf(c.state) !== undefined) c.state = joinedLate(c.state);
  return refusal;
}

/** Makes the branch known to the coordinator before a COMMIT. A refusal when that cannot be: the local transaction must not stay. */
export async function refuseCommit(c: Conversation): Promise<Refusal | undefined> {
  const branch = currentBranch(c);
  const enlisted = c.enlistment.isEnlisted(branch) ? undefined : await c.enlistment.enlist(branch, false);
  if (enlisted?.kind === 'refused') return enlisted.refusal;
  return c.state.isRecorded ? refuseUnrecorded(c) : undefined;
}

/** A refusal when something else has told the triggers of this local transaction for whom they record, so that changes may be missing. */
async function refuseUnrecorded(c: Conversation): Promise<Refusal | undefined> {
  if (c.exchange.pending > 0) {
    c.exchange.addUnanswered(FLUSH);
    await c.exchange.settled();
  }
  // What went ahead in its pipeline has failed, and the client has that error.
  if (c.exchange.isSkipping) return endedBefore;
  const check = c.injected.checkCapture(currentBranch(c), true);
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
  if (check.state === 'done') return undefined;
  return check.error === undefined ? endedBefore : { ...endedBefore, asReceived: withoutPosition(check.error) };
}

/** Rolls the local transaction back behind the client's back: its COMMIT is answered with an error. */
export async function rollBack(c: Conversation): Promise<void> {
  // One that was meant for a statement before would stop this instead.
  await c.cancelling();
  c.injected.add('rollback');
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
}

/** True when changes belong to a global transaction. A failed block answers every change by itself. */
export function isChanging({ state }: Conversation): boolean {
  return markOf(state) !== undefined && state.block !== 'failed';
}

/** True when nothing says to what a statement belongs but a trace of which several requests are being served. */
export function isAmbiguous(c: Conversation, statement: Statement): boolean {
  if (markOf(c.state) !== undefined || c.state.block === 'failed') return false;
  const found = markOfStatement(statement, c.traces);
  return found === undefined ? c.ambientMark() === 'ambiguous' : found.kind === 'ambiguous';
}

/** True when it does not matter to what a statement belongs, by its plan inside an operation. What comes behind BEGIN may matter. */
export function isClear(plan: StatementPlan): boolean {
  return plan.kind === 'control' ? plan.verb !== 'begin' : plan.kind === 'pass' || plan.kind === 'set-gid';
}

/** SELECT … FOR UPDATE and its like, cursors over them, LOCK, and whatever EXECUTE runs. To take too much for one costs the client a retry, too little a wait. */
const LOCKING =
  /\bfor\s+(?:no\s+key\s+)?update\b|\bfor\s+(?:key\s+)?share\b|^(?:\s|\/\*(?:[^*]|\*(?!\/))*\*\/|--.*\n)*(?:lock|execute)\b/i;

/** True for a text that may lock rows, or tables, without changing them. */
export function mayLockRows(text: string): boolean {
  return LOCKING.test(text);
}

/** Remembers of a statement that is passed on what its local transaction may have locked by it. */
export function notePassed(c: Conversation, text: string): void {
  if (!waitsOutside(c)) c.count('passed');
  else if (c.traces.size > 0) c.count('none');
  if (mayLockRows(text)) c.state = lockingRows(c.state);
}

/**
 * Code of the user's runs that may set the search path: names are looked up again behind it. `isReported`: nothing is planned before the
 * server is ready again, when it says by itself what the path is, from PostgreSQL 18 on.
 */
export function noteCode(c: Conversation, isReported: boolean): void {
  if (!isReported || !c.settings.has('search_path')) c.planner.pathMoved();
}

/** A captured statement went well. Behind it the server was ready. */
export function noteCaptured(c: Conversation, capture: Capture, plan: StatementPlan): void {
  if (!waitsOutside(c)) c.count(capture.read === undefined ? 'captured' : 'passed');
  else if (c.traces.size > 0) c.count('none');
  if (capture.recorded?.runsCode === true) noteCode(c, true);
  if (c.state.block !== 'idle') note(c, plan);
}

/** The state after a statement went well. */
export function note(c: Conversation, plan: StatementPlan): void {
  c.state = succeeded(c.state, plan);
}

/**
 * Makes the server's transaction fail as a refused statement must, and gives the client our error instead of the server's.
 * `isOpen`: part of a pipeline was sent, which a Sync alone would commit.
 */
export async function fail(c: Conversation, refusal: Refusal, isOpen: boolean): Promise<void> {
  c.count('refused');
  if (isOpen || c.state.block === 'open') {
    c.injected.addFailure();
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
  }
  c.toClient(errorFrame(refusal));
}

/** Refuses a message that answers with ReadyForQuery by itself. */
export async function refuseSimple(c: Conversation, refusal: Refusal): Promise<void> {
  await fail(c, refusal, false);
  sendReady(c);
}

/** Tells the client that the session is ready, with the status that the server last gave. */
export function sendReady(c: Conversation): void {
  c.toClient(READY_FOR_QUERY[c.state.block === 'idle' ? 'I' : c.state.block === 'open' ? 'T' : 'E']);
}

/** An ErrorResponse frame. */
export function errorFrame(refusal: Refusal, severity: 'ERROR' | 'FATAL' = 'ERROR'): Buffer {
  if (refusal.asReceived !== undefined) return refusal.asReceived;
  return encodeError({
    severity,
    code: refusal.code,
    message: `atomesh: ${refusal.message}`,
    hint: refusal.hint,
    ...(refusal.detail === undefined ? {} : { detail: refusal.detail }),
  });
}

/** The body of a message. */
export function bodyOf(frame: ClientFrame): Buffer {
  return frame.bytes.subarray(HEADER_BYTES);
}

const factsRefusal: Refusal = {
  code: '0A000',
  message: 'the catalogue did not say enough about the relations of this statement',
  hint: 'Run it outside the global transaction, and report this as a defect.',
};
