/** How the local transactions of a global one begin and end: as plain ones, or as XA branches where one may have to be prepared. */
import type { Mark } from '../../../src/contract/transaction.ts';
import { newId } from '../../../src/platform/random.ts';
import { withErrno } from '../session/refusals.ts';
import { INTERRUPTED } from '../session/answer-reader.ts';
import { STATUS } from '../wire/outcome.ts';
import type { Effect } from '../session/transaction.ts';
import {
  begin,
  end,
  type Answer,
  type Beginning,
  type Ended,
  type LocalFailure,
  type LocalKind,
  type Turn,
} from '../xa/local.ts';
import { markerKey, WRITE_MARKER } from '../xa/marker.ts';
import { xidOf, xidSql } from '../xa/names.ts';
import { assert } from '../../../src/platform/assert.ts';
import { branchOf, failureIn, gidOf, isAlone, isOpen, type Context, type Failure } from './context.ts';
import { filled, plainText } from './enter.ts';
import { rolledBackAsAWhole, waitsForOwn } from './refusals.ts';
import type { Reply } from './reply.ts';

/** Says what has to be said, turn by turn. */
async function carryOut<Result extends { readonly kind: string }>(
  c: Context,
  turn: Turn<Result>,
  effect: Effect,
): Promise<Result> {
  let next: Turn<Result> | Result = turn;
  while (isTurn(next)) {
    const replies = await c.seat.ask(next.statements.map((sql) => ({ sql, effect })));
    next = next.judge(
      replies.map((reply): Answer => {
        const failure = failureIn(reply);
        return failure?.kind === 'error' ? failure : undefined;
      }),
    );
  }
  return next;
}

function isTurn<Result extends { readonly kind: string }>(next: Turn<Result> | Result): next is Turn<Result> {
  return next.kind === 'say';
}

/** Local transactions begin under a name, so that they can be prepared. */
export function isNamed({ parts, work }: Pick<Context, 'parts' | 'work'>): boolean {
  return work.kind === 'undo' && (parts.mode === 'xa' || parts.escalates);
}

/** Begins a local transaction where none is open. `isPlain`: it is never prepared. */
export async function beginLocal(
  c: Context,
  options: { readonly isPlain: boolean; readonly how?: Beginning },
): Promise<Failure | undefined> {
  const { work } = c;
  const local: LocalKind =
    options.isPlain || work.kind !== 'undo' ? { kind: 'plain' } : { kind: 'xa', xid: xidOf(work.branch, newId()) };
  const begun = await carryOut(c, begin(local, options.how), 'begins');
  if (begun.kind === 'begun') {
    c.local.xid = local.kind === 'xa' ? local.xid : undefined;
    if (local.kind === 'xa') c.seat.binding.engage();
    c.local.begunAs = options.how;
    c.local.access = options.how?.access;
    return undefined;
  }
  if (begun.closes) c.seat.hangUp();
  return failureOf(begun.failure);
}

/**
 * Without autocommit a local transaction begins by itself, with the first reading too: under a name, where it can. What has begun already
 * goes on as it is.
 */
export async function beginNamed(c: Context): Promise<void> {
  if (isNamed(c) && !isOpen(c) && !isAlone(c)) await beginLocal(c, { isPlain: false });
}

/** A local transaction in which nothing has been done, and that can be begun anew. */
export interface Restart {
  readonly how: Beginning;
  readonly isPlain: boolean;
  readonly mark: Mark | undefined;
}

/** What is needed to begin the local transaction anew; undefined where something was done in it, or nobody knows how it was begun. */
export function restartOf({ local, seat, hasLevel }: Context): Restart | undefined {
  const { begunAs: how, xid } = local;
  return how === undefined || hasLevel ? undefined : { how, isPlain: xid === undefined, mark: seat.binding.mark };
}

/** Begins it anew, in the place of one that was rolled back: for the same global transaction. */
export async function beginAgain(c: Context, { how, isPlain, mark }: Restart): Promise<Failure | undefined> {
  const failure = await beginLocal(c, { isPlain, how });
  if (failure === undefined && mark !== undefined) c.seat.binding.bindAgain(mark);
  return failure;
}

/** ROLLBACK of the whole local transaction, by whatever means it was begun. Undefined when nothing of it is left. */
export async function rollBack(c: Context): Promise<Failure | undefined> {
  if (!isOpen(c)) return undefined;
  const { local } = c;
  const ended = await carryOut(c, end(kindOf(c), 'rollback'), 'ends');
  // Nothing of that name is left to be ended.
  if (ended.kind === 'rolled-back') local.xid = undefined;
  if (ended.kind === 'rolled-back' && ended.closes) c.seat.hangUp();
  return ended.kind === 'rolled-back' ? undefined : { kind: 'refused', refusal: rolledBackAsAWhole(gidOf(c)) };
}

/** Ends the local transaction as a whole, because nothing that is left of it could be committed. */
export async function giveUp(c: Context, failure: Failure): Promise<Failure> {
  return (await rollBack(c)) ?? failure;
}

/**
 * An error of the server whose reason only we know. A statement that was interrupted because its global transaction was rolled back says so, and
 * its local transaction goes with it; one that has waited may have waited for its own global transaction.
 */
