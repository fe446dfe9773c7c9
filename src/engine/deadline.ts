/** When an undecided transaction has waited long enough. */
import { isFinal, type Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from './global-transaction.ts';

/** The reason that a transaction rolled back by its deadline carries. */
export const DEADLINE_REASON = 'deadline passed';

/** True when nobody has decided and the deadline is reached: the deadline itself is already too late. */
export function isOverdue(state: GlobalTransaction, now: Instant): boolean {
  return state.status === 'prepared' && isPastDeadline(state, now);
}

/** True when there is a deadline and it is reached. */
export function isPastDeadline(state: GlobalTransaction, now: Instant): boolean {
  return state.deadline !== undefined && now >= state.deadline;
}

/** When a transaction that was just begun must be looked at by somebody, should its coordinator fall silent at once; undefined when never. */
export function dueFromBegin(state: GlobalTransaction): Instant | undefined {
  if (isFinal(state.status)) return undefined;
  return state.status === 'prepared' ? (state.deadline ?? state.callback?.notBefore) : state.createdAt;
}
