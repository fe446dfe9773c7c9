/** Sees for those who wait here what happens to a transaction that another coordinator drives: it looks at the store. */
import type { Gid, Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { isOver } from './driven.ts';
import type { Decide } from './fold.ts';
import type { Clock, Store } from './ports.ts';
import type { Waiters } from './waiters.ts';

/** The first look comes soon, for short transactions; the pause doubles up to the most. Milliseconds. */
const FIRST_PAUSE_MS = 20;
const PAUSE_MS_MAX = 500;

export interface WatchOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly waiters: Waiters;
  readonly decide: Decide;
  /** True while this process drives the transaction, and tells those who wait by itself. */
  readonly isOurs: (gid: Gid) => boolean;
}

/** Looks now and again until `waited` has resolved, and tells what it sees to everybody who waits. Never rejects. */
export function watch(gid: Gid, waited: Promise<unknown>, options: WatchOptions): void {
  const { store, clock, waiters, decide, isOurs } = options;
  let isDone = false;
  let pauseMs = FIRST_PAUSE_MS;
  let cancel = (): void => undefined;
  const plan = (): void => {
    if (isDone) return;
    cancel = clock.at((clock.now() + pauseMs) as Instant, () => void look());
    pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
  };
  const look = async (): Promise<void> => {
    if (!isOurs(gid)) {
      const stored = await store.read(gid).catch(() => undefined);
      if (stored !== undefined && !isOurs(gid)) tell(stored.transaction);
    }
    plan();
  };
  const tell = (transaction: GlobalTransaction): void => {
    if (isOver(transaction)) waiters.tell(transaction, 'end');
    else if (rests(transaction, clock.now(), decide)) waiters.tell(transaction, 'rest');
  };
  void waited.then(() => {
    isDone = true;
    cancel();
  });
  plan();
}

/** True when nothing is to be called now: what comes next comes later by itself. */
function rests(transaction: GlobalTransaction, now: Instant, decide: Decide): boolean {
  return decide(transaction, { kind: 'woken' }, now).effects.every(({ kind }) => kind !== 'call');
}
