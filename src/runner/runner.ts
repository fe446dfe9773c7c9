/** The coordinator's verbs, as the HTTP face (and later gRPC) calls them. Implemented by `run.ts`. */
import type { AbortRequest, BeginRequest, EnlistAnswer, EnlistRequest } from '../contract/messages.ts';
import type { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { ListFilter } from './ports.ts';

/** An expected outcome: the answer, or why it was refused. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: CodedError };

/**
 * Every answer of `begin`, `enlist`, `submit` and `abort` is durable when it is given. Nothing rejects but for defects;
 * a store that fails answers `STORE_FAILED`.
 */
export interface Runner {
  begin(
    request: BeginRequest,
  ): Promise<Outcome<{ readonly transaction: GlobalTransaction; readonly created: boolean }>>;
  enlist(gid: Gid, request: EnlistRequest): Promise<Outcome<EnlistAnswer>>;
  submit(gid: Gid): Promise<Outcome<GlobalTransaction>>;
  abort(gid: Gid, request: AbortRequest): Promise<Outcome<GlobalTransaction>>;
  retry(gid: Gid): Promise<Outcome<GlobalTransaction>>;
  read(gid: Gid): Promise<Outcome<GlobalTransaction>>;
  /** Resolves when the transaction is final or needs attention, or after `waitMs`, with its state at that time. */
  waitForEnd(gid: Gid, waitMs: number, signal: AbortSignal): Promise<Outcome<GlobalTransaction>>;
  list(filter: ListFilter): Promise<Outcome<readonly GlobalTransaction[]>>;
  /** Starts to claim due transactions (recovery) and to clean up finished ones. */
  start(): void;
  /** Takes no new work, lets calls in flight finish until `graceMs` is over, saves what they answered, and stops. */
  stop(graceMs: number): Promise<void>;
  /** Counts for metrics: transactions in memory, calls in flight. */
  readonly load: { readonly driven: number; readonly calls: number };
}
