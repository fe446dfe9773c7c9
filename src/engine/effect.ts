/** What `decide` asks the runner to do, after the next state is saved. */
import type { BranchId, Instant, Operation } from '../contract/transaction.ts';

export type Effect =
  /** Call one branch. The runner drops it when the same call is already in flight. */
  | {
      readonly kind: 'call';
      readonly branch: BranchId;
      readonly operation: Operation;
      readonly urls: readonly string[];
    }
  /** Send `woken` at this instant. A later `wake` of the same transaction replaces an earlier one. */
  | { readonly kind: 'wake'; readonly at: Instant };
