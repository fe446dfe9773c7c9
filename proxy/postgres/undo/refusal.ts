/** The texts of refusals: what was refused, and the way out. */
import type { Refusal, StatementPlan } from '../../sql/statement.ts';

const OUTSIDE = 'Run it outside the global transaction.';

/** SQLSTATE of a refused statement: feature not supported. */
const NOT_SUPPORTED = '0A000';

/** A plan that refuses. `what` continues "… inside a global transaction". */
export function refuse(
  what: string,
  hint: string = OUTSIDE,
  code: string = NOT_SUPPORTED,
  detail?: string,
): StatementPlan {
  const refusal: Refusal = {
    code,
    message: `${what} inside a global transaction: its changes could not be undone`,
    hint,
    ...(detail === undefined ? {} : { detail }),
  };
  return { kind: 'refuse', refusal };
}

/** A plan that answers as the server itself would. */
export function refuseAs(code: string, message: string, hint: string): StatementPlan {
  return { kind: 'refuse', refusal: { code, message, hint } };
}

/** The same plan, for what is refused inside an operation too: it concerns the session, and not images. */
export function always(plan: StatementPlan): StatementPlan {
  return plan.kind === 'refuse' ? { ...plan, isAlways: true } : plan;
}
