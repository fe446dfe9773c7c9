/**
 * Whether a session has a local transaction open, and whether one has ended. A server's flag `inTransaction` alone does not say: it stays
 * on through `COMMIT AND CHAIN` and `BEGIN` inside a transaction, an error carries no flags, and statements commit by themselves. Pure.
 * Source: MySQL documentation, "Statements That Cause an Implicit Commit", "InnoDB Error Handling"; MySQL source: sql/transaction.cc.
 */
import { STATUS } from '../wire/outcome.ts';

export interface TransactionState {
  /** `unknown`: an error may have ended it, or begun one; the next OK of the server tells. */
  readonly block: 'idle' | 'open' | 'unknown';
  /** Without it each statement begins a transaction where none is open. */
  readonly hasAutocommit: boolean;
}

/** What is known of the statement that the server has answered. */
export type Effect =
  /** It was not looked at. */
  | 'unknown'
  /** It neither begins nor ends a local transaction. */
  | 'inside'
  | 'begins'
  | 'ends'
  /** It ends one and begins the next. */
  | 'chains';

/** What the server has said. */
export type Heard =
  /** `isTracked`: session tracking has said that a transaction is open, which is as good as the flag. `wrote`: rows were changed. */
  | { readonly kind: 'ok'; readonly status: number; readonly isTracked?: boolean; readonly wrote?: boolean }
  | { readonly kind: 'error'; readonly errno: number }
  /** COM_RESET_CONNECTION and COM_CHANGE_USER roll back. */
  | { readonly kind: 'reset'; readonly status: number };

export interface Step {
  readonly state: TransactionState;
  /** Has the local transaction that was open before ended? Another may be open since. */
  readonly ended: 'no' | 'yes' | 'maybe';
}

/** A session that has just logged in, by the status of its OK. */
export function loggedIn(status: number): TransactionState {
  return stateOf(status, false);
}

/**
 * Errors behind which nothing is left of the local transaction: ER_LOCK_DEADLOCK, ER_LOCK_TABLE_FULL, ER_XA_RBTIMEOUT, ER_XA_RBDEADLOCK,
 * ER_TRANSACTION_ROLLBACK_DURING_COMMIT.
 */
const ROLL_BACK: readonly number[] = [1213, 1206, 1613, 1614, 3101];
/** ER_LOCK_WAIT_TIMEOUT, behind which that is so where innodb_rollback_on_timeout is on; ER_ERROR_DURING_COMMIT; ER_XA_RBROLLBACK. */
const MAY_ROLL_BACK: readonly number[] = [1205, 1180, 1402];

/** The state behind one answer, or one result of it, of a statement with this effect. */
export function heard(before: TransactionState, effect: Effect, what: Heard): Step {
  const wasOpen = before.block !== 'idle';
  if (what.kind === 'reset') return { state: stateOf(what.status, false), ended: wasOpen ? 'yes' : 'no' };
  if (what.kind === 'error') return afterError(before, effect, what.errno);
  const state = stateOf(what.status, what.isTracked === true);
  if (!wasOpen) return { state, ended: 'no' };
  if (state.block === 'idle') return { state, ended: 'yes' };
  switch (effect) {
    case 'inside':
      return { state, ended: before.block === 'unknown' ? 'maybe' : 'no' };
    case 'unknown':
      return { state, ended: 'maybe' };
    case 'begins':
    case 'ends':
    case 'chains':
      // BEGIN commits what is open; and with completion_type, or in a text of several statements, an end is followed by a beginning.
      return { state, ended: 'yes' };
  }
}

function afterError(before: TransactionState, effect: Effect, errno: number): Step {
  const wasOpen = before.block !== 'idle';
  if (ROLL_BACK.includes(errno)) return { state: { ...before, block: 'idle' }, ended: wasOpen ? 'yes' : 'no' };
  const isHarmless = effect === 'inside' && !MAY_ROLL_BACK.includes(errno);
  // With autocommit a statement that fails outside of a transaction leaves none, unless it can begin one.
  const opensNone = before.hasAutocommit && !wasOpen && effect !== 'unknown';
  if ((isHarmless && (wasOpen || before.hasAutocommit)) || opensNone) return { state: before, ended: 'no' };
  return { state: { ...before, block: 'unknown' }, ended: wasOpen ? 'maybe' : 'no' };
}

function stateOf(status: number, isTracked: boolean): TransactionState {
  const isOpen = isTracked || (status & STATUS.inTransaction) !== 0;
  return { block: isOpen ? 'open' : 'idle', hasAutocommit: (status & STATUS.autocommit) !== 0 };
}
