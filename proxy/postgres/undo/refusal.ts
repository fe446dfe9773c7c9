/** The texts of refusals: what was refused, and the way out. */
import type { Refusal, StatementPlan } from '../../sql/statement.ts';

const OUTSIDE = 'Run it outside the global transaction.';

/** SQLSTATE of a refused statement: feature not supported. */
const NOT_SUPPORTED = '0A000';

/** A plan that refuses for want of images: a local transaction that is going to be prepared could run it. `what` continues "… inside a global transaction". */
export function refuse(what: string, hint: string = OUTSIDE): StatementPlan {
  const refusal: Refusal = {
    code: NOT_SUPPORTED,
    message: `${what} inside a global transaction: its changes could not be undone`,
    hint,
  };
  return { kind: 'refuse', refusal, escalates: true };
}

/** The same for what no kind of branch can take back: it leaves the local transaction, or cannot run in one, or cannot be prepared. */
export function refuseHard(what: string, hint?: string): StatementPlan {
  return hard(refuse(what, hint));
}

/** How many parameters a statement can have. Source: Bind counts them in 16 bits (protocol-message-formats.html). */
const PARAMETERS_MAX = 65_535;

/** The same plan, unless its statement has no room for the parameters that capturing it adds. */
export function unlessTooMany(plan: StatementPlan): StatementPlan {
  if (plan.kind !== 'capture') return plan;
  const { clientParameters, ownParameters } = plan.capture;
  if (clientParameters + ownParameters.length <= PARAMETERS_MAX) return plan;
  return refuse(
    `a statement with ${clientParameters} parameters, to which capturing it adds ${ownParameters.length} of at most ${PARAMETERS_MAX}, is not supported`,
    'Split it, or pass long lists as array parameters.',
  );
}

/** A plan that answers as the server itself would. */
export function refuseAs(code: string, message: string, hint: string): StatementPlan {
  return { kind: 'refuse', refusal: { code, message, hint } };
}

/** The same plan, for what is refused inside an operation too: it concerns the session, and not images. */
export function always(plan: StatementPlan): StatementPlan {
  const refused = hard(plan);
  return refused.kind === 'refuse' ? { ...refused, isAlways: true } : refused;
}

function hard(plan: StatementPlan): StatementPlan {
  return plan.kind === 'refuse' ? { kind: 'refuse', refusal: plan.refusal } : plan;
}
