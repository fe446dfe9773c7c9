/** Takes the row locks of a captured statement, and waits where another global transaction holds one. */
import { assert } from '../../../../src/platform/assert.ts';
import type { Gid } from '../../../../src/contract/transaction.ts';
import type { LockWaiter, LockWaitResult } from '../../../branch/lock-holders.ts';
import { insertLocksSql, takeOverSql } from '../../locks/row-locks.ts';
import { COMMIT } from '../../xa/local.ts';
import type { RowLock } from '../../undo/capture.ts';
import { branchOf, failureIn, gidOf, type Context, type Failure } from '../context.ts';
import type { HeldRow } from '../parts.ts';
import { inTheWayOf, lockedBy, restless, waitsForUs } from '../refusals.ts';
import { errorIn, okIn } from '../reply.ts';
import type { Own } from '../seat.ts';
import { committedBy } from '../ending.ts';

/** A row lock is held by somebody else: whoever runs the statement lets go of the local transaction before it waits. */
export interface Conflict {
  readonly kind: 'conflict';
  readonly row: HeldRow;
}

interface Taking {
  /** Statements that go ahead of the locks, in the same write. */
  readonly ahead: readonly string[];
  readonly locks: readonly RowLock[];
  /** The local transaction is committed behind them, in the same text. */
  readonly commits: boolean;
}

export interface Run {
  /** Nothing but this statement is in the local transaction: it is let go as a whole, and the wait is somebody else's. */
  readonly canLetGo: boolean;
  readonly waiter: LockWaiter;
  /** Holders that are known to be decided to commit. */
  readonly committed: ReadonlySet<Gid>;
}

/** ER_DUP_ENTRY. */
const DUPLICATE = 1062;
/** How often a lock may be gone when one asks whose it is. */
const RACES_MAX = 20;

/**
 * Undefined when all are taken. Where the local transaction has begun before the statement, it waits with everything that it has locked,
 * for InnoDB lets go of nothing before its end: a holder that commits needs none of it, and one that rolls back is given way to.
 */
export async function takeLocks(c: Context, taking: Taking, run: Run): Promise<Failure | Conflict | undefined> {
  const { local, seat, parts } = c;
  const branch = branchOf(c);
  const committed = new Set(run.committed);
  let { ahead } = taking;
  let missing = local.without(taking.locks);
  for (let races = 0; races <= RACES_MAX;) {
    const inserting = missing.length === 0 ? [] : [insertLocksSql(missing, branch)];
    const commit: Own[] = taking.commits ? [{ sql: COMMIT, effect: 'ends' }] : [];
    const statements: Own[] = [...[...ahead, ...inserting].map((sql) => ({ sql })), ...commit];
    if (statements.length === 0) return undefined;
    const replies = await seat.script(statements);
    const failed = replies
      .slice(0, ahead.length)
      .map(failureIn)
      .find((failure) => failure !== undefined);
    if (failed !== undefined) return failed;
    const taken = missing.length === 0 ? undefined : replies[ahead.length];
    const error = taken && errorIn(taken);
    if (taken === undefined || error === undefined) {
      local.took(missing);
      return taking.commits ? committedBy(c, replies.at(-1)) : undefined;
    }
    ahead = [];
    if (error.errno !== DUPLICATE) return failureIn(taken);
    const held = await parts.rowLocks.holdersOf(missing);
    const own = held.filter(({ holder }) => holder === branch.gid);
    missing = missing.filter((lock) => !own.some((each) => isSame(each, lock)));
    const others = held.filter(({ holder }) => holder !== branch.gid);
    const free = others.filter(({ holder }) => committed.has(holder));
    const over = await takeOver(c, free);
    if (!Array.isArray(over)) return over as Failure;
    missing = missing.filter((lock) => !(over as readonly RowLock[]).some((each) => isSame(each, lock)));
    const row = others.find(({ holder }) => !committed.has(holder));
    if (row === undefined) {
      if (own.length === 0 && over.length === 0) races += 1;
      continue;
    }
    parts.contention.met(row.relation);
    if (run.canLetGo) return { kind: 'conflict', row };
    const obstacle = await waitFor(c, run.waiter, { row, keepsLocks: true, committed });
    if (obstacle !== undefined) return obstacle;
  }
  return { kind: 'refused', refusal: restless, ends: true };
}

