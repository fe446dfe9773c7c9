/** Runs one captured statement: reads its rows, changes them, reads them again, and writes records and row locks; and again, when it has to. */
import { assert } from '../../../../src/platform/assert.ts';
import type { Gid } from '../../../../src/contract/transaction.ts';
import { now } from '../../../../src/platform/clock.ts';
import type { LockWaiter } from '../../../branch/lock-holders.ts';
import { withErrno } from '../../session/refusals.ts';
import {
  readFound,
  type Again,
  type Capture,
  type Captured,
  type Found,
  type Outcome,
  type Step,
} from '../../undo/capture.ts';
import { CAPABILITY, has } from '../../wire/capabilities.ts';
import { askAll, branchOf, failureIn, gidOf, isOpen, type Context, type Failure } from '../context.ts';
import {
  beginAgain,
  beginNamed,
  giveUp,
  explained,
  refuseCommit,
  restartOf,
  rollBack,
  type Restart,
} from '../ending.ts';
import { entryOf } from '../enter.ts';
import { lastStatement, type LastStatement } from '../last-statement.ts';
import { recordStatements } from './records.ts';
import { restless, tooLong } from '../refusals.ts';
import { okIn, rowsIn, type Reply } from '../reply.ts';
import type { Own } from '../seat.ts';
import { isOwnFault, preparing } from '../tables/own-fault.ts';
import { locksOf } from '../../undo/locking-read.ts';
import type { Refused } from '../../undo/refusal.ts';
import { meet, takeLocks, waitFor, type Conflict } from './take-locks.ts';
import { insertClaimsSql } from '../../locks/row-locks.ts';

/** What has become of it. The local transaction of one that stands alone is over, unless it is `done` and not committed yet. */
export type CaptureOutcome =
  | {
      readonly kind: 'done';
      readonly packets: readonly Buffer[];
      readonly last: LastStatement;
      readonly isCommitted: boolean;
    }
  /** The table may not be what was planned for, and nothing was changed. */
  | { readonly kind: 'stale'; readonly failure: Failure }
  /** A table is a temporary one of the session, which hides the one that was planned for; nothing was changed. */
  | { readonly kind: 'temporary' }
  /** Only what it did has told that it has no exact images; it was taken back. */
  | Refused
  | Failure;

type Attempt = CaptureOutcome | Conflict | Again;

/** How often rows may change between two readings. */
const AGAIN_MAX = 20;
/** … where its own rows may be the reason. */
const ALIKE_MAX = 3;
/** Behind it a statement of ours that failed is taken back. */
const SAVEPOINT = 'atomesh_statement';

/** ER_DUP_ENTRY. */
const DUPLICATE = 1062;
/** ER_BAD_FIELD_ERROR, ER_NO_SUCH_TABLE, ER_KEY_DOES_NOT_EXITS: what is known of the table may be older than the table. */
const MISUNDERSTOOD: ReadonlySet<number> = new Set([1054, 1146, 1176]);

/** Carries a capture out. `isAlone`: it gets a local transaction of its own, which whoever calls ends. */
export async function runCapture(c: Context, capture: Capture, isAlone: boolean): Promise<CaptureOutcome> {
  const waiter = c.parts.holders.waiter(gidOf(c), now() + c.parts.lockTimeoutMs);
  let isDone = false;
  try {
    const outcome = await untilDone(c, capture, { isAlone, restart: isAlone ? undefined : restartOf(c), waiter });
    isDone = outcome.kind === 'done';
    return outcome;
  } finally {
    waiter.end(isDone);
  }
}

interface Run {
  readonly isAlone: boolean;
  /** How the local transaction was begun, where nothing was done in it: then it can be begun anew. */
  readonly restart: Restart | undefined;
  readonly waiter: LockWaiter;
}

async function untilDone(c: Context, capture: Capture, run: Run): Promise<CaptureOutcome> {
  const committed = new Set<Gid>();
  const looked = await look(c, capture, run, committed);
  if (looked !== undefined) return looked;
  let locks = !capture.looksFirst;
  for (let attempts = 1; ; attempts += 1) {
    const progress: Progress = { hasChanged: false };
    const tried = await tryOnce(c, capture, { ...run, locks, committed, progress });
    const attempt = tried.kind === 'error' ? explained(c, tried) : tried;
    if (attempt.kind === 'done') return attempt;
    const failure = await giveBack(c, attempt, run.isAlone, progress);
    if (failure !== undefined) return failure;
    if (attempt.kind === 'again') {
      locks = true;
      // Nobody else is the reason, as it seems: what the statement is about stays as it is.
      if (attempt.refused !== undefined && attempts > ALIKE_MAX) return attempt.refused;
      if (attempts > AGAIN_MAX) return giveUp(c, { kind: 'refused', refusal: restless, ends: true });
    } else if (attempt.kind === 'conflict') {
      const obstacle = await waitFor(c, run.waiter, { row: attempt.row, keepsLocks: false, committed });
      const broken = run.restart && (await beginAgain(c, run.restart));
      if (broken !== undefined || obstacle !== undefined) return (broken ?? obstacle) as Failure;
    } else return attempt;
  }
}

