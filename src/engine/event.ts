/** What can happen to a global transaction. Recovery is no path of its own: it is the event `woken`. */
import type { BranchId, BranchKind, CallResult, Operation } from '../contract/transaction.ts';
import type { Diagnosis, ResolveRequest, RetryRequest, StepView, StopRequest } from '../contract/messages.ts';
import type { Progress, Terms } from './global-transaction.ts';

export interface NewBranch extends Terms {
  /** The id that the initiator gives it; made by the engine when absent. */
  readonly id?: BranchId;
  readonly kind: BranchKind;
  readonly resource: string;
  readonly operations: Readonly<Partial<Record<Operation, string>>>;
  /** What goes along with every call, in base64. */
  readonly payload?: string;
  /** Of a branch with requests: the same text exactly when two enlistments say the same of it. */
  readonly hash?: string;
}

export type Event =
  /** A participant joins. `run`, here and below: the run of a workflow that wants it; only the newest one may. */
  | { readonly kind: 'enlist'; readonly branch: NewBranch; readonly run?: number }
  /**
   * Somebody asks to commit. A message is not delivered before `delayMs` after its begin: clients say so only now. `ended`: the run
   * whose program has ended so, where `run` only carries that out.
   */
  | { readonly kind: 'submit'; readonly delayMs?: number; readonly run?: number; readonly ended?: number }
  /** Somebody asks to roll back. */
  | { readonly kind: 'abort'; readonly reason: string; readonly run?: number }
  /** Time has passed, or this process has just taken the transaction over. */
  | { readonly kind: 'woken' }
  /** A call that `decide` asked for was answered, or timed out (`unknown`). */
  | {
      readonly kind: 'replied';
      readonly branch: BranchId;
      readonly operation: Operation;
      readonly result: CallResult;
      readonly detail?: string;
      /** Of a `dirty` one. */
      readonly diagnosis?: Diagnosis;
    }
  /** Every unfinished branch is to be asked again now; who wants it, and why, is recorded with those that are dirty. */
  | ({ readonly kind: 'retry' } & RetryRequest)
  /** An operator decides about one dirty branch, or about all of them. */
  | ({ readonly kind: 'resolve' } & ResolveRequest)
  /** An operator gives the transaction up: it has failed, and no branch is called any more. */
  | ({ readonly kind: 'stop' } & StopRequest)
  /** Workflow: the program runs (again) at the initiator. Of a mesh: a new run, known by the `id` of the request for it. */
  | { readonly kind: 'resume'; readonly id?: string }
  /** Mesh that is a workflow: a step of a run has finished. */
  | { readonly kind: 'step'; readonly run: number; readonly step: StepView }
  /** Workflow: a step has finished. */
  | { readonly kind: 'record'; readonly step: Progress }
  /** Workflow: the program has ended. */
  | {
      readonly kind: 'conclude';
      readonly status: 'succeed' | 'failed';
      readonly result?: string;
      readonly reason?: string;
    };
