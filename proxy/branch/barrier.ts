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

/** The operation that `task` undoes or confirms. */
export function originOf(task: 'confirm' | 'cancel' | 'compensate'): 'try' | 'action' {
  return task === 'compensate' ? 'action' : 'try';
}

/**
 * - `open`: it has not taken effect here; the application is to be called.
 * - `done`: it has taken effect: answer success without calling the application.
 * - `absorbed`: a compensation whose action never came, or a confirm whose try has left nothing; now it never can: answer success
 *   without calling the application.
 * - `fenced`: an action whose compensation was here before: answer failure without calling the application.
 * - `half`: one local transaction of it has committed and another was refused: answer that an operator must look.
 * - `busy`: a local transaction of the action is open and might still commit: answer that it is to be asked again.
 */
export type Arrival = 'open' | 'done' | 'absorbed' | 'fenced' | 'half' | 'busy';

/** What the application answered to a try or an action. Headers flat, without those of the framing. */
export interface KeptAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** The barrier of one database. Every method rejects when the database cannot be asked: then nothing may be answered as success. */
export interface Barrier {
  /** Asked before the application is called. For `confirm`, `cancel` and `compensate` it waits a moment for an open local transaction of what they come after. */
  arrive(operation: OperationOf): Promise<Arrival>;
  /**
   * The application has answered success, perhaps without any local transaction: leaves the row that says so, or finds it there.
   * `fenced`: the compensation was faster. `half`: as of arriving. `answer`: kept with that row, for whoever asks again.
   */
  complete(operation: OperationOf, answer?: KeptAnswer): Promise<'done' | 'fenced' | 'half'>;
  /** The answer of an operation that is done; undefined when none was kept. */
  answerOf(operation: OperationOf): Promise<KeptAnswer | undefined>;
  /** Remembers that a local transaction of the operation was refused after another one had committed. */
  halve(operation: OperationOf): Promise<void>;
  /** How the local transaction of a message's initiator ended; waits a moment for one that is open. One that has not committed by now never will. */
  backCheck(gid: Gid): Promise<'committed' | 'rolled-back'>;
  /** Deletes rows older than that; answers how many. */
  cleanUp(olderThanMs: number): Promise<number>;
}
