/**
 * Workflow: a program that runs at the initiator. Each finished step is recorded; while the program has not ended, the
 * initiator is called to run it again, and it skips what is recorded.
 */
import { INITIATOR, type Instant } from '../../contract/transaction.ts';
import { askedAgain, callEffects, triedInVain, type Reply } from '../branches/calls.ts';
import { alive } from '../branches/initiator.ts';
import { isCommitted, isRolledBack, notInThisMode, type Decision, type Refusal, type Step } from '../decision.ts';
import type { Effect } from '../effect.ts';
import type { Event } from '../event.ts';
import type { GlobalTransaction, Progress } from '../global-transaction.ts';
import { reasonText } from '../reason.ts';

/** The rules of workflow mode. */
export function decideWorkflow(state: GlobalTransaction, event: Event, now: Instant): Decision {
  const step = take(state, event, now);
  return { ...step, effects: effectsOf(step.next, now) };
}

function take(state: GlobalTransaction, event: Event, now: Instant): Step {
  switch (event.kind) {
    case 'resume':
      // Runs with numbers are those of a mesh.
      if (event.id !== undefined) return { next: state, refused: notInThisMode(state, 'runs') };
      return { next: alive(state, now) };
    case 'record':
      return record(state, event.step, now);
    case 'conclude':
      return conclude(state, event, now);
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

function record(state: GlobalTransaction, step: Progress, now: Instant): Step {
  const known = state.progress?.find(({ branch, operation }) => branch === step.branch && operation === step.operation);
  if (known !== undefined) {
    // Two runs of one program must not disagree about what has happened: the first word stands.
    if (known.status === step.status && known.data === step.data) return { next: alive(state, now) };
    return {
      next: state,
      refused: {
        code: 'TRANSACTION_DECIDED',
        message: `step ${step.branch} ${step.operation} of workflow ${state.gid} is recorded with another result`,
        hint: 'another run of the workflow was faster; run it again to take up what is recorded',
      },
    };
  }
  if (state.status !== 'prepared') {
    return { next: state, refused: state.status === 'failed' ? isRolledBack(state) : isCommitted(state) };
  }
  return { next: alive({ ...state, progress: [...(state.progress ?? []), step] }, now) };
}

function conclude(state: GlobalTransaction, event: Extract<Event, { kind: 'conclude' }>, now: Instant): Step {
  if (state.status === event.status) return { next: state };
  if (state.status !== 'prepared') {
    return { next: state, refused: state.status === 'failed' ? isRolledBack(state) : isCommitted(state) };
  }
  const { status, result, reason } = event;
  // The client writes its decision down before it acts on it: what one run has begun to undo, another must not commit.
  const decision = state.progress?.find(({ branch, operation }) => branch === INITIATOR && operation === 'decision');
  if (decision !== undefined && decision.status !== status) return { next: state, refused: isDecidedOtherwise(state) };
  return {
    next: {
      ...state,
      status,
      finishedAt: now,
      ...(result === undefined ? {} : { result }),
      ...(reason === undefined ? {} : { reason: reasonText(reason) }),
    },
  };
}

function isDecidedOtherwise({ gid }: GlobalTransaction): Refusal {
  return {
    code: 'TRANSACTION_DECIDED',
    message: `another run of workflow ${gid} has recorded the opposite decision and begun to carry it out`,
    hint: 'run it again to take up what is recorded; a program must decide alike in every run',
  };
}

/** Whatever a call answers, the program's own word at its end is what counts: until then it is called again, with growing pauses. */
function answered(state: GlobalTransaction, reply: Reply, now: Instant): GlobalTransaction {
  const { callback } = state;
  if (callback === undefined || reply.branch !== INITIATOR || reply.operation !== 'workflow') return state;
  const told = reply.result === 'success' ? { ...reply, detail: 'it answered, and the workflow has not ended' } : reply;
  return { ...state, callback: triedInVain(state, callback, told, now) };
}

function effectsOf(state: GlobalTransaction, now: Instant): readonly Effect[] {
  // Without a callback only the initiator itself can run the program again.
  if (state.status !== 'prepared' || state.callback === undefined) return [];
  return callEffects([{ branch: state.callback, operation: 'workflow' }], now);
}
