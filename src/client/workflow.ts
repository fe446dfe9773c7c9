/** Workflows: programs that survive the death of the process that runs them. */
import { CodedError } from '../contract/errors.ts';
import { type Gid, type Instant, parseGid } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import { createBranchIds } from './branch/ids.ts';
import { type BranchReply, type BranchRequest, parameterOf, replying, type ServeOptions } from './branch/serve.ts';
import type { DtmClient, DtmRequest } from './dtm/client.ts';
import { FailureError, messageOf, OngoingError } from './errors.ts';
import { Branch } from './workflow/branch.ts';
import { History } from './workflow/history.ts';
import type { Workflow, WorkflowOptions, WorkflowProgram } from './workflow/program.ts';
import { type Conclusion, Run } from './workflow/run.ts';

export interface WorkflowsOptions {
  /** Where the coordinator finds this service to have a workflow run again: a URL that answers with `serve`. */
  readonly callback: string;
  /** Workflows that run at the same time in this process; further ones are refused with OVERLOADED. Default 1,000. */
  readonly runsMax?: number;
}

/** A registered program. */
export interface RegisteredWorkflow<Input, Result> {
  readonly name: string;
  /**
   * Runs the workflow, or takes up what earlier runs have recorded, and resolves with its result once the coordinator has it.
   * One that has ended is not run: its result is given again. Rejects with `FailureError` when it is rolled back; any other
   * error ends this run only, and the coordinator has it run again until it has ended.
   */
  execute(gid: Gid, input: Input): Promise<Result>;
}

/** The workflows of one service. */
export interface Workflows {
  /** Makes a program known under a name, which must not change while there are unfinished ones. Throws `CodedError` BAD_REQUEST when the name is taken. */
  register<Input, Result>(
    name: string,
    program: WorkflowProgram<Input, Result>,
    options?: WorkflowOptions,
  ): RegisteredWorkflow<Input, Result>;
  /** Answers the coordinator's call to run a workflow again. Never rejects. */
  serve(request: BranchRequest, options?: ServeOptions): Promise<BranchReply>;
  /**
   * The same for a call that came over gRPC (`/workflow.Workflow/Execute`): `data` is its message's only field. Rejects as
   * `execute` does: answer ABORTED to a `FailureError`, FAILED_PRECONDITION to an `OngoingError`.
   */
  resume(name: string, gid: Gid, data: Uint8Array): Promise<void>;
}

interface Program {
  readonly run: WorkflowProgram<unknown, unknown>;
  readonly options: WorkflowOptions;
}

const RUNS_MAX = 1000;
const RUN_TIMEOUT_MS = 600_000;
/** After so long without a word the coordinator takes a run for dead, when nothing else is said. */
const SILENCE_MS = 10_000;
const SIGNS_PER_SILENCE = 3;

/** Register every program before the first is executed and before `serve` is reachable. */
export function createWorkflows(dtm: DtmClient, options: WorkflowsOptions): Workflows {
  return new Service(dtm, options);
}

class Service implements Workflows {
  readonly #dtm: DtmClient;
  readonly #callback: string;
  readonly #runsMax: number;
  readonly #programs = new Map<string, Program>();
  /** At most one run of a gid in this process: a second would do the same calls beside the first. */
  readonly #running = new Map<Gid, { readonly customData: string; readonly result: Promise<string | undefined> }>();

  constructor(dtm: DtmClient, { callback, runsMax = RUNS_MAX }: WorkflowsOptions) {
    this.#dtm = dtm;
    this.#callback = callback;
    this.#runsMax = runsMax;
  }

  register<Input, Result>(
    name: string,
    program: WorkflowProgram<Input, Result>,
    options: WorkflowOptions = {},
  ): RegisteredWorkflow<Input, Result> {
    if (this.#programs.has(name)) {
      throw new CodedError('BAD_REQUEST', `a workflow named "${name}" is registered already`, {
        hint: 'Give each program a name of its own.',
      });
    }
    this.#programs.set(name, { run: program as WorkflowProgram<unknown, unknown>, options });
    return {
      name,
      execute: async (gid, input) => {
        const json = await this.#execute(name, gid, Buffer.from(JSON.stringify(input) ?? ''));
        return valueOf(json) as Result;
      },
    };
  }

  serve(request: BranchRequest, options: ServeOptions = {}): Promise<BranchReply> {
    return replying(async () => {
      const gid = parseGid(parameterOf(request, 'gid') ?? '');
      if (gid === undefined) {
        throw new CodedError('BAD_GID', 'the request names no gid', { hint: 'Only a coordinator calls this URL.' });
      }
      await this.resume(parameterOf(request, 'op') ?? '', gid, bytesOf(request));
      return { dtm_result: 'SUCCESS' };
    }, options);
  }