/**
 * Takes back what a try has left. Where the server has ended the local transaction itself there is nothing to take back, and a statement
 * that failed by itself has left nothing.
 */
async function giveBack(
  c: Context,
  attempt: Attempt,
  isAlone: boolean,
  { hasChanged }: Progress,
): Promise<Failure | undefined> {
  if (!isOpen(c)) return undefined;
  if (isAlone || attempt.kind === 'conflict' || (attempt.kind === 'refused' && attempt.ends === true)) {
    return rollBack(c);
  }
  const failure = hasChanged ? await askAll(c, [{ sql: `ROLLBACK TO SAVEPOINT ${SAVEPOINT}` }]) : undefined;
  // A change that has no image may not stay.
  return failure && giveUp(c, failure);
}

/**
 * Where row locks were in the way of late, and the local transaction could not let go of what it locks: asks for them before it locks
 * anything. What it reads may be old, so that it asks again behind its change all the same.
 */
async function look(c: Context, capture: Capture, run: Run, committed: Set<Gid>): Promise<Failure | undefined> {
  const { tables } = capture;
  const relations = tables.flatMap(({ locks }) => locks.map(({ relation }) => relation));
  const isNeeded = !run.isAlone && run.restart === undefined && c.parts.contention.isLikely(relations);
  const step = isNeeded ? capture.before?.(false) : undefined;
  if (step === undefined) return undefined;
  for (;;) {
    const [reply] = await c.seat.ask([{ sql: step.sql }]);
    assert(reply !== undefined, 'each statement was answered');
    // What is wrong with it the statement itself will say.
    const read = failureIn(reply) === undefined ? readFound(tables, rowsIn(reply), c.parts.maxRows) : undefined;
    if (read?.kind !== 'found') return undefined;
    const held = await c.parts.rowLocks.holdersOf(locksOf(tables, read.found));
    const row = held.find(({ holder }) => holder !== gidOf(c) && !committed.has(holder));
    if (row === undefined) return undefined;
    const obstacle = await waitFor(c, run.waiter, { row, keepsLocks: c.local.holdsLocks, committed });
    if (obstacle !== undefined)
      return obstacle.kind === 'refused' && obstacle.ends === true ? giveUp(c, obstacle) : obstacle;
  }
}

/** How far a try has come. */
interface Progress {
  /** The client's statement has been carried out, behind a savepoint of this try. */
  hasChanged: boolean;
}

interface Try extends Run {
  readonly progress: Progress;
  readonly locks: boolean;
  readonly committed: ReadonlySet<Gid>;
}

async function tryOnce(c: Context, capture: Capture, run: Try): Promise<Attempt> {
  const opening = await openingOf(c, run.isAlone);
  if ('kind' in opening) return opening;
  const before = capture.before?.(run.locks);
  // What is asked about the table decides over the change, which is sent along only where nothing else does.
  const goesOn = opening.asks.length === 0 && (before === undefined || capture.atOnce !== undefined);
  const ahead = [...opening.statements, ...opening.asks, ...(before === undefined ? [] : [{ sql: before.sql }])];
  const none: Found = capture.tables.map(() => []);
  const changing = goesOn ? changeOf(c, capture, capture.atOnce ?? stepsOf(capture, none)) : undefined;
  const all = [...ahead, ...(changing?.statements ?? [])];
  const long = tooLongOf(c, all);
  if (long !== undefined) return long;
  const replies = await (opening.asks.length === 0 ? c.seat.script(all) : c.seat.ask(all));
  const failure = await opening.judge(replies);
  if (failure !== undefined) return failure;
  const changed = replies.slice(ahead.length);
  run.progress.hasChanged = changed[0] !== undefined && failureIn(changed[0]) === undefined;
  let found = none;
  if (before !== undefined) {
    const read = readBefore(c, capture, run, replies[ahead.length - 1]);
    if ('kind' in read) return read;
    found = read.found;
  }
  if (changing !== undefined) return conclude(c, capture, { found, run, replies: changed, wanted: changing });
  const steps = changeOf(c, capture, stepsOf(capture, found));
  const tooLate = tooLongOf(c, steps.statements);
  if (tooLate !== undefined) return tooLate;
  const checks = (steps.whole === undefined ? undefined : preparing(steps.whole, c.settings)) ?? [];
  // What the server looks at and what it carries out is one text, or two where that would be too long.
  const isOneText = tooLongOf(c, [...checks, ...steps.statements]) === undefined;
  const checked = await c.seat.script(isOneText ? [...checks, ...steps.statements] : checks);
  const fault = checked
    .slice(0, checks.length)
    .map(failureIn)
    .find((failure) => failure !== undefined);
  if (fault?.kind === 'error' && isOwnFault(fault)) return failedChange(c, fault, { ...steps, isPlain: false });
  // What else there is to be said of it the server says of the change itself.
  const isCarriedOut = isOneText && fault === undefined;
  const later = isCarriedOut ? checked.slice(checks.length) : await c.seat.script(steps.statements);
  run.progress.hasChanged = later[0] !== undefined && failureIn(later[0]) === undefined;
  return conclude(c, capture, { found, run, replies: later, wanted: steps });
}

