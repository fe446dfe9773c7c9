/** A session that belongs to a global transaction: what it consists of, and what both protocols do with it alike. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { now } from '../../../src/platform/clock.ts';
import type { Planner, SessionSettings } from '../../sql/planner.ts';
import { badGid, bind, gidOf, gidOfSetting, lockingRows, succeeded, type SessionState } from '../../sql/session.ts';
import type { GidSetting, Refusal, StatementPlan } from '../../sql/statement.ts';
import type { CaptureDeps } from './capture-run.ts';
import type { Exchange } from './exchange.ts';
import type { Injected } from './injected.ts';
import type { ClientFrame } from './pass-watch.ts';
import type { Twins } from './twins.ts';
import { gidOfStatement, PREPARED_SQL, recall, touch, type Statement, type Statements } from './statements.ts';
import { READY_FOR_QUERY } from '../wire/backend-state.ts';
import { SYNC } from '../wire/bodiless.ts';
import { encodeError } from '../wire/error.ts';
import { HEADER_BYTES } from '../wire/frames.ts';

/** The session that is being served. `state` is the one thing that changes hands. */
export interface Conversation extends CaptureDeps {
  state: SessionState;
  readonly exchange: Exchange;
  readonly injected: Injected;
  readonly planner: Planner;
  readonly settings: SessionSettings;
  readonly statements: Statements;
  readonly twins: Twins;
  readonly resource: string;
  readonly gidOfTrace: (traceId: string) => Gid | undefined;
  /** The gid that the session's application_name stands for, when it is the traceparent of a known trace. */
  readonly ambientGid: () => Gid | undefined;
  /** The client's next message, waiting for it if need be; `undefined` in its place when the global transaction was rolled back. */
  nextOrDoom(): Promise<ClientFrame | undefined>;
  /** The client's next message, waiting for it if need be. */
  next(): Promise<ClientFrame>;
  /** The type of the message behind the current one, when it has arrived. */
  peek(): number | undefined;
  /** Resolves when no cancel request is on its way any more; undefined when none is. */
  readonly cancelling: () => Promise<void> | undefined;
  readonly toClient: (bytes: Buffer) => void;
  /** Counts for the metrics. */
  readonly count: (what: 'captured' | 'refused' | 'passed') => void;
}

/** The plans of a text, asking the server's catalogue where needed; undefined when that failed and the client has its error. */
export async function plansOf(
  c: Conversation,
  text: string,
  isInPipeline: boolean,
): Promise<readonly StatementPlan[] | undefined> {
  for (let round = 0; round < 3; round += 1) {
    const planned = c.planner.plan(text, c.settings, now());
    if (planned.kind === 'plans') return planned.plans.map((statement) => statement.plan);
    // A failed block answers nothing but its end; the server says so by itself.
    if (c.state.block === 'failed') return [{ kind: 'pass' }];
    const rows = await ask(c, { name: 'facts', sql: planned.sql, parameters: planned.parameters, isInPipeline });
    if (rows === undefined) return undefined;
    c.planner.learn(rows, now());
  }
  return [{ kind: 'refuse', refusal: factsRefusal }];
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
  const known = c.statements.byName.get(key);
  if (known?.isDoubtful === false) touch(c.statements, known);
  // A failed block answers nothing; the unnamed statement is not in the catalogue.
  if (known?.isDoubtful === false || key === '' || c.state.block === 'failed') return known;
  const question = { name: 'statement', sql: PREPARED_SQL, parameters: [name.toString('utf8')], isInPipeline };
  const rows = await ask(c, question);
  return rows === undefined ? 'failed' : recall(c.statements, key, rows);
}

async function ask(
  c: Conversation,
  question: {
    readonly name: string;
    readonly sql: string;
    readonly parameters: readonly (string | null)[];
    readonly isInPipeline: boolean;
  },
): Promise<(string | null)[][] | undefined> {
  const { state } = c;
  const { name, sql, parameters, isInPipeline } = question;
  const rows = await c.injected.query(name, sql, parameters, { isInPipeline, passOn: c.toClient });
  // Outside a block our question is a local transaction of its own: its end is not the end of the client's, nor of its gid.
  if (state.block === 'idle') c.state = state;
  return rows;
}

/** The plan of a text without a gid: only what begins or ends a block matters, for a gid may be named behind it in the same pipeline. */
export function controlIn(c: Conversation, text: string): StatementPlan {
  const planned = c.planner.plan(text, c.settings, now());
  const [only, ...others] = planned.kind === 'plans' ? planned.plans : [];
  return only?.plan.kind === 'control' && others.length === 0 ? only.plan : { kind: 'pass' };
}

/** Binds the session to the gid that a text's comments name. A refusal when that cannot be. */
export function bindByComment(c: Conversation, statement: Statement): Refusal | undefined {
  // A failed block takes nothing but its end, which must be let through whatever its comment says.
  if (c.state.block === 'failed') return undefined;
  const found = gidOfStatement(statement, c.gidOfTrace);
  if (found === undefined) {
    const ambient = gidOf(c.state) === undefined ? c.ambientGid() : undefined;
    return ambient === undefined ? undefined : bindTo(c, ambient, 'local');
  }
  if (found.kind === 'malformed') return badGid(found.text);
  // A named statement keeps the comment that it was prepared with; what the session says now is newer.
  if (statement.name !== '' && gidOf(c.state) !== undefined) return undefined;
  return bindTo(c, found.gid, 'local');
}

/** Carries out SET atomesh.gid. */
export function bindBySetting(
  c: Conversation,
  setting: GidSetting,
  parameter: (number: number) => string | undefined,
): Refusal | undefined {
  const wanted = gidOfSetting(setting, parameter);
  return wanted.kind === 'refused' ? wanted.refusal : bindTo(c, wanted.gid, setting.scope);
}

function bindTo(c: Conversation, gid: Gid | undefined, scope: 'local' | 'session'): Refusal | undefined {
  const bound = bind(c.state, gid, scope);
  if (bound.kind === 'refused') return bound.refusal;
  c.state = bound.state;
  return undefined;
}

/** The plan of a prepared statement inside a pipeline; undefined when the client has got an error instead. */
export async function planOf(
  c: Conversation,
  statement: Statement,
  isInPipeline: boolean,
): Promise<StatementPlan | undefined> {
  if (gidOf(c.state) === undefined && !statement.isMarked) return controlIn(c, statement.text);
  const plans = await plansOf(c, statement.text, isInPipeline);
  if (plans === undefined) return undefined;
  // The server refuses a Parse of several statements; an empty text runs as it is.
  const [plan] = plans;
  return plans.length === 1 && plan !== undefined ? plan : { kind: 'pass' };
}

/** SELECT … FOR UPDATE and its like, cursors over them, LOCK. To take too much for one costs the client a retry, too little a wait. */
const LOCKING = /\bfor\s+(?:no\s+key\s+)?update\b|\bfor\s+(?:key\s+)?share\b|^\s*lock\b/i;

/** Remembers of a statement that is passed on what its local transaction may have locked by it. */
export function notePassed(c: Conversation, text: string): void {
  c.count('passed');
  if (LOCKING.test(text)) c.state = lockingRows(c.state);
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
