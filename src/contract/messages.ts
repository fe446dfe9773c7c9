/**
 * The native REST API of the coordinator, as types. All bodies are JSON; all times are milliseconds since the epoch; all
 * durations are milliseconds. Errors are `ErrorBody` with the status of their code.
 *
 * | request | body | answers |
 * | --- | --- | --- |
 * | `POST /v1/transactions` | `BeginRequest` | 201 `TransactionView`; 200 when the gid exists with the same request; 409 `GID_CONFLICT` with another |
 * | `GET /v1/transactions/{gid}?wait=30s` | | 200 `TransactionView`, with `wait` once it is over or the time has passed; 404 `GID_UNKNOWN` |
 * | `GET /v1/transactions?status=&limit=&after=` | | 200 `TransactionList`, in the order of gid |
 * | `POST /v1/transactions/{gid}/branches` | `EnlistRequest` | 200 `EnlistAnswer`; 409 `TRANSACTION_DECIDED`; 404 `GID_UNKNOWN` |
 * | `POST /v1/transactions/{gid}/submit` | `{}` | 200 `TransactionView` (decided, durable); 409 `TRANSACTION_ROLLED_BACK` |
 * | `POST /v1/transactions/{gid}/abort` | `AbortRequest` | 200 `TransactionView`; 409 `TRANSACTION_DECIDED` when it has committed |
 * | `POST /v1/transactions/{gid}/retry` | `{}` | 200 `TransactionView`; every unfinished branch is asked again now, a dirty one too |
 *
 * submit and abort are idempotent. Enlisting the same resource of the same gid again answers the same branch id and adds
 * the new operation URLs as alternatives (another replica of the same sidecar).
 *
 * A branch operation is a `POST` to the branch's URL for it with an empty JSON object as body and the headers
 * `atomesh-gid`, `atomesh-branch` and `atomesh-op`. 2xx is success, 409 failure, 425 ongoing, anything else unknown. A 409 whose
 * body carries the code `BRANCH_DIRTY` is `dirty`.
 */
import type { BranchId, BranchKind, BranchStatus, Gid, GlobalStatus, Instant, Mode, Operation } from './transaction.ts';

export interface BeginRequest {
  /** The gid to use; made by the coordinator when absent. */
  readonly gid?: Gid;
  readonly mode?: Mode;
  /** After this long without a decision the coordinator rolls back. Default 60,000; at least 1; at most 30 days. */
  readonly timeoutMs?: number;
  /** First pause between tries of a branch operation; doubles up to the cap. Default 1,000. */
  readonly retryIntervalMs?: number;
  /** How long one branch call may take before it counts as unknown. Default 10,000. */
  readonly requestTimeoutMs?: number;
  /** Who began it, for people: `orders POST /orders`. At most 200 characters. */
  readonly initiator?: string;
}

export interface EnlistRequest {
  readonly kind: BranchKind;
  /** What takes part, unique within the gid: `<service>/<database>` for undo branches. 1 to 200 characters. */
  readonly resource: string;
  /** Where the operations of the second phase are called. */
  readonly operations: Readonly<Partial<Record<Operation, string>>>;
}

export interface EnlistAnswer {
  readonly gid: Gid;
  readonly branchId: BranchId;
  /** The order of enlistment inside the gid, from 1. Rollback goes backwards through it. */
  readonly sequence: number;
}

export interface AbortRequest {
  /** For people and the log; at most 1,000 characters. */
  readonly reason?: string;
}

export interface BranchView {
  readonly branchId: BranchId;
  readonly sequence: number;
  readonly kind: BranchKind;
  readonly resource: string;
  readonly status: BranchStatus;
  readonly operations: Readonly<Partial<Record<Operation, readonly string[]>>>;
  /** Calls of the second phase made so far. */
  readonly attempts: number;
  readonly nextAttemptAt?: Instant;
  readonly lastError?: string;
}

export interface TransactionView {
  readonly gid: Gid;
  readonly mode: Mode;
  readonly status: GlobalStatus;
  readonly createdAt: Instant;
  /** When the coordinator rolls back by itself; absent once decided. */
  readonly deadline?: Instant;
  readonly finishedAt?: Instant;
  /** Why it was rolled back. */
  readonly reason?: string;
  readonly initiator?: string;
  /** True when a branch is dirty: nothing goes on by itself. */
  readonly needsAttention: boolean;
  readonly branches: readonly BranchView[];
}

export interface TransactionList {
  readonly transactions: readonly TransactionView[];
  /** Pass as `after` for the next page; absent at the end. */
  readonly next?: string;
}
