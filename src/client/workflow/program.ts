/** A workflow as its author sees it: a program whose steps are recorded, so that it can be run again and takes up where it was. */
import type { Gid } from '../../contract/transaction.ts';
import type { BarrierStore, BranchIdentity } from '../barrier/types.ts';
import type { BranchAnswer, ResultOf } from '../branch/answer.ts';
import type { HttpCall } from '../branch/call.ts';
import type { GrpcCall } from '../branch/grpc.ts';
import type { TransactionOptions } from '../dtm/client.ts';
import type { XaDatabase } from '../xa/database.ts';

/**
 * Must do the same when it is run again with the same input and the same recorded answers: whatever changes between runs (time,
 * chance, tables) belongs into a step. Input and result are JSON. A `FailureError` that it throws, or lets through from a
 * step, rolls the workflow back; any other error ends this run only, and the coordinator has it run again.
 */
export type WorkflowProgram<Input, Result> = (workflow: Workflow, input: Input) => Promise<Result>;

export interface Workflow {
  readonly gid: Gid;
  /** The next branch. Branches are numbered in the order of these calls, at most 99: make those of parallel work before it starts. */
  newBranch(): WorkflowBranch;
}

/** What undoes or confirms a branch, once the outcome is decided. It must not fail: it is asked for until it has succeeded. */
export type PhaseTwoWork<Outcome extends 'commit' | 'rollback'> = (branch: PhaseTwo, outcome: Outcome) => Promise<void>;

/**
 * One branch: at most one `onCommit` and one `onRollback`, then one action. The action is recorded when it ends; a recorded one
 * answers what it answered and is not done again. When its end is not known the run ends with that error, also when the
 * program catches it.
 */
export interface WorkflowBranch {
  readonly branchId: string;
  /** Called in reverse order when the workflow rolls back; not for a branch whose action failed, unless `compensateErrorBranch`. */
  onRollback(work: PhaseTwoWork<'rollback'>): WorkflowBranch;
  /** Called in reverse order when the workflow commits. */
  onCommit(work: PhaseTwoWork<'commit'>): WorkflowBranch;
  /** Both. */
  onFinish(work: PhaseTwoWork<'commit' | 'rollback'>): WorkflowBranch;
  /** Calls a service. Resolves with a success; 409 is a `FailureError`, 425 an `OngoingError`, see `resultOf`. */
  http(call: HttpCall): Promise<BranchAnswer>;
  /** The same over gRPC. */
  grpc(call: GrpcCall): Promise<BranchAnswer>;
  /**
   * Does work of this process, at least once: a crash between its end and its record has it done again. What it returns, and
   * what `do` resolves with, is JSON. `name` tells steps apart, should the program be changed.
   */
  do<T>(work: (branch: BranchIdentity) => Promise<T>, name?: string): Promise<T>;
  /** Does work in a local transaction behind the barrier of `database`: once. It has no result, which a repetition would not know. */
  doLocal<Tx>(database: Pick<BarrierStore<Tx>, 'call'>, work: (tx: Tx) => Promise<void>, name?: string): Promise<void>;
  /**
   * Does work in a local transaction that is prepared, and committed or rolled back with the workflow. Takes the place of
   * `onCommit` and `onRollback`. What it returns is JSON.
   */
  doXa<Tx, T>(database: XaDatabase<Tx>, work: (tx: Tx) => Promise<T>, name?: string): Promise<T>;
}

/** A branch in its second phase. Calls that are no success reject, as in `WorkflowBranch`. */
export interface PhaseTwo {
  /** For a barrier: the operation is `commit` or `rollback`. */
  readonly identity: BranchIdentity;
  readonly http: (call: HttpCall) => Promise<BranchAnswer>;
  readonly grpc: (call: GrpcCall) => Promise<BranchAnswer>;
}

/**
 * `retryIntervalMs` is how long the coordinator waits for a sign of life before it takes a run for dead and has the workflow run
 * again; runs that live give one three times as often. Default 10,000.
 */
export interface WorkflowOptions extends Pick<
  TransactionOptions,
  'requestTimeoutMs' | 'retryIntervalMs' | 'branchHeaders'
> {
  /** Roll back also the branch whose action failed, for actions that may fail half-way. Default false, as in DTM. */
  readonly compensateErrorBranch?: boolean;
  /** What the answers of called services mean. Default: the status alone decides. */
  readonly resultOf?: ResultOf;
  /** How long one run may take; then it does nothing more, and the coordinator has it run again. Default 600,000. */
  readonly runTimeoutMs?: number;
}
