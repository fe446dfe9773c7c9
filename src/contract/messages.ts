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
 * | `POST /v1/transactions/{gid}/runs` | `{}` | 200 `RunAnswer`: a new run of a workflow, which ends all earlier ones; 409 when decided |
 * | `POST /v1/transactions/{gid}/steps` | `StepRequest` | 200 `{}` (recorded, durable); 409 `RUN_SUPERSEDED`, `TRANSACTION_DECIDED` |
 * | `GET /v1/transactions/{gid}/steps` | | 200 `RunAnswer`: the newest run and what is recorded, decided or not; begins nothing |
 * | `POST /v1/transactions/{gid}/submit` | `SubmitRequest` | 200 `TransactionView` (decided, durable); 409 `TRANSACTION_ROLLED_BACK`; 500 `REPLAY_MISMATCH` |
 * | `POST /v1/transactions/{gid}/abort` | `AbortRequest` | 200 `TransactionView`; 409 `TRANSACTION_DECIDED` when it has committed |
 * | `POST /v1/transactions/{gid}/retry` | `RetryRequest` | 200 `TransactionView`; every unfinished branch is asked again now, a dirty one too |
 * | `POST /v1/transactions/{gid}/resolve` | `ResolveRequest` | 200 `TransactionView` (recorded, durable; the branch is called next); 409 `BRANCH_NOT_DIRTY`; 404 `BRANCH_UNKNOWN` |
 * | `POST /v1/transactions/{gid}/stop` | `StopRequest` | 200 `TransactionView`: it has failed, and no branch is called any more, to compensate neither; 409 `TRANSACTION_DECIDED` when it is over |
 *
 * submit and abort are idempotent. Enlisting the same resource of the same gid again answers the same branch id and adds
 * the new operation URLs as alternatives (another replica of the same sidecar); with `requests` it replaces URLs and requests
 * (a branch that is known better now); one that was replaced so does not come back when it is repeated. A workflow is submitted by its newest run only: `run` must be given.
 *
 * A branch operation is a `POST` to the branch's URL for it with an empty JSON object as body, or what `requests` of its
 * enlistment says, and the headers `atomesh-gid`, `atomesh-branch` and `atomesh-op`. 2xx is success, 409 failure, 425 ongoing, anything
 * else unknown, unless `results` says otherwise. A 409 whose body carries the code `BRANCH_DIRTY` is `dirty`. A `grpc://host:port/package.Service/Method`
 * is a unary call with the same three as metadata: OK is success, ABORTED failure, FAILED_PRECONDITION ongoing, anything else unknown.
 */
import type {
  BranchId,
  BranchKind,
  BranchStatus,
  Gid,
  GlobalStatus,
  Instant,
  Mode,
  Operation,
  Resolution,
} from './transaction.ts';

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
  /**
   * What is asked of the initiator when it has not been heard of for a while, instead of a rollback at the deadline:
   * `msg`: how its local transaction ended (success: submit; failure: abort); then `timeoutMs` has no meaning and may not be given.
   * `workflow`: to run its program again; `timeoutMs` still ends it.
   */
  readonly callback?: Callback;
}

export interface Callback {
  readonly operation: 'msg' | 'workflow';
  /** Called like a branch, with branch `00`. */
  readonly url: string;
  /** So long after the begin (`msg`) or the last sign of life (`workflow`: a run, a step, an enlistment) it is called. */
  readonly afterMs: number;
  /**
   * The initiator's own, in base64, given back by `runs`: the request that a workflow begins with. Two begins of one gid are the
   * same only with the same payload and `initiator`: something unique in either lets exactly one of several processes begin it.
   */
  readonly payload?: string;
}

/**
 * How one operation of a branch is called when it is not a POST of `{}`: exactly as it says here, so without a body when it has none.
 * The coordinator's own token does not go along.
 */
export interface OperationRequest {
  /** GET, POST (default), PUT, PATCH or DELETE. Over gRPC without meaning. */
  readonly method?: string;
  /** Sent along; names in lower case. Over gRPC metadata, where the values of names that end in `-bin` are base64. */
  readonly headers?: Readonly<Record<string, string>>;
  /** In base64: the body; over gRPC the message. */
  readonly body?: string;
}

/** Which HTTP statuses of the answers mean what; anything that is in none of them is unknown. */
export interface ResultRules {
  readonly success: readonly StatusRange[];
  readonly failure: readonly StatusRange[];
  readonly ongoing: readonly StatusRange[];
}

/** From and to, both included. */
export type StatusRange = readonly [from: number, to: number];

export interface EnlistRequest {
  readonly kind: BranchKind;
  /** What takes part, unique within the gid: `<service>/<database>` for undo branches. 1 to 200 characters. */
  readonly resource: string;
  /** Where the operations of the second phase are called; an empty text where there is nothing to do. */
  readonly operations: Readonly<Partial<Record<Operation, string>>>;
  /** What is sent with them. Enlisting the same resource again with it replaces the URLs too: what an answer had to say is added so. */
  readonly requests?: Readonly<Partial<Record<Operation, OperationRequest>>>;
  readonly results?: ResultRules;
  /** Message (`msg`) only: delivered at the earliest so long after the decision. */
  readonly delayMs?: number;
  /** Message (`msg`) only: after so many tries it is given up (the branch's status is `abandoned`) and the transaction ends well without it. */
  readonly attemptsMax?: number;
  /** Pause between the first two tries, in place of the transaction's own. */
  readonly retryIntervalMs?: number;
  /** How long one call may take, in place of the transaction's own. */
  readonly requestTimeoutMs?: number;
  /** The run of a workflow that this belongs to: refused with RUN_SUPERSEDED when a later one has begun. */
  readonly run?: number;
}

