/** Runs one captured statement: reads its rows, changes them, reads them again, and writes records and row locks; and again, when it has to. */
import { assert } from '../../../../src/platform/assert.ts';
import type { Gid } from '../../../../src/contract/transaction.ts';
import { now } from '../../../../src/platform/clock.ts';
import type { LockWaiter } from '../../../branch/lock-holders.ts';
import { withErrno } from '../../session/refusals.ts';
import {
  readFound,
  type Capture,
  type Captured,
  type Conclusion,
  type Found,
  type Outcome,
  type Step,
} from '../../undo/capture.ts';
import { CAPABILITY, has } from '../../wire/capabilities.ts';
import { askAll, branchOf, failureIn, gidOf, isOpen, type Context, type Failure } from '../context.ts';
import { beginAgain, beginNamed, giveUp, restartOf, rollBack, type Restart } from '../ending.ts';
import { entryOf } from '../enter.ts';
import { lastStatement, type LastStatement } from '../last-statement.ts';
import { recordStatements } from './records.ts';
import { restless, tooLong } from '../refusals.ts';
import { okIn, rowsIn, type Reply } from '../reply.ts';
import type { Own } from '../seat.ts';
import { locksOf } from '../../undo/locking-read.ts';
import { meet, obstacleOf, takeLocks, waitOutside, type Conflict } from './take-locks.ts';
import { insertClaimsSql } from '../../locks/row-locks.ts';

/** What has become of it. The local transaction of one that stands alone is open still where it is `done`, and over otherwise. */
export type CaptureOutcome =
  | { readonly kind: 'done'; readonly packets: readonly Buffer[]; readonly last: LastStatement }
  /** The table may not be what was planned for, and nothing was changed. */
  | { readonly kind: 'stale'; readonly failure: Failure }
  | Failure;

type Attempt = CaptureOutcome | Conflict | { readonly kind: 'again' };

/** How often rows may change between two readings. */
const AGAIN_MAX = 20;
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
    const attempt = await tryOnce(c, capture, { ...run, locks, committed, progress });
    if (attempt.kind === 'done') return attempt;
    const failure = await giveBack(c, attempt, run.isAlone, progress);
    if (failure !== undefined) return failure;
    if (attempt.kind === 'again') {
      locks = true;
      if (attempts > AGAIN_MAX) return giveUp(c, { kind: 'refused', refusal: restless, ends: true });
    } else if (attempt.kind === 'conflict') {
      const obstacle = await waitOutside(c, attempt, run.waiter, committed);
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
  return hasChanged ? askAll(c, [{ sql: `ROLLBACK TO SAVEPOINT ${SAVEPOINT}` }]) : undefined;
}

/**
 * Where row locks were in the way of late, and the local transaction could not let go of what it locks: asks for them before it locks
 * anything. What it reads may be old, so that it asks again behind its change all the same.
 */
async function look(c: Context, capture: Capture, run: Run, committed: Set<Gid>): Promise<Failure | undefined> {
  const { tables } = capture;
  const relations = tables.flatMap(({ locks }) => locks.map(({ relation }) => relation));
  const isNeeded = !run.isAlone && run.restart === undefined && c.contention.isLikely(relations);
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
    const { holdsLocks } = c.local;
    const waited = await run.waiter.wait({ holder: row.holder, row, keepsLocks: holdsLocks, holdsLocks });
    const obstacle = obstacleOf(c, waited, row.holder);
    if (obstacle !== undefined)
      return obstacle.kind === 'refused' && obstacle.ends === true ? giveUp(c, obstacle) : obstacle;
    if (waited === 'committed') committed.add(row.holder);
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
  const before = capture.before?.(run.locks);
  const opened = await open(c, run.isAlone, before);
  if (!Array.isArray(opened)) return opened as Failure;
  const [reply] = opened as readonly Reply[];
  let found: Found = capture.tables.map(() => []);
  if (reply !== undefined) {
    const failure = failureIn(reply);
    if (failure?.kind === 'error' && MISUNDERSTOOD.has(failure.errno)) return { kind: 'stale', failure };
    if (failure !== undefined) return failure;
    const read = readFound(capture.tables, rowsIn(reply), c.parts.maxRows);
    if (read.kind === 'refuse') return { kind: 'refused', refusal: withErrno(read.refusal) };
    found = read.found;
    if (capture.looksFirst && !run.locks && found.some((rows) => rows.length > 0)) return { kind: 'again' };
  }
  const changed = await change(c, capture, found, run.progress);
  if (changed.kind !== 'changed') return changed;
  const { conclusion, ...done } = changed;
  switch (conclusion.kind) {
    case 'again':
      return conclusion;
    case 'refuse':
      return { kind: 'refused', refusal: withErrno(conclusion.refusal) };
    case 'captured':
      return (await write(c, conclusion, run)) ?? { ...done, kind: 'done' };
  }
}