interface Opening {
  readonly statements: readonly Own[];
  /** Questions about the tables, behind them. */
  readonly asks: readonly Own[];
  /** Of all replies to what begins with these. */
  judge(replies: readonly Reply[]): Promise<Failure | { readonly kind: 'temporary' } | undefined>;
}

/** What goes ahead of the first reading: the local transaction begins, the branch is entered, and there is a place to go back to. */
async function openingOf(c: Context, isAlone: boolean): Promise<Opening | Failure> {
  const entry = await entryOf(c);
  if ('kind' in entry) return entry;
  await beginNamed(c);
  const begin: Own[] = isAlone ? [{ sql: 'BEGIN', effect: 'begins' }] : [];
  const savepoint: Own[] = isAlone ? [] : [{ sql: `SAVEPOINT ${SAVEPOINT}` }];
  const statements = [...begin, ...entry.statements, ...savepoint];
  const { questions } = c.tables;
  return {
    statements,
    asks: questions,
    async judge(replies) {
      const own = replies.slice(0, statements.length);
      const entered = own.slice(begin.length, begin.length + entry.statements.length);
      // A text ends at its first error, so that what was not answered has not been carried out.
      const failed = own.map(failureIn).find((failure) => failure !== undefined);
      const refusal = entered.length < entry.statements.length ? failed : await entry.judge(entered);
      if (refusal !== undefined || failed !== undefined) return refusal ?? failed;
      const answers = replies.slice(statements.length, statements.length + questions.length);
      return c.tables.answered(answers) ? { kind: 'temporary' } : undefined;
    },
  };
}

function readBefore(
  c: Context,
  capture: Capture,
  { locks }: Try,
  reply: Reply | undefined,
): { readonly found: Found } | Attempt {
  assert(reply !== undefined, 'the reading was answered');
  const failure = failureIn(reply);
  if (failure?.kind === 'error' && MISUNDERSTOOD.has(failure.errno)) return { kind: 'stale', failure };
  if (failure !== undefined) return failure;
  const read = readFound(capture.tables, rowsIn(reply), c.parts.maxRows);
  if (read.kind === 'refuse') return unread(read);
  if (capture.looksFirst && !locks && read.found.some((rows) => rows.length > 0)) return { kind: 'again' };
  return { found: read.found };
}

/** What stays so once the table is planned for anew is what the client hears. */
function unread({ refusal, mayBeAltered }: Exclude<ReturnType<typeof readFound>, { kind: 'found' }>): Attempt {
  const failure: Failure = { kind: 'refused', refusal: withErrno(refusal) };
  return mayBeAltered ? { kind: 'stale', failure } : failure;
}

interface Steps {
  readonly change: Step;
  /** Undefined where nothing is read, and where what to read is known from the outcome only. */
  readonly after: Step | undefined;
  readonly isPlain?: boolean;
  readonly whole?: string;
}

function stepsOf(capture: Capture, found: Found): Steps {
  const change = capture.change(found);
  const after = capture.needsOutcome ? undefined : capture.after?.(found, undefined);
  const { isPlain, whole } = change;
  return { change, after, isPlain, ...(whole === undefined ? {} : { whole }) };
}

interface Changing extends Steps {
  readonly statements: readonly Own[];
  /** The warnings are asked for right behind the change, for what is read next clears them. */
  readonly asksWarnings: boolean;
}

function changeOf(c: Context, capture: Capture, steps: Steps): Changing {
  const { change, after } = steps;
  // A statement that sets variables cannot be carried out once more for the sake of its warnings.
  const asksWarnings = c.memory.expectsWarnings || capture.answersRows || change.sql.includes(':=');
  const warnings: Own[] = asksWarnings ? [{ sql: 'SHOW WARNINGS' }] : [];
  const reading: Own[] = after === undefined ? [] : [{ sql: after.sql }];
  return { ...steps, statements: [{ sql: change.sql }, ...warnings, ...reading], asksWarnings };
}

interface Changed {
  readonly found: Found;
  readonly run: Try;
  readonly replies: readonly Reply[];
  readonly wanted: Changing;
}