/**
 * Asks whether another global transaction holds a row that is referred to now, or has claimed one that is gone, and waits until none
 * does. The local transaction keeps the rows locked meanwhile, unless it stands alone.
 */
export async function meet(
  c: Context,
  { shared, freed }: { readonly shared: readonly RowLock[]; readonly freed: readonly RowLock[] },
  run: Run,
): Promise<Failure | Conflict | undefined> {
  const { rowLocks } = c.parts;
  if (shared.length === 0 && freed.length === 0) return undefined;
  return untilFree(c, run, async () => [
    ...(shared.length === 0 ? [] : await rowLocks.holdersOf(shared)),
    ...(freed.length === 0 ? [] : await rowLocks.claimantsOf(freed)),
  ]);
}

/** Waits until none of what `ask` finds is another's that may still roll back. */
async function untilFree(
  c: Context,
  run: Run,
  ask: () => Promise<readonly HeldRow[]>,
): Promise<Failure | Conflict | undefined> {
  const committed = new Set(run.committed);
  for (;;) {
    const held = await ask();
    const row = held.find(({ holder }) => holder !== gidOf(c) && !committed.has(holder));
    if (row === undefined) return undefined;
    c.parts.contention.met(row.relation);
    if (run.canLetGo) return { kind: 'conflict', row };
    const obstacle = await waitFor(c, run.waiter, { row, keepsLocks: true, committed });
    if (obstacle !== undefined) return obstacle;
  }
}

/** Takes what committed holders have left; those that they have let go of meanwhile are not among what is returned. */
async function takeOver(c: Context, rows: readonly HeldRow[]): Promise<readonly RowLock[] | Failure> {
  const taken: RowLock[] = [];
  // One by one, so that each answer says which one it was.
  for (const row of rows) {
    const [reply] = await c.seat.ask([{ sql: takeOverSql([row], row.holder, branchOf(c)) }]);
    assert(reply !== undefined, 'each statement was answered');
    const failure = failureIn(reply);
    if (failure !== undefined) return failure;
    if ((okIn(reply)?.affectedRows ?? 0n) > 0n) taken.push(row);
  }
  c.local.took(taken);
  return taken;
}

/** A row that is waited for. */
export interface Waiting {
  readonly row: HeldRow;
  /** The local transaction keeps what it has locked meanwhile. */
  readonly keepsLocks: boolean;
  /** Holders that are known to be decided to commit: this one joins them when it is. */
  readonly committed: Set<Gid>;
}

/** Waits a while. Undefined when one may look again; why not, when one may not. */
export async function waitFor(
  c: Context,
  waiter: LockWaiter,
  { row, keepsLocks, committed }: Waiting,
): Promise<Failure | undefined> {
  const waited = await waiter.wait({ holder: row.holder, row, keepsLocks, holdsLocks: keepsLocks });
  if (waited === 'committed') committed.add(row.holder);
  return obstacleOf(c, waited, row.holder);
}

/** Why a statement cannot go on behind a wait. */
function obstacleOf(c: Context, waited: LockWaitResult, holder: Gid): Failure | undefined {
  switch (waited) {
    case 'timeout':
      return { kind: 'refused', refusal: lockedBy(holder, c.parts.lockTimeoutMs) };
    case 'rolling-back':
      return { kind: 'refused', refusal: inTheWayOf(holder), ends: true };
    case 'deadlock':
      return { kind: 'refused', refusal: waitsForUs(gidOf(c), holder), ends: true };
    case 'committed':
    case 'retry':
      return undefined;
  }
}

function isSame(one: RowLock, other: RowLock): boolean {
  return one.relation === other.relation && one.key === other.key;
}
