/** What a barrier is to those who use one, whatever database keeps it. */
import type { Gid } from '../../contract/transaction.ts';

/** The type of a global transaction, in DTM's words, and `mesh` of our own. */
export type TransType = 'saga' | 'tcc' | 'xa' | 'msg' | 'workflow' | 'mesh';

/** What is asked of a branch, in DTM's words. `msg` is the local transaction of a message, and its back-check. */
export type BranchOperation = 'action' | 'compensate' | 'try' | 'confirm' | 'cancel' | 'commit' | 'rollback' | 'msg';

/** Which operation of which branch of which global transaction a request is. */
export interface BranchIdentity {
  readonly gid: Gid;
  readonly transType: TransType;
  readonly branchId: string;
  readonly op: BranchOperation;
}

/**
 * What became of an operation behind a barrier.
 * - `done`: the work was done, and is committed together with the barrier's row. Success.
 * - `repeated`: the operation took effect before; the work was not done again. Success.
 * - `absorbed`: there was nothing to undo, because the operation that this one undoes never took effect, and now never will;
 *   the work was not done. Success.
 * - `fenced`: the operation came after the one that undoes it (of a message: after the back-check gave it up); the work was not
 *   done and never will be. Failure, and final.
 */
export type BarrierOutcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'repeated' }
  | { readonly kind: 'absorbed' }
  | { readonly kind: 'fenced' };

/** Which barrier of the request, for handlers that need several. */
export interface BarrierChoice {
  /**
   * `01` when absent, as DTM numbers them. A handler with two local transactions names `01` and `02`, the same ones in the action
   * and in its compensation. It is said and not counted, so that a repeated request always meets the rows of the first.
   */
  readonly barrierId?: string;
}

/**
 * A database that keeps barriers. `Tx` is what the work gets to write with: the driver's connection, inside the transaction that
 * the barrier's rows are written in. `Lent` is what a caller with a transaction of his own has to bring.
 */
export interface BarrierStore<Tx, Lent = Tx> {
  /**
   * Does `work` once for this operation, in one local transaction with the barrier's rows. When `work` throws, the local
   * transaction is rolled back, rows included, and the error is passed on as it is. When the database gave up the transaction for
   * another one's sake (a deadlock, a failed serialization), all of it is tried again, `work` included.
   * Rejects with a `CodedError` `OUTCOME_UNKNOWN`, `retry: 'safe'`, when the answer to the commit was lost.
   */
  call<T>(branch: BranchIdentity, work: (tx: Tx) => Promise<T>, choice?: BarrierChoice): Promise<BarrierOutcome<T>>;
  /**
   * The same inside a local transaction of the caller's, who commits it whatever the outcome is, and rolls it back when this
   * rejects.
   */
  within<T, Own extends Lent>(
    tx: Own,
    branch: BranchIdentity,
    work: (tx: Own) => Promise<T>,
    choice?: BarrierChoice,
  ): Promise<BarrierOutcome<T>>;
  /**
   * How the local transaction of the message `gid` ended (operation `msg` of branch `00`). One that has not committed is fenced
   * first: it can never commit afterwards. Waits for one that is under way.
   */
  queryPrepared(gid: Gid): Promise<'committed' | 'rolled-back'>;
  /** Deletes rows that nobody needs any more; answers how many. May be run at any time, by several at once. */
  clean(options: CleanOptions): Promise<number>;
}

/** Which rows of a barrier go. */
export interface CleanOptions {
  /**
   * Rows older than this go; at least two days. A row is needed as long as its global transaction is unfinished, and then as long
   * as a late request of it may still be on its way.
   */
  readonly olderThanMs: number;
  /**
   * Whether nothing more will happen to this transaction, as the coordinator knows it. When given, only rows of such
   * transactions go, however old the others are; rows whose gid is none stay too.
   */
  readonly isOver?: (gid: Gid) => Promise<boolean>;
  /** Rows a batch, each a local transaction of its own; 500 when absent. */
  readonly batchRows?: number;
  /** Ends the work after the batch under way. */
  readonly signal?: AbortSignal;
}
