/** Those who wait for a transaction to end. Nothing polls: whoever sees the end tells them. */
import type { Gid, Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Clock } from './ports.ts';

export interface Waiter {
  /** The transaction once it is over, or undefined when the time has passed or nobody waits any longer. Never rejects. */
  readonly over: Promise<GlobalTransaction | undefined>;
  /** Ends the wait. */
  cancel(): void;
}

export class Waiters {
  readonly #clock: Clock;
  readonly #byGid = new Map<Gid, Set<(transaction: GlobalTransaction | undefined) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits until `until` at the longest, or until `signal` aborts. */
  add(gid: Gid, until: Instant, signal: AbortSignal): Waiter {
    const { promise, resolve } = Promise.withResolvers<GlobalTransaction | undefined>();
    const waiting = this.#byGid.get(gid) ?? new Set();
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
    waiting.add(settle);
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    return { over: promise, cancel };
  }

  /** Tells everybody who waits for this transaction that it is over. */
  tell(transaction: GlobalTransaction): void {
    if (this.#byGid.size === 0) return;
    for (const settle of this.#byGid.get(transaction.gid) ?? []) settle(transaction);
  }

  /** Ends every wait. */
  cancelAll(): void {
    for (const waiting of this.#byGid.values()) for (const settle of waiting) settle(undefined);
  }
}
