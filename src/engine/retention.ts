/** From when on a transaction that is over may be forgotten. */
import { isFinal, type BranchKind, type Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from './global-transaction.ts';

/** An instant that no clock reaches; every store's integers hold it. */
const NEVER = Number.MAX_SAFE_INTEGER as Instant;

/** What a participant of these kinds has done locally may stay prepared in its database until it is told how it ends. */
const PREPARING: ReadonlySet<BranchKind> = new Set<BranchKind>(['undo', 'xa']);

/**
 * The instant from which the retention of a transaction counts; undefined while it is unfinished. A final state without its instant counts
 * as finished since ever.
 *
 * One that an operator has stopped when it was decided to commit is kept for good, if a branch had not said that it has committed: there
 * something may be prepared still, which a sidecar would roll back if the coordinator no longer knew the gid, while other branches have
 * committed (docs/decisions/0030).
 */
export function agesFrom(transaction: GlobalTransaction): Instant | undefined {
  const { status, finishedAt, stoppedFrom, branches } = transaction;
  if (!isFinal(status)) return undefined;
  const mayBePrepared = branches.some((branch) => branch.status !== 'succeed' && PREPARING.has(branch.kind));
  return stoppedFrom === 'submitted' && mayBePrepared ? NEVER : (finishedAt ?? (0 as Instant));
}
