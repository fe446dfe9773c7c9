/** The state of one global transaction: everything that `decide` knows, and everything that a store keeps. Plain JSON. */
import type {
  BranchId,
  BranchKind,
  BranchStatus,
  Gid,
  GlobalStatus,
  Instant,
  Mode,
  Operation,
} from '../contract/transaction.ts';

export interface Branch {
  readonly id: BranchId;
  /** The order of enlistment, from 1. */
  readonly sequence: number;
  readonly kind: BranchKind;
  readonly resource: string;
  readonly operations: Readonly<Partial<Record<Operation, readonly string[]>>>;
  readonly status: BranchStatus;
  /** Calls of the second phase answered so far, whatever the answer. */
  readonly attempts: number;
  /** Not to be called before this instant. */
  readonly notBefore?: Instant;
  readonly lastError?: string;
}

export interface GlobalTransaction {
  readonly gid: Gid;
  readonly mode: Mode;
  readonly status: GlobalStatus;
  readonly createdAt: Instant;
  /** The instant at which an undecided transaction is rolled back. */
  readonly deadline: Instant;
  readonly retryIntervalMs: number;
  readonly requestTimeoutMs: number;
  readonly finishedAt?: Instant;
  readonly reason?: string;
  readonly initiator?: string;
  /** Hash of the request that began it: the same gid with another request is refused. */
  readonly requestHash: string;
  readonly branches: readonly Branch[];
}
