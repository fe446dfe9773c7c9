/** A branch of a workflow: what its author may ask of it, over the run that looks up, does and records. */
import { CodedError } from '../../contract/errors.ts';
import type { BarrierStore, BranchIdentity, BranchOperation } from '../barrier/types.ts';
import { type BranchAnswer, type ResultOf, resultOfStatus, successOf } from '../branch/answer.ts';
import { callOverHttp, type HttpCall, payloadOf } from '../branch/call.ts';
import { callOverGrpc, type GrpcCall } from '../branch/grpc.ts';
import { successOfOutcome } from '../branch/serve.ts';
import { FailureError, OngoingError } from '../errors.ts';
import type { XaDatabase } from '../xa/database.ts';
import type { RecordedStep } from './history.ts';
import type { PhaseTwo, PhaseTwoWork, WorkflowBranch } from './program.ts';
import type { Run } from './run.ts';
import { hashOf, type StepIdentity } from './step-record.ts';

export class Branch implements WorkflowBranch {
  readonly branchId: string;
  readonly #run: Run;
  readonly #taken = new Set<'action' | 'commit' | 'rollback'>();
  #hasFailed = false;

  constructor(run: Run, branchId: string) {
    this.#run = run;
    this.branchId = branchId;
  }

  onRollback(work: PhaseTwoWork<'rollback'>): this {
    const isWanted = (): boolean => !this.#hasFailed || this.#run.options.compensateErrorBranch === true;
    return this.#onEnd('rollback', () => work(this.#phaseTwo('rollback'), 'rollback'), isWanted);
  }

  onCommit(work: PhaseTwoWork<'commit'>): this {
    return this.#onEnd(
      'commit',
      () => work(this.#phaseTwo('commit'), 'commit'),
      () => true,
    );
  }

  onFinish(work: PhaseTwoWork<'commit' | 'rollback'>): this {
    return this.onCommit(work).onRollback(work);
  }

  http(call: HttpCall): Promise<BranchAnswer> {
    const identity: StepIdentity = {
      step: `http ${call.method ?? 'POST'} ${call.url}`,
      hash: hashOf(payloadOf(call.body)),
    };
    return this.#call(identity, call.url, () => callOverHttp(this.#withHeaders(call), this.#identity('action')));
  }

  grpc(call: GrpcCall): Promise<BranchAnswer> {
    const identity: StepIdentity = { step: `grpc ${call.url}`, hash: hashOf(call.payload) };
    return this.#call(identity, call.url, () => callOverGrpc(this.#withHeaders(call), this.#identity('action')));
  }

