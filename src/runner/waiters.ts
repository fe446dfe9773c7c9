/** Those who wait for a transaction to end, or at least to rest. Nothing polls: whoever sees it tells them. */
import type { Gid, Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Clock } from './ports.ts';

export interface Waiter {
  /** The transaction once it is over, or undefined when the time has passed or nobody waits any longer. Never rejects. */
  readonly over: Promise<GlobalTransaction | undefined>;
  /** Ends the wait. */
  cancel(): void;
}

/** `rest`: nothing is under way for the transaction; what comes next comes later by itself. An end is a rest too. */
export type WaitsFor = 'end' | 'rest';

export class Waiters {
  readonly #clock: Clock;
  readonly #byGid = new Map<Gid, Map<(transaction: GlobalTransaction | undefined) => void, WaitsFor>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits until `until` at the longest, or until `signal` aborts. */
  add(gid: Gid, waitsFor: WaitsFor, until: Instant, signal: AbortSignal): Waiter {
    const { promise, resolve } = Promise.withResolvers<GlobalTransaction | undefined>();
    const waiting = this.#byGid.get(gid) ?? new Map();
    this.#byGid.set(gid, waiting);
    const cancel = (): void => settle(undefined);
    const settle = (transaction: GlobalTransaction | undefined): void => {
      cancelTimer();
      signal.removeEventListener('abort', cancel);
      waiting.delete(settle);
      if (waiting.size === 0 && this.#byGid.get(gid) === waiting) this.#byGid.delete(gid);
      resolve(transaction);
    };
    const cancelTimer = this.#clock.at(until, cancel);
    waiting.set(settle, waitsFor);
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    return { over: promise, cancel };
  }

  /** Tells everybody who waits for this that it has happened to the transaction. */
  tell(transaction: GlobalTransaction, what: WaitsFor): void {
    if (this.#byGid.size === 0) return;
    for (const [settle, waitsFor] of this.#byGid.get(transaction.gid) ?? []) {
      if (what === 'end' || waitsFor === 'rest') settle(transaction);
    }
  }

  /** Ends every wait. */
  cancelAll(): void {
    for (const waiting of this.#byGid.values()) for (const settle of waiting.keys()) settle(undefined);
  }
}
