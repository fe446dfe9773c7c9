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
import { drivenFrom, dueAtOf, isOver, type Driven, type RunnerEvent } from './driven.ts';
import { fold, WOKEN, type Decide, type Folded, type Posted } from './fold.ts';
import { Performer } from './perform.ts';
import type { Clock, Lease, Store, Stored, Transport } from './ports.ts';
import { defect, gidUnknown, heldElsewhere, shuttingDown, storeFailed } from './refusals.ts';
import type { Outcome } from './runner.ts';
import type { Waiters } from './waiters.ts';

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
}

type Loaded = { readonly driven: Driven } | { readonly outcome: Outcome<GlobalTransaction> };

export class Driver {
  readonly #options: DriverOptions;
  readonly #driven = new Map<Gid, Driven>();
  /** Unfinished transactions that only wait: out of memory but for their wake. */
  readonly #parked = new Set<Gid>();
  readonly #loading = new Map<Gid, Promise<Loaded>>();
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

  /** How many transactions in memory may look due to the store because something is being done for them. */
  get busy(): number {
    let count = 0;
    for (const driven of this.#driven.values()) if (driven.isWorking || driven.calling.size > 0) count += 1;
    return count;
  }

  /** The lease to write with, from now on. */
  lease(now: Instant): Lease {
    return { owner: this.#options.owner, until: (now + this.#options.leaseMs) as Instant };
  }

  /** The transaction as this process may answer for it: in memory and under a lease. */
  peek(gid: Gid): GlobalTransaction | undefined {
    const driven = this.#driven.get(gid);
    return driven !== undefined && driven.leaseUntil > this.#options.clock.now() ? driven.transaction : undefined;
  }

  /** Takes a transaction into memory that the store has just given us, and sees what is due. False when it was there already. */
  adopt(stored: Stored, leaseUntil: Instant): boolean {
    const { gid } = stored.transaction;
    if (this.#isStopping || this.#driven.has(gid)) return false;
    this.#post(this.#take(stored, leaseUntil), WOKEN);
    return true;
  }

  /** Lets `event` happen to the transaction; answers when the result is durable. */
  request(gid: Gid, event: Event): Promise<Outcome<GlobalTransaction>> {
    return new Promise((settle) => this.#route(gid, { event, settle, losses: 0 }));
  }

  /**
   * What has to be renewed at `now`: transactions whose lease is more than a third gone. Those that only wait for a
   * later instant leave memory instead, and answers not written yet are written.
   */
  tend(now: Instant): readonly Gid[] {
    const { leaseMs } = this.#options;
    const renew: Gid[] = [];
    for (const driven of this.#driven.values()) {
      if (driven.isUnsaved && !driven.isWorking) {
        this.#write(driven);
      } else if (driven.leaseUntil - now < (leaseMs * 2) / 3) {
        const wakeAt = this.#performer.wakes.at(driven.gid) ?? now;
        if (driven.isWorking || driven.calling.size > 0 || wakeAt < now + leaseMs) renew.push(driven.gid);
        else this.#park(driven, wakeAt);
      }
    }
    return renew;
  }

  /** Notes that the leases of these transactions now run until `until`. */
  renewed(gids: readonly Gid[], until: Instant): void {
    for (const gid of gids) {
      const driven = this.#driven.get(gid);
      if (driven !== undefined && driven.leaseUntil < until) driven.leaseUntil = until;
    }
  }

  /** Lets go of a transaction that another coordinator has taken over. */
  lost(gid: Gid): void {
    const driven = this.#driven.get(gid);
    if (driven !== undefined) this.#drop(driven);
  }

  /** Starts no call any more; once nothing is under way, or after `graceMs`, writes what is not written and lets go of everything. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#performer.close();
    await this.#rest(graceMs, () => this.#working === 0 && this.calls === 0);
    for (const driven of this.#driven.values()) if (driven.isUnsaved) this.#write(driven);
    await this.#rest(graceMs, () => this.#working === 0);
    for (const driven of this.#driven.values()) this.#drop(driven);
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
    const loading = this.#loading.get(gid) ?? this.#load(gid).finally(() => this.#loading.delete(gid));
    this.#loading.set(gid, loading);
    const loaded = await loading;
    if ('driven' in loaded) return this.#post(loaded.driven, posted);
    if (!loaded.outcome.ok) return posted.settle?.(loaded.outcome);
    // A finished transaction: the engine still says what the event means, and changes nothing.
    const { clock, decide, limits } = this.#options;
    settleAll([posted], fold(loaded.outcome.value, [posted], clock.now(), decide, limits.branches));
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
      if (!isFinal(stored.transaction.status)) return { outcome: { ok: false, error: heldElsewhere(gid) } };
      return { outcome: { ok: true, value: stored.transaction } };
    } catch (cause) {
      return { outcome: { ok: false, error: storeFailed(gid, cause) } };
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
        refuse(batch, { ok: false, error: defect(driven.gid, cause) });
      }
    }
    driven.isWorking = false;
    this.#working -= 1;
    this.#onRest?.();
  }

  /** One decision. Undefined when there was nothing to save, so that nobody waits. */
  #turn(driven: Driven, batch: readonly Posted[]): Promise<void> | undefined {
    const { clock, decide, limits } = this.#options;
    const now = clock.now();
    for (const { event } of batch) if (event.kind === 'replied') driven.calling.delete(event.branch);
    const folded = fold(driven.transaction, batch, now, decide, limits.branches);
    if (needsSave(driven, batch, folded, now)) return this.#save(driven, batch, folded, now);
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
    let saved: 'saved' | 'conflict';
    try {
      saved = await store.save(folded.next, version, lease, dueAt, folded.durability);
    } catch (cause) {
      log.error({ gid, err: cause }, 'saving failed; the transaction is read again before it goes on');
      this.#drop(driven);
      return refuse(batch, { ok: false, error: storeFailed(gid, cause) });
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
    if (isOver(transaction)) this.#options.waiters.tell(transaction);
    if (driven.isDropped) return;
    if (isFinal(transaction.status)) {
      this.#forget(driven);
      const durationMs = (transaction.finishedAt ?? transaction.createdAt) - transaction.createdAt;
      this.#options.onEvent({ kind: 'finished', transaction, durationMs });
    } else if (!this.#isStopping) {
      this.#performer.perform(driven, folded.effects);
      // Only an operator can go on from here: a later request reads it again.
      if (folded.effects.length === 0 && driven.calling.size === 0) this.#forget(driven);
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
    this.#driven.delete(driven.gid);
    this.#performer.wakes.remove(driven.gid);
    const left = driven.mailbox;
    driven.mailbox = [];
    this.#reroute(driven, left);
  }

  /** Requests start anew on what the store holds; everything else was about a copy that no longer counts. */
  #reroute(driven: Driven, left: readonly Posted[]): void {
    for (const { event, settle, losses } of left) {
      if (settle === undefined) continue;
      if (losses < LOSSES_MAX) this.#route(driven.gid, { event, settle, losses: losses + 1 });
      else settle({ ok: false, error: heldElsewhere(driven.gid) });
    }
  }
}

function needsSave(driven: Driven, batch: readonly Posted[], folded: Folded, now: Instant): boolean {
  // A lease that has passed is proved by a write before anything is done under it.
  if (driven.mustSave || driven.leaseUntil <= now) return true;
  if (folded.next === driven.transaction) return false;
  if (folded.durability === 'now') return true;
  // One of several parallel branches has succeeded: written with the next answer, or when the lease is tended. Should we
  // die before that, it is asked once more.
  const isBehind =
    batch.every(({ event }) => event.kind !== 'replied' || event.result === 'success') &&
    folded.effects.length > 0 &&
    folded.effects.every((effect) => effect.kind === 'call' && driven.calling.has(effect.branch));
  return !isBehind;
}

function settleAll(batch: readonly Posted[], folded: Folded): void {
  for (const [index, { settle }] of batch.entries()) {
    const error = folded.refused[index];
    settle?.(error === undefined ? { ok: true, value: folded.next } : { ok: false, error });
  }
}

function refuse(batch: readonly Posted[], outcome: Outcome<GlobalTransaction>): void {
  for (const { settle } of batch) settle?.(outcome);
}
