/** A query that locks rows: those that another, unfinished global transaction has changed are waited for, or left out. */
import { assert } from '../../../../src/platform/assert.ts';
import type { Gid } from '../../../../src/contract/transaction.ts';
import { now } from '../../../../src/platform/clock.ts';
import type { LockWaiter } from '../../../branch/lock-holders.ts';
import { withErrno } from '../../session/refusals.ts';
import { readFound, type Found } from '../../undo/capture.ts';
import { heldAmong, locksOf, type LockingRead } from '../../undo/locking-read.ts';
import { failureIn, gidOf, isAlone, type Context, type Failure } from '../context.ts';
import { giveUp, explained } from '../ending.ts';
import { lastStatement } from '../last-statement.ts';
import { answer, collect, tell, type Piece } from '../piece.ts';
import { notNow, restless } from '../refusals.ts';
import { rowsIn, type Reply } from '../reply.ts';
import { waitFor } from './take-locks.ts';

/** How often rows may come to match between two readings. */
const AGAIN_MAX = 20;

/** Serves it. Outside of a local transaction its locks end with it, and only what it has waited for remains. False when it failed. */
export async function serveLockingRead(c: Context, plan: LockingRead, piece: Piece): Promise<boolean> {
  const waiter = c.parts.holders.waiter(gidOf(c), now() + c.parts.lockTimeoutMs);
  let isDone = false;
  c.last = undefined;
  try {
    const read = await untilFree(c, { plan, piece, keepsLocks: !isAlone(c), waiter });
    const outcome = 'packets' in read ? read : explained(c, read);
    if (!('packets' in outcome)) {
      return tell(c, outcome.kind === 'refused' && outcome.ends === true ? await giveUp(c, outcome) : outcome);
    }
    isDone = true;
    c.local.readRows ||= !isAlone(c);
    answer(c, piece, outcome.packets);
    return true;
  } finally {
    waiter.end(isDone);
  }
}

interface Reading {
  readonly plan: LockingRead;
  readonly piece: Piece;
  readonly keepsLocks: boolean;
  readonly waiter: LockWaiter;
}

async function untilFree(c: Context, { plan, piece, keepsLocks, waiter }: Reading): Promise<Reply | Failure> {
  const committed = new Set<Gid>();
  let leftOut: Found = plan.tables.map(() => []);
  for (let again = 0; again <= AGAIN_MAX;) {
    const found = await readKeys(c, plan, leftOut);
    if (!Array.isArray(found)) return found as Failure;
    const held = (await c.parts.rowLocks.holdersOf(locksOf(plan.tables, found as Found))).filter(
      ({ holder }) => holder !== gidOf(c) && !committed.has(holder),
    );
    const [row] = held;
    if (row !== undefined) {
      if (plan.skips) {
        const others = heldAmong(plan.tables, found as Found, held);
        leftOut = leftOut.map((rows, index) => [...rows, ...(others[index] ?? [])]);
        again += 1;
        continue;
      }
      if (!plan.waits) return { kind: 'refused', refusal: notNow(row.holder) };
      const obstacle = await waitFor(c, waiter, { row, keepsLocks, committed });
      if (obstacle !== undefined) return obstacle;
      continue;
    }
    const reply = await run(c, { plan, piece, found: found as Found, leftOut });
    if (reply !== 'again') return reply;
    again += 1;
  }
  return { kind: 'refused', refusal: restless, ends: true };
}

async function readKeys(c: Context, plan: LockingRead, leftOut: Found): Promise<Found | Failure> {
  const [reply] = await c.seat.ask([{ sql: plan.before(leftOut).sql }]);
  return foundIn(c, plan, reply);
}

function foundIn(c: Context, plan: LockingRead, reply: Reply | undefined): Found | Failure {
  assert(reply !== undefined, 'a statement was answered');
  const failure = failureIn(reply);
  if (failure !== undefined) return failure;
  const found = readFound(plan.tables, rowsIn(reply), c.parts.maxRows);
  return found.kind === 'found' ? found.found : { kind: 'refused', refusal: withErrno(found.refusal) };
}

interface Free {
  readonly plan: LockingRead;
  readonly piece: Piece;
  readonly found: Found;
  readonly leftOut: Found;
}

/**
 * The client's query. As text it is pinned to the rows that were found. A prepared one runs as it came, for its rows have another
 * form: then the rows are read once more, and it counts only if they are the same.
 */
async function run(c: Context, { plan, piece, found, leftOut }: Free): Promise<Reply | Failure | 'again'> {
  if (!piece.isPrepared) {
    const [reply] = await c.seat.ask([{ sql: plan.read(found).sql }]);
    assert(reply !== undefined, 'a statement was answered');
    return failureIn(reply) ?? reply;
  }
  // What is left out of a prepared query cannot be left out of the client's own words.
  if (leftOut.some((rows) => rows.length > 0)) return { kind: 'refused', refusal: restless };
  const reply = await collect(c, piece, 'inside');
  const failure = failureIn(reply);
  if (failure !== undefined) return failure;
  const [warnings, rows] = await c.seat.ask([{ sql: 'SHOW WARNINGS' }, { sql: plan.before(leftOut).sql }]);
  c.last = lastStatement(-1n, warnings);
  const again = foundIn(c, plan, rows);
  if (!Array.isArray(again)) return again as Failure;
  return keysOf(plan, again as Found) === keysOf(plan, found) ? reply : 'again';
}

function keysOf({ tables }: LockingRead, found: Found): string {
  return JSON.stringify(
    locksOf(tables, found)
      .map(({ relation, key }) => `${relation} ${key}`)
      .toSorted(),
  );
}
