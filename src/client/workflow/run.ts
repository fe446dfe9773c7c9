/**
 * One run of a workflow's program: its steps are looked up in the history, done if they are not there, and recorded; then the
 * second phase. Once the end of a step is not known the run does nothing more: a later one takes up what is recorded.
 */
import { setImmediate } from 'node:timers/promises';
import { CodedError } from '../../contract/errors.ts';
import { type Gid, INITIATOR } from '../../contract/transaction.ts';
import type { DtmClient } from '../dtm/client.ts';
import { FailureError, messageOf } from '../errors.ts';
import { type History, mismatch, type RecordedStep, type StepOperation } from './history.ts';
import type { WorkflowOptions } from './program.ts';
import { encodeRecord, type StepEnd, type StepIdentity } from './step-record.ts';

/** How a run ended, as far as the program has a say. `json`: its result, undefined when it has none. */
export type Conclusion =
  | { readonly outcome: 'commit'; readonly json: string | undefined }
  | { readonly outcome: 'rollback'; readonly error: FailureError };

interface Finisher {
  readonly branchId: string;
  readonly outcome: 'commit' | 'rollback';
  readonly isWanted: () => boolean;
  readonly work: () => Promise<void>;
}

const REASON_CHARACTERS_MAX = 1000;

export class Run {
  readonly gid: Gid;
  readonly options: WorkflowOptions;
  readonly #dtm: DtmClient;
  readonly #history: History;
  readonly #finishers: Finisher[] = [];
  readonly #underWay = new Set<Promise<unknown>>();
  #stopped: { readonly error: unknown } | undefined;
  #isClosed = false;

  constructor(dtm: DtmClient, gid: Gid, history: History, options: WorkflowOptions) {
    this.#dtm = dtm;
    this.gid = gid;
    this.#history = history;
    this.options = options;
  }

  /** Ends the run: it starts nothing more, and rejects with `error`. The first error counts. */
  stop(error: unknown): void {
    this.#stopped ??= { error };
  }

