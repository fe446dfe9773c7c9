/**
 * An XA branch in a database: its local phase ends prepared, not committed; the coordinator has it committed or rolled back.
 * What a database has to be told is a dialect; the rules are here, and the same for all.
 */
import { CodedError } from '../../contract/errors.ts';
import type { BarrierStore, BranchIdentity } from '../barrier/types.ts';
import { FailureError, OngoingError } from '../errors.ts';

/** A database whose local transactions can be XA branches. `Tx` is the driver's connection. */
export interface XaDatabase<Tx> {
  /**
   * Does `work` in a local transaction and prepares it; `register` comes in between, and the branch must be registered with the
   * coordinator when it resolves. Answers `repeated` when this branch is prepared, or even committed, already.
   * Rejects with what `work` or `register` throws, having rolled back; with `FailureError` when the branch had been rolled
   * back before it began; with `OngoingError` when another run of it is under way; with the driver's error when the database
   * did not take it.
   */
  prepare<T>(branch: BranchIdentity, register: () => Promise<void>, work: (tx: Tx) => Promise<T>): Promise<Prepared<T>>;
  /**
   * Commits or rolls back what `prepare` prepared; may be called again. Rejects with an `OngoingError` while a local phase is
   * still under way, and with `CodedError` OUTCOME_UNKNOWN when the database does not know the branch and nothing says that it
   * is finished.
   */
  finish(branch: BranchIdentity): Promise<void>;
}

/** How a local phase ended, if it did not fail. */
export type Prepared<T> = { readonly kind: 'prepared'; readonly value: T } | { readonly kind: 'repeated' };

/** What one kind of database has to be told. Each `xid` is `<gid>-<branch id>`, as DTM has it. */
export interface XaDialect<Tx> {
  /**
   * Gives `use` a connection of its own in a new local transaction, and prepares that; rolls back when `use` rejects. No other
   * connection can finish the branch as long as this one is not done.
   */
  prepared<T>(xid: string, use: (tx: Tx) => Promise<T>): Promise<T>;
  /** Answers `unknown` when the database has nothing prepared under this name. */
  finish(xid: string, verb: 'commit' | 'rollback'): Promise<'finished' | 'unknown'>;
  isPrepared(xid: string): Promise<boolean>;
  /** True when the error says that somebody else holds what was waited for. */
  isLockTimeout(error: unknown): boolean;
}

/** Work that must not be done: that it is asked for says that the barrier has no row. */
class NoRow extends Error {}
const never = (): Promise<never> => Promise.reject(new NoRow());

/** The rules of an XA branch over a dialect, and the barrier of the same database. */
export function xaDatabase<Tx extends Lent, Lent>(
  dialect: XaDialect<Tx>,
  barrier: BarrierStore<Tx, Lent>,
): XaDatabase<Tx> {
  return {
    prepare: (branch, register, work) => prepare(dialect, barrier, branch, register, work),
    finish: (branch) =>
      branch.op === 'commit' ? commit(dialect, barrier, branch) : rollBack(dialect, barrier, branch),
  };
}

async function prepare<Tx extends Lent, Lent, T>(
  dialect: XaDialect<Tx>,
  barrier: BarrierStore<Tx, Lent>,
  branch: BranchIdentity,
  register: () => Promise<void>,
  work: (tx: Tx) => Promise<T>,
): Promise<Prepared<T>> {
  const action: BranchIdentity = { ...branch, op: 'action' };
  try {
    const value = await dialect.prepared(xidOf(branch), async (tx) => {
      // The row waits for another run of this branch, and keeps out one that comes after its rollback.
      const outcome = await barrier.within(tx, action, () => work(tx));
      if (outcome.kind !== 'done') throw new NotDone(outcome.kind);
      await register();
      return outcome.value;
    });
    return { kind: 'prepared', value };
  } catch (error) {
    if (error instanceof NotDone) {
      if (error.why === 'repeated') return { kind: 'repeated' };
      throw new FailureError(`${nameOf(branch)} was rolled back before it began`, { cause: error });
    }
    if (!dialect.isLockTimeout(error)) throw error;
    if (await dialect.isPrepared(xidOf(branch))) return { kind: 'repeated' };
    throw new OngoingError(`${nameOf(branch)} waits for a lock, perhaps of another run of it`, { cause: error });
  }
}

class NotDone extends Error {
  readonly why: 'repeated' | 'absorbed' | 'fenced';

  constructor(why: 'repeated' | 'absorbed' | 'fenced') {
    super(why);
    this.why = why;
  }
}

/** DTM takes "unknown xid" for success. Here the barrier's row decides, which the branch's own transaction has committed or not. */
async function commit<Tx, Lent>(
  dialect: XaDialect<Tx>,
  barrier: BarrierStore<Tx, Lent>,
  branch: BranchIdentity,
): Promise<void> {
  if ((await dialect.finish(xidOf(branch), 'commit')) === 'finished') return;
  try {
    const { kind } = await barrier.call({ ...branch, op: 'action' }, never);
    if (kind === 'repeated') return;
  } catch (error) {
    if (dialect.isLockTimeout(error)) throw stillOpen(branch, error);
    if (!(error instanceof NoRow)) throw error;
  }
  throw new CodedError('OUTCOME_UNKNOWN', `the database has nothing prepared for ${nameOf(branch)} to commit`, {
    retry: 'safe',
    hint: 'Look for a prepared transaction of this name on other databases, and into the barrier table; it is asked for again.',
  });
}

/** A row of the rollback's own keeps out a local phase that comes later, and waits for one that is still under way. */
async function rollBack<Tx, Lent>(
  dialect: XaDialect<Tx>,
  barrier: BarrierStore<Tx, Lent>,
  branch: BranchIdentity,
): Promise<void> {
  await dialect.finish(xidOf(branch), 'rollback');
  try {
    await barrier.call({ ...branch, op: 'rollback' }, never);
  } catch (error) {
    if (dialect.isLockTimeout(error)) throw stillOpen(branch, error);
    if (!(error instanceof NoRow)) throw error;
    throw new CodedError('OUTCOME_UNKNOWN', `${nameOf(branch)} is committed and cannot be rolled back`, {
      hint: 'Somebody else has committed it: compare the global transaction with the data, and repair by hand.',
    });
  }
}

function stillOpen(branch: BranchIdentity, cause: unknown): OngoingError {
  return new OngoingError(`the local phase of ${nameOf(branch)} is still under way`, { cause });
}

function xidOf({ gid, branchId }: BranchIdentity): string {
  return `${gid}-${branchId}`;
}

function nameOf({ gid, branchId }: BranchIdentity): string {
  return `branch ${branchId} of ${gid}`;
}
