/** A run of a workflow that is under way at this sidecar: what its program may do, and the recording of what it has done. */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { INITIATOR, type Gid, type Instant, type Mark } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import { pause } from '../transaction/decide.ts';
import type { Replay, Taken } from './replay.ts';
import { encodeStep, type CallIdentity, type PlacedCall, type RecordedAnswer, type Step } from './step.ts';

/** How long a call that contradicts the records waits for the calls beside it: they may have been made in another order. */
const DISORDER_MS = 1_000;
/** How long the recording of a step is tried for. */
const RECORD_MS = 10_000;
const RETRY_FIRST_MS = 50;
const RETRY_CAP_MS = 1_000;

/** What becomes of a call: as `Taken`, or it is refused, and with it everything else that the program does in this run. */
export type TakenCall =
  | Exclude<Taken, { kind: 'contradicted' }>
  | { readonly kind: 'refused'; readonly error: CodedError };

export class WorkflowRun {
  readonly gid: Gid;
  /** From 1. */
  readonly number: number;
  readonly #replay: Replay;
  readonly #coordinator: CoordinatorClient;
  readonly #waiting = new Set<() => void>();
  #fault: CodedError | undefined;
  #isCut = false;

  constructor(gid: Gid, number: number, replay: Replay, coordinator: CoordinatorClient) {
    this.gid = gid;
    this.number = number;
    this.#replay = replay;
    this.#coordinator = coordinator;
  }

  /** What its requests, calls and statements carry inside the service. */
  get mark(): Mark {
    return { gid: this.gid, operation: { branch: INITIATOR, task: `run${this.number}` } };
  }

  /** Set once the program did something else than was recorded. */
  get fault(): CodedError | undefined {
    return this.#fault;
  }

  /** Why the run must not end well: a fault, or recorded calls that its program did not make. */
  endFault(): CodedError | undefined {
    const [missing] = this.#replay.ahead;
    if (missing !== undefined) this.#fault ??= mismatch(`the program ended without the recorded call ${missing}`);
    return this.#fault;
  }

  /** Gives a call its place among the recorded ones. */
  async take(call: CallIdentity): Promise<TakenCall> {
    const patience = (now() + DISORDER_MS) as Instant;
    for (;;) {
      if (this.#fault !== undefined) return { kind: 'refused', error: this.#fault };
      const taken = this.#replay.take(call);
      if (taken.kind !== 'contradicted') {
        for (const wake of this.#waiting) wake();
        return taken;
      }
      if (now() >= patience) this.#fault ??= mismatch(taken.message);
      else await this.#another(patience);
    }
  }

  /**
   * Records that a new call was answered for good; the program may hear of it once this has resolved. Rejects as `record` does.
   */
  async finish(call: PlacedCall, answer: RecordedAnswer): Promise<void> {
    await this.record({ kind: 'finished', call, answer });
    this.#replay.finish(call, answer);
  }

  /**
   * Records that the program hears an answer to a new call that is none for good. Never rejects: without the record a later run may be
   * rolled back for a contradiction that is none, and nothing worse.
   */
  async tried(call: PlacedCall): Promise<void> {
    await this.record({ kind: 'tried', call }).catch(() => undefined);
  }

  /** The program has not heard how a new call ended: its next try of it is the same step. */
  release(call: PlacedCall): void {
    this.#replay.release(call);
  }

  /**
   * Resolves once the step is durable. Rejects with a `CodedError`: RUN_SUPERSEDED when a later run has begun, TRANSACTION_DECIDED,
   * or COORDINATOR_UNREACHABLE after `until`.
   */
  async record(step: Step, until: Instant = (now() + RECORD_MS) as Instant): Promise<void> {
    const request = { run: this.number, ...encodeStep(step) };
    for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS)) {
      try {
        return await this.#coordinator.step(this.gid, request);
      } catch (cause) {
        const mayTryAgain = cause instanceof CodedError && cause.retry === 'safe' && now() < until && !this.#isCut;
        if (!mayTryAgain) throw cause;
      }
      await pause(pauseMs);
    }
  }

  /** The sidecar ends: what cannot be recorded at once is left to a later run. */
  cut(): void {
    this.#isCut = true;
  }

  /** Resolves when another call has taken its place, or at `until`. */
  #another(until: Instant): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        cancel();
        resolve();
      };
      const cancel = at(until, wake);
      this.#waiting.add(wake);
    });
  }
}

/** The program is not the one whose steps were recorded, or does not do the same twice. */
export function mismatch(message: string): CodedError {
  return new CodedError('REPLAY_MISMATCH', `The workflow cannot go on: ${message}`, {
    hint:
      'A workflow must make the same calls when it runs again: take times, random values and ids from the request or from answers, ' +
      'and let unfinished workflows end before their program is changed. All that it did is rolled back',
  });
}

/** The run that something belongs to is over here, or was never begun here. */
export function superseded(gid: Gid): CodedError {
  return new CodedError('RUN_SUPERSEDED', `This run of the workflow ${gid} has been interrupted`, {
    hint: 'Stop what it still does. The workflow is run again from its recorded steps, or has ended',
  });
}
