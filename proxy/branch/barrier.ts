/**
 * The barrier without code: what one database knows of branch operations, so that each takes effect once, a compensation without its
 * action is absorbed (null compensation), and an action that comes after its compensation is refused (suspension).
 *
 * The rows are those of the client library's barrier (`docs/barrier.md`). The row of an operation is written in the application's own
 * local transaction by its SQL session, ahead of that transaction's first change.
 */
import type { BranchId, Gid, Task } from '../../src/contract/transaction.ts';

/** An operation of a branch that a request asks for. */
export interface OperationOf {
  readonly gid: Gid;
  readonly branch: BranchId;
  readonly task: Exclude<Task, 'msg' | `run${number}`>;
}

/**
 * - `open`: it has not taken effect here; the application is to be called.
 * - `done`: it has taken effect: answer success without calling the application.
 * - `absorbed`: a compensation whose action never came; now it never can: answer success without calling the application.
 * - `fenced`: an action whose compensation was here before: answer failure without calling the application.
 */
export type Arrival = 'open' | 'done' | 'absorbed' | 'fenced';

/** The barrier of one database. Every method rejects when the database cannot be asked: then nothing may be answered as success. */
export interface Barrier {
  /** Asked before the application is called. For `cancel` and `compensate` it waits for an open local transaction of the action. */
  arrive(operation: OperationOf): Promise<Arrival>;
  /**
   * The application has answered success, perhaps without any local transaction: leaves the row that says so, or finds it there.
   * `fenced`: the compensation was faster.
   */
  complete(operation: OperationOf): Promise<'done' | 'fenced'>;
  /** How the local transaction of a message's initiator ended. One that has not committed by now never will. */
  backCheck(gid: Gid): Promise<'committed' | 'rolled-back'>;
  /** Deletes rows older than that; answers how many. */
  cleanUp(olderThanMs: number): Promise<number>;
}
