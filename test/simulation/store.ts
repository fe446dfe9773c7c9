/**
 * A store that group-commits as the real ones do, and that fails as they may: it answers late, fails with or without
 * having written, and a crash loses every `soon` write that no `now` write came after. Nothing is visible before its commit.
 */
import { isFinal, type Gid, type Instant } from '../../src/contract/transaction.ts';
import { dueFromBegin } from '../../src/engine/deadline.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { outcomeOf } from '../../src/engine/status.ts';
import type { Durability, Lease, ListFilter, Store, Stored } from '../../src/runner/ports.ts';
import type { Faults } from './faults.ts';
import type { History } from './history.ts';
import type { Random } from './random.ts';
import type { Time } from './time.ts';

export interface Row {
  readonly stored: Stored;
  readonly owner: string;
  readonly leaseUntil: number;
  readonly dueAt: number | undefined;
}

/** Laws that a wrong store can be made to break. */
export interface StoreLaws {
  readonly checksVersion: boolean;
  readonly checksLease: boolean;
}

interface Task {
  readonly run: () => unknown;
  readonly durability: Durability;
  readonly from: Caller;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Who asks: its answers only arrive while it lives. */
export interface Caller {
  readonly name: string;
  /** The caller's own clock. */
  now(): number;
  deliver(run: () => void): void;
}

export interface SimulatedStoreOptions {
  readonly time: Time;
  readonly random: Random;
  readonly history: History;
  readonly faults: () => Faults;
  readonly laws: StoreLaws;
  /** Called with every final state that is written. */
  readonly onFinal: (transaction: GlobalTransaction) => void;
  /** Called when leases of this owner are given up. */
  readonly onLeft: (owner: string) => void;
}

export class SimulatedStore {
  readonly #options: SimulatedStoreOptions;
  /** Written, but a crash may lose what is not in `#durable`. */
  #rows = new Map<Gid, Row>();
  readonly #durable = new Map<Gid, Row>();
  #unsynced: { readonly gid: Gid; readonly row: Row }[] = [];
  #queue: Task[] = [];
  #isPlanned = false;
  /** Gids whose unsynced writes were lost: what their drivers believe of leases and pauses is no longer so. */
  readonly disturbed = new Set<Gid>();

  constructor(options: SimulatedStoreOptions) {
    this.#options = options;
  }

  /** What survives a crash right now. */
  durable(gid: Gid): Row | undefined {
    return this.#durable.get(gid);
  }

  rows(): ReadonlyMap<Gid, Row> {
    return this.#rows;
  }

