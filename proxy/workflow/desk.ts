/**
 * The workflows of one service at this sidecar: begins them with a client's request, runs them again when the coordinator says so,
 * and keeps what is under way.
 *
 * Crash rule: whatever dies, the request and the finished steps stand at the coordinator, which asks some sidecar of the service to
 * go on. The newest run alone may record, enlist and decide, so that a run which was only thought dead does no harm.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { RunAnswer } from '../../src/contract/messages.ts';
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { newGid } from '../../src/platform/random.ts';
import type { Gate, Verdict } from '../http/admission.ts';
import { isUnconnected } from '../http/errors.ts';
import type { Beginning, BeginRule, Begun } from '../transaction/begin.ts';
import type { HttpMetrics } from '../http/metrics.ts';
import { abort, beginError, outcomeHeaders, pause, untilOver, type Undecided } from '../transaction/decide.ts';
import { conclude } from './conclude.ts';
import { answerAgain, gidOfKey, keyOf } from './key.ts';
import { readSteps } from './replay.ts';
import { runAgain, type Rerun } from './run-again.ts';
import { WorkflowRun } from './run.ts';
import { encodeRequest, type StoredRequest } from './stored-request.ts';

export interface WorkflowParts extends Rerun {
  readonly service: string;
  readonly coordinator: CoordinatorClient;
  /** Where the coordinator asks for another run. */
  readonly runUrl: string;
  /** Requests and answers are stored up to this size, in bytes. */
  readonly bodyBytesMax: number;
  readonly metrics: HttpMetrics;
  readonly log: Log;
}

/** How long a call for another run is held before it is answered that the run is under way; below the coordinator's own patience. */
const RUN_WAIT_MS = 3_000;
/** Runs for the coordinator at once; what is beyond is asked for again. */
const RUNS_MAX = 1_000;
/** How long a later run tries to have its end decided: it does not know the deadline, and the coordinator asks again. */
const DECIDE_MS = 60_000;

export class WorkflowDesk {
  /** The runs that are under way here, from begin until they are decided or given up. */
  readonly runs: Map<Gid, WorkflowRun> = new Map();
  readonly #parts: WorkflowParts;
  readonly #again = new Map<Gid, Promise<'decided' | 'running'>>();
  readonly #closing = new AbortController();
  #isDraining = false;

  constructor(parts: WorkflowParts) {
    this.#parts = parts;
  }

