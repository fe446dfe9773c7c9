/** A later run of a workflow: what earlier runs changed in the databases is undone, then the application gets the request again. */
import { CodedError } from '../../src/contract/errors.ts';
import type { RunAnswer } from '../../src/contract/messages.ts';
import type { Gid, Mark } from '../../src/contract/transaction.ts';
import type { FinishResult } from '../branch/finish.ts';
import { abort, type Outcome, type Undecided } from '../transaction/decide.ts';
import { carryOut, conclude } from './conclude.ts';
import type { Recorded } from './replay.ts';
import { mismatch, type WorkflowRun } from './run.ts';
import type { Application } from './send.ts';
import { decodeRequest, type StoredRequest } from './stored-request.ts';
import type { RecordedAnswer } from './step.ts';

/** What a later run needs of the sidecar. */
export interface Rerun {
  readonly application: Application;
  /** Takes back what a run changed in each database of this sidecar, and keeps out what it would still change. */
  readonly undo: (gid: Gid, run: number) => Promise<readonly FinishResult[]>;
  /**
   * The headers with the mark in all carriers, and its trace bound to it until `release` is called; undefined when there is no room
   * for another trace.
   */
  readonly bind: (
    headers: readonly string[],
    mark: Mark,
  ) => { readonly headers: string[]; release(): void } | undefined;
}

export interface ClaimedRun {
  readonly run: WorkflowRun;
  readonly claimed: RunAnswer;
  readonly recorded: Recorded;
  readonly transaction: Undecided;
  /** Aborted when the sidecar ends. */
  readonly signal: AbortSignal;
}

/** Carries the run out. `unknown`: it has come to no end. Rejects with a `CodedError` when the application could not be called. */
export async function runAgain(rerun: Rerun, claim: ClaimedRun): Promise<Outcome> {
  const { run, claimed, recorded, transaction } = claim;
  // The run that recorded it had undone those before, and its own changes are what is decided about.
  if (recorded.end !== undefined) return (await carryOut(run.number, transaction, recorded.end)).outcome;
  const request = decodeRequest(claimed.payload);
  const obstacle =
    request === undefined ? 'its request was not stored by this version of the sidecar' : recorded.obstacle;
  if (request === undefined || obstacle !== undefined) {
    const fault = mismatch(obstacle ?? '');
    transaction.log.error({ gid: run.gid, err: fault.message }, 'a workflow cannot go on and is rolled back');
    return await abort(transaction, `REPLAY_MISMATCH: ${fault.message}`, run.number);
  }
  const dirt = await undoneBefore(rerun, run);
  if (dirt !== undefined) {
    return await abort(transaction, `an interrupted run cannot be undone: ${dirt}`, run.number);
  }
  const answer = await sent(rerun, claim, request);
  if (answer === undefined) return 'unknown';
  return (await conclude(run, transaction, answer, request.commitOn)).outcome;
}

/**
 * Undoes every run before this one; which of them got how far, nobody can tell. Answers why one cannot be undone, which the coordinator
 * then shows; rejects with a `CodedError` when it must be tried again.
 */
async function undoneBefore({ undo }: Rerun, { gid, number }: WorkflowRun): Promise<string | undefined> {
  for (let earlier = 1; earlier < number; earlier += 1) {
    for (const { result, detail = result } of await undo(gid, earlier)) {
      if (result === 'dirty') return detail;
      if (result === 'success') continue;
      throw new CodedError('STORE_FAILED', `Run ${earlier} of the workflow ${gid} could not be undone yet: ${detail}`, {
        retry: 'safe',
        hint: 'The application was not called. The workflow is run again later; check that its databases run',
      });
    }
  }
  return undefined;
}

async function sent(
  { application, bind }: Rerun,
  { run, transaction, signal }: ClaimedRun,
  request: StoredRequest,
): Promise<RecordedAnswer | undefined> {
  const bound = bind(request.headers, run.mark);
  if (bound === undefined) {
    throw new CodedError('OVERLOADED', 'Too many requests of global transactions are being served', { retry: 'safe' });
  }
  try {
    return await application.send(request, bound.headers, signal);
  } catch (cause) {
    transaction.log.warn({ err: cause, gid: run.gid, run: run.number }, 'a run of a workflow got no answer');
    return undefined;
  } finally {
    bound.release();
  }
}