/** Opens what is not open, and reads in the same write. The answer to the reading is there where there is one. */
async function open(c: Context, isAlone: boolean, before: Step | undefined): Promise<readonly Reply[] | Failure> {
  const entry = await entryOf(c);
  if ('kind' in entry) return entry;
  if (!isAlone) await beginNamed(c);
  const ahead: Own[] = isAlone ? [{ sql: 'BEGIN', effect: 'begins' }] : [];
  const savepoint: Own[] = isAlone ? [] : [{ sql: `SAVEPOINT ${SAVEPOINT}` }];
  const reading: Own[] = before === undefined ? [] : [{ sql: before.sql }];
  const replies = await c.seat.ask([...ahead, ...entry.statements, ...savepoint, ...reading]);
  const entered = ahead.length + entry.statements.length;
  const begun = replies.slice(0, ahead.length).map(failureIn)[0];
  const failure =
    begun ??
    (await entry.judge(replies.slice(ahead.length, entered))) ??
    replies.slice(entered, entered + savepoint.length).map(failureIn)[0];
  return failure ?? replies.slice(entered + savepoint.length);
}

interface Changed {
  readonly kind: 'changed';
  readonly packets: readonly Buffer[];
  readonly last: LastStatement;
  readonly conclusion: Conclusion;
}

async function change(c: Context, capture: Capture, before: Found, progress: Progress): Promise<Changed | Attempt> {
  const { sql, isPlain } = capture.change(before);
  const tables = capture.tables.map(() => []);
  const early = capture.needsOutcome ? undefined : capture.after?.(before, undefined);
  const long = tooLongOf(c, [sql, early?.sql ?? '']);
  if (long !== undefined) return long;
  const statements: Own[] = [{ sql }, { sql: 'SHOW WARNINGS' }, ...(early === undefined ? [] : [{ sql: early.sql }])];
  const [changed, warnings, reread] = await c.seat.ask(statements);
  assert(changed !== undefined && warnings !== undefined, 'each statement was answered');
  const failure = failureIn(changed);
  if (failure?.kind === 'error' && failure.errno === DUPLICATE && isPlain) return { kind: 'again' };
  if (failure?.kind === 'error') return { ...failure, last: lastStatement(-1n, warnings) };
  progress.hasChanged = true;
  const ok = okIn(changed);
  assert(capture.answersRows || ok !== undefined, 'a change is answered by an OK');
  const affectedRows = ok?.affectedRows ?? BigInt(rowsIn(changed).length);
  const outcome: Outcome = {
    affectedRows: Number(affectedRows),
    insertId: String(ok?.lastInsertId ?? 0),
    countsFound: has(c.seat.capabilities, CAPABILITY.foundRows),
    hasPhantoms: c.settings.hasPhantoms,
  };
  const late = capture.needsOutcome ? capture.after?.(before, outcome) : undefined;
  const tooLate = tooLongOf(c, [late?.sql ?? '']);
  if (tooLate !== undefined) return tooLate;
  const after = late === undefined ? reread : (await c.seat.ask([{ sql: late.sql }]))[0];
  let found: Found = tables;
  if (after !== undefined) {
    const broken = failureIn(after);
    if (broken !== undefined) return broken;
    const read = readFound(capture.tables, rowsIn(after), Number.POSITIVE_INFINITY);
    if (read.kind === 'refuse') return { kind: 'refused', refusal: withErrno(read.refusal) };
    found = read.found;
  }
  const last = lastStatement(capture.answersRows ? -1n : affectedRows, warnings, ok?.warnings);
  return { kind: 'changed', packets: changed.packets, last, conclusion: capture.conclude(before, outcome, found) };
}

/**
 * Writes records, claims and locks; undefined when all stand. Records first: they can meet nobody, and locks can. Then it is asked
 * whether somebody holds what the rows refer to now, or has claimed what is gone.
 */
async function write(c: Context, captured: Captured, run: Try): Promise<Failure | Conflict | undefined> {
  const { records, locks, claims, shared, freed } = captured;
  const { local, parts, settings } = c;
  const branch = branchOf(c);
  local.changed = true;
  const texts = recordStatements(records, branch, { secret: parts.sealSecret, settings });
  const long = tooLongOf(c, texts);
  if (long !== undefined) return long;
  for (const sql of texts.slice(0, -1)) {
    const failure = await askAll(c, [{ sql }]);
    if (failure !== undefined) return failure;
  }
  // Claims and locks that the server carries out behind an error belong to the branch, and go with it.
  const claiming = claims.length === 0 ? [] : [insertClaimsSql(claims, branch)];
  const taking = { ...run, canLetGo: run.isAlone || run.restart !== undefined };
  const obstacle = await takeLocks(c, { ahead: [...texts.slice(-1), ...claiming], locks }, taking);
  return obstacle ?? (await meet(c, { shared, freed }, taking));
}

/** A statement that the server would end the connection for. */
function tooLongOf({ settings }: Context, texts: readonly string[]): Failure | undefined {
  const isLong = texts.some((text) => text.length >= settings.packetBytesMax);
  return isLong ? { kind: 'refused', refusal: tooLong(settings.packetBytesMax) } : undefined;
}