  do<T>(work: (branch: BranchIdentity) => Promise<T>, name?: string): Promise<T> {
    return this.#action(named('do', name), async () =>
      JSON.stringify(await work(this.#identity('action'))),
    ) as Promise<T>;
  }

  async doLocal<Tx>(
    database: Pick<BarrierStore<Tx>, 'call'>,
    work: (tx: Tx) => Promise<void>,
    name?: string,
  ): Promise<void> {
    await this.#action(named('local', name), async () => {
      const branch = this.#identity('action');
      successOfOutcome(branch, await database.call(branch, work));
      return undefined;
    });
  }

  doXa<Tx, T>(database: XaDatabase<Tx>, work: (tx: Tx) => Promise<T>, name?: string): Promise<T> {
    // Whatever has become of the local phase, the database is told: of one that never was, it remembers that it must not be.
    for (const outcome of ['commit', 'rollback'] as const) {
      this.#onEnd(
        outcome,
        () => database.finish(this.#identity(outcome)),
        () => true,
      );
    }
    const identity = named('xa', name);
    return this.#run.operation(async () => {
      this.#takeOnce('action');
      const begun = this.#run.recorded(this.branchId, 'business', identity);
      const step = await this.#run.action(this.branchId, identity, () =>
        begun === undefined ? this.#localPhase(database, work, identity) : Promise.resolve(INTERRUPTED),
      );
      return this.#valueOf(step) as T;
    });
  }

  async #localPhase<Tx>(
    database: XaDatabase<Tx>,
    work: (tx: Tx) => Promise<unknown>,
    identity: StepIdentity,
  ): Promise<RecordedStep> {
    const register = (): Promise<void> =>
      this.#run.record(this.branchId, 'business', identity, {
        status: 'succeed',
        end: { kind: 'value', json: undefined },
      });
    return ended(async () => {
      const outcome = await database.prepare(this.#identity('action'), register, async (tx) =>
        JSON.stringify(await work(tx)),
      );
      if (outcome.kind === 'prepared') return outcome.value;
      throw new OngoingError(`another run of the workflow has prepared branch ${this.branchId}`);
    });
  }

  #call(identity: StepIdentity, target: string, call: () => Promise<BranchAnswer>): Promise<BranchAnswer> {
    return this.#run.operation(async () => {
      this.#takeOnce('action');
      const { end, status } = await this.#run.action(this.branchId, identity, async () => {
        const answer = await call();
        const result = this.#resultOf(answer);
        // Throws where the end of the step is not known: that is not recorded.
        if (result !== 'failure') successOf(answer, target, () => result);
        return { status: result === 'success' ? 'succeed' : 'failed', end: { kind: 'answer', answer } };
      });
      this.#hasFailed = status === 'failed';
      if (end.kind !== 'answer') throw new FailureError(end.kind === 'error' ? end.message : `${target} failed`);
      return successOf(end.answer, target, () => (this.#hasFailed ? 'failure' : 'success'));
    });
  }

  #action(identity: StepIdentity, work: () => Promise<string | undefined>): Promise<unknown> {
    return this.#run.operation(async () => {
      this.#takeOnce('action');
      return this.#valueOf(await this.#run.action(this.branchId, identity, () => ended(work)));
    });
  }

  /** The value as recorded, also in the run that made it: every run gets the same. */
  #valueOf({ status, end }: RecordedStep): unknown {
    if (status === 'failed') {
      this.#hasFailed = true;
      throw new FailureError(end.kind === 'error' ? end.message : `branch ${this.branchId} failed`);
    }
    return end.kind === 'value' && end.json !== undefined ? JSON.parse(end.json) : undefined;
  }

  #onEnd(outcome: 'commit' | 'rollback', work: () => Promise<void>, isWanted: () => boolean): this {
    this.#takeOnce(outcome);
    this.#run.addFinisher({ branchId: this.branchId, outcome, work, isWanted });
    return this;
  }

  #takeOnce(what: 'action' | 'commit' | 'rollback'): void {
    if (!this.#taken.has(what)) return void this.#taken.add(what);
    throw new CodedError('BAD_REQUEST', `branch ${this.branchId} has two of one kind: ${what}`, {
      hint: 'Make a new branch for each action and for what belongs to it.',
    });
  }

  #phaseTwo(op: 'commit' | 'rollback'): PhaseTwo {
    const identity = this.#identity(op);
    return {
      identity,
      http: async (call) => successOf(await callOverHttp(this.#withHeaders(call), identity), call.url, this.#resultOf),
      grpc: async (call) => successOf(await callOverGrpc(this.#withHeaders(call), identity), call.url, this.#resultOf),
    };
  }

  get #resultOf(): ResultOf {
    return this.#run.options.resultOf ?? resultOfStatus;
  }

  #identity(op: BranchOperation): BranchIdentity {
    return { gid: this.#run.gid, transType: 'workflow', branchId: this.branchId, op };
  }

  #withHeaders<Call extends { readonly headers?: Readonly<Record<string, string>> }>(call: Call): Call {
    const { branchHeaders } = this.#run.options;
    return branchHeaders === undefined ? call : { ...call, headers: { ...branchHeaders, ...call.headers } };
  }
}

/** DTM's rule: whether it was prepared is not known, so it counts as failed, and is rolled back. */
const INTERRUPTED: RecordedStep = {
  status: 'failed',
  end: { kind: 'error', message: 'the local phase of an XA branch was interrupted' },
};

function named(kind: string, name: string | undefined): StepIdentity {
  return { step: name === undefined ? kind : `${kind} ${name}` };
}

/** A refusal is an end of the step that can be recorded; every other error leaves its end open. */
async function ended(work: () => Promise<string | undefined>): Promise<RecordedStep> {
  try {
    return { status: 'succeed', end: { kind: 'value', json: await work() } };
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    return { status: 'failed', end: { kind: 'error', message: error.message } };
  }
}
