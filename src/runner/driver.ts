/**
 * Drives transactions: takes what has happened to one of them, lets the engine decide, saves, and only then performs.
 * The only place that saves and performs, in that order.
 *
 * Each transaction has a mailbox. While one turn saves, what happens meanwhile waits, and the next turn takes all of it at once.
 */
import type { Log } from '../platform/log.ts';
import { isFinal, type Gid, type Instant } from '../contract/transaction.ts';
import type { Event } from '../engine/event.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { drivenFrom, dueAtOf, holdsLease, isOver, isResting, tidingsOf } from './driven.ts';
import type { Driven, RunnerEvent } from './driven.ts';
import { fold, needsSave, refuseAll, settleAll, WOKEN, type Decide, type Folded, type Posted } from './fold.ts';
import { Performer } from './perform.ts';
import type { Clock, Lease, Store, Stored, Transport } from './ports.ts';
import type { Peers } from './peers.ts';
import { defect, gidUnknown, heldElsewhere, shuttingDown, storeFailed } from './refusals.ts';
import type { Outcome } from './runner.ts';
import type { Waiters } from './waiters.ts';

/** A request for a transaction whose holder does not answer is tried again after this long, until its lease and some more have passed. */
const HELD_PAUSE_MS = 100;
const HELD_SLACK_MS = 2000;
/** A request is tried again on a fresh copy this often when the transaction was lost under it. */
const LOSSES_MAX = 2;

export interface DriverOptions {
  readonly store: Store;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly decide: Decide;
  readonly owner: string;
  readonly leaseMs: number;
  readonly limits: { readonly branches: number; readonly calls: number };
  readonly log: Log;
  readonly waiters: Waiters;
  readonly onEvent: (event: RunnerEvent) => void;
  /** Called when a transaction that is not in memory wants to be woken. */
  readonly onDue: () => void;
  /** The other coordinators on the store, if there may be any. */
  readonly peers?: Peers;
}

type Loaded = { readonly driven: Driven } | { readonly outcome: Outcome<GlobalTransaction> } | 'held';