  async resume(name: string, gid: Gid, data: Uint8Array): Promise<void> {
    // The coordinator takes silence for death; this process knows better, and the first run goes on.
    if (this.#running.has(gid)) throw new OngoingError(`workflow ${gid} is running`);
    await this.#execute(name, gid, data);
  }

  #execute(name: string, gid: Gid, data: Uint8Array): Promise<string | undefined> {
    const program = this.#programs.get(name);
    if (program === undefined) {
      return refuse('NOT_FOUND', `no workflow named "${name}" is registered`, 'Register it before it is executed.');
    }
    // DTM's form; the same text for the same workflow, which the coordinator compares.
    const customData = JSON.stringify({ name, data: Buffer.from(data).toString('base64') });
    const known = this.#running.get(gid);
    if (known !== undefined) {
      if (known.customData === customData) return known.result;
      return refuse('GID_CONFLICT', `workflow ${gid} is running with another input`, 'Give each workflow its own gid.');
    }
    if (this.#running.size >= this.#runsMax) {
      return refuse('OVERLOADED', `${this.#runsMax} workflows are running`, 'Try again later, or raise runsMax.');
    }
    const result = this.#run(program, gid, data, customData);
    this.#running.set(gid, { customData, result });
    const over = (): void => void this.#running.delete(gid);
    result.then(over, over);
    return result;
  }

  /** The result as JSON text. */
  async #run(
    { run: program, options }: Program,
    gid: Gid,
    data: Uint8Array,
    customData: string,
  ): Promise<string | undefined> {
    const input = valueOf(Buffer.from(data).toString());
    const request = this.#request(gid, customData, options);
    const { status, rollbackReason, result, progresses } = await this.#dtm.prepareWorkflow(request);
    if (status === 'succeed') return Buffer.from(result).toString();
    if (status === 'failed') throw new FailureError(rollbackReason);
    const run = new Run(this.#dtm, gid, new History(progresses), options);
    const nextId = createBranchIds('');
    const workflow: Workflow = {
      gid,
      newBranch: () => {
        run.checkOpen();
        return new Branch(run, nextId());
      },
    };
    const silence = giveSignsOfLife(this.#dtm, request);
    const end = run.toEnd(async () => program(workflow, input));
    const conclusion = await limited(run, options, end).finally(silence);
    if (conclusion.outcome === 'rollback') throw conclusion.error;
    return conclusion.json;
  }

  #request(gid: Gid, customData: string, options: WorkflowOptions): DtmRequest {
    return { gid, transType: 'workflow', options, customData, queryPrepared: this.#callback };
  }
}

/**
 * Has the coordinator know that the run goes on, though no step of it has ended for a while: silence would have another process
 * of this service run it, beside this one. What it answers is known already. The answer ends it.
 */
function giveSignsOfLife(dtm: DtmClient, request: DtmRequest): () => void {
  const everyMs = Math.ceil((request.options?.retryIntervalMs ?? SILENCE_MS) / SIGNS_PER_SILENCE);
  let isOver = false;
  const again = (): (() => void) => at((now() + everyMs) as Instant, () => void sign());
  const sign = async (): Promise<void> => {
    // One that is lost is made up for by the next.
    await dtm.prepareWorkflow(request).catch(() => undefined);
    if (!isOver) cancel = again();
  };
  let cancel = again();
  return () => {
    isOver = true;
    cancel();
  };
}

/** Nobody can end a program that hangs; but it can be kept from doing anything more. */
async function limited(run: Run, options: WorkflowOptions, end: Promise<Conclusion>): Promise<Conclusion> {
  const { runTimeoutMs = RUN_TIMEOUT_MS } = options;
  const late = Promise.withResolvers<never>();
  const cancel = at((now() + runTimeoutMs) as Instant, () => {
    const error = new CodedError('OUTCOME_UNKNOWN', `workflow ${run.gid} did not end within ${runTimeoutMs} ms`, {
      retry: 'safe',
      hint: 'Look for a step without a time limit, or raise runTimeoutMs. The coordinator has it run again.',
    });
    run.stop(error);
    late.reject(error);
  });
  try {
    return await Promise.race([end, late.promise]);
  } finally {
    cancel();
  }
}

function refuse(code: 'NOT_FOUND' | 'GID_CONFLICT' | 'OVERLOADED', message: string, hint: string): Promise<never> {
  return Promise.reject(new CodedError(code, message, { hint, retry: code === 'OVERLOADED' ? 'safe' : 'never' }));
}

function valueOf(json: string | undefined): unknown {
  if (json === undefined || json === '') return undefined;
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new CodedError('BAD_REQUEST', `the data of a workflow is no JSON: ${messageOf(error)}`, {
      hint: 'It was begun by another client library: finish it there.',
    });
  }
}

/**
 * A framework may have parsed the body: what was written by `JSON.stringify` comes out the same once more. Of no body some make
 * an empty object.
 */
function bytesOf({ body, headers = {} }: BranchRequest): Uint8Array {
  if (headers['content-length'] === '0') return new Uint8Array();
  if (body instanceof Uint8Array) return body;
  if (typeof body === 'string') return Buffer.from(body);
  return Buffer.from(JSON.stringify(body) ?? '');
}
