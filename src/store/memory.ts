/** A store in memory: for tests, and for trying things out. Nothing survives the process. */
import { assert } from '../platform/assert.ts';
import { isFinal, type Gid, type Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Lease, ListFilter, Store, Stored } from '../runner/ports.ts';

interface Row {
  readonly stored: Stored;
  readonly owner: string;
  readonly leaseUntil: Instant;
  readonly dueAt: Instant | undefined;
}

/** Opens an empty store. What goes in is frozen, so that what comes out can be shared. */
export function openMemoryStore(): Store {
  return new MemoryStore();
}

class MemoryStore implements Store {
  readonly #unfinished = new Map<Gid, Row>();
  /** In the order in which they finished. */
  readonly #finished = new Map<Gid, Row>();
  #isOpen = true;

  async insert(transaction: GlobalTransaction, lease: Lease): Promise<'inserted' | 'exists'> {
    this.#assertOpen();
    if (this.#row(transaction.gid) !== undefined) return 'exists';
    this.#put(transaction, 1, lease, transaction.deadline);
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

  async claimDue(now: Instant, lease: Lease, limit: number): Promise<readonly Stored[]> {
    this.#assertOpen();
    const due: { readonly row: Row; readonly dueAt: Instant }[] = [];
    for (const row of this.#unfinished.values()) {
      const { dueAt } = row;
      if (dueAt !== undefined && dueAt <= now && isFree(row, now, lease)) due.push({ row, dueAt });
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
    const { status, after, limit } = filter;
    const rows = [...this.#unfinished.values(), ...this.#finished.values()].map(({ stored }) => stored);
    return rows
      .filter(({ transaction: { status: found } }) => status === undefined || found === status)
      .filter(({ transaction: { gid } }) => after === undefined || gid > after)
      .sort((a, b) => (a.transaction.gid < b.transaction.gid ? -1 : 1))
      .slice(0, limit);
  }

  async deleteFinished(before: Instant, limit: number): Promise<number> {
    this.#assertOpen();
    const old: Gid[] = [];
    for (const [gid, row] of this.#finished) {
      if (old.length === limit) break;
      if ((row.stored.transaction.finishedAt ?? before) < before) old.push(gid);
    }
    for (const gid of old) this.#finished.delete(gid);
    return old.length;
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

function isFree(row: Row, now: Instant, lease: Lease): boolean {
  return row.leaseUntil <= now || row.owner === lease.owner;
}

/** Freezes the value and everything in it; parts that are frozen already are shared between states and skipped. */
function frozen<T extends object>(value: T): T {
  if (Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) frozen(part);
  return Object.freeze(value);
}
