/** Each status with what recovery does when every coordinator dies there. `test/runner/recovery.test.ts` iterates over it. */
import type { GlobalStatus } from '../contract/transaction.ts';
import type { GlobalTransaction } from './global-transaction.ts';

/** The one question about a global transaction. */
export type Outcome = 'undecided' | 'commit' | 'rollback';

export interface StatusRule {
  /** What this status asks of the branches; once it is not `undecided`, it never changes, but for a saga (see `outcomeOf`). */
  readonly outcome: Outcome;
  /** What recovery does if we die here, for people. */
  readonly ifWeDieHere: string;
  /** The status at which recovery arrives when every participant answers. */
  readonly recoversTo: GlobalStatus;
}

/** The table. Recovery itself is no code: it is the event `woken`. */
export const STATUS_RULES: Readonly<Record<GlobalStatus, StatusRule>> = {
  prepared: {
    outcome: 'undecided',
    ifWeDieHere:
      'Keeps waiting for submit or abort; at the deadline it rolls every enlisted branch back. Of a message the initiator is asked how its local transaction ended; of a workflow, to run it again.',
    recoversTo: 'failed',
  },
  submitted: {
    outcome: 'commit',
    ifWeDieHere:
      'Calls every branch that is not known to have committed again, until each has said success. A saga goes on with the actions that are not known to have succeeded.',
    recoversTo: 'succeed',
  },
  aborting: {
    outcome: 'rollback',
    ifWeDieHere: 'Goes on backwards from the last branch that is not known to have rolled back.',
    recoversTo: 'failed',
  },
  succeed: {
    outcome: 'commit',
    ifWeDieHere: 'Nothing: every branch has committed. It is deleted after the retention time.',
    recoversTo: 'succeed',
  },
  failed: {
    outcome: 'rollback',
    ifWeDieHere: 'Nothing: every branch has rolled back. It is deleted after the retention time.',
    recoversTo: 'failed',
  },
};

/** What is decided of the transaction. Of a saga nothing is while its actions are under way: each of them may still turn it round. */
export function outcomeOf({ mode, status }: GlobalTransaction): Outcome {
  return mode === 'saga' && status === 'submitted' ? 'undecided' : STATUS_RULES[status].outcome;
}

/** True when a branch is dirty: that branch goes no further until an operator has looked at it. */
export function needsAttention(transaction: GlobalTransaction): boolean {
  return transaction.branches.some((branch) => branch.status === 'dirty');
}
