/** Saga: the coordinator calls the actions in their order; when one fails, it compensates those that may have taken effect. */
import type { Instant } from '../../contract/transaction.ts';
import { askedAgain, callEffects, errorText, tried, triedInVain, type DueCall, type Reply } from '../branches/calls.ts';
import { finishedIfOver } from '../branches/phase-two.ts';
import { actionEffects, hasUrl, isReached, passEmptyActions, predecessorsOf } from '../branches/steps.ts';
import { isPastDeadline, withDeadline } from '../deadline.ts';
import { isRolledBack, isUnderWay, notInThisMode, type Decision, type Step } from '../decision.ts';
import type { Effect } from '../effect.ts';
import type { Event } from '../event.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { reasonText } from '../reason.ts';

/** The rules of saga mode. Past its deadline a saga turns round, whatever the event was. */
export function decideSaga(before: GlobalTransaction, event: Event, now: Instant): Decision {
  const isLate = before.status === 'submitted' && isPastDeadline(before, now);
  const state = isLate ? turnedRound(before, timeoutReason(before)) : before;
  const step = take(state, event, now);
  const next = withoutEmptySteps(step.next, now);
  return { ...step, next, effects: effectsOf(next, now) };
}

function take(state: GlobalTransaction, event: Event, now: Instant): Step {
  const isTurned = state.status === 'aborting' || state.status === 'failed';
  switch (event.kind) {
    case 'submit':
      return isTurned ? { next: state, refused: isRolledBack(state) } : { next: state };
    case 'abort':
      return isTurned ? { next: state } : { next: state, refused: isUnderWay(state) };
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

function answered(state: GlobalTransaction, reply: Reply, now: Instant): GlobalTransaction {
  const index = state.branches.findIndex(({ id }) => id === reply.branch);
  const branch = state.branches[index];
  if (branch === undefined) return state;
  const replace = (next: Branch): GlobalTransaction => ({ ...state, branches: state.branches.with(index, next) });
  if (reply.operation === 'action' && branch.action === undefined) {
    if (state.status === 'submitted' && isReached(state, index))
      return actionAnswered(state, branch, reply, now, replace);
    // Too late to count, but people want to know what was compensated.
    if (branch.compensation !== undefined && (reply.result === 'success' || reply.result === 'failure')) {
      return replace({ ...branch, action: reply.result === 'success' ? 'succeed' : 'failed' });
    }
    return state;
  }
  if (reply.operation !== 'compensate' || branch.compensation !== 'due') return state;
  // A compensation that says failure is asked again: there is no other way to the state that was promised.
  if (reply.result !== 'success') return replace(triedInVain(state, branch, reply, now));
  return replace({ ...tried(branch), status: 'succeed', compensation: 'done' });
}

function actionAnswered(
  state: GlobalTransaction,
  branch: Branch,
  reply: Reply,
  now: Instant,
  replace: (next: Branch) => GlobalTransaction,
): GlobalTransaction {
  switch (reply.result) {
    case 'success':
      return replace({ ...tried(branch), status: 'succeed', action: 'succeed' });
    case 'failure': {
      const url = branch.operations.action?.[0] ?? '';
      const failed = replace({ ...tried(branch), action: 'failed', lastError: errorText(reply) });
      return turnedRound(failed, `url:${url} return failed: ${reply.detail ?? ''}`);
    }
    default: {
      const retries = (state.retries ?? 0) + 1;
      const next = { ...replace(triedInVain(state, branch, reply, now)), retries };
      // As in DTM `ongoing` counts as well: the limit bounds the tries, whatever they waited for.
      if (state.retryLimit === undefined || retries <= state.retryLimit) return next;
      return turnedRound(next, `RetryCount is greater than RetryLimit, RetryLimit: ${state.retryLimit}`);
    }
  }
}

/**
 * From now on backwards. Every action that may have been called is compensated, the failed one too: its failure may be a part
 * of its work. One that has no answer yet is compensated once it has (see `Effect`).
 */
function turnedRound(state: GlobalTransaction, reason: string): GlobalTransaction {
  const branches = state.branches.map((branch, index): Branch => {
    const { notBefore: _, ...rest } = branch;
    return branch.action !== undefined || isReached(state, index)
      ? { ...rest, status: 'prepared', compensation: 'due', attempts: 0 }
      : { ...rest, status: 'succeed' };
  });
  return { ...state, status: 'aborting', reason: reasonText(reason), branches };
}

function timeoutReason(state: GlobalTransaction): string {
  return `Timeout after ${((state.deadline ?? state.createdAt) - state.createdAt) / 1000} seconds`;
}

/** Steps that have nothing to do are passed over in their turn; final when that was all. */
function withoutEmptySteps(state: GlobalTransaction, now: Instant): GlobalTransaction {
  switch (state.status) {
    case 'submitted':
      return finishedIfOver(
        passEmptyActions(state, (branch) => ({ ...branch, status: 'succeed', action: 'succeed' })),
        now,
      );
    case 'aborting':
      return finishedIfOver(passEmptyCompensations(state), now);
    default:
      return state;
  }
}

/** Finishes every compensation that is due and has no URL, then those that waited for it, and so on. */
function passEmptyCompensations(state: GlobalTransaction): GlobalTransaction {
  const blocking = blockingOf(state);
  const isEmpty = (branch: Branch): boolean => branch.compensation === 'due' && !hasUrl(branch, 'compensate');
  const passed: number[] = [];
  for (const [index, branch] of state.branches.entries()) if (isEmpty(branch) && !blocking[index]) passed.push(index);
  if (passed.length === 0) return state;
  const branches = [...state.branches];
  for (const index of passed) {
    const branch = branches[index];
    if (branch === undefined) continue;
    branches[index] = { ...branch, status: 'succeed', compensation: 'done' };
    for (const before of predecessorsOf(state, index)) {
      const left = (blocking[before] ?? 0) - 1;
      blocking[before] = left;
      const next = branches[before];
      if (left === 0 && next !== undefined && isEmpty(next)) passed.push(before);
    }
  }
  return { ...state, branches };
}

function effectsOf(state: GlobalTransaction, now: Instant): readonly Effect[] {
  switch (state.status) {
    case 'submitted': {
      const effects = actionEffects(state, now);
      return state.deadline === undefined ? effects : withDeadline(effects, state.deadline);
    }
    case 'aborting':
      return callEffects(compensationsDue(state), now);
    default:
      return [];
  }
}

function compensationsDue(state: GlobalTransaction): readonly DueCall[] {
  const blocking = blockingOf(state);
  const due: DueCall[] = [];
  for (const [index, branch] of state.branches.entries()) {
    if (branch.compensation === 'due' && !blocking[index]) due.push({ branch, operation: 'compensate' });
  }
  return due;
}

/** A compensation waits for those of the steps that came after its own: for each step, for how many. */
function blockingOf(state: GlobalTransaction): number[] {
  const blocking = state.branches.map(() => 0);
  for (const [index, branch] of state.branches.entries()) {
    if (branch.compensation !== 'due') continue;
    for (const before of predecessorsOf(state, index)) blocking[before] = (blocking[before] ?? 0) + 1;
  }
  return blocking;
}
