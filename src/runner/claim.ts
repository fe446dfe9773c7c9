/** Finds what nobody drives, keeps what we drive, and clears away what is over: everything that runs by the clock alone. */
import type { Log } from '../platform/log.ts';
import type { Instant } from '../contract/transaction.ts';
import type { Driver } from './driver.ts';
import type { Clock, Store } from './ports.ts';

/** Transactions taken over in one go. */
const CLAIM_BATCH = 512;
/** How long a transaction whose coordinator has died waits for us, its lease aside. Milliseconds. */
const SCAN_MS = 500;
/** How long the store keeps what is over, at least, beyond its retention. Milliseconds. */
const DELETE_MS_MIN = 1000;
/** Leases renewed in one write. */
const RENEW_BATCH = 1000;
const DELETE_MS = 60_000;
const DELETE_BATCH = 1000;

export interface ClaimOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly driver: Driver;
  readonly log: Log;
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly unfinishedMax: number;
}

export class Claimer {
  readonly #options: ClaimOptions;
  readonly #cancels = new Set<() => void>();
  #isStopped = false;
  /** Leases of this life end then at the earliest; those that end by then are an earlier life's, under the same name. */
  readonly #ownFrom: Instant;
  #scanning: Promise<void> | undefined;
  #scanAgain = false;

  constructor(options: ClaimOptions) {
    this.#options = options;
    this.#ownFrom = options.driver.lease(options.clock.now()).until;
  }

  /** Starts recovery, the heartbeat and the clearing away. */
  start(): void {
    const { leaseMs, retentionMs } = this.#options;
    this.#repeat(
      () => this.scan(),
      () => SCAN_MS,
    );
    this.#repeat(
      () => this.#renew(),
      () => leaseMs / 3,
    );
    this.#repeat(
      () => this.#deleteFinished(),
      () => Math.max(DELETE_MS_MIN, Math.min(DELETE_MS, retentionMs)),
    );
  }

  stop(): void {
    this.#isStopped = true;
    for (const cancel of this.#cancels) cancel();
  }

  /** Takes over what is due and nobody's. A scan that is under way is followed by another. */
  scan(): Promise<void> {
    if (this.#scanning !== undefined) {
      this.#scanAgain = true;
      return this.#scanning;
    }
    this.#scanning = this.#scan().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  async #scan(): Promise<void> {
    const { store, clock, driver, leaseMs, unfinishedMax } = this.#options;
    do {
      this.#scanAgain = false;
      const room = Math.min(CLAIM_BATCH, unfinishedMax - driver.driven);
      if (room <= 0 || this.#isStopped) return;
      const now = clock.now();
      const lease = driver.lease(now);
      // What is in memory has a lease that is renewed long before this; what was let go of after a failure of the store has not.
      const ownUntil = Math.max(this.#ownFrom, now + Math.floor(leaseMs / 3)) as Instant;
      const claim = store.claimDue(now, lease, room, ownUntil);
      const taken = await driver.takeOver(claim, lease.until);
      // When all of it was in memory already, the same would be found again.
      if (taken > 0 && (await claim).length >= room) this.#scanAgain = true;
    } while (this.#scanAgain);
  }

  async #renew(): Promise<void> {
    const { store, clock, driver, log } = this.#options;
    const gids = driver.tend(clock.now());
    for (let from = 0; from < gids.length; from += RENEW_BATCH) {
      const batch = gids.slice(from, from + RENEW_BATCH);
      const lease = driver.lease(clock.now());
      const lost = new Set(await store.renew(batch, lease));
      driver.renewed(
        batch.filter((gid) => !lost.has(gid)),
        lease.until,
      );
      for (const gid of lost) {
        if (driver.lost(gid)) log.warn({ gid }, 'the lease was lost; the transaction was let go of');
      }
    }
  }

  async #deleteFinished(): Promise<void> {
    const { store, clock, retentionMs } = this.#options;
    for (let deleted = DELETE_BATCH; deleted === DELETE_BATCH && !this.#isStopped;) {
      deleted = await store.deleteFinished((clock.now() - retentionMs) as Instant, DELETE_BATCH);
    }
  }

  /** Runs `task` now and again and again, `pauseMs()` after each end. A task that fails is logged and runs again next time. */
  #repeat(task: () => Promise<void>, pauseMs: () => number): void {
    const { clock, log } = this.#options;
    const run = async (): Promise<void> => {
      await task().catch((cause: unknown) => log.error({ err: cause }, 'the store failed; trying again soon'));
      if (this.#isStopped) return;
      const cancel = clock.at((clock.now() + pauseMs()) as Instant, () => {
        this.#cancels.delete(cancel);
        void run();
      });
      this.#cancels.add(cancel);
    };
    void run();
  }
}
