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
import { conclude, type Conclusion } from './conclude.ts';
import { Cuts } from './cuts.ts';
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
/** How long before the end of a grace those who still wait are answered, at most half of it: the listeners cut off what is left. */
const LAST_ANSWERS_MS = 300;
/** How often a closing desk looks whether its runs have ended. */
const CLOSE_CHECK_MS = 20;
/** A deadline that has passed. */
const AT_ONCE = 0 as Instant;

export class WorkflowDesk {
  /** The runs that are under way here, from begin until they are decided or given up. */
  readonly runs: Map<Gid, WorkflowRun> = new Map();
  readonly #parts: WorkflowParts;
  readonly #again = new Map<Gid, Promise<'decided' | 'running'>>();
  readonly #cuts = new Cuts();
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
    const transaction = this.#undecided(gid, rule.timeout, follow);
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
      if (isKnown) return await this.#beginAgain(gid, request, rule.keyHeaders);
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
   * begun, what earlier runs changed could not be undone, or the desk closes meanwhile: then the coordinator asks again.
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
    const ended = Promise.race([work, pause(RUN_WAIT_MS).then(() => 'running' as const)]);
    const { promise: cut, reject } = Promise.withResolvers<never>();
    const remove = this.#cuts.add(() => reject(cutOff(gid)));
    return await Promise.race([ended, cut]).finally(remove);
  }

  /**
   * Begins no more runs and gives those under way `graceMs`. Whoever waits for one that has not ended shortly before is told that its
   * outcome is not known, and the run is cut off: the coordinator has another sidecar go on. Resolves in about `graceMs`, whoever is silent.
   */
  async close(graceMs: number): Promise<void> {
    this.#isDraining = true;
    const lastMs = Math.min(LAST_ANSWERS_MS, graceMs / 2);
    const end = now() + graceMs;
    while (this.#isBusy() && now() < end - lastMs) await pause(CLOSE_CHECK_MS);
    this.#closing.abort();
    for (const run of this.runs.values()) run.cut();
    this.#cuts.all();
    while (this.#isBusy() && now() < end) await pause(CLOSE_CHECK_MS);
    await this.#parts.application.close();
  }

  #isBusy(): boolean {
    return this.runs.size > 0 || this.#again.size > 0 || this.#cuts.size > 0;
  }

  /** `timeoutMs`: how long a decision is tried for. Once the desk is cut off, no longer. */
  #undecided(gid: Gid, timeoutMs: number, follow: Undecided['follow']): Undecided {
    const { coordinator, log, metrics } = this.#parts;
    const { signal } = this.#closing;
    const deadline = (now() + timeoutMs) as Instant;
    return {
      gid,
      coordinator,
      log,
      metrics,
      follow,
      get deadline() {
        return signal.aborted ? AT_ONCE : deadline;
      },
    };
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
    const transaction = this.#undecided(gid, DECIDE_MS, follow);
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
    let release = (): void => undefined;
    const decide = async (answer: Parameters<Gate['answered']>[0]): Promise<Verdict> => {
      const concluded = conclude(run, transaction, answer, rule.commitOn);
      const { outcome, error } = await this.#cuts.or<Conclusion>(concluded, () => ({
        outcome: 'unknown',
        error: cutOff(gid),
      }));
      this.#forget(run);
      if (error !== undefined) return { kind: 'replace', error, headers: outcomeHeaders(gid, outcome) };
      const headers = outcomeHeaders(gid, outcome === 'unknown' ? 'pending' : outcome);
      if (outcome === 'committed' && rule.wait === 'finished') {
        await this.#cuts.or(untilOver(transaction, rule.timeout), () => undefined);
      }
      return { kind: 'pass', headers };
    };
    return {
      keeps: this.#parts.bodyBytesMax,
      interruptible: (interrupt) => {
        release();
        release = this.#cuts.add(() => interrupt(cutOff(gid)));
      },
      answered: (answer) => {
        isDeciding = true;
        release();
        const verdict = decide(answer);
        transaction.follow(verdict);
        return verdict;
      },
      // Without an answer nothing is decided: the coordinator has it run again.
      failed: (error) => {
        release();
        this.#forget(run);
        const headers = outcomeHeaders(gid, 'pending');
        return Promise.resolve({ kind: 'replace', error: runAgainLater(gid, error), headers });
      },
      clientLeft: () => {
        release();
        if (!isDeciding) this.#forget(run);
      },
    };
  }

  /** From now on, nothing of this run goes out any more. */
  #forget(run: WorkflowRun): void {
    if (this.runs.get(run.gid) === run) this.runs.delete(run.gid);
  }

  /** Answers a client that asks with a key which there is already. */
  async #beginAgain(gid: Gid, request: StoredRequest, keyHeaders: readonly string[]): Promise<Begun> {
    const { coordinator } = this.#parts;
    try {
      const [history, view] = await Promise.all([coordinator.steps(gid), coordinator.read(gid)]);
      // Forgotten in this moment, or begun by somebody who is no sidecar.
      if (history === undefined || view === undefined) throw notNow('OVERLOADED', 'The answer could not be looked up');
      return { kind: 'answer', answer: answerAgain(view, history, request, keyHeaders) };
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

/** The sidecar ends before the run does, which goes on at another one, or has ended: nobody here will know. */
function cutOff(gid: Gid): CodedError {
  return new CodedError('OUTCOME_UNKNOWN', `This sidecar stops before the workflow ${gid} has ended`, {
    retry: 'ask',
    hint: `It goes on from its recorded steps. Do not repeat the request; read GET /v1/transactions/${gid} at the coordinator`,
  });
}

function notNow(code: 'SHUTTING_DOWN' | 'OVERLOADED', message: string): CodedError {
  return new CodedError(code, message, { retry: 'safe', hint: 'Ask again later' });
}
