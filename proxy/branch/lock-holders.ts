/** Waiting for row locks that other global transactions hold. */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { GlobalStatus, Gid, Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';

/** One look at the holder of a row lock, by a statement that has met it. */
export interface LockWait {
  readonly holder: Gid;
  /** How often the statement has run, from 1. */
  readonly attempt: number;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  /** The local transaction that waits keeps local locks which the holder's rollback may need. */
  readonly keepsLocks: boolean;
}

/**
 * - `committed`: the holder is decided to commit, so its locks may be taken over at once.
 * - `rolling-back`: the holder is decided to roll back, and the local transaction that waits may stand in its way.
 * - `retry`: run the statement again.
 * - `timeout`: the deadline has passed.
 */
export type LockWaitResult = 'committed' | 'rolling-back' | 'retry' | 'timeout';

export interface LockHolders {
  /** Waits a while for the holder to give way, never beyond the deadline. Never rejects: a coordinator that is silent has said nothing. */
  wait(wait: LockWait): Promise<LockWaitResult>;
  /** This sidecar has finished a branch of `gid`: whoever waits for it looks again at once. */
  released(gid: Gid): void;
}

const PAUSE_MS_MIN = 5;
const PAUSE_MS_MAX = 200;

/** Asks the coordinator what has become of a holder, and pauses with growing intervals while it is undecided. */
export function createLockHolders(coordinator: CoordinatorClient): LockHolders {
  const sleepers = new Map<Gid, Set<() => void>>();

  function sleep(holder: Gid, untilMs: number): Promise<void> {
    return new Promise((resolve) => {
      const waiting = sleepers.get(holder) ?? new Set();
      sleepers.set(holder, waiting);
      const wake = (): void => {
        cancel();
        waiting.delete(wake);
        if (waiting.size === 0) sleepers.delete(holder);
        resolve();
      };
      const cancel = at(untilMs as Instant, wake);
      waiting.add(wake);
    });
  }

  return {
    async wait({ holder, attempt, deadline, keepsLocks }) {
      if (now() >= deadline) return 'timeout';
      const status: GlobalStatus | undefined = await coordinator.read(holder).then(
        (transaction) => transaction?.status,
        () => undefined,
      );
      if (status === 'submitted' || status === 'succeed') return 'committed';
      if (status === 'aborting' && keepsLocks) return 'rolling-back';
      const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(attempt, 10));
      await sleep(holder, Math.min(deadline, now() + pause));
      return 'retry';
    },
    released(gid) {
      for (const wake of sleepers.get(gid) ?? []) wake();
    },
  };
}
