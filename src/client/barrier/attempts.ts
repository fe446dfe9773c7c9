/** Local transactions that are tried again when the database gave them up for the sake of another. */
import { CodedError } from '../../contract/errors.ts';
import type { Instant } from '../../contract/transaction.ts';
import { at, now } from '../../platform/clock.ts';

/** How often and for which errors a local transaction is tried again. */
export interface Attempts {
  /** At least 1. */
  readonly max: number;
  /** Whether the transaction has had no effect, and may well succeed when it is carried out again. */
  readonly isPassing: (error: unknown) => boolean;
}

/** Used when the user names no other number. */
const ATTEMPTS_MAX = 5;

const PAUSE_MS = 10;
const CAUSES_MAX = 5;

/** Answers what `attempt` answers, as soon as it does not fail for a passing reason. */
export async function retrying<T>({ max, isPassing }: Attempts, attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (count >= max || !isPassing(error)) throw error;
    }
    await pause(PAUSE_MS * 2 ** (count - 1));
  }
}

/** Checks a number of attempts that a user gave. Throws `CodedError` `BAD_REQUEST`. */
export function attemptsOf(max: number = ATTEMPTS_MAX): number {
  if (Number.isInteger(max) && max >= 1 && max <= 100) return max;
  throw new CodedError('BAD_REQUEST', `${max} is no number of attempts`, { hint: 'Use 1 to 100.' });
}

/** True when `test` holds for the error or for one of its causes: libraries wrap what the driver throws. */
export function someCause(error: unknown, test: (cause: object) => boolean): boolean {
  let cause = error;
  for (let depth = 0; depth < CAUSES_MAX && typeof cause === 'object' && cause !== null; depth += 1) {
    if (test(cause)) return true;
    cause = 'cause' in cause ? cause.cause : undefined;
  }
  return false;
}

/** The error for a commit whose answer never came. The barrier makes it safe to ask again: that is what tells the outcome. */
export function commitUnknown(cause: unknown): CodedError {
  return new CodedError('OUTCOME_UNKNOWN', 'the database did not say whether the local transaction is committed', {
    retry: 'safe',
    hint: 'Send the same request again: behind the barrier it takes effect once.',
    cause,
  });
}

/** The error for a barrier row that was written outside of any transaction, and so would have outlived a failure of the work. */
export function outsideTransaction(): CodedError {
  return new CodedError('BAD_REQUEST', 'the connection is not in a transaction', {
    hint: 'Begin a transaction before you pass the connection on, or use call, which begins one.',
  });
}

/** The error for a local transaction that was over before it could be committed: what came after its end was on its own. */
export function overBeforeCommit(): CodedError {
  return new CodedError('TRANSACTION_ROLLED_BACK', 'the local transaction had ended before the work was done', {
    hint: 'Let the error of a failed statement through; leave commit, rollback and statements that commit (DDL) out of the work.',
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    at((now() + ms) as Instant, resolve);
  });
}
