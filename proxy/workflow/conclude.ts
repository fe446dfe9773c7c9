/**
 * How a run of a workflow ends. A final answer of the program is recorded, and only then carried out, so that whoever finds it later
 * can do no other. Anything else (no answer, a 5xx, 425, 429) is no end: a later run goes on from the recorded steps.
 */
import { CodedError } from '../../src/contract/errors.ts';
import type { StatusRange } from '../../src/contract/messages.ts';
import { abort, isIn, outcomeUnknown, submit, type Outcome, type Undecided } from '../transaction/decide.ts';
import type { WorkflowRun } from './run.ts';
import { withoutFraming } from './send.ts';
import type { ProgramEnd, RecordedAnswer } from './step.ts';

/** What came of a run. */
export interface Conclusion {
  readonly outcome: Outcome;
  /** What the client gets in place of the program's answer. */
  readonly error?: CodedError;
}

/** True when a status is the end of a call or a program: not one that says "not now", or that nothing is known. */
export function isFinalStatus(status: number): boolean {
  return status < 500 && status !== 425 && status !== 429;
}

/** Ends `run`, whose program has answered. Never rejects. `commitOn`: the statuses that commit. */
export async function conclude(
  run: WorkflowRun,
  transaction: Undecided,
  answer: RecordedAnswer,
  commitOn: readonly StatusRange[],
): Promise<Conclusion> {
  const { log, gid } = transaction;
  const commits = isIn(commitOn, answer.status);
  const fault = commits ? run.endFault() : run.fault;
  if (fault !== undefined) {
    log.error({ gid, run: run.number, err: fault.message }, 'a workflow contradicts its records and is rolled back');
    return { outcome: await abort(transaction, `REPLAY_MISMATCH: ${fault.message}`, run.number), error: fault };
  }
  if (!commits && !isFinalStatus(answer.status)) {
    log.warn({ gid, run: run.number, status: answer.status }, 'a run of a workflow came to no end; it is run again');
    return { outcome: 'unknown' };
  }
  const end = { answer: { ...answer, headers: withoutFraming(answer.headers) }, commits, run: run.number };
  try {
    await recordEnd(run, transaction, end);
  } catch (cause) {
    const code = cause instanceof CodedError ? cause.code : 'INTERNAL';
    log.warn({ err: cause, gid, run: run.number }, 'the answer of a workflow could not be recorded');
    // A later run goes on, and may commit: what the client hears must not sound like an end.
    // Decided already, most likely by its deadline: the coordinator says so once more.
    if (code !== 'TRANSACTION_DECIDED') return { outcome: 'unknown', error: outcomeUnknown(gid, cause) };
  }
  return await carryOut(run.number, transaction, end);
}

/** Does what a recorded end says. */
export async function carryOut(run: number, transaction: Undecided, end: ProgramEnd): Promise<Conclusion> {
  if (end.commits) {
    const submitted = await submit(transaction, { run, ended: end.run });
    const { error } = submitted;
    if (error?.code !== 'REPLAY_MISMATCH') return submitted;
    transaction.log.error(
      { gid: transaction.gid, run, err: error.message },
      'a workflow left branches behind and is rolled back',
    );
    return { outcome: await abort(transaction, `REPLAY_MISMATCH: ${error.message}`, run), error };
  }
  return { outcome: await abort(transaction, `the application answered ${end.answer.status}`, run) };
}

/** Without its body where that is too much for the coordinator: the end decides, the body is only for those who ask again. */
async function recordEnd(run: WorkflowRun, { deadline }: Undecided, end: ProgramEnd): Promise<void> {
  try {
    await run.record({ kind: 'answer', ...end }, deadline);
  } catch (cause) {
    if (!(cause instanceof CodedError) || cause.code !== 'BODY_TOO_LARGE') throw cause;
    const { status } = end.answer;
    await run.record({ kind: 'answer', ...end, answer: { status, headers: [] } }, deadline);
  }
}
