/**
 * Group commit: while one batch of writes is on its way, others wait, and go together as the next. One connection, one round trip
 * and one database transaction a batch.
 */
import { CodedError } from '../../contract/errors.ts';
import type { Instant } from '../../contract/transaction.ts';
import { at, now } from '../../platform/clock.ts';
import type { Durability } from '../../runner/ports.ts';
import { queriesFor, takeBatch, type Write } from './batch.ts';
import { storeFailed, type PostgresLine, type Query } from './line.ts';
import type { Statements } from './statements.ts';

/** A `soon` write that nothing else takes along is sent after this time. */
const SOON_MS = 20;
/**
 * From so many writes a batch on, batches start at least this far apart: a database that commits in less time than requests take to
 * come in would otherwise get a commit for every few of them. The same idea as PostgreSQL's commit_delay and commit_siblings.
 */
const SIBLINGS = 6;
const PACE_MS = 4;
/** Writes that wait; beyond it callers are refused, so that a dead database does not fill the memory. */
const QUEUE_MAX = 100_000;

interface Pending {
  readonly write: Write;
  readonly reject: (error: CodedError) => void;
}

/** Everything that it rejects with is a `CodedError` STORE_FAILED. */
export class WriteQueue {
  readonly #line: PostgresLine;
  readonly #statements: Statements;
  readonly #notification: () => Query | undefined;
  #waiting: Pending[] = [];
  #isUnderWay = false;
  #isFlushPlanned = false;
  #isClosing = false;
  #startedAt = 0;
  #lastSize = 0;
  #cancelSoon: (() => void) | undefined;
  #onEmpty: (() => void) | undefined;
  /** Batches sent so far. */
  batches = 0;

  /** `notification` is sent along with leases that are given up; undefined where the database has none. */
  constructor(line: PostgresLine, statements: Statements, notification: () => Query | undefined) {
    this.#line = line;
    this.#statements = statements;
    this.#notification = notification;
  }

  /** Writes of one gid take effect in the order of the calls. */
  add<T>(durability: Durability, writeOf: (settle: (answer: T) => void) => Write): Promise<T> {
    if (this.#isClosing) return Promise.reject(storeFailed('the store is closed'));
    if (this.#waiting.length >= QUEUE_MAX) {
      return Promise.reject(storeFailed(`${QUEUE_MAX} writes wait for the database`));
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ write: writeOf(resolve), reject });
      this.#plan(durability);
    });
  }

  /** Sends what waits, and resolves when all of it is answered. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#flush();
    if (!this.#isUnderWay) return;
    await new Promise<void>((resolve) => (this.#onEmpty = resolve));
  }

  #plan(durability: Durability): void {
    if (this.#isUnderWay || this.#isFlushPlanned) return;
    if (durability === 'soon') {
      this.#cancelSoon ??= at((now() + SOON_MS) as Instant, () => this.#flush());
      return;
    }
    this.#isFlushPlanned = true;
    const flush = (): void => {
      this.#isFlushPlanned = false;
      this.#flush();
    };
    const nextAt = this.#lastSize < SIBLINGS ? 0 : this.#startedAt + PACE_MS;
    // At once means: when all sockets that are ready have been read, so that their writes go together.
    if (nextAt <= now()) setImmediate(flush);
    else at(nextAt as Instant, flush);
  }

  #flush(): void {
    if (this.#isUnderWay || this.#waiting.length === 0) return;
    this.#cancelSoon?.();
    this.#cancelSoon = undefined;
    const { batch, rest } = takeBatch(this.#waiting);
    this.#waiting = rest;
    this.#isUnderWay = true;
    this.#startedAt = now();
    this.#lastSize = batch.length;
    this.batches += 1;
    void this.#send(batch).then(() => {
      this.#isUnderWay = false;
      if (this.#waiting.length === 0) this.#onEmpty?.();
      else if (this.#isClosing) this.#flush();
      else this.#plan('now');
    });
  }

  async #send(batch: readonly Pending[]): Promise<void> {
    const { queries, tell } = queriesFor(
      batch.map(({ write }) => write),
      this.#statements,
      this.#notification(),
    );
    try {
      tell(await this.#line.run(queries));
    } catch (error) {
      const failed = error instanceof CodedError ? error : storeFailed(String(error), error);
      for (const { reject } of batch) reject(failed);
    }
  }
}
