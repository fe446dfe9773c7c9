/** Waits that always end: asks again and again until there is an answer, the deadline passes, or the caller gives up. */
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicSeconds } from '../../src/platform/clock.ts';

export interface Patience {
  /** How long to go on asking, in milliseconds. Default 30,000. */
  readonly withinMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const PAUSE_MS = 20;

/**
 * The first answer of `probe` that is not undefined. A probe that throws is asked again.
 * Rejects with `what` and the last error when the deadline passes, and with the signal's reason when it is aborted.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  { withinMs = 30_000, signal }: Patience = {},
): Promise<T> {
  const deadline = monotonicSeconds() + withinMs / 1000;
  let cause: unknown;
  for (;;) {
    signal?.throwIfAborted();
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (monotonicSeconds() > deadline) {
      const last = cause instanceof Error ? `: ${cause.message}` : '';
      throw new Error(`waited ${withinMs / 1000} s in vain until ${what}${last}`, { cause });
    }
    await pause(PAUSE_MS, undefined, signal === undefined ? {} : { signal });
  }
}
