/** The state of one global transaction: everything that `decide` knows, and everything that a store keeps. Plain JSON. */
import type { Diagnosis, EnlistRequest, ResolutionView, StepView } from '../contract/messages.ts';
import type {
  BranchId,
  BranchKind,
  BranchStatus,
  Gid,
  GlobalStatus,
  Instant,
  Mode,
  Operation,
  Protocol,
} from '../contract/transaction.ts';

/** How the calls of one branch differ from those of others, as whoever enlisted it wishes. */
export type Terms = Pick<
  EnlistRequest,
  'requests' | 'results' | 'delayMs' | 'attemptsMax' | 'retryIntervalMs' | 'requestTimeoutMs'
>;

/** The terms among what `from` says. */
export function termsOf(from: Terms): Terms {
  const { requests, results, delayMs, attemptsMax, retryIntervalMs, requestTimeoutMs } = from;
  return {
    ...(requests === undefined ? {} : { requests }),
    ...(results === undefined ? {} : { results }),
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(attemptsMax === undefined ? {} : { attemptsMax }),
    ...(retryIntervalMs === undefined ? {} : { retryIntervalMs }),
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
  };
}

export interface Branch extends Terms {
  readonly id: BranchId;
  /** The order of enlistment, from 1. */
  readonly sequence: number;
  readonly kind: BranchKind;
  readonly resource: string;
  readonly operations: Readonly<Partial<Record<Operation, readonly string[]>>>;
  readonly status: BranchStatus;
  /** Calls of the second phase answered so far, whatever the answer. */
  readonly attempts: number;
  /** Enlisted by a sidecar: called in the native way, whatever the protocol of the transaction is. */
  readonly isNative?: true;
  /** Not to be called before this instant. */
  readonly notBefore?: Instant;
  readonly lastError?: string;
  /** Why it is dirty, or was last. */
  readonly diagnosis?: Diagnosis;
  /** What operators have decided about it, oldest first; the last one without an outcome is under way. */
  readonly resolutions?: readonly ResolutionView[];
  /** What goes along with every call, in base64. */
  readonly payload?: string;
  /** Mesh that is a workflow: the newest run that has enlisted it; absent where no run has. */
  readonly run?: number;
  /** Of the enlistment that said last what is sent. */
  readonly hash?: string;
  /** Of enlistments before it: one of them that comes again, late, is not taken for something new. */
  readonly replaced?: readonly string[];
  /** Saga: how the action ended, as far as it is known. */
  readonly action?: 'succeed' | 'failed';
  /** Saga that is rolled back: what has become of the compensation; absent when the action was never called. */
  readonly compensation?: 'due' | 'done';
}

/** A finished step of a workflow. The program finds it when it runs again, and does not repeat the step. */
export interface Progress {
  readonly branch: BranchId;
  /** The initiator's own word: `action`, `commit`, `rollback`, `business`. */
  readonly operation: string;
  readonly status: 'succeed' | 'failed';
  /** What the step answered, in base64. */
  readonly data: string;
}

export interface Run {
  /** From 1: the begin is the first run. */
  readonly number: number;
  /** Of the request that began it, so that a repetition of that request is not taken for another run; absent for the first. */
  readonly id?: string;
}

export interface GlobalTransaction {
  readonly gid: Gid;
  readonly mode: Mode;
  readonly status: GlobalStatus;
  readonly createdAt: Instant;
  /**
   * The instant at which an undecided transaction is rolled back; a saga also while its actions are under way. Absent when it may
   * take for ever.
   */
  readonly deadline?: Instant;
  readonly retryIntervalMs: number;
  readonly requestTimeoutMs: number;
  readonly finishedAt?: Instant;
  readonly reason?: string;
  /** An operator has given it up, in this status. */
  readonly stoppedFrom?: GlobalStatus;
  /** Who has, where he has said so. */
  readonly stoppedBy?: string;
  readonly initiator?: string;
  /** Hash of the request that began it: the same gid with another request is refused. */
  readonly requestHash: string;
  readonly branches: readonly Branch[];
  /** How branches are called, if not in the native way. */
  readonly protocol?: Protocol;
  /** Sent along with every call. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Saga and message: for each branch the branches, by index, that must have succeeded before it is called; absent: each the one before. */
  readonly order?: readonly (readonly number[])[];
  /** Saga: so many tries of actions that ended with neither success nor failure are forgiven, of all steps together; absent: any number. */
  readonly retryLimit?: number;
  /** Saga: tries of actions so far that ended with neither. */
  readonly retries?: number;
  /** Message: not delivered before this instant. */
  readonly holdUntil?: Instant;
  /** Message and workflow, and a mesh that is one: the initiator, asked like a branch. */
  readonly callback?: Branch;
  /** Mesh that is a workflow: its newest run. Nothing else may record, enlist or end anything as a run. */
  readonly run?: Run;
  /** Mesh that is a workflow: its finished steps, in the order in which they came. */
  readonly steps?: readonly StepView[];
  /** Workflow: without a sign of life of its program for so long, the initiator is called; milliseconds. Absent: `retryIntervalMs`. */
  readonly silenceMs?: number;
  /** Workflow: its name at the initiator. */
  readonly name?: string;
  readonly progress?: readonly Progress[];
  /** Workflow: what the program returned, in base64. */
  readonly result?: string;
  /** The initiator's own, given back as it came. */
  readonly customData?: string;
}
