/** A store in memory: for tests, and for trying things out. Nothing survives the process. */
import { assert } from '../platform/assert.ts';
import { isFinal, type Gid, type Instant } from '../contract/transaction.ts';
import { dueFromBegin } from '../engine/deadline.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { agesFrom } from '../engine/retention.ts';
import type { Lease, ListFilter, NewRecord, Records, Store, Stored, StoredRecord } from '../runner/ports.ts';

interface Row {
  readonly stored: Stored;
  readonly owner: string;
  readonly leaseUntil: Instant;
  readonly dueAt: Instant | undefined;
}

/** Opens an empty store. What goes in is frozen, so that what comes out can be shared. */
export function openMemoryStore(): Store & Records {
  return new MemoryStore();
}

class MemoryStore implements Store, Records {
  readonly #unfinished = new Map<Gid, Row>();
  /** In the order in which they finished. */
  readonly #finished = new Map<Gid, Row>();
  readonly #records = new Map<string, Map<string, StoredRecord>>();
  #isOpen = true;

  async insert(transaction: GlobalTransaction, lease: Lease): Promise<'inserted' | 'exists'> {
    this.#assertOpen();
    if (this.#row(transaction.gid) !== undefined) return 'exists';
    this.#put(transaction, 1, lease, dueFromBegin(transaction));
    return 'inserted';
  }

  async save(
    next: GlobalTransaction,
    version: number,
    lease: Lease,
    dueAt: Instant | undefined,
  ): Promise<'saved' | 'conflict'> {
    this.#assertOpen();
    const row = this.#row(next.gid);
    if (row === undefined || row.stored.version !== version || row.owner !== lease.owner) return 'conflict';
    this.#put(next, version + 1, lease, dueAt);
    return 'saved';
  }

  async read(gid: Gid): Promise<Stored | undefined> {
    this.#assertOpen();
    return this.#row(gid)?.stored;
  }

  async claimDue(now: Instant, lease: Lease, limit: number, ownUntil?: Instant): Promise<readonly Stored[]> {
    this.#assertOpen();
    const due: { readonly row: Row; readonly dueAt: Instant }[] = [];
    for (const row of this.#unfinished.values()) {
      const { dueAt } = row;
      if (dueAt !== undefined && dueAt <= now && isFree(row, now, lease, ownUntil)) due.push({ row, dueAt });
    }
    due.sort((a, b) => a.dueAt - b.dueAt);
    return due.slice(0, limit).map(({ row }) => this.#lend(row, lease));
  }

  async claim(gid: Gid, now: Instant, lease: Lease): Promise<Stored | 'held' | 'unknown'> {
    this.#assertOpen();
    const row = this.#unfinished.get(gid);
    if (row !== undefined && isFree(row, now, lease)) return this.#lend(row, lease);
    return this.#row(gid) === undefined ? 'unknown' : 'held';
  }

  async renew(gids: readonly Gid[], lease: Lease): Promise<readonly Gid[]> {
    this.#assertOpen();
    return gids.filter((gid) => {
      const row = this.#unfinished.get(gid);
      if (row?.owner !== lease.owner) return true;
      this.#lend(row, lease);
      return false;
    });
  }

  async list(filter: ListFilter): Promise<readonly Stored[]> {
    this.#assertOpen();
    return [...this.#unfinished.values(), ...this.#finished.values()]
      .filter((row) => isListed(row, filter))
      .map(({ stored }) => stored)
      .sort((a, b) => (a.transaction.gid < b.transaction.gid ? -1 : 1))
      .slice(0, filter.limit);
  }

  async deleteFinished(before: Instant, limit: number): Promise<number> {
    this.#assertOpen();
    const old: Gid[] = [];
    for (const [gid, row] of this.#finished) {
      if (old.length === limit) break;
      if ((agesFrom(row.stored.transaction) ?? before) < before) old.push(gid);
    }
    for (const gid of old) this.#finished.delete(gid);
    return old.length;
  }

  async readRecord(category: string, key: string): Promise<StoredRecord | undefined> {
    this.#assertOpen();
    return this.#records.get(category)?.get(key);
  }

  async saveRecord(record: NewRecord, version: number, now: Instant): Promise<'saved' | 'conflict'> {
    this.#assertOpen();
    const { category, key, value } = record;
    const ofCategory = this.#records.get(category) ?? new Map<string, StoredRecord>();
    const known = ofCategory.get(key);
    if ((known?.version ?? 0) !== version) return 'conflict';
    this.#records.set(category, ofCategory);
    ofCategory.set(key, {
      category,
      key,
      value,
      version: version + 1,
      createdAt: known?.createdAt ?? now,
      updatedAt: now,
    });
    return 'saved';
  }

  async deleteRecord(category: string, key: string): Promise<boolean> {
    this.#assertOpen();
    return this.#records.get(category)?.delete(key) ?? false;
  }

  async listRecords(category: string, after: string, limit: number): Promise<readonly StoredRecord[]> {
    this.#assertOpen();
    return [...(this.#records.get(category)?.values() ?? [])]
      .filter(({ key }) => key > after)
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, limit);
  }

  async close(): Promise<void> {
    this.#isOpen = false;
  }

  #row(gid: Gid): Row | undefined {
    return this.#unfinished.get(gid) ?? this.#finished.get(gid);
  }

  #put(transaction: GlobalTransaction, version: number, lease: Lease, dueAt: Instant | undefined): void {
    const { gid } = transaction;
    const row: Row = { stored: frozen({ transaction, version }), owner: lease.owner, leaseUntil: lease.until, dueAt };
    if (isFinal(transaction.status)) {
      this.#unfinished.delete(gid);
      this.#finished.set(gid, row);
    } else {
      this.#unfinished.set(gid, row);
    }
  }

  #lend(row: Row, lease: Lease): Stored {
    this.#unfinished.set(row.stored.transaction.gid, { ...row, owner: lease.owner, leaseUntil: lease.until });
    return row.stored;
  }

  #assertOpen(): void {
    assert(this.#isOpen, 'a closed store is not used');
  }
}

function isFree(row: Row, now: Instant, lease: Lease, ownUntil?: Instant): boolean {
  if (row.leaseUntil <= now) return true;
  return row.owner === lease.owner && (ownUntil === undefined || row.leaseUntil <= ownUntil);
}

function isListed({ stored: { transaction }, dueAt }: Row, filter: ListFilter): boolean {
  const { status, mode, createdFrom, createdBefore, dueAfter, after } = filter;
  return (
    (status === undefined || transaction.status === status) &&
    (mode === undefined || transaction.mode === mode) &&
    (createdFrom === undefined || transaction.createdAt >= createdFrom) &&
    (createdBefore === undefined || transaction.createdAt < createdBefore) &&
    (dueAfter === undefined || (!isFinal(transaction.status) && dueAt !== undefined && dueAt > dueAfter)) &&
    (after === undefined || transaction.gid > after)
  );
}

/** Freezes the value and everything in it; parts that are frozen already are shared between states and skipped. */
function frozen<T extends object>(value: T): T {
  if (Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) frozen(part);
  return Object.freeze(value);
}
