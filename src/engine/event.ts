/** What can happen to a global transaction. Recovery is no path of its own: it is the event `woken`. */
import type { BranchId, BranchKind, CallResult, Operation } from '../contract/transaction.ts';

export interface NewBranch {
  readonly kind: BranchKind;
  readonly resource: string;
  readonly operations: Readonly<Partial<Record<Operation, string>>>;
}

export type Event =
  /** A participant joins. */
  | { readonly kind: 'enlist'; readonly branch: NewBranch }
  /** Somebody asks to commit. */
  | { readonly kind: 'submit' }
  /** Somebody asks to roll back. */
  | { readonly kind: 'abort'; readonly reason: string }
  /** Time has passed, or this process has just taken the transaction over. */
  | { readonly kind: 'woken' }
  /** A call that `decide` asked for was answered, or timed out (`unknown`). */
  | {
      readonly kind: 'replied';
      readonly branch: BranchId;
      readonly operation: Operation;
      readonly result: CallResult;
      readonly detail?: string;
    }
  /** An operator wants every unfinished branch asked again now. */
  | { readonly kind: 'retry' };
