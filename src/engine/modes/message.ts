/**
 * Two-phase message: prepared before the initiator's local transaction, submitted after it; whoever dies in between is asked
 * how it ended. Once submitted, every step is carried out, however often that takes.
 */
import { INITIATOR, type Instant } from '../../contract/transaction.ts';
import { askedAgain, callEffects, tried, triedInVain, type Reply } from '../branches/calls.ts';
import { checked } from '../branches/initiator.ts';
import { isCommitted, isRolledBack, notInThisMode, type Decision, type Step } from '../decision.ts';
import type { Effect } from '../effect.ts';
import type { Event } from '../event.ts';
import type { GlobalTransaction } from '../global-transaction.ts';
import { finishedIfOver } from '../branches/phase-two.ts';
import { reasonText } from '../reason.ts';
import { actionEffects, isReached, passEmptyActions } from '../branches/steps.ts';

/** The rules of message mode. */
export function decideMessage(state: GlobalTransaction, event: Event, now: Instant): Decision {
  const step = take(state, event, now);
  return { ...step, effects: effectsOf(step.next, now) };
}

function take(state: GlobalTransaction, event: Event, now: Instant): Step {
  switch (event.kind) {
    case 'submit':
      if (state.status === 'failed') return { next: state, refused: isRolledBack(state) };
      return { next: state.status === 'prepared' ? submitted(delayed(state, event.delayMs), now) : state };
    case 'abort':
      if (state.status === 'failed') return { next: state };
      if (state.status !== 'prepared') return { next: state, refused: isCommitted(state) };
      return { next: notSent(state, event.reason, now) };
    case 'replied':
      return { next: answered(state, event, now) };
    case 'retry':
      return { next: askedAgain(state, event, now) };
    case 'woken':
      return { next: state };
    default:
      return { next: state, refused: notInThisMode(state, event.kind) };
  }
}

function delayed(state: GlobalTransaction, delayMs: number | undefined): GlobalTransaction {
  return delayMs === undefined ? state : { ...state, holdUntil: (state.createdAt + delayMs) as Instant };
}

/** The message is to be delivered, whatever happens from now on. */
function submitted(state: GlobalTransaction, now: Instant): GlobalTransaction {
  return withoutEmptySteps({ ...state, status: 'submitted' }, now);
}

function notSent(state: GlobalTransaction, reason: string, now: Instant): GlobalTransaction {
  return { ...state, status: 'failed', reason: reasonText(reason), finishedAt: now };
}

function answered(state: GlobalTransaction, reply: Reply, now: Instant): GlobalTransaction {
  if (reply.branch === INITIATOR) {
    return checked(state, reply, now, {
      committed: (next) => submitted(next, now),
      rolledBack: (next, detail = '') => notSent(next, detail, now),
    });
  }
  const index = state.branches.findIndex(({ id }) => id === reply.branch);
  const branch = state.branches[index];
  if (branch === undefined || branch.status !== 'prepared' || state.status !== 'submitted') return state;
  if (reply.operation !== 'action' || !isReached(state, index)) return state;
  if (reply.result !== 'success') {
    return { ...state, branches: state.branches.with(index, triedInVain(state, branch, reply, now)) };
  }
  const done = { ...tried(branch), status: 'succeed' as const };
  return withoutEmptySteps({ ...state, branches: state.branches.with(index, done) }, now);
}

function withoutEmptySteps(state: GlobalTransaction, now: Instant): GlobalTransaction {
  return finishedIfOver(
    passEmptyActions(state, (branch) => ({ ...branch, status: 'succeed' })),
    now,
  );
}

function effectsOf(state: GlobalTransaction, now: Instant): readonly Effect[] {
  if (state.status === 'prepared') {
    // Without a callback there is nobody to ask, and no answer that could be guessed: it waits for a submit or an abort.
    return state.callback === undefined ? [] : callEffects([{ branch: state.callback, operation: 'msg' }], now);
  }
  if (state.status !== 'submitted') return [];
  if (state.holdUntil !== undefined && now < state.holdUntil) return [{ kind: 'wake', at: state.holdUntil }];
  return actionEffects(state, now);
}
