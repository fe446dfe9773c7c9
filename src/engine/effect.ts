/** What `decide` asks the runner to do, after the next state is saved. */
import type { BranchId, Instant, Operation } from '../contract/transaction.ts';

export type Effect =
  /**
   * Call one branch. The runner drops it while any call to that branch is under way, whatever it asks: the answer of that one
   * brings the next decision. So no call is doubled, and no compensation overtakes its action.
   */
  | {
      readonly kind: 'call';
      readonly branch: BranchId;
      readonly operation: Operation;
      readonly urls: readonly string[];
      /** Not begun from this instant on: what was due when it was decided may have waited for its save, or for its turn. */
      readonly before?: Instant;
    }
  /** Send `woken` at this instant. A later `wake` of the same transaction replaces an earlier one. */
  | { readonly kind: 'wake'; readonly at: Instant };
