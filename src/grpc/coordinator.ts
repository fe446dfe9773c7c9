/** The service `atomesh.v1.Coordinator`: a transaction's state, which DTM's protocol cannot tell over gRPC. */
import { status } from '@grpc/grpc-js';
import type { CodedError, ErrorCode } from '../contract/errors.ts';
import type { BranchView, CallbackView, TransactionView } from '../contract/messages.ts';
import { parseGid } from '../contract/transaction.ts';
import type { Runner } from '../runner/runner.ts';
import { viewOf } from '../runner/view.ts';
import type { UnaryMethod, UnaryReply } from './unary.ts';

/** A long poll ends after this at the latest; a longer wait is cut to it. */
const WAIT_MS_MAX = 60_000;

export interface QueryMessage {
  readonly gid: string;
  readonly wait_ms: number;
}

/** Field by field as `proto/coordinator.proto` has it. */
export interface TransactionStateMessage {
  readonly gid: string;
  readonly mode: string;
  readonly status: string;
  readonly created_at: number;
  readonly deadline: number;
  readonly finished_at: number;
  readonly reason: string;
  readonly initiator: string;
  readonly needs_attention: boolean;
  readonly branches: readonly BranchStateMessage[];
  readonly callback?: CallbackStateMessage;
  readonly run: number;
  readonly steps: readonly string[];
}

export interface CallbackStateMessage {
  readonly operation: string;
  readonly url: string;
  readonly attempts: number;
  readonly next_attempt_at: number;
  readonly last_error: string;
}

export interface BranchStateMessage {
  readonly branch_id: string;
  readonly sequence: number;
  readonly kind: string;
  readonly resource: string;
  readonly status: string;
  readonly operations: Readonly<Record<string, { readonly urls: readonly string[] }>>;
  readonly attempts: number;
  readonly next_attempt_at: number;
  readonly last_error: string;
  readonly attempts_max: number;
}

/** What of the runner is asked here. */
export type Reader = Pick<Runner, 'read' | 'waitForEnd'>;

/** The methods of the service. */
export interface CoordinatorMethods {
  readonly Query: UnaryMethod<QueryMessage, TransactionStateMessage>;
}

export function coordinatorMethods(runner: Reader): CoordinatorMethods {
  return {
    Query: async (query, signal) => {
      const gid = parseGid(query.gid);
      if (gid === undefined) {
        const details = 'gid: expected 1 to 128 characters of A-Z a-z 0-9 . _ : { } -';
        return { kind: 'status', code: status.INVALID_ARGUMENT, details };
      }
      const waitMs = Math.min(query.wait_ms, WAIT_MS_MAX);
      const outcome = await (waitMs > 0 ? runner.waitForEnd(gid, waitMs, signal) : runner.read(gid));
      return outcome.ok ? { kind: 'answer', message: stateOf(viewOf(outcome.value)) } : refusal(outcome.error);
    },
  };
}

const CODES: Partial<Record<ErrorCode, status>> = {
  GID_UNKNOWN: status.NOT_FOUND,
  STORE_FAILED: status.UNAVAILABLE,
  SHUTTING_DOWN: status.UNAVAILABLE,
  OVERLOADED: status.UNAVAILABLE,
};

/** An error as HTTP has it, in the words of gRPC; its code and the fact of retry go along as metadata. */
function refusal({ code, message, hint, retry }: CodedError): UnaryReply<never> {
  return {
    kind: 'status',
    code: CODES[code] ?? status.INTERNAL,
    details: hint === undefined ? message : `${message}; ${hint}`,
    metadata: { 'atomesh-error-source': 'coordinator', 'atomesh-error-code': code, 'atomesh-error-retry': retry },
  };
}

function stateOf(view: TransactionView): TransactionStateMessage {
  return {
    gid: view.gid,
    mode: view.mode,
    status: view.status,
    created_at: view.createdAt,
    deadline: view.deadline ?? 0,
    finished_at: view.finishedAt ?? 0,
    reason: view.reason ?? '',
    initiator: view.initiator ?? '',
    needs_attention: view.needsAttention,
    branches: view.branches.map(branchStateOf),
    ...(view.callback === undefined ? {} : { callback: callbackStateOf(view.callback) }),
    run: view.run ?? 0,
    steps: view.steps ?? [],
  };
}

function callbackStateOf({ operation, url, attempts, nextAttemptAt, lastError }: CallbackView): CallbackStateMessage {
  return { operation, url, attempts, next_attempt_at: nextAttemptAt ?? 0, last_error: lastError ?? '' };
}

function branchStateOf(branch: BranchView): BranchStateMessage {
  return {
    branch_id: branch.branchId,
    sequence: branch.sequence,
    kind: branch.kind,
    resource: branch.resource,
    status: branch.status,
    operations: Object.fromEntries(Object.entries(branch.operations).map(([name, urls]) => [name, { urls }])),
    attempts: branch.attempts,
    next_attempt_at: branch.nextAttemptAt ?? 0,
    last_error: branch.lastError ?? '',
    attempts_max: branch.attemptsMax ?? 0,
  };
}
