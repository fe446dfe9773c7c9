/** What `decide` answers: the state that follows, what to do then, and why the event was refused if it was. */
import type { ErrorCode } from '../contract/errors.ts';
import type { Effect } from './effect.ts';
import type { GlobalTransaction } from './global-transaction.ts';

/** Why an event was not taken. `hint` says what to do instead. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/**
 * `effects` is everything that is due in `next`, not only what the event added: the effects of the last decision replace
 * those of earlier ones, so a recovered transaction needs no more than one event to go on.
 *
 * A refused event changes nothing by itself. The passage of time may still have: an undecided transaction past its
 * deadline is rolled back whatever the event was.
 */
export interface Decision {
  readonly next: GlobalTransaction;
  readonly effects: readonly Effect[];
  readonly refused?: Refusal;
}