export interface RunAnswer {
  /** From 1. */
  readonly run: number;
  /** The payload of the callback. */
  readonly payload?: string;
  readonly steps: readonly StepView[];
}

/** A finished step of a workflow, as its initiator keeps it. */
export interface StepView {
  /** The initiator's own name for it, unique in the transaction. 1 to 300 characters. */
  readonly step: string;
  /** The initiator's own, in base64. */
  readonly data: string;
}

export interface StepRequest extends StepView {
  readonly run: number;
}

export interface SubmitRequest {
  /** The run of a workflow that ends with this. */
  readonly run?: number;
  /**
   * The run whose program has ended so, where a later one only carries its recorded end out; `run` itself when absent. Refused with
   * REPLAY_MISMATCH while a branch, row images aside, was enlisted last by a run before it: its program went another way than that one.
   */
  readonly ended?: number;
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
  /** The run of a workflow that says so: refused with RUN_SUPERSEDED when a later one has begun. Absent: whoever says so. */
  readonly run?: number;
}

/** Has every unfinished branch asked again. Recorded with each that is dirty, as a decision about it is. */
export interface RetryRequest {
  /** Who wants it, for people. At most 200 characters. */
  readonly by?: string;
  /** Why, for people. At most 1,000 characters. */
  readonly reason?: string;
}

/** Gives the transaction up, whatever its branches did. Recorded with the transaction. */
export type StopRequest = RetryRequest;

/** What an operator decides about dirty branches; `by` and `reason` are who decides, and why. */
export interface ResolveRequest extends RetryRequest {
  /** The branch; absent: every dirty one of the transaction. */
  readonly branch?: BranchId;
  /** `retry`: it is asked again, as by `/retry`. Branches that are no row images can only be kept or retried. */
  readonly how: Resolution | 'retry';
}

/** A decision of an operator about a dirty branch. */
export interface ResolutionView extends Pick<ResolveRequest, 'how' | 'by' | 'reason'> {
  readonly at: Instant;
  /** `done`: the branch has carried it out. `refused`: it was still dirty afterwards. Absent: under way. */
  readonly outcome?: 'done' | 'refused';
}

/**
 * Why a branch is dirty. A participant may send it as `diagnosis` beside `error` in the body of a `BRANCH_DIRTY`; it is dropped when it is
 * longer than 16,384 characters.
 */
export interface Diagnosis {
  readonly reason: string;
  readonly table: string;
  /** Rows that are in the way, as far as they could be read. */
  readonly rows?: readonly RowDiagnosis[];
  /** So many more rows are in the way. */
  readonly rowsMore?: number;
}

/** One row that is not what the branch left. */
export interface RowDiagnosis {
  readonly table: string;
  readonly columns: readonly ColumnDiagnosis[];
}

/** Values are in their text form, long ones cut; null is SQL's NULL; a field is absent where there is, or was, no such row. */
export interface ColumnDiagnosis {
  readonly name: string;
  readonly before?: string | null;
  /** As the branch left it. */
  readonly after?: string | null;
  readonly current?: string | null;
  /** The global transaction changed it. */
  readonly changed: boolean;
  /** It is not what the branch left. */
  readonly differs: boolean;
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
  /** After so many calls in vain it is given up. */
  readonly attemptsMax?: number;
  readonly nextAttemptAt?: Instant;
  readonly lastError?: string;
  /** Why it is dirty, or was last. */
  readonly diagnosis?: Diagnosis;
  /** What operators have decided about it, oldest first. */
  readonly resolutions?: readonly ResolutionView[];
}

/** How the initiator is asked. */
export interface CallbackView {
  readonly operation: Callback['operation'];
  readonly url: string;
  /** Calls made so far. */
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
  /** Why it was rolled back, or that it was stopped. */
  readonly reason?: string;
  /** An operator has stopped it in this status: from then on nothing is called, and branches that were not over stay as they were. */
  readonly stoppedFrom?: GlobalStatus;
  /** Who has stopped it, where he has said so; `reason` has why. */
  readonly stoppedBy?: string;
  readonly initiator?: string;
  /** True when a branch is dirty: nothing goes on by itself. */
  readonly needsAttention: boolean;
  readonly callback?: CallbackView;
  /** The newest run of a workflow. */
  readonly run?: number;
  /** The names of the recorded steps of a workflow; `GET …/steps` has their data. */
  readonly steps?: readonly string[];
  readonly branches: readonly BranchView[];
}

export interface TransactionList {
  readonly transactions: readonly TransactionView[];
  /** Pass as `after` for the next page; absent at the end. */
  readonly next?: string;
}
