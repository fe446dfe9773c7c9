/** Errors that a person or a program outside this process gets to see: a stable code, a text that says what to do, and whether to try again. */

/** May the same request be sent again? `safe`: yes, it had no effect or is idempotent; `ask`: look at the state first; `never`: it will fail again. */
export type Retry = 'never' | 'safe' | 'ask';

/** Stable codes of the errors that Atomesh itself makes. A code never changes its meaning. */
export type ErrorCode =
  | 'BAD_REQUEST'
  | 'BAD_GID'
  | 'BODY_TOO_LARGE'
  | 'UNAUTHORIZED'
  | 'NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'GID_UNKNOWN'
  | 'GID_CONFLICT'
  | 'TRANSACTION_DECIDED'
  | 'TRANSACTION_ROLLED_BACK'
  | 'OUTCOME_UNKNOWN'
  | 'TOO_MANY_BRANCHES'
  | 'TOO_MANY_TRANSACTIONS'
  | 'STORE_FAILED'
  | 'COORDINATOR_UNREACHABLE'
  | 'ROUTE_UNKNOWN'
  | 'UPSTREAM_UNREACHABLE'
  | 'UPSTREAM_TIMEOUT'
  | 'BRANCH_UNKNOWN'
  | 'BRANCH_DIRTY'
  | 'BRANCH_NOT_DIRTY'
  | 'REPLAY_MISMATCH'
  | 'RUN_SUPERSEDED'
  | 'LENGTH_REQUIRED'
  | 'TEMPLATE_UNFILLED'
  | 'SHUTTING_DOWN'
  | 'OVERLOADED'
  | 'INTERNAL';

/** An error for the other side. `message` says what was refused and why; `hint` says what to do. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { retry?: Retry; hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CodedError';
    this.code = code;
    this.retry = options.retry ?? 'never';
    this.hint = options.hint;
  }
}

/** The JSON body of every error answer, of the coordinator as of the sidecar. */
export interface ErrorBody {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string; readonly retry: Retry };
}

/** The body for `error`, as it goes over the wire. */
export function errorBody(error: CodedError): ErrorBody {
  return {
    error: {
      code: error.code,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      retry: error.retry,
    },
  };
}

const STATUS: Record<ErrorCode, number> = {
  BAD_REQUEST: 400,
  BAD_GID: 400,
  BODY_TOO_LARGE: 413,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  GID_UNKNOWN: 404,
  GID_CONFLICT: 409,
  TRANSACTION_DECIDED: 409,
  TRANSACTION_ROLLED_BACK: 409,
  OUTCOME_UNKNOWN: 503,
  RUN_SUPERSEDED: 409,
  LENGTH_REQUIRED: 411,
  TEMPLATE_UNFILLED: 422,
  TOO_MANY_BRANCHES: 422,
  TOO_MANY_TRANSACTIONS: 429,
  STORE_FAILED: 503,
  COORDINATOR_UNREACHABLE: 503,
  ROUTE_UNKNOWN: 404,
  UPSTREAM_UNREACHABLE: 502,
  UPSTREAM_TIMEOUT: 504,
  BRANCH_UNKNOWN: 404,
  BRANCH_DIRTY: 409,
  BRANCH_NOT_DIRTY: 409,
  REPLAY_MISMATCH: 500,
  SHUTTING_DOWN: 503,
  OVERLOADED: 503,
  INTERNAL: 500,
};

/** The HTTP status that goes with `code`. */
export function httpStatusOf(code: ErrorCode): number {
  return STATUS[code];
}
