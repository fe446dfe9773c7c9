/** The main thread's side of the SQLite worker: one batch of tasks is with the worker, the rest waits and goes as the next. */
import type { Worker } from 'node:worker_threads';
import { CodedError } from '../contract/errors.ts';
import type { Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import type { Durability } from '../runner/ports.ts';
import type { Answers, Failure, Request, Response, Task, Verb } from './sqlite-protocol.ts';

/** A `soon` write that nothing else takes along is committed after this time. */
const SOON_MS = 20;
/** Tasks of one database transaction; bounds how long a write can wait for others. */
const BATCH_TASKS_MAX = 1000;
/** Tasks that wait; beyond it callers are refused, so that a dying disk does not fill the memory. */
const QUEUE_TASKS_MAX = 100_000;
const DAMAGED = 'The file was changed by something other than a coordinator; restore it.';
const RESTART = 'Start the coordinator again; it takes up what is stored.';

interface Pending {
  readonly task: Task;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

/** Asks the worker, in order. Everything it rejects with is a `CodedError` STORE_FAILED. */
export class WorkerQueue {
  /** Resolves when the database is open; rejects when it cannot be used. */
  readonly opened: Promise<void>;
  /** Resolves when the database must not be used any more; every call rejects from then on. */
  readonly failed: Promise<CodedError>;
  readonly #worker: Worker;
  readonly #opened = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<CodedError>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #onRejected: (error: CodedError) => void;
  #waiting: Pending[] = [];
  #underWay: readonly Pending[] = [];
  #broken: CodedError | undefined;
  #isClosing = false;
  #isFlushPlanned = false;
  #cancelSoon: (() => void) | undefined;

  /** `onRejected` is told of each batch of which nothing was kept. */
  constructor(worker: Worker, onRejected: (error: CodedError) => void) {
    this.#worker = worker;
    this.#onRejected = onRejected;
    this.opened = this.#opened.promise;
    this.failed = this.#failed.promise;
    worker.on('message', (response: Response) => this.#receive(response));
    worker.on('error', (error) => this.#stop({ message: `the store's thread ended: ${error.message}`, hint: RESTART }));
    worker.on('exit', () => {
      if (this.#isClosing) this.#closed.resolve();
      else this.#stop({ message: "the store's thread ended", hint: RESTART });
    });
  }

  /**
   * Does `task` in a database transaction that it shares with others. The promise resolves after the commit, with what
   * `read` makes of the answer. Promises resolve in the order of the calls, so that whoever looks for due transactions
   * hears of one before the writer that has just finished it.
   */
  ask<V extends Verb, T = Answers[V]>(
    task: Task & readonly [V, ...unknown[]],
    durability: Durability,
    read: (answer: Answers[V]) => T,
  ): Promise<T> {
    const refused = this.#refusal();
    if (refused !== undefined) return Promise.reject(refused);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settle = (answer: Answers[V]): void => {
      try {
        resolve(read(answer));
      } catch (cause) {
        reject(storeFailed({ message: `what is stored cannot be read: ${String(cause)}`, hint: DAMAGED }));
      }
    };
    this.#waiting.push({ task, resolve: settle, reject });
    this.#plan(durability);
    return promise;
  }

  /** Commits what waits, then closes the database and ends the worker. */
  close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      this.#flush();
    }
    return this.#closed.promise;
  }

  #refusal(): CodedError | undefined {
    if (this.#broken !== undefined) return this.#broken;
    if (this.#isClosing) return storeFailed({ message: 'the store is closed', hint: RESTART });
    if (this.#waiting.length < QUEUE_TASKS_MAX) return undefined;
    return storeFailed({
      message: `${QUEUE_TASKS_MAX} writes wait for the disk`,
      hint: 'Try again later; the disk that holds the store is too slow.',
    });
  }

  #plan(durability: Durability): void {
    if (this.#underWay.length > 0 || this.#isFlushPlanned) return;
    if (durability === 'soon') {
      this.#cancelSoon ??= at((now() + SOON_MS) as Instant, () => this.#flush());
      return;
    }
    this.#isFlushPlanned = true;
    // Once all sockets that are ready have been read: their writes share one commit.
    setImmediate(() => {
      this.#isFlushPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#underWay.length > 0 || this.#broken !== undefined) return;
    this.#cancelSoon?.();
    this.#cancelSoon = undefined;
    if (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = batch.length > BATCH_TASKS_MAX ? batch.splice(BATCH_TASKS_MAX) : [];
      this.#underWay = batch;
      this.#post(batch.map((pending) => pending.task));
    } else if (this.#isClosing) {
      this.#post('close');
    }
  }

  #receive(response: Response): void {
    switch (response.kind) {
      case 'opened':
        return this.#opened.resolve();
      case 'refused':
        return this.#opened.reject(storeFailed(response.failure));
      case 'done':
        return this.#settle((pending, index) => pending.resolve(response.answers[index] as never));
      case 'rejected': {
        const error = storeFailed(response.failure);
        this.#onRejected(error);
        return this.#settle((pending) => pending.reject(error));
      }
      case 'broken':
        return this.#stop(response.failure);
      case 'closed':
        return this.#closed.resolve();
    }
  }

  /** The batch is over. Its successor goes on its way before anybody is told, so that the worker does not wait for us. */
  #settle(tell: (pending: Pending, index: number) => void): void {
    const batch = this.#underWay;
    this.#underWay = [];
    this.#flush();
    batch.forEach(tell);
  }

  #stop(failure: Failure): void {
    if (this.#broken !== undefined) return;
    const error = storeFailed(failure);
    this.#broken = error;
    const lost = [...this.#underWay, ...this.#waiting];
    this.#underWay = [];
    this.#waiting = [];
    this.#cancelSoon?.();
    this.#opened.reject(error);
    this.#failed.resolve(error);
    this.#closed.resolve(this.#worker.terminate().then(() => undefined));
    for (const pending of lost) pending.reject(error);
  }

  #post(request: Request): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    this.#worker.postMessage(request);
  }
}

function storeFailed({ message, hint }: Failure): CodedError {
  return new CodedError('STORE_FAILED', message, { hint, retry: 'safe' });
}