async function conclude(c: Context, capture: Capture, { found, run, replies, wanted }: Changed): Promise<Attempt> {
  const [changed, ...others] = replies;
  assert(changed !== undefined, 'the change was answered');
  const failure = failureIn(changed);
  if (failure?.kind === 'error') return failedChange(c, failure, { ...capture, ...wanted });
  const ok = okIn(changed);
  assert(capture.answersRows || ok !== undefined, 'a change is answered by an OK');
  const warnings = wanted.asksWarnings ? others[0] : undefined;
  if (!wanted.asksWarnings && (ok?.warnings ?? 0) > 0) {
    c.memory.expectsWarnings = true;
    return { kind: 'again' };
  }
  const affectedRows = ok?.affectedRows ?? BigInt(rowsIn(changed).length);
  const outcome: Outcome = {
    affectedRows: Number(affectedRows),
    insertId: String(ok?.lastInsertId ?? 0),
    countsFound: has(c.seat.capabilities, CAPABILITY.foundRows),
    hasPhantoms: c.settings.hasPhantoms,
  };
  const late = capture.needsOutcome ? capture.after?.(found, outcome) : undefined;
  const tooLate = late && tooLongOf(c, [late]);
  if (tooLate !== undefined) return tooLate;
  // Where the text has ended at an error before it, the last reply has that.
  const early = wanted.after === undefined ? undefined : (others[wanted.asksWarnings ? 1 : 0] ?? replies.at(-1));
  const reply = late === undefined ? early : (await c.seat.ask([{ sql: late.sql }]))[0];
  let after: Found = capture.tables.map(() => []);
  if (reply !== undefined) {
    const broken = failureIn(reply);
    if (broken !== undefined) return broken;
    const read = readFound(capture.tables, rowsIn(reply), Number.POSITIVE_INFINITY);
    if (read.kind === 'refuse') return unread(read);
    after = read.found;
  }
  const conclusion = capture.conclude(found, outcome, after);
  if (conclusion.kind !== 'captured') return conclusion;
  const last = lastStatement(capture.answersRows ? -1n : affectedRows, warnings, ok?.warnings);
  const written = await write(c, conclusion, run);
  if (written.kind !== 'written') return written;
  return { kind: 'done', packets: changed.packets, last, isCommitted: written.isCommitted };
}

/** The client's statement failed by itself; what it may ask about that is asked for now. */
async function failedChange(
  c: Context,
  failure: Extract<Failure, { kind: 'error' }>,
  { isPlain, duplicates }: Steps & Pick<Capture, 'duplicates'>,
): Promise<Attempt> {
  if (failure.errno === DUPLICATE && isPlain === true) {
    return { kind: 'again', ...(duplicates === undefined ? {} : { refused: duplicates }) };
  }
  const [warnings] = await c.seat.ask([{ sql: 'SHOW WARNINGS' }]);
  return { ...failure, last: lastStatement(-1n, warnings) };
}

/**
 * Writes records, claims and locks, and commits where nobody has to be asked before. Records first: they can meet nobody, and locks can. Then it is asked
 * whether somebody holds what the rows refer to now, or has claimed what is gone.
 */
async function write(
  c: Context,
  captured: Captured,
  run: Try,
): Promise<{ readonly kind: 'written'; readonly isCommitted: boolean } | Failure | Conflict> {
  const { records, locks, claims, shared, freed } = captured;
  const { local, parts, settings } = c;
  const branch = branchOf(c);
  local.changed = true;
  const texts = recordStatements(records, branch, { secret: parts.sealSecret, settings });
  const long = tooLongOf(
    c,
    texts.map((sql) => ({ sql })),
  );
  if (long !== undefined) return long;
  for (const sql of texts.slice(0, -1)) {
    const failure = await askAll(c, [{ sql }]);
    if (failure !== undefined) return failure;
  }
  const claiming = claims.length === 0 ? [] : [insertClaimsSql(claims, branch)];
  // One that stands alone is committed in the same text, where nobody has to be asked before.
  const commits = run.isAlone && shared.length === 0 && freed.length === 0;
  const refusal = commits ? await refuseCommit(c) : undefined;
  if (refusal !== undefined) return refusal;
  const taking = { ...run, canLetGo: run.isAlone || run.restart !== undefined };
  const obstacle = await takeLocks(c, { ahead: [...texts.slice(-1), ...claiming], locks, commits }, taking);
  const met = obstacle ?? (await meet(c, { shared, freed }, taking));
  return met ?? { kind: 'written', isCommitted: commits };
}

/** A text that the server would end the connection for. */
function tooLongOf({ settings }: Context, statements: readonly Own[]): Failure | undefined {
  const bytes = statements.reduce((sum, { sql }) => sum + sql.length + 2, 0);
  return bytes >= settings.packetBytesMax ? { kind: 'refused', refusal: tooLong(settings.packetBytesMax) } : undefined;
}
