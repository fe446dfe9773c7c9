/** How an operation can end short of success, as errors: each carries whether it may be tried again. */
import type { CallResult } from '../contract/transaction.ts';
import type { Retry } from '../contract/errors.ts';

/**
 * FAILURE, DTM's word for "final: do not retry, roll back". Throw it from a branch operation to refuse it; it is thrown here
 * when a branch refused, or when the global transaction has been rolled back.
 */
export class FailureError extends Error {
  readonly result = 'failure';
  readonly retry: Retry = 'never';

  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'FailureError';
  }
}

/**
 * ONGOING, DTM's word for "not finished yet: ask again at a fixed interval". Throw it from a branch operation that goes on
 * elsewhere; it is thrown here when a branch, or the global transaction, has not ended yet.
 */
export class OngoingError extends Error {
  readonly result = 'ongoing';
  readonly retry: Retry = 'safe';

  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'OngoingError';
  }
}

/**
 * What an error says of the operation that threw it. Only a `FailureError` is a failure: everything else, silence and defects
 * included, leaves open whether the operation took effect.
 */
export function resultOfError(error: unknown): Exclude<CallResult, 'success' | 'dirty'> {
  if (error instanceof FailureError) return 'failure';
  return error instanceof OngoingError ? 'ongoing' : 'unknown';
}

/** What `thrown` says, for people. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
