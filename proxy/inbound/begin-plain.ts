/**
 * A plain global transaction around one inbound request: submitted or aborted by the application's answer.
 *
 * Crash rule: when this process dies in between, nothing was submitted, or submit was; the coordinator rolls back at the
 * deadline or carries on. Either way the client saw no outcome.
 */
import type { BeginRule } from '../transaction/begin.ts';
import type { Gate, Verdict } from '../http/admission.ts';
import { abort, isIn, outcomeHeaders, submit, untilOver, type Undecided } from '../transaction/decide.ts';

/** The gate of a request that has begun `transaction`. */
export function openPlainGate(transaction: Undecided, rule: BeginRule): Gate {
  const { gid } = transaction;
  let isDeciding = false;

  const decide = async (status: number): Promise<Verdict> => {
    if (!isIn(rule.commitOn, status)) {
      const outcome = await abort(transaction, `the application answered ${status}`);
      return { kind: 'pass', headers: outcomeHeaders(gid, outcome) };
    }
    const submitted = await submit(transaction);
    if (submitted.error !== undefined) {
      return { kind: 'replace', error: submitted.error, headers: outcomeHeaders(gid, submitted.outcome) };
    }
    if (rule.wait === 'finished') await untilOver(transaction, rule.timeout);
    return { kind: 'pass', headers: outcomeHeaders(gid, 'committed') };
  };

  return {
    answered({ status }) {
      isDeciding = true;
      const verdict = decide(status);
      transaction.follow(verdict);
      return verdict;
    },
    async failed(error) {
      isDeciding = true;
      const aborted = abort(transaction, `the application did not answer: ${error.message}`);
      transaction.follow(aborted);
      return outcomeHeaders(gid, await aborted);
    },
    clientLeft() {
      if (isDeciding) return;
      isDeciding = true;
      transaction.follow(abort(transaction, 'the client left before the answer'));
    },
  };
}
