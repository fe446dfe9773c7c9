/** The second phase of a branch in its database: what it comes to, and who carries it out. */
import type { Diagnosis } from '../../src/contract/messages.ts';
import type { CallResult, Gid, Resolution } from '../../src/contract/transaction.ts';

/**
 * Why a branch cannot be taken back: the first obstacle that was met, whose images are whole rows in their text form, absent where
 * there is no row; and all rows that are in the way, as far as they could be read.
 */
export interface Dirt extends Diagnosis {
  readonly current?: string;
  readonly before?: string;
  readonly after?: string;
}

/** `dirt` says what is in the way when `result` is `dirty`; `detail` is for people and logs. */
export interface FinishResult {
  readonly result: CallResult;
  readonly detail?: string;
  readonly dirt?: Dirt;
  /** How the branch has ended long before, where that contradicts what is asked now; `result` is `unknown` then. */
  readonly ended?: 'committed' | 'rolled back';
}

/** Carries out decisions. Every method may be called again with the same arguments and then answers the same. Never rejects. */
export interface Finisher {
  /**
   * Writes the branch's state ahead of its first change, at enlistment. Without it the first local transaction does so, and
   * others of the same gid wait until that one has ended. Best effort: it never changes a state that exists.
   */
  open(gid: Gid, resource: string): Promise<void>;
  /** Takes back what `open` wrote, because the coordinator refused the branch. Best effort. */
  discard(gid: Gid, resource: string): Promise<void>;
  /** Forgets the undo records and releases the row locks of the branch. */
  commit(gid: Gid, resource: string): Promise<FinishResult>;
  /**
   * Restores every row of the branch, or none. From the first call on, no local transaction of the branch can commit any more.
   * `resolution`: what an operator has decided about a branch that could not be restored. `apply-before` restores it over whatever is there, or is
   * `dirty` where the database itself refuses; `keep-current` forgets its records and releases its row locks.
   */
  rollback(gid: Gid, resource: string, resolution?: Resolution): Promise<FinishResult>;
  /** Deletes the traces of branches that ended more than `olderThanMs` ago; answers how many. Rejects when the database does. */
  cleanUp(olderThanMs: number): Promise<number>;
  close(): Promise<void>;
}
