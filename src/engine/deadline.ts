/** When an undecided transaction has waited long enough. */
import { isFinal, type Instant } from '../contract/transaction.ts';
import type { Effect } from './effect.ts';
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
  if (state.status !== 'prepared') return state.createdAt;
  const { deadline, callback } = state;
  if (deadline === undefined || callback?.notBefore === undefined) return deadline ?? callback?.notBefore;
  return Math.min(deadline, callback.notBefore) as Instant;
}

/**
 * The effects of what ends at `deadline`: no call is begun from then on. It counts while calls are under way too, so there is always
 * a wake for it unless an earlier one comes first.
 */
export function withDeadline(effects: readonly Effect[], deadline: Instant): readonly Effect[] {
  let wakeAt = deadline;
  const calls: Effect[] = [];
  for (const effect of effects) {
    if (effect.kind === 'call') calls.push({ ...effect, before: deadline });
    else if (effect.at < wakeAt) wakeAt = effect.at;
  }
  return [...calls, { kind: 'wake', at: wakeAt }];
}