export function explained(c: Context, failure: Failure): Failure {
  if (failure.kind !== 'error') return failure;
  if (failure.errno === INTERRUPTED && c.isAbandoned()) {
    return { kind: 'refused', refusal: rolledBackAsAWhole(gidOf(c)), ends: true };
  }
  const isOwn = c.work.kind === 'undo' && c.parts.preparation?.hasPrepared(c.work.branch) === true;
  return failure.errno === LOCK_WAIT && isOwn ? { kind: 'refused', refusal: waitsForOwn(gidOf(c)) } : failure;
}

/** ER_LOCK_WAIT_TIMEOUT. */
const LOCK_WAIT = 1205;

/** Why the local transaction may not be committed; undefined where it may. Its branch must be known to the coordinator by then. */
export async function refuseCommit(c: Context): Promise<Failure | undefined> {
  const { local, work } = c;
  if (c.isAbandoned()) return { kind: 'refused', refusal: rolledBackAsAWhole(gidOf(c)), ends: true };
  if (!local.changed || work.kind === 'operation' || local.enlisting === undefined) return undefined;
  const enlisted = await local.enlisting;
  return enlisted.kind === 'refused'
    ? { kind: 'refused', refusal: withErrno(enlisted.refusal), ends: true }
    : undefined;
}

/**
 * Commits the local transaction, or prepares it where it holds changes without images. Undefined when that is done; where it fails,
 * nothing of it is left, or its second phase decides. Behind one that is prepared the connection ends, when the client has its answer.
 */
export async function commitLocal(c: Context): Promise<Failure | undefined> {
  const { local, work, parts } = c;
  const refusal = await refuseCommit(c);
  if (refusal !== undefined) return giveUp(c, refusal);
  let prepares = local.prepares && work.kind === 'undo';
  const late = prepares ? await parts.preparation?.mayCommit(gidOf(c)) : undefined;
  if (late !== undefined) return giveUp(c, { kind: 'refused', refusal: withErrno(late) });
  if (prepares) {
    const failure = await leaveMarker(c);
    if (failure?.kind === 'error' && failure.errno === READ_ONLY) prepares = false;
    else if (failure !== undefined) return giveUp(c, failure);
  }
  const ended = await (prepares ? prepareLocal(c) : carryOut(c, end(kindOf(c), 'commit'), 'ends'));
  if (ended.kind === 'committed' || ended.kind === 'rolled-back') local.xid = undefined;
  switch (ended.kind) {
    case 'committed':
      return undefined;
    case 'prepared':
      local.isPrepared = true;
      // The server speaks of a transaction still, and the client has none.
      c.seat.binding.heard('ends', { kind: 'ok', status: c.seat.binding.status & ~STATUS.inTransaction });
      if (work.kind === 'undo') parts.preparation?.prepared(work.branch);
      c.seat.hangUp();
      return undefined;
    case 'rolled-back':
      if (ended.closes) c.seat.hangUp();
      return ended.failure === undefined ? undefined : failureOf(ended.failure);
    case 'unknown':
      c.seat.hangUp();
      return failureOf(ended.failure);
  }
}

/** ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: there is nothing to prepare. */
const READ_ONLY = 1792;

/** A row that shares the fate of the local transaction: by it the second phase sees what has become of that. */
async function leaveMarker(c: Context): Promise<Failure | undefined> {
  const { xid } = c.local;
  assert(xid !== undefined, 'only what was begun under a name is prepared');
  const { gid, resource } = branchOf(c);
  const sql = filled(WRITE_MARKER, [markerKey(xid), gid, resource].map(plainText));
  const [reply] = await c.seat.ask([{ sql }]);
  assert(reply !== undefined, 'a statement was answered');
  return failureIn(reply);
}

/** XA PREPARE. From then on the connection to the server outlives the client, for nobody ends the branch as surely as that does. */
async function prepareLocal(c: Context): Promise<Ended> {
  const { parts, seat, local } = c;
  assert(parts.preparation !== undefined && local.xid !== undefined, 'only what may be prepared escalates');
  const place = parts.preparation.parked.reserve(xidSql(local.xid));
  seat.keepServer(true);
  try {
    const ended = await carryOut(c, end(kindOf(c), 'prepare'), 'ends');
    const connection = ended.kind === 'prepared' ? seat.takeServer() : undefined;
    if (connection !== undefined) place.park(connection);
    return ended;
  } finally {
    place.giveUp();
    seat.keepServer(false);
  }
}

/** What the answer to a COMMIT means that went along with other statements. */
export async function committedBy(c: Context, reply: Reply | undefined): Promise<Failure | undefined> {
  const failure = reply === undefined ? undefined : failureIn(reply);
  if (failure?.kind !== 'error') return undefined;
  const turn = end({ kind: 'plain' }, 'commit');
  assert(turn.kind === 'say', 'a COMMIT is said');
  const judged = turn.judge([failure]);
  const ended = isTurn(judged) ? await carryOut(c, judged, 'ends') : judged;
  if (ended.kind !== 'rolled-back' || ended.closes) c.seat.hangUp();
  return failure;
}

function kindOf({ local: { xid } }: Context): LocalKind {
  return xid === undefined ? { kind: 'plain' } : { kind: 'xa', xid };
}

function failureOf(failure: LocalFailure): Failure {
  return failure.kind === 'error' ? failure : { kind: 'refused', refusal: failure.refusal };
}
