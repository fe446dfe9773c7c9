/** Plans for local transactions that may be prepared: what has no exact images runs as it came, and the local transaction is marked. */
import type { PlannedStatement, Planner } from '../../sql/planner.ts';
import type { StatementPlan } from '../../sql/statement.ts';

/**
 * - `escalated`: what can be captured is captured; what cannot, runs in a local transaction that is prepared.
 * - `all`: nothing is captured; every local transaction that may have changed rows is prepared.
 * - `unavailable`: what cannot be captured is refused, and the refusal says which setting of the server would change that.
 */
export type Preparing = 'escalated' | 'all' | 'unavailable';

/** Wraps a planner of undo mode. Inside an operation its plans stay as they are: the barrier takes no prepared transaction. */
export function preparingPlanner(planner: Planner, preparing: Preparing): Planner {
  return {
    plan(text, settings, nowMs, work) {
      const planned = planner.plan(text, settings, nowMs, work);
      if (planned.kind !== 'plans' || work !== 'undo') return planned;
      // The plans of a text are kept and compared by identity: those that stay as they are stay the same object.
      if (!planned.plans.some(({ plan }) => planFor(plan, preparing) !== plan)) return planned;
      return { kind: 'plans', plans: planned.plans.map((statement) => replanned(statement, preparing)) };
    },
    learn: (rows, nowMs) => planner.learn(rows, nowMs),
    forget: () => planner.forget(),
    catalogueMoved: () => planner.catalogueMoved(),
    get knowsNames() {
      return planner.knowsNames;
    },
    pathMoved: () => planner.pathMoved(),
  };
}

function replanned(statement: PlannedStatement, preparing: Preparing): PlannedStatement {
  return { ...statement, plan: planFor(statement.plan, preparing) };
}

function planFor(plan: StatementPlan, preparing: Preparing): StatementPlan {
  if (plan.kind === 'capture') {
    if (preparing !== 'all') return plan;
    // Local locks are the whole of what a prepared transaction holds.
    return plan.capture.read === undefined ? CAPTURABLE : PASS;
  }
  if (plan.kind === 'change') return preparing === 'all' ? CHANGE : plan;
  if (preparing !== 'unavailable') return escalatedPlan(plan);
  if (plan.kind !== 'refuse' || plan.escalates !== true) return plan;
  return { ...plan, refusal: { ...plan.refusal, hint: `${plan.refusal.hint} ${WOULD_ESCALATE}` } };
}

/** The plan where local transactions may be prepared: what would be refused for want of images runs. */
export function escalatedPlan(plan: StatementPlan): StatementPlan {
  return plan.kind === 'refuse' && plan.escalates === true ? CHANGE : plan;
}

/** Whatever it is, it gets a block: what ends a local transaction by itself must not end the one that is going to be prepared. */
const CHANGE: StatementPlan = { kind: 'change', isPlain: false, runsCode: true };
/** What undo mode would capture does nothing but change rows. */
const CAPTURABLE: StatementPlan = { kind: 'change', isPlain: false };
const PASS: StatementPlan = { kind: 'pass' };

const WOULD_ESCALATE =
  'With max_prepared_transactions of the server above 0 it would run, and its local transaction be prepared instead of committed.';
