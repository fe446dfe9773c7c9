/** When an undecided transaction has waited long enough. */
import type { Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from './global-transaction.ts';

/** The reason that a transaction rolled back by its deadline carries. */
export const DEADLINE_REASON = 'deadline passed';

/** True when nobody has decided and the deadline is reached: the deadline itself is already too late. */
export function isOverdue(state: GlobalTransaction, now: Instant): boolean {
  return state.status === 'prepared' && now >= state.deadline;
}
