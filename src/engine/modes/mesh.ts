/**
 * Mesh: participants of any kind, enlisted by sidecars; commit in parallel, roll back in reverse. With a callback it is a message
 * (whether it commits is what the initiator's local transaction says) or a workflow (its program is run again after silence).
 */
import { INITIATOR, type Instant } from '../../contract/transaction.ts';
import { callEffects, triedInVain, type Reply } from '../branches/calls.ts';
import { inTime, takeEnrolled } from '../branches/enrolment.ts';
import { alive, checked, questionOf } from '../branches/initiator.ts';
import { dueEffects, type Ordering } from '../branches/phase-two.ts';
import { forgottenBranch, withNewRun, withStep } from '../branches/runs.ts';
import { withDeadline } from '../deadline.ts';
import { notInThisMode, type Decision, type Step } from '../decision.ts';
import type { Effect } from '../effect.ts';
import type { Event } from '../event.ts';
import type { GlobalTransaction } from '../global-transaction.ts';

const ORDERING: Ordering = { commit: 'parallel', rollback: 'reverse' };
const NOT_COMMITTED = 'the local transaction of the initiator has not committed';

/** The rules of mesh mode. */
export function decideMesh(before: GlobalTransaction, event: Event, now: Instant): Decision {
  const step = take(inTime(before, now), event, now);
  return { ...step, effects: effectsOf(step.next, now) };
}

function take(state: GlobalTransaction, event: Event, now: Instant): Step {
  switch (event.kind) {
    case 'resume':
      if (event.id === undefined) return { next: state, refused: notInThisMode(state, event.kind) };
      return withNewRun(state, event.id, now);
    case 'step':
      return withStep(state, event.step, now);
    case 'enlist': {
      const step = takeEnrolled(state, event, now);
      return step.refused === undefined ? { next: alive(step.next, now) } : step;
    }
    case 'submit': {
      const ended = event.ended ?? event.run;
      const refused = state.status === 'prepared' && ended !== undefined ? forgottenBranch(state, ended) : undefined;
      return refused === undefined ? takeEnrolled(state, event, now) : { next: state, refused };
    }
    case 'replied':
      if (event.branch === INITIATOR && event.operation === questionOf(state))
        return { next: answered(state, event, now) };
      return takeEnrolled(state, event, now);
    default:
      return takeEnrolled(state, event, now);
  }
}

/** The initiator has answered. */
function answered(state: GlobalTransaction, reply: Reply, now: Instant): GlobalTransaction {
  if (questionOf(state) === 'workflow') return ran(state, reply, now);
  return checked(state, reply, now, {
    committed: (next) => takeEnrolled(next, { kind: 'submit' }, now).next,
    rolledBack: (next, detail) => {
      const reason = detail === undefined ? NOT_COMMITTED : `${NOT_COMMITTED}: ${detail}`;
      return takeEnrolled(next, { kind: 'abort', reason }, now).next;
    },
  });
}

/**
 * The initiator has been told to run its program again. Whatever it answers, only a run ends the workflow; but one that says that it
 * runs, or has shown so meanwhile, is left alone for as long as any sign of life counts.
 */
function ran(state: GlobalTransaction, reply: Reply, now: Instant): GlobalTransaction {
  const { callback } = state;
  if (callback === undefined || state.status !== 'prepared') return state;
  const next = { ...state, callback: triedInVain(state, callback, reply, now) };
  if (reply.result === 'success' || reply.result === 'ongoing') return alive(next, now);
  const { notBefore = now } = next.callback;
  const latest = Math.max(callback.notBefore ?? now, notBefore) as Instant;
  return { ...next, callback: { ...next.callback, notBefore: latest } };
}

function effectsOf(state: GlobalTransaction, now: Instant): readonly Effect[] {
  const { callback, deadline, status } = state;
  const operation = questionOf(state);
  if (status !== 'prepared' || callback === undefined || operation === undefined) {
    return dueEffects(state, ORDERING, now);
  }
  const effects = callEffects([{ branch: callback, operation }], now);
  return deadline === undefined ? effects : withDeadline(effects, deadline);
}
