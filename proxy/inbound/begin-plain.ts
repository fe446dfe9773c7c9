/**
 * A plain global transaction around one inbound request: submitted or aborted by the application's answer.
 *
 * Crash rule: when this process dies in between, nothing was submitted, or submit was; the coordinator rolls back at the
 * deadline or carries on. Either way the client saw no outcome.
 */
import type { Gate } from '../http/admission.ts';
import type { BeginRule } from '../transaction/begin.ts';
import { abort, isIn, outcomeHeaders, type Undecided } from '../transaction/decide.ts';
import { gateOf, submitted } from './gate.ts';

/** The gate of a request that has begun `transaction`. */
export function openPlainGate(transaction: Undecided, rule: BeginRule): Gate {
  return gateOf(transaction, {
    answered: async (status) => {
      if (isIn(rule.commitOn, status)) return await submitted(transaction, rule);
      const outcome = await abort(transaction, `the application answered ${status}`);
      return { kind: 'pass', headers: outcomeHeaders(transaction.gid, outcome) };
    },
    unanswered: (reason) => abort(transaction, reason),
  });
}
