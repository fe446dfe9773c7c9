/** A transaction in the hands of this process. */
import {
  isFinal,
  type BranchId,
  type CallResult,
  type Gid,
  type Instant,
  type Operation,
} from '../contract/transaction.ts';
import type { GlobalTransaction, Branch } from '../engine/global-transaction.ts';
import type { Effect } from '../engine/effect.ts';
import { needsAttention } from '../engine/status.ts';
import type { Posted } from './fold.ts';
import type { Stored } from './ports.ts';

/** What metrics may want to know. Durations in milliseconds. */
export type RunnerEvent =
  /** A transaction has become final; `durationMs` since its begin. */
  | { readonly kind: 'finished'; readonly transaction: GlobalTransaction; readonly durationMs: number }
  /** A message was tried as often as its sender wished, in vain; `branch` says how often and why. */
  | { readonly kind: 'abandoned'; readonly transaction: GlobalTransaction; readonly branch: Branch }
  /** A branch call has been answered. */
  | {
      readonly kind: 'called';
      readonly transaction: GlobalTransaction;
      /** As it was before the call. */
      readonly branch: Branch;
      readonly operation: Operation;
      readonly result: CallResult;
      readonly detail?: string;
      readonly durationMs: number;
    };

/** The mutable record of one transaction. Only `driver.ts` writes to it. */
export interface Driven {
  readonly gid: Gid;
  /** As it is in the store; when `isUnsaved`, with answers of branches that are not written yet. */
  transaction: GlobalTransaction;
  version: number;
  /** Without renewal, others may take the transaction from then on. */
  leaseUntil: Instant;
  isUnsaved: boolean;
  /** The next turn saves even if nothing has changed. */
  mustSave: boolean;
  mailbox: Posted[];
  isWorking: boolean;
  /** A decision is being written: what it makes due is not known to be due yet. */
  isSaving: boolean;
  /** Branches whose call is waiting for its turn, in flight, or answered and not yet folded. */
  readonly calling: Set<BranchId>;
  /** What was last found to be due: a call that waited for its turn is made only while it is among it. */
  due: readonly Effect[];
  /** Ends the calls in flight when the transaction is lost; made with the first call. */
  calls: AbortController | undefined;
  /** No longer in our hands: nothing more is performed, and answers that still come are dropped. */
  isDropped: boolean;
}

/** The record of a transaction that has just come into our hands. */
export function drivenFrom(stored: Stored, leaseUntil: Instant): Driven {
  return {
    gid: stored.transaction.gid,
    transaction: stored.transaction,
    version: stored.version,
    leaseUntil,
    isUnsaved: false,
    mustSave: false,
    mailbox: [],
    isWorking: false,
    isSaving: false,
    calling: new Set(),
    due: [],
    calls: undefined,
    isDropped: false,
  };
}

/**
 * True while we may act under the lease. One that seems to run for longer than leases do was taken before the clock was set back, and
 * others have seen it end: it is proved by a write, like one that has passed. The third beyond is for clocks that are set by a little.
 */
export function holdsLease({ leaseUntil }: Driven, now: Instant, leaseMs: number): boolean {
  return leaseUntil > now && leaseUntil - now <= (leaseMs * 4) / 3;
}

/** True when nothing is under way for the transaction: what comes next comes later by itself. */
export function isResting({ calling, mailbox, isSaving }: Driven): boolean {
  return calling.size === 0 && mailbox.length === 0 && !isSaving;
}

/** True when nobody needs to wait for the transaction any longer. */
export function isOver(transaction: GlobalTransaction): boolean {
  return isFinal(transaction.status) || needsAttention(transaction);
}

/** What a decision that holds has to tell: of the branches that it gave up, and of the end. */
export function tidingsOf(transaction: GlobalTransaction, abandoned: readonly Branch[]): readonly RunnerEvent[] {
  const tidings = abandoned.map((branch): RunnerEvent => ({ kind: 'abandoned', transaction, branch }));
  if (!isFinal(transaction.status)) return tidings;
  const durationMs = (transaction.finishedAt ?? transaction.createdAt) - transaction.createdAt;
  return [...tidings, { kind: 'finished', transaction, durationMs }];
}

/** When the store is to hand the transaction to somebody else, should we fall silent. */
export function dueAtOf(effects: readonly Effect[], now: Instant): Instant | undefined {
  let dueAt: Instant | undefined;
  for (const effect of effects) {
    if (effect.kind === 'call') return now;
    dueAt = effect.at;
  }
  return dueAt;
}
