/** Waiting for row locks that other global transactions hold. */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Instant } from '../../src/contract/transaction.ts';

export interface LockHolders {
  /**
   * Waits a while for `holder` to give way, never beyond `deadline` (milliseconds since the epoch). `committed`: the holder is
   * decided to commit, so its locks may be taken over at once; `retry`: look again.
   */
  wait(holder: Gid, attempt: number, deadline: number): Promise<'committed' | 'retry' | 'timeout'>;
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
    async wait(holder, attempt, deadline) {
      if (now() >= deadline) return 'timeout';
      const decided = await coordinator.read(holder).then(
        (transaction) => transaction?.status === 'submitted' || transaction?.status === 'succeed',
        () => false,
      );
      if (decided) return 'committed';
      const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(attempt, 10));
      await sleep(holder, Math.min(deadline, now() + pause));
      return 'retry';
    },
    released(gid) {
      for (const wake of sleepers.get(gid) ?? []) wake();
    },
  };
}