export class Driver {
  readonly #options: DriverOptions;
  readonly #driven = new Map<Gid, Driven>();
  /** Unfinished transactions that only wait: out of memory but for their wake. */
  readonly #parked = new Set<Gid>();
  readonly #loading = new Map<Gid, Promise<Loaded>>();
  /** What has left memory while the store was answering a claim. */
  #leftMeanwhile: Set<Gid> | undefined;
  readonly #performer: Performer;
  #working = 0;
  #isStopping = false;
  #onRest: (() => void) | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#performer = new Performer({
      ...options,
      callsMax: options.limits.calls,
      post: (driven, posted) => this.#post(driven, posted),
      onWake: (gid) => this.#wake(gid),
    });
  }

  /** Transactions in memory. */
  get driven(): number {
    return this.#driven.size;
  }

  /** Transactions that this process knows to be unfinished, in memory or parked. */
  get unfinished(): number {
    return this.#driven.size + this.#parked.size;
  }

  /** Branch calls in flight. */
  get calls(): number {
    return this.#performer.calls;
  }

  /** The lease to write with, from now on. */
  lease(now: Instant): Lease {
    return { owner: this.#options.owner, until: (now + this.#options.leaseMs) as Instant };
  }

  /** The transaction as this process may answer for it: in memory and under a lease. */
  peek(gid: Gid): GlobalTransaction | undefined {
    const driven = this.#driven.get(gid);
    const { clock, leaseMs } = this.#options;
    return driven !== undefined && holdsLease(driven, clock.now(), leaseMs) ? driven.transaction : undefined;
  }

  /** Whether nothing is under way for the transaction, so that what comes next comes later by itself; undefined when it is not in memory. */
  isResting(gid: Gid): boolean | undefined {
    const driven = this.#driven.get(gid);
    return driven && isResting(driven);
  }

  /** Takes a transaction into memory that the store has just given us, and sees what is due. False when it was there already. */
  adopt(stored: Stored, leaseUntil: Instant): boolean {
    if (this.#isStopping || this.#driven.has(stored.transaction.gid)) return false;
    this.#post(this.#take(stored, leaseUntil), WOKEN);
    return true;
  }

  /**
   * Takes into memory what `claim` answers, one claim at a time, and answers how many. Not what was in memory while it was being
   * answered: that has got further since, and calls would be made that have been answered long ago.
   */
  async takeOver(claim: Promise<readonly Stored[]>, leaseUntil: Instant): Promise<number> {
    const left = new Set<Gid>();
    this.#leftMeanwhile = left;
    try {
      const claimed = await claim;
      if (this.#isStopping) for (const { transaction } of claimed) this.#parked.add(transaction.gid);
      return claimed.filter((stored) => !left.has(stored.transaction.gid) && this.adopt(stored, leaseUntil)).length;
    } finally {
      this.#leftMeanwhile = undefined;
      this.#onRest?.();
    }
  }

  /** Lets `event` happen to the transaction; answers when the result is durable. */
  request(gid: Gid, event: Event, from: { readonly isForwarded?: true } = {}): Promise<Outcome<GlobalTransaction>> {
    return new Promise((settle) => this.#route(gid, { event, settle, losses: 0, ...from }));
  }

  /**
   * What has to be renewed at `now`: transactions whose lease is more than a third gone, or is from before the clock was set back.
   * Those that only wait for a later instant leave memory instead, and answers not written yet are written.
   */
  tend(now: Instant): readonly Gid[] {
    const { leaseMs } = this.#options;
    const renew: Gid[] = [];
    this.#performer.wakes.ring();
    for (const driven of this.#driven.values()) {
      const isAhead = driven.leaseUntil > now && !holdsLease(driven, now, leaseMs);
      if (driven.isUnsaved && !driven.isWorking) {
        this.#write(driven);
      } else if (isAhead || driven.leaseUntil - now < (leaseMs * 2) / 3) {
        const wakeAt = this.#performer.wakes.at(driven.gid) ?? now;
        const isBusy = driven.isWorking || driven.calling.size > 0 || wakeAt < now + leaseMs;
        if (isAhead || isBusy) renew.push(driven.gid);
        else this.#park(driven, wakeAt);
      }
    }
    return renew;
  }

  /** Notes that the leases of these transactions now run until `until`. */
  renewed(gids: readonly Gid[], until: Instant): void {
    for (const gid of gids) {
      const driven = this.#driven.get(gid);
      if (driven !== undefined) driven.leaseUntil = until;
    }
  }

  /** Lets go of a transaction that another coordinator has taken over. False when it was in our hands no more: it may just have ended. */
  lost(gid: Gid): boolean {
    const driven = this.#driven.get(gid);
    if (driven !== undefined) this.#drop(driven);
    return driven !== undefined;
  }

  /** Starts no call any more; once nothing is under way, or after `graceMs`, writes what is not written and lets go of everything. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#performer.close();
    const isClaiming = (): boolean => this.#loading.size > 0 || this.#leftMeanwhile !== undefined;
    await this.#rest(graceMs, () => this.#working === 0 && this.calls === 0 && !isClaiming());
    for (const driven of this.#driven.values()) if (driven.isUnsaved) this.#write(driven);
    await this.#rest(graceMs, () => this.#working === 0);
    const idle = [...this.#driven.values()].filter(({ calling }) => calling.size === 0).map(({ gid }) => gid);
    for (const driven of this.#driven.values()) this.#drop(driven);
    if (this.#options.peers !== undefined) await this.#giveUp([...idle, ...this.#parked]);
  }

  /** Others need not wait for these leases to pass. */
  async #giveUp(gids: readonly Gid[]): Promise<void> {
    const { store, owner, log } = this.#options;
    try {
      await store.renew(gids, { owner, until: 0 as Instant });
    } catch (cause) {
      log.warn({ err: cause }, 'leases were not given up; they end by themselves');
    }
  }

  #rest(graceMs: number, isResting: () => boolean): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const cancel = clock.at((clock.now() + graceMs) as Instant, resolve);
      this.#onRest = () => {
        if (!isResting()) return;
        cancel();
        resolve();
      };
      this.#onRest();
    });
  }

  #route(gid: Gid, posted: Posted): void {
    const driven = this.#driven.get(gid);
    if (driven !== undefined) this.#post(driven, posted);
    else void this.#routeToLoaded(gid, posted);
  }

  async #routeToLoaded(gid: Gid, posted: Posted): Promise<void> {
    if (this.#isStopping) return posted.settle?.({ ok: false, error: shuttingDown() });
    if (posted.isForwarded === undefined) {
      const answer = await this.#options.peers?.happen(gid, posted.event);
      if (answer !== undefined) return posted.settle?.(answer);
    }
    const loading = this.#loading.get(gid) ?? this.#load(gid);
    this.#loading.set(gid, loading);
    const loaded = await loading;
    if (loaded === 'held') return this.#wait(gid, posted);
    if ('driven' in loaded) return this.#post(loaded.driven, posted);
    if (!loaded.outcome.ok) return posted.settle?.(loaded.outcome);
    // A finished transaction: the engine still says what the event means, and changes nothing.
    const { clock, decide, limits } = this.#options;
    settleAll([posted], fold(loaded.outcome.value, [posted], clock.now(), decide, limits.branches));
  }

  /** Its holder is silent: it answers again soon, or its lease passes and the transaction is ours. */
  #wait(gid: Gid, posted: Posted): void {
    const { clock, leaseMs, peers } = this.#options;
    const now = clock.now();
    const patience = posted.patience ?? ((now + leaseMs + HELD_SLACK_MS) as Instant);
    if (peers === undefined || posted.isForwarded === true || now >= patience) {
      return posted.settle?.({ ok: false, error: heldElsewhere(gid) });
    }
    clock.at((now + HELD_PAUSE_MS) as Instant, () => this.#route(gid, { ...posted, patience }));
  }

  /** Takes the transaction for a request, which is then the first thing that happens to it. */
  async #load(gid: Gid): Promise<Loaded> {
    const { store, clock } = this.#options;
    try {
      const lease = this.lease(clock.now());
      const claimed = await store.claim(gid, clock.now(), lease);
      if (claimed !== 'held' && claimed !== 'unknown' && !isFinal(claimed.transaction.status)) {
        return { driven: this.#driven.get(gid) ?? this.#take(claimed, lease.until) };
      }
      const stored = claimed === 'unknown' ? undefined : await store.read(gid);
      if (stored === undefined) return { outcome: { ok: false, error: gidUnknown(gid) } };
      if (!isFinal(stored.transaction.status)) return 'held';
      return { outcome: { ok: true, value: stored.transaction } };
    } catch (cause) {
      return { outcome: { ok: false, error: storeFailed(gid, cause) } };
    } finally {
      this.#loading.delete(gid);
      this.#onRest?.();
    }
  }

  #take(stored: Stored, leaseUntil: Instant): Driven {
    const driven = drivenFrom(stored, leaseUntil);
    this.#parked.delete(driven.gid);
    this.#driven.set(driven.gid, driven);
    return driven;
  }

  #wake(gid: Gid): void {
    const driven = this.#driven.get(gid);
    if (driven !== undefined) this.#post(driven, WOKEN);
    else if (this.#parked.delete(gid)) this.#options.onDue();
  }

  /** Has the store write what it does not know yet. */
  #write(driven: Driven): void {
    driven.mustSave = true;
    this.#post(driven, WOKEN);
  }

  #post(driven: Driven, posted: Posted): void {
    if (driven.isDropped) return this.#reroute(driven, [posted]);
    driven.mailbox.push(posted);
    if (!driven.isWorking) void this.#work(driven);
  }

  async #work(driven: Driven): Promise<void> {
    driven.isWorking = true;
    this.#working += 1;
    while (driven.mailbox.length > 0) {
      const batch = driven.mailbox;
      driven.mailbox = [];
      try {
        const saving = this.#turn(driven, batch);
        if (saving !== undefined) await saving;
      } catch (cause) {
        this.#options.log.error(
          { gid: driven.gid, err: cause },
          'a defect; the transaction is left as the store has it',
        );
        this.#drop(driven);
        refuseAll(batch, defect(driven.gid, cause));
      }
    }
    driven.isWorking = false;
    this.#working -= 1;
    this.#onRest?.();
  }

  /** One decision. Undefined when there was nothing to save, so that nobody waits. */
  #turn(driven: Driven, batch: readonly Posted[]): Promise<void> | undefined {
    const { clock, decide, limits, leaseMs } = this.#options;
    const now = clock.now();
    for (const { event } of batch) if (event.kind === 'replied') driven.calling.delete(event.branch);
    const folded = fold(driven.transaction, batch, now, decide, limits.branches);
    // A lease that does not hold is proved by a write before anything is done under it.
    const isProved = holdsLease(driven, now, leaseMs) && !driven.mustSave;
    if (!isProved || needsSave(driven.transaction, batch, folded)) return this.#save(driven, batch, folded, now);
    driven.isUnsaved ||= folded.next !== driven.transaction;
    driven.transaction = folded.next;
    this.#conclude(driven, batch, folded);
    return undefined;
  }

  async #save(driven: Driven, batch: readonly Posted[], folded: Folded, now: Instant): Promise<void> {
    const { store, log } = this.#options;
    const { gid, version } = driven;
    const lease = this.lease(now);
    const dueAt = dueAtOf(folded.effects, now);
    driven.mustSave = false;
    driven.isSaving = true;
    let saved: 'saved' | 'conflict';
    try {
      saved = await store.save(folded.next, version, lease, dueAt, folded.durability);
      driven.isSaving = false;
    } catch (cause) {
      log.error({ gid, err: cause }, 'saving failed; the transaction is read again before it goes on');
      this.#drop(driven);
      return refuseAll(batch, storeFailed(gid, cause));
    }
    if (saved === 'conflict') {
      log.warn({ gid, version }, 'the transaction is in other hands; letting go of it');
      this.#drop(driven);
      return this.#reroute(driven, batch);
    }
    driven.version += 1;
    driven.leaseUntil = lease.until;
    driven.isUnsaved = false;
    driven.transaction = folded.next;
    this.#conclude(driven, batch, folded);
  }

  /** The decision holds: answer those who asked, and perform. */
  #conclude(driven: Driven, batch: readonly Posted[], folded: Folded): void {
    const { transaction } = driven;
    settleAll(batch, folded);
    if (isOver(transaction)) this.#options.waiters.tell(transaction, 'end');
    if (driven.isDropped) return;
    for (const tiding of tidingsOf(transaction, folded.abandoned)) this.#options.onEvent(tiding);
    if (isFinal(transaction.status)) {
      this.#forget(driven);
    } else if (!this.#isStopping) {
      this.#performer.perform(driven, folded.effects);
      if (!isResting(driven)) return;
      this.#options.waiters.tell(transaction, 'rest');
      // Nothing goes on by itself from here: a later request reads it again.
      if (folded.effects.length === 0) this.#forget(driven);
    }
  }

  #park(driven: Driven, wakeAt: Instant): void {
    this.#forget(driven);
    this.#parked.add(driven.gid);
    this.#performer.wakes.set(driven.gid, wakeAt);
  }

  #drop(driven: Driven): void {
    this.#forget(driven);
    driven.calls?.abort();
  }

  #forget(driven: Driven): void {
    if (driven.isDropped) return;
    driven.isDropped = true;
    this.#leftMeanwhile?.add(driven.gid);
    this.#driven.delete(driven.gid);
    this.#performer.wakes.remove(driven.gid);
    const left = driven.mailbox;
    driven.mailbox = [];
    this.#reroute(driven, left);
  }

  /** Requests start anew on what the store holds; everything else was about a copy that no longer counts. */
  #reroute(driven: Driven, left: readonly Posted[]): void {
    for (const posted of left) {
      const { settle, losses } = posted;
      if (settle === undefined) continue;
      if (losses < LOSSES_MAX) this.#route(driven.gid, { ...posted, losses: losses + 1 });
      else settle({ ok: false, error: heldElsewhere(driven.gid) });
    }
  }
}
