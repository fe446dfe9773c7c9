/** What the runner needs from outside, with the laws that every implementation keeps. Types only. */
import type { Diagnosis, OperationRequest, ResultRules } from '../contract/messages.ts';
import type {
  BranchId,
  CallResult,
  Gid,
  GlobalStatus,
  Instant,
  Mode,
  Operation,
  Protocol,
  Resolution,
} from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';

/** A transaction as the store holds it. `version` grows by one with every save: it fences a stale owner's writes. */
export interface Stored {
  readonly transaction: GlobalTransaction;
  readonly version: number;
}

/** When a write must be on disk before it counts: `now` (begin, enlist, submit, abort, final states) or `soon` (progress of one branch). */
export type Durability = 'now' | 'soon';

/**
 * Keeps global transactions.
 *
 * Laws (`test/store/laws.ts` holds every implementation to them):
 * - A resolved promise of a `now` write means that it survives any crash of process and machine.
 * - Writes to one gid take effect in the order of the calls.
 * - A lost race is a value (`exists`, `conflict`), never an exception.
 * - A rejected promise means that nothing is known of that write; the caller stops serving that gid until it has read it again.
 */
export interface Store {
  /** Adds a transaction at version 1, owned by `lease.owner` until `lease.until`, due when `dueFromBegin` (engine) says. */
  insert(transaction: GlobalTransaction, lease: Lease): Promise<'inserted' | 'exists'>;
  /** Replaces the transaction if its version is still `version` and its owner `lease.owner`; the stored version becomes `version + 1`. `dueAt`: when it wants to be woken, undefined when never. */
  save(
    next: GlobalTransaction,
    version: number,
    lease: Lease,
    dueAt: Instant | undefined,
    durability: Durability,
  ): Promise<'saved' | 'conflict'>;
  read(gid: Gid): Promise<Stored | undefined>;
  /**
   * Takes over up to `limit` unfinished transactions that are due at `now`, oldest due first: those whose lease has passed, and
   * `lease.owner`'s own whose lease ends by `ownUntil` (what an earlier life left; absent: all of its own). No transaction is
   * claimed by two owners at once.
   */
  claimDue(now: Instant, lease: Lease, limit: number, ownUntil?: Instant): Promise<readonly Stored[]>;
  /** Takes over one transaction if it is unfinished and its lease has passed or is the caller's own; one that is another's or finished answers `held`. */
  claim(gid: Gid, now: Instant, lease: Lease): Promise<Stored | 'held' | 'unknown'>;
  /** Moves the leases of the given gids that `lease.owner` still owns to `lease.until`, back too: one until 0 is given up, and others hear of it at once. Answers those it has lost. */
  renew(gids: readonly Gid[], lease: Lease): Promise<readonly Gid[]>;
  list(filter: ListFilter): Promise<readonly Stored[]>;
  /** Deletes finished transactions that age from before `before` (`agesFrom`, engine), at most `limit`; never an unfinished one. Answers how many. */
  deleteFinished(before: Instant, limit: number): Promise<number>;
  close(): Promise<void>;
}

/** What a store has besides when several coordinators share it. */
export interface Shared {
  /** Who has the lease of the unfinished transaction at `now`; undefined when nobody has. */
  holderOf(gid: Gid, now: Instant): Promise<string | undefined>;
  /** Calls `listener` when somebody else has given up a lease, or may have while we did not hear. At most one listener. */
  onDue(listener: () => void): void;
}

/** Small records beside the transactions: topics. They live until they are deleted. A lost race is a value here too. */
export interface Records {
  readRecord(category: string, key: string): Promise<StoredRecord | undefined>;
  /** Adds (`version` 0) or replaces a record that still has this version; its version grows by one. */
  saveRecord(record: NewRecord, version: number, now: Instant): Promise<'saved' | 'conflict'>;
  /** Answers whether there was one. */
  deleteRecord(category: string, key: string): Promise<boolean>;
  /** The records of a category after the key `after`, in the order of their keys. */
  listRecords(category: string, after: string, limit: number): Promise<readonly StoredRecord[]>;
}

export interface NewRecord {
  readonly category: string;
  readonly key: string;
  readonly value: string;
}

export interface StoredRecord extends NewRecord {
  readonly version: number;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
}

/** Who may write, and until when, if not renewed. */
export interface Lease {
  readonly owner: string;
  readonly until: Instant;
}

/** What transactions to list, in the order of their gids. All that is given must hold. */
export interface ListFilter {
  readonly status?: GlobalStatus;
  readonly mode?: Mode;
  /** Begun at or after. */
  readonly createdFrom?: Instant;
  /** Begun before. */
  readonly createdBefore?: Instant;
  /** Wants to be looked at later than this. */
  readonly dueAfter?: Instant;
  /** Gids behind this one. */
  readonly after?: string;
  readonly limit: number;
}

/** Calls a participant. Never throws: whatever goes wrong is `unknown` with its reason in `detail`. */
export interface Transport {
  call(request: BranchCall, signal: AbortSignal): Promise<BranchAnswer>;
}

/** What a participant has answered. */
export interface BranchAnswer {
  readonly result: CallResult;
  readonly detail?: string;
  /** With `dirty`, where the participant says more. */
  readonly diagnosis?: Diagnosis;
}

export interface BranchCall {
  readonly gid: Gid;
  readonly mode: Mode;
  readonly branch: BranchId;
  readonly operation: Operation;
  readonly url: string;
  /** What an operator has decided about the branch, which was dirty. */
  readonly resolution?: Resolution;
  readonly timeoutMs: number;
  /** How to call; absent: in the native way (`src/contract/messages.ts`). */
  readonly protocol?: Protocol;
  readonly headers?: Readonly<Record<string, string>>;
  /** In base64. */
  readonly payload?: string;
  /** The name of the workflow, for its callback. */
  readonly name?: string;
  /** In the native way: what is sent in place of a POST of `{}`. */
  readonly request?: OperationRequest;
  /** In the native way over HTTP: what the statuses of the answer mean, if not what they mean to all. */
  readonly results?: ResultRules;
}

/** The only source of time. `at` calls once at or after the instant; the returned function cancels. */
export interface Clock {
  now(): Instant;
  at(instant: Instant, run: () => void): () => void;
}
