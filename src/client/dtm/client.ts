/** What the client library asks of a coordinator: DTM's protocol, whether it travels over HTTP or gRPC. */
import type { Gid } from '../../contract/transaction.ts';

/** Where a coordinator is. */
export interface DtmConnection {
  /**
   * `http://coordinator:36789` (or https) for HTTP. `grpc://coordinator:36790` (or grpcs) for gRPC, which needs the package
   * `@grpc/grpc-js`: branches are then called over gRPC, unless their URLs begin with http.
   */
  readonly url: string;
  /** Sent as bearer token, where the coordinator asks for one. */
  readonly token?: string;
  /** How long one request may take. A submit that waits for the result gets `waitResultMs` on top. Default 10,000. */
  readonly timeoutMs?: number;
}

/** What every mode has. Durations in milliseconds; DTM itself takes whole seconds only. What is absent is the coordinator's default. */
export interface TransactionOptions {
  /** The gid to use; made here when absent. The same gid with the same content is the same transaction. */
  readonly gid?: Gid;
  /** Wait for the end: a transaction that was rolled back is then a `FailureError`, an unfinished one an `OngoingError`. */
  readonly waitResult?: boolean;
  /**
   * How long to wait at most, with `waitResult`; then it goes on alone, and this is COORDINATOR_UNREACHABLE, or an `OngoingError` when it is
   * known to be submitted. Default 60,000.
   */
  readonly waitResultMs?: number;
  /** Saga: compensate when it takes longer. TCC and XA: roll back when not submitted in time. Message: ask the initiator then. */
  readonly timeoutToFailMs?: number;
  /** How long one call of a branch by the coordinator may take. */
  readonly requestTimeoutMs?: number;
  /** The first pause between tries, and every pause after ONGOING. */
  readonly retryIntervalMs?: number;
  /** Saga: so many tries without an answer are forgiven, then it compensates. */
  readonly retryLimit?: number;
  /** Sent along with every call of a branch. */
  readonly branchHeaders?: Readonly<Record<string, string>>;
}

export type DtmTransType = 'saga' | 'tcc' | 'xa' | 'msg' | 'workflow';

/** A global transaction as it goes to the coordinator. */
export interface DtmRequest {
  readonly gid: Gid;
  readonly transType: DtmTransType;
  readonly options?: TransactionOptions;
  /** `payload` as bytes: text over HTTP. */
  readonly steps?: readonly {
    readonly action: string;
    readonly compensate?: string;
    readonly payload: Uint8Array;
  }[];
  readonly queryPrepared?: string;
  /** JSON text. */
  readonly customData?: string;
  readonly concurrent?: boolean;
  readonly rollbackReason?: string;
  readonly reqExtra?: Readonly<Record<string, string>>;
}

export interface DtmBranch {
  readonly gid: Gid;
  readonly transType: DtmTransType;
  readonly branchId: string;
  /** What belongs to its type: `confirm` and `cancel`, `url`, or `op` and `status`. */
  readonly data: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
}

/** A recorded step of a workflow. */
export interface DtmProgress {
  readonly branchId: string;
  readonly op: string;
  readonly status: string;
  readonly data: Uint8Array;
}

/** A workflow as the coordinator knows it. */
export interface DtmWorkflow {
  /** `prepared`, `succeed` or `failed`. */
  readonly status: string;
  readonly rollbackReason: string;
  readonly result: Uint8Array;
  readonly progresses: readonly DtmProgress[];
}

/**
 * Every method rejects with `FailureError` when the coordinator says FAILURE, `OngoingError` when it says ONGOING, and a
 * `CodedError` when it says anything else or nothing: COORDINATOR_UNREACHABLE or OUTCOME_UNKNOWN leave open whether the
 * request took effect.
 */
export interface DtmClient {
  /** The coordinator's own URL, as branches get to see it. */
  readonly url: string;
  prepare(request: DtmRequest): Promise<void>;
  /** With `waitResult` resolves only once the transaction has succeeded. Is never sent again before it is known that it did not arrive. */
  submit(request: DtmRequest): Promise<void>;
  abort(request: DtmRequest): Promise<void>;
  registerBranch(branch: DtmBranch): Promise<void>;
  prepareWorkflow(request: DtmRequest): Promise<DtmWorkflow>;
  /** Gives connections back; requests under way may fail. */
  close(): Promise<void>;
}

/** How long a coordinator may take to answer when nothing else is said. */
export const TIMEOUT_MS = 10_000;
/** How long a submit waits for the end when nothing else is said. */
const WAIT_RESULT_MS = 60_000;

/** How long this request may take, given what others may. */
export function timeLimitOf({ options }: DtmRequest, timeoutMs: number): number {
  return options?.waitResult === true ? timeoutMs + (options.waitResultMs ?? WAIT_RESULT_MS) : timeoutMs;
}
