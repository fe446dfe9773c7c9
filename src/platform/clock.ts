/** The one wall clock of the repository. Everything else gets the time as an argument or through `Clock`. */
import type { Instant } from '../contract/transaction.ts';

const TIMER_MS_MAX = 2_147_483_647;

/** Milliseconds since the epoch. */
export function now(): Instant {
  return Date.now() as Instant;
}

/** Seconds on a clock that never goes back, for durations. */
export function monotonicSeconds(): number {
  return performance.now() / 1000;
}

/** Calls `run` once at or after `instant`; the returned function cancels it. Does not keep the process alive. */
export function at(instant: Instant, run: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    const left = instant - now();
    timer = left > TIMER_MS_MAX ? setTimeout(arm, TIMER_MS_MAX) : setTimeout(run, Math.max(0, left));
    timer.unref();
  };
  arm();
  return () => clearTimeout(timer);
}

/** The clock of the running process. */
export const systemClock: { now(): Instant; at(instant: Instant, run: () => void): () => void } = { now, at };