  /** Throws when the program may do nothing more. */
  checkOpen(): void {
    if (this.#stopped !== undefined) throw this.#stopped.error;
    if (!this.#isClosed) return;
    throw new CodedError('BAD_REQUEST', `the program of workflow ${this.gid} has ended`, {
      hint: 'Wait for every step before the program returns.',
    });
  }

  /**
   * Does what the program asks of a branch. Anything but success and `FailureError` ends the run, whatever the program makes of
   * it: an end that is not known must never be taken for failure.
   */
  operation<T>(work: () => Promise<T>): Promise<T> {
    this.checkOpen();
    const done = work().catch((error: unknown) => {
      if (!(error instanceof FailureError)) this.stop(error);
      throw error;
    });
    this.#underWay.add(done);
    // With this it is also handled, should the program not wait for it.
    const over = (): void => void this.#underWay.delete(done);
    done.then(over, over);
    return done;
  }

  /** The recorded end of a step. Throws REPLAY_MISMATCH when another one is recorded in its place. */
  recorded(branchId: string, op: StepOperation, identity: StepIdentity): RecordedStep | undefined {
    try {
      return this.#history.take(branchId, op, identity);
    } catch (error) {
      // At once: steps that the program begins in the same breath must not be called any more.
      this.stop(error);
      throw error;
    }
  }

  /** The end of an action: as recorded, or by doing it now. */
  async action(branchId: string, identity: StepIdentity, act: () => Promise<RecordedStep>): Promise<RecordedStep> {
    const known = this.recorded(branchId, 'action', identity);
    if (known !== undefined) return known;
    this.#refuseNewSteps(branchId, identity);
    // Where later steps are recorded, those beside this one get their turn first: should one not match, nothing is called.
    if (this.#history.ahead.length > 0) await setImmediate();
    this.checkOpen();
    const step = await act();
    await this.record(branchId, 'action', identity, step);
    return step;
  }

  /** Has the coordinator keep the end of a step. Its refusal says nothing about the step, so it is no `FailureError`. */
  async record(
    branchId: string,
    op: StepOperation,
    identity: StepIdentity,
    { status, end }: RecordedStep,
  ): Promise<void> {
    const payload = encodeRecord({ ...identity, end });
    const data = { op, status };
    try {
      await this.#dtm.registerBranch({ gid: this.gid, transType: 'workflow', branchId, data, payload });
    } catch (error) {
      throw notTaken(`step ${branchId} ${op} of workflow ${this.gid} could not be recorded`, error);
    }
  }

  /** Remembers what the second phase has to do; `isWanted` is asked when its time has come. */
  addFinisher(finisher: Finisher): void {
    this.checkOpen();
    this.#finishers.push(finisher);
  }

  /** Runs the program and then the second phase, and tells the coordinator. Rejects when this run could not get to the end. */
  async toEnd(program: () => Promise<unknown>): Promise<Conclusion> {
    const own = await this.#runProgram(program);
    const conclusion = await this.#decide(own);
    await this.#finish(conclusion);
    await this.#submit(conclusion);
    return conclusion;
  }

  async #runProgram(program: () => Promise<unknown>): Promise<Conclusion> {
    let own: Conclusion | undefined;
    try {
      own = { outcome: 'commit', json: JSON.stringify(await program()) };
    } catch (error) {
      if (error instanceof FailureError) own = { outcome: 'rollback', error };
      else this.stop(error);
    }
    // An action under way must not be overtaken by its own rollback.
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    if (this.#stopped !== undefined || own === undefined) throw this.#stopped?.error;
    this.#isClosed = true;
    return own;
  }

  /** The outcome, durable before anything is done about it: what one run has begun to undo, no other may commit. */
  async #decide(own: Conclusion): Promise<Conclusion> {
    const { ahead, decision } = this.#history;
    if (ahead.length > 0) throw mismatch(`the program ended without steps that are recorded: ${ahead.join(', ')}`);
    if (decision !== undefined) return decidedBefore(decision.outcome, decision.end, own);
    const isSilent = !this.#finishers.some(({ outcome, isWanted }) => outcome === own.outcome && isWanted());
    if (isSilent) return own;
    const end: StepEnd =
      own.outcome === 'commit' ? { kind: 'value', json: own.json } : { kind: 'error', message: reasonOf(own.error) };
    const status = own.outcome === 'commit' ? 'succeed' : 'failed';
    await this.record(INITIATOR, 'decision', { step: own.outcome }, { status, end });
    return own;
  }

  async #finish({ outcome }: Conclusion): Promise<void> {
    const due = this.#finishers.filter((finisher) => finisher.outcome === outcome && finisher.isWanted());
    for (const { branchId, work } of due.toReversed()) {
      const identity = { step: outcome };
      if (this.recorded(branchId, outcome, identity) !== undefined) continue;
      if (this.#stopped !== undefined) throw this.#stopped.error;
      try {
        await work();
      } catch (error) {
        if (!(error instanceof FailureError)) throw error;
        throw notTaken(`${outcome} of branch ${branchId} of workflow ${this.gid} must not fail, and did`, error);
      }
      const end: StepEnd = { kind: 'value', json: undefined };
      await this.record(branchId, outcome, identity, { status: 'succeed', end });
    }
  }

  async #submit(conclusion: Conclusion): Promise<void> {
    const reqExtra =
      conclusion.outcome === 'commit'
        ? { status: 'succeed', result: Buffer.from(conclusion.json ?? '').toString('base64') }
        : { status: 'failed', rollback_reason: reasonOf(conclusion.error) };
    try {
      await this.#dtm.submit({ gid: this.gid, transType: 'workflow', reqExtra });
    } catch (error) {
      throw notTaken(`the end of workflow ${this.gid} could not be recorded`, error);
    }
  }

  #refuseNewSteps(branchId: string, { step }: StepIdentity): void {
    const { decision } = this.#history;
    if (decision === undefined) return;
    // An earlier run has begun to undo from here on; a step that it did not come to must not be begun any more.
    if (decision.outcome === 'rollback') throw new FailureError(reasonIn(decision.end));
    throw mismatch(`step ${branchId} "${step}" is new, but an earlier run has ended without it and begun to commit`);
  }
}

function decidedBefore(outcome: 'commit' | 'rollback', end: StepEnd, own: Conclusion): Conclusion {
  if (outcome === 'rollback') {
    return own.outcome === 'rollback' ? own : { outcome, error: new FailureError(reasonIn(end)) };
  }
  if (own.outcome === 'rollback') {
    throw mismatch(`the program failed, but an earlier run has begun to commit: ${own.error.message}`);
  }
  return { outcome, json: end.kind === 'value' ? end.json : undefined };
}

function reasonOf(error: FailureError): string {
  return error.message.slice(0, REASON_CHARACTERS_MAX).toWellFormed();
}

function reasonIn(end: StepEnd): string {
  return end.kind === 'error' ? end.message : 'an earlier run has decided to roll back';
}

function notTaken(what: string, cause: unknown): CodedError {
  return new CodedError('OUTCOME_UNKNOWN', `${what}: ${messageOf(cause)}`, {
    retry: 'safe',
    hint: 'The coordinator has the workflow run again; what is recorded is not repeated.',
    cause,
  });
}