  /** The store as one coordinator sees it. */
  portFor(from: Caller): Store {
    const ask = <T>(durability: Durability, run: () => T): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        this.#queue.push({ run, durability, from, resolve: resolve as (answer: unknown) => void, reject });
        this.#plan();
      });
    return {
      insert: (transaction, lease) => ask('now', () => this.#insert(transaction, lease)),
      save: (next, version, lease, dueAt, durability) => {
        const askedAt = from.now();
        return ask(durability, () => this.#save(next, version, lease, dueAt, askedAt));
      },
      read: (gid) => ask('soon', () => this.#rows.get(gid)?.stored),
      claimDue: (...claim) => ask('now', () => this.#claimDue(...claim)),
      claim: (gid, now, lease) => ask('now', () => this.#claim(gid, now, lease)),
      renew: (gids, lease) => ask('now', () => this.#renew(gids, lease)),
      list: (filter) => ask('soon', () => this.#list(filter)),
      deleteFinished: () => ask('now', () => 0),
      close: () => Promise.resolve(),
    };
  }

  /** The machine of the store dies: what waits is refused or was just written, and unsynced writes are lost from some point on. */
  crash(): void {
    const { random, history } = this.#options;
    const waiting = this.#queue;
    this.#queue = [];
    if (random.chance(0.5)) this.#apply(waiting);
    for (const task of waiting) task.from.deliver(() => task.reject(new Error('the store went away')));
    const kept = random.between(0, this.#unsynced.length);
    const lost = this.#unsynced.slice(kept);
    this.#unsynced.length = kept;
    this.#sync();
    this.#rows = new Map(this.#durable);
    for (const { gid } of lost) this.disturbed.add(gid);
    if (lost.length > 0) history.count('write not synced was lost');
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const { time, random, faults, history } = this.#options;
    const isSlow = random.chance(faults()['store is slow']);
    if (isSlow) history.count('store is slow');
    time.after(isSlow ? random.between(50, 600) : random.between(1, 4), () => this.#commit());
  }

  #commit(): void {
    const { random, faults, history } = this.#options;
    this.#isPlanned = false;
    const batch = this.#queue;
    this.#queue = [];
    const refuse = (): void => {
      for (const task of batch) task.from.deliver(() => task.reject(new Error('the store failed')));
    };
    if (random.chance(faults()['store fails and keeps nothing'])) {
      history.count('store fails and keeps nothing');
      return refuse();
    }
    const answers = this.#apply(batch);
    if (random.chance(faults()['store fails and keeps the write'])) {
      history.count('store fails and keeps the write');
      return refuse();
    }
    for (const [index, task] of batch.entries()) task.from.deliver(() => task.resolve(answers[index]));
  }

  #apply(batch: readonly Task[]): readonly unknown[] {
    const answers = batch.map((task) => task.run());
    if (batch.some(({ durability }) => durability === 'now')) this.#sync();
    return answers;
  }

  #sync(): void {
    for (const { gid, row } of this.#unsynced) {
      this.#durable.set(gid, row);
      this.#options.history.sawTransaction(row.stored.transaction, 'the store');
    }
    this.#unsynced = [];
  }

  #put(row: Row): void {
    const { gid } = row.stored.transaction;
    this.#rows.set(gid, row);
    this.#unsynced.push({ gid, row });
  }

  #insert(transaction: GlobalTransaction, lease: Lease): 'inserted' | 'exists' {
    if (this.#rows.has(transaction.gid)) return 'exists';
    const stored = { transaction, version: 1 };
    this.#put({ stored, owner: lease.owner, leaseUntil: lease.until, dueAt: dueFromBegin(transaction) });
    if (isFinal(transaction.status)) this.#options.onFinal(transaction);
    return 'inserted';
  }

  #save(
    next: GlobalTransaction,
    version: number,
    lease: Lease,
    dueAt: Instant | undefined,
    askedAt: number,
  ): 'saved' | 'conflict' {
    const { laws, history } = this.#options;
    const row = this.#rows.get(next.gid);
    if (row === undefined) return 'conflict';
    const isFenced = row.stored.version !== version || row.owner !== lease.owner;
    if (isFenced) history.count('write of a former owner fenced');
    if (isFenced && laws.checksVersion) return 'conflict';
    if (isFenced)
      history.violated('S20 single driver', `${lease.owner} wrote ${next.gid} over version ${row.stored.version}`);
    this.#check(row.stored.transaction, next, askedAt);
    const stored = { transaction: next, version: row.stored.version + 1 };
    this.#put({ stored, owner: lease.owner, leaseUntil: lease.until, dueAt });
    history.note(
      `${lease.owner} wrote ${next.gid} ${next.status} v${version + 1} ${next.branches.map((b) => b.status[0]).join('')}`,
    );
    return 'saved';
  }

  #check(before: GlobalTransaction, next: GlobalTransaction, askedAt: number): void {
    const { history, onFinal } = this.#options;
    const isOpen = outcomeOf(before) === 'undecided';
    const isDecision = isOpen && outcomeOf(next) !== 'undecided';
    if (isDecision && outcomeOf(next) === 'commit' && before.deadline !== undefined && askedAt >= before.deadline) {
      history.violated('deadline', `${next.gid} was committed after its deadline`);
    }
    if (!isOpen && next.branches.length !== before.branches.length) {
      history.violated('S9 no registration after decision', `${next.gid} got a branch while ${before.status}`);
    }
    for (const [index, step] of (before.progress ?? []).entries()) {
      const known = next.progress?.[index];
      if (known?.branch === step.branch && known.operation === step.operation && known.status === step.status) continue;
      history.violated('S25 replay', `${next.gid} forgot how step ${step.branch} ${step.operation} ended`);
    }
    this.#checkRuns(before, next);
    if (isDecision && next.reason === 'deadline passed') history.count('rolled back by the deadline');
    if (outcomeOf(next) === 'undecided' && (next.retries ?? 0) > (next.retryLimit ?? Infinity)) {
      history.violated('retry limit', `${next.gid} goes on after ${next.retries} tries in vain`);
    }
    if (isDecision && next.reason?.startsWith('Timeout')) history.count('saga turned round by its deadline');
    if (isDecision && next.reason?.startsWith('RetryCount')) history.count('saga turned round by its retry limit');
    for (const [index, branch] of next.branches.entries()) {
      const isLate = branch.compensation !== undefined && branch.action !== undefined;
      if (!isDecision && isLate && before.branches[index]?.action === undefined) {
        history.count('action answered after the turn');
      }
    }
    if (isFinal(next.status)) onFinal(next);
  }

  /** The steps of a workflow in a mesh say themselves which run has recorded them. */
  #checkRuns(before: GlobalTransaction, next: GlobalTransaction): void {
    const { history } = this.#options;
    if ((next.run?.number ?? 0) < (before.run?.number ?? 0)) {
      history.violated('S29 newest run', `${next.gid} forgot its newest run`);
    }
    for (const [index, { step, data }] of (before.steps ?? []).entries()) {
      const known = next.steps?.[index];
      if (known?.step === step && known.data === data) continue;
      history.violated('S25 replay', `${next.gid} forgot step ${step}`);
    }
    for (const { step, data } of next.steps?.slice(before.steps?.length ?? 0) ?? []) {
      if (Number.parseInt(data, 10) >= (before.run?.number ?? 0)) continue;
      history.violated('S29 newest run', `step ${step} of ${next.gid} was recorded by an older run: ${data}`);
    }
  }

  #claimDue(now: number, lease: Lease, limit: number, ownUntil: number = Infinity): readonly Stored[] {
    const due = [...this.#rows.values()]
      .filter((row) => row.dueAt !== undefined && row.dueAt <= now && this.#isFree(row, now, lease, ownUntil))
      .sort((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0))
      .slice(0, limit);
    return due.map((row) => this.#lend(row, lease));
  }

  #claim(gid: Gid, now: number, lease: Lease): Stored | 'held' | 'unknown' {
    const row = this.#rows.get(gid);
    if (row === undefined) return 'unknown';
    return this.#isFree(row, now, lease) ? this.#lend(row, lease) : 'held';
  }

  #renew(gids: readonly Gid[], lease: Lease): readonly Gid[] {
    if (lease.until === 0) this.#options.onLeft(lease.owner);
    return gids.filter((gid) => {
      const row = this.#rows.get(gid);
      if (row?.owner !== lease.owner) return true;
      this.#lend(row, lease);
      return false;
    });
  }

  #isFree(row: Row, now: number, lease: Lease, ownUntil: number = Infinity): boolean {
    if (isFinal(row.stored.transaction.status)) return false;
    return (
      (row.owner === lease.owner && row.leaseUntil <= ownUntil) ||
      row.leaseUntil <= now ||
      !this.#options.laws.checksLease
    );
  }

  #lend(row: Row, lease: Lease): Stored {
    if (row.owner !== lease.owner) this.#options.history.count('taken over by another coordinator');
    this.#put({ ...row, owner: lease.owner, leaseUntil: lease.until });
    return row.stored;
  }

  #list({ limit }: ListFilter): readonly Stored[] {
    return [...this.#rows.values()].map(({ stored }) => stored).slice(0, limit);
  }
}
