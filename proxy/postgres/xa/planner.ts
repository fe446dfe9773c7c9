/** Plans for local transactions that may be prepared: what has no exact images runs as it came, and the local transaction is marked. */
import type { Capture, StatementPlan } from '../../sql/statement.ts';

/**
 * - `escalated`: what can be captured is captured; what cannot, runs in a local transaction that is prepared.
 * - `all`: nothing is captured; every local transaction that may have changed rows is prepared.
 * - `unavailable`: what cannot be captured is refused, and the refusal says which setting of the server would change that.
 */
export type Preparing = 'escalated' | 'all' | 'unavailable';

/**
 * The plan of one statement, by that of undo mode. `waitingOf`: the statement as it waits for row locks of others, where it can; asked for
 * where it may run without being captured.
 */
export function preparedPlan(
  plan: StatementPlan,
  preparing: Preparing,
  waitingOf: () => Capture | undefined,
): StatementPlan {
  if (plan.kind === 'capture') {
    // A read that locks waits as in undo mode: what it reads may be that of another branch, which has not been decided.
    return preparing === 'all' && plan.capture.read === undefined ? waiting(CAPTURABLE, waitingOf()) : plan;
  }
  if (plan.kind === 'change') return preparing === 'all' ? CHANGE : plan;
  if (plan.kind !== 'refuse' || plan.escalates !== true) return plan;
  if (preparing !== 'unavailable') return waiting(CHANGE, waitingOf());
  return { ...plan, refusal: { ...plan.refusal, hint: `${plan.refusal.hint} ${WOULD_ESCALATE}` } };
}

/** The plan where local transactions may be prepared: what would be refused for want of images runs. */
export function escalatedPlan(plan: StatementPlan): StatementPlan {
  return plan.kind === 'refuse' && plan.escalates === true ? CHANGE : plan;
}

type Change = Extract<StatementPlan, { kind: 'change' }>;

/** Whatever it is, it gets a block: what ends a local transaction by itself must not end the one that is going to be prepared. */
const CHANGE: Change = { kind: 'change', isPlain: false, runsCode: true };
/** What undo mode would capture does nothing but change rows. */
const CAPTURABLE: Change = { kind: 'change', isPlain: false };

function waiting(change: Change, waits: Capture | undefined): StatementPlan {
  return waits === undefined ? change : { ...change, waits };
}

const WOULD_ESCALATE =
  'With max_prepared_transactions of the server above 0 it would run, and its local transaction be prepared instead of committed.';
