/**
 * Runs of a workflow in a mesh. Its program may be run by several processes at once, because nobody can tell a dead one from a slow
 * one: the newest run alone may record, enlist and end, and this file is where that is decided.
 */
import type { StepView } from '../../contract/messages.ts';
import type { Gid, Instant } from '../../contract/transaction.ts';
import type { Refusal, Step } from '../decision.ts';
import type { Event } from '../event.ts';
import type { GlobalTransaction } from '../global-transaction.ts';
import { alive } from './initiator.ts';

/** Why `event` may not happen as a part of the run that it names, or because it names none; undefined when it may. */
export function runRefusal(state: GlobalTransaction, event: Event): Refusal | undefined {
  const { gid, run: newest } = state;
  const run = 'run' in event ? event.run : undefined;
  if (newest === undefined) {
    if (run === undefined) return undefined;
    return hasNoRuns(gid);
  }
  if (run === undefined) {
    if (event.kind !== 'submit') return undefined;
    return {
      code: 'BAD_REQUEST',
      message: `transaction ${gid} is a workflow and ends with one of its runs, and the request names none`,
      hint: 'give the number of the run that has ended as "run"',
    };
  }
  if (run > newest.number) {
    return {
      code: 'BAD_REQUEST',
      message: `run ${run} of transaction ${gid} was never begun; its newest is ${newest.number}`,
      hint: 'begin a run, and give the number that it was answered with',
    };
  }
  return run === newest.number ? undefined : superseded(state, run);
}

/**
 * Why the program that has ended must not commit: an earlier run of it made a branch that it has not come to, and a commit would carry
 * out both. Row images of earlier runs are no such branches: each run's are its own, and the initiator takes back those before it.
 */
export function forgottenBranch(state: GlobalTransaction, ended: number): Refusal | undefined {
  const forgotten = state.branches.find(({ kind, run }) => kind !== 'undo' && run !== undefined && run < ended);
  if (forgotten === undefined) return undefined;
  return {
    code: 'REPLAY_MISMATCH',
    message: `run ${ended} of transaction ${state.gid} ended without branch ${forgotten.id} "${forgotten.resource}" of run ${forgotten.run}`,
    hint: 'abort it; a workflow must make the same calls when it runs again, and what it reads from a database counts as its input',
  };
}

/** The newest run is another one than `run`; undefined: than one that has only just begun. */
export function superseded({ gid, run: newest }: GlobalTransaction, run: number | undefined): Refusal {
  return {
    code: 'RUN_SUPERSEDED',
    message: `run ${run === undefined ? '' : `${run} `}of transaction ${gid} was superseded by run ${newest?.number ?? 0}`,
    hint: 'stop this run; whatever it has not recorded is repeated by the newer one',
  };
}

/** A run begins and ends all earlier ones. The request that began the newest run has no other effect when it comes again. */
export function withNewRun(state: GlobalTransaction, id: string, now: Instant): Step {
  const { run } = state;
  if (run === undefined) return { next: state, refused: hasNoRuns(state.gid) };
  if (run.id === id) return { next: state };
  if (state.status !== 'prepared') return { next: state, refused: isOver(state) };
  return { next: alive({ ...state, run: { number: run.number + 1, id } }, now) };
}

/** The newest run has finished a step. What stands recorded stays as it is. */
export function withStep(state: GlobalTransaction, step: StepView, now: Instant): Step {
  const known = state.steps?.find((other) => other.step === step.step);
  if (known !== undefined) {
    if (known.data === step.data) return { next: alive(state, now) };
    return {
      next: state,
      refused: {
        code: 'TRANSACTION_DECIDED',
        message: `step ${JSON.stringify(step.step)} of transaction ${state.gid} is recorded with other data`,
        hint: 'take what is recorded; give each step a name of its own',
      },
    };
  }
  if (state.status !== 'prepared') return { next: state, refused: isOver(state) };
  return { next: alive({ ...state, steps: [...(state.steps ?? []), step] }, now) };
}

/** Only a workflow in a mesh has runs. */
export function hasNoRuns(gid: Gid): Refusal {
  return {
    code: 'BAD_REQUEST',
    message: `transaction ${gid} has no runs`,
    hint: 'only a transaction that was begun with a callback "workflow" has; for others leave "run" out',
  };
}

function isOver({ gid, status }: GlobalTransaction): Refusal {
  return {
    code: 'TRANSACTION_DECIDED',
    message: `transaction ${gid} is ${status}; no run of it goes on`,
    hint: 'read the transaction and what it has recorded',
  };
}