  /** Begins a workflow with a request. `follow`: takes what goes on after the client is answered. Never rejects. */
  async begin(beginning: Beginning, follow: (work: Promise<unknown>) => void): Promise<Begun> {
    const { service, bodyBytesMax, coordinator, runUrl, metrics, log } = this.#parts;
    const { head, path, headers, rule, initiator } = beginning;
    if (isGrpc(headers)) return { kind: 'refuse', error: notOverGrpc() };
    const body = await head.body(bodyBytesMax);
    if (body instanceof CodedError) return { kind: 'refuse', error: body };
    const request: StoredRequest = { method: head.method, path, headers, body, commitOn: rule.commitOn };
    const key = keyOf(headers);
    if (key instanceof CodedError) return { kind: 'refuse', error: key };
    const gid = key === undefined ? newGid() : gidOfKey(service, `${head.method} ${path}`, key);
    const transaction = { ...this.#parts, gid, deadline: (now() + rule.timeout) as Instant, follow };
    try {
      await coordinator.begin({
        gid,
        timeoutMs: rule.timeout,
        initiator: initiator.slice(0, 200),
        callback: {
          operation: 'workflow',
          url: runUrl,
          afterMs: rule.rerunAfter,
          payload: encodeRequest(request, newGid()),
        },
      });
    } catch (cause) {
      const isKnown = key !== undefined && cause instanceof CodedError && cause.code === 'GID_CONFLICT';
      if (isKnown) return await this.#beginAgain(gid, request);
      metrics.transaction('refused');
      log.warn({ err: cause, initiator }, 'a workflow could not be begun; the application was not called');
      if (!mayStand(cause)) return { kind: 'refuse', error: beginError(cause) };
      // The request may be stored, and then it would be run. With a key the client may come back to it; without one nobody can.
      if (key === undefined) follow(abort(transaction, 'the begin was not answered, and the client was told so'));
      return { kind: 'refuse', error: begunPerhaps(gid, key !== undefined, cause) };
    }
    metrics.transaction('begun');
    const run = new WorkflowRun(gid, 1, readSteps([]).replay, coordinator);
    this.runs.set(gid, run);
    return { kind: 'open', mark: run.mark, gate: this.#firstGate(run, transaction, rule) };
  }

  /**
   * Runs a workflow again, unless it runs here. `decided`: nothing is left to do. Rejects with a `CodedError` when it could not be
   * begun, or what earlier runs changed could not be undone: then the coordinator asks again.
   */
  async run(gid: Gid): Promise<'decided' | 'running'> {
    if (this.runs.has(gid) && !this.#again.has(gid)) return 'running';
    let work = this.#again.get(gid);
    if (work === undefined) {
      if (this.#isDraining) throw notNow('SHUTTING_DOWN', 'This sidecar is stopping');
      if (this.#again.size >= RUNS_MAX) throw notNow('OVERLOADED', `${RUNS_MAX} workflows are being run again`);
      work = this.#runNow(gid).finally(() => this.#again.delete(gid));
      this.#again.set(gid, work);
      // Heard by whoever asks while it runs; a failure that nobody waits for any more is told by the log.
      work.catch((cause: unknown) => this.#parts.log.warn({ err: cause, gid }, 'a workflow could not be run again'));
    }
    return await Promise.race([work, pause(RUN_WAIT_MS).then(() => 'running' as const)]);
  }

  /** Begins no more runs and gives those of the coordinator `graceMs`; what is left is cut off, and run again by another sidecar. */
  async close(graceMs: number): Promise<void> {
    this.#isDraining = true;
    await Promise.race([this.#settled(), pause(graceMs)]);
    this.#closing.abort();
    await this.#settled();
    await this.#parts.application.close();
  }

  async #settled(): Promise<void> {
    while (this.#again.size > 0) await Promise.allSettled(this.#again.values());
  }

  async #runNow(gid: Gid): Promise<'decided' | 'running'> {
    const { coordinator } = this.#parts;
    let claimed: RunAnswer;
    try {
      claimed = await coordinator.runs(gid);
    } catch (cause) {
      const code = cause instanceof CodedError ? cause.code : 'INTERNAL';
      if (code === 'TRANSACTION_DECIDED' || code === 'TRANSACTION_ROLLED_BACK' || code === 'GID_UNKNOWN')
        return 'decided';
      throw cause;
    }
    const recorded = readSteps(claimed.steps);
    const run = new WorkflowRun(gid, claimed.run, recorded.replay, coordinator);
    const following = new Set<Promise<unknown>>();
    const follow = (work: Promise<unknown>): void => void following.add(work);
    const transaction: Undecided = { ...this.#parts, gid, deadline: (now() + DECIDE_MS) as Instant, follow };
    this.runs.set(gid, run);
    try {
      const outcome = await runAgain(this.#parts, {
        run,
        claimed,
        recorded,
        transaction,
        signal: this.#closing.signal,
      });
      return outcome === 'unknown' ? 'running' : 'decided';
    } finally {
      this.#forget(run);
      await Promise.allSettled(following);
    }
  }

  /** The first run is a client's request, which goes the way of all requests. */
  #firstGate(run: WorkflowRun, transaction: Undecided, rule: BeginRule): Gate {
    const { gid } = run;
    let isDeciding = false;
    const decide = async (answer: Parameters<Gate['answered']>[0]): Promise<Verdict> => {
      const { outcome, error } = await conclude(run, transaction, answer, rule.commitOn);
      this.#forget(run);
      if (error !== undefined) return { kind: 'replace', error, headers: outcomeHeaders(gid, outcome) };
      const headers = outcomeHeaders(gid, outcome === 'unknown' ? 'pending' : outcome);
      if (outcome === 'committed' && rule.wait === 'finished') await untilOver(transaction, rule.timeout);
      return { kind: 'pass', headers };
    };
    return {
      keeps: this.#parts.bodyBytesMax,
      answered: (answer) => {
        isDeciding = true;
        const verdict = decide(answer);
        transaction.follow(verdict);
        return verdict;
      },
      // Without an answer nothing is decided: the coordinator has it run again.
      failed: (error) => {
        this.#forget(run);
        const headers = outcomeHeaders(gid, 'pending');
        return Promise.resolve({ kind: 'replace', error: runAgainLater(gid, error), headers });
      },
      clientLeft: () => {
        if (!isDeciding) this.#forget(run);
      },
    };
  }

  /** From now on, nothing of this run goes out any more. */
  #forget(run: WorkflowRun): void {
    if (this.runs.get(run.gid) === run) this.runs.delete(run.gid);
  }

  /** Answers a client that asks with a key which there is already. */
  async #beginAgain(gid: Gid, request: StoredRequest): Promise<Begun> {
    const { coordinator } = this.#parts;
    try {
      const [history, view] = await Promise.all([coordinator.steps(gid), coordinator.read(gid)]);
      // Forgotten in this moment, or begun by somebody who is no sidecar.
      if (history === undefined || view === undefined) throw notNow('OVERLOADED', 'The answer could not be looked up');
      return { kind: 'answer', answer: answerAgain(view, history, request) };
    } catch (cause) {
      return { kind: 'refuse', error: beginError(cause) };
    }
  }
}

function isGrpc(headers: readonly string[]): boolean {
  return headers.some((name, index) => {
    const isType = index % 2 === 0 && name.toLowerCase() === 'content-type';
    return isType && /^application\/grpc(?:[+; ]|$)/i.test(headers[index + 1] ?? '');
  });
}

/** The end of a gRPC call is in its trailers, which are neither judged nor kept. */
function notOverGrpc(): CodedError {
  return new CodedError('BAD_REQUEST', 'A workflow begins with an HTTP request, and this is a gRPC call', {
    hint: 'Give the method a route of its own without begin.workflow, or call the application over plain HTTP',
  });
}

/** True when the begin may have reached the coordinator, whatever became of its answer. */
function mayStand(cause: unknown): boolean {
  if (!(cause instanceof CodedError)) return true;
  return cause.code === 'COORDINATOR_UNREACHABLE' && !(cause.cause instanceof Error && isUnconnected(cause.cause));
}

function begunPerhaps(gid: Gid, hasKey: boolean, cause: unknown): CodedError {
  return new CodedError('OUTCOME_UNKNOWN', `The coordinator did not say whether it has stored the request as ${gid}`, {
    retry: hasKey ? 'safe' : 'ask',
    hint: hasKey
      ? 'Send it again with the same Idempotency-Key: it is carried out once'
      : `It is being rolled back. Read GET /v1/transactions/${gid} at the coordinator before you repeat the request`,
    cause,
  });
}

/** The application did not answer for good; that it was not reached, if so, says nothing of the next run. */
function runAgainLater(gid: Gid, { code, message, cause }: CodedError): CodedError {
  return new CodedError(code, message, {
    retry: 'ask',
    hint: `The request is stored as ${gid} and is run again. Do not repeat it; read GET /v1/transactions/${gid} at the coordinator`,
    cause,
  });
}

function notNow(code: 'SHUTTING_DOWN' | 'OVERLOADED', message: string): CodedError {
  return new CodedError(code, message, { retry: 'safe', hint: 'Ask again later' });
}
