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

/** What an event makes of a state, before it is known what is due then. */
export interface Step {
  readonly next: GlobalTransaction;
  readonly refused?: Refusal;
}

/** Somebody wants to commit what is rolled back. */
export function isRolledBack({ gid, reason }: GlobalTransaction): Refusal {
  return {
    code: 'TRANSACTION_ROLLED_BACK',
    message: `transaction ${gid} is rolled back${reason === undefined ? '' : `: ${reason}`}`,
    hint: 'nothing of it takes effect; begin a new transaction to try again',
  };
}

/** Somebody wants to roll back what is committed. */
export function isCommitted({ gid }: GlobalTransaction): Refusal {
  return {
    code: 'TRANSACTION_DECIDED',
    message: `transaction ${gid} is committed and cannot be rolled back`,
    hint: 'read the transaction; to take its effects back, begin a new one that does the opposite',
  };
}

/** Somebody wants to roll back a saga whose actions are under way. */
export function isUnderWay({ gid }: GlobalTransaction): Refusal {
  return {
    code: 'TRANSACTION_DECIDED',
    message: `saga ${gid} is under way and turns round only when an action fails or its deadline passes`,
    hint: 'read the saga to see where it stands; an operator can stop it without compensation',
  };
}

/** The event means nothing to a transaction of this mode. */
export function notInThisMode({ gid, mode }: GlobalTransaction, event: string): Refusal {
  return {
    code: 'BAD_REQUEST',
    message: `transaction ${gid} is of mode ${mode}, which knows no ${event}`,
    hint: 'check the gid and the mode of the request',
  };
}
