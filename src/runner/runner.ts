/** The coordinator's verbs, as HTTP and gRPC call them. Implemented by `run.ts`. */
import type {
  AbortRequest,
  BeginRequest,
  EnlistAnswer,
  EnlistRequest,
  ResolveRequest,
  RetryRequest,
  StopRequest,
  RunAnswer,
  StepRequest,
  SubmitRequest,
} from '../contract/messages.ts';
import type { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import type { NewTransaction } from '../contract/new-transaction.ts';
import type { Event } from '../engine/event.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { ListFilter } from './ports.ts';

/** An expected outcome: the answer, or why it was refused. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: CodedError };

/**
 * Every answer of `begin`, `enlist`, `run`, `step`, `submit` and `abort` is durable when it is given. Nothing rejects but for defects;
 * a store that fails answers `STORE_FAILED`.
 */
export interface Runner {
  begin(
    request: BeginRequest,
  ): Promise<Outcome<{ readonly transaction: GlobalTransaction; readonly created: boolean }>>;
  /**
   * Begins a transaction of another mode than mesh. One that is known is taken up when the request is the same: submitted if it is
   * not yet, and asked again at once where it waits for its next try.
   */
  startNew(
    request: NewTransaction,
    status: 'prepared' | 'submitted',
  ): Promise<Outcome<{ readonly transaction: GlobalTransaction; readonly created: boolean }>>;
  /** Lets anything else happen to a transaction; answers when it is durable. */
  happen(gid: Gid, event: Event): Promise<Outcome<GlobalTransaction>>;
  /** The same for another coordinator that believes that this one holds the transaction; refused with STORE_FAILED when a third one does. */
  happenHere(gid: Gid, event: Event): Promise<Outcome<GlobalTransaction>>;
  /**
   * Does `act` and, when that was taken, waits until nothing is under way for the transaction any more: it is final, or its next try
   * comes later, or `waitMs` are over. Answers its state at that time.
   */
  andWait(
    gid: Gid,
    waitMs: number,
    signal: AbortSignal,
    act: () => Promise<Outcome<GlobalTransaction>>,
  ): Promise<Outcome<GlobalTransaction>>;
  enlist(gid: Gid, request: EnlistRequest): Promise<Outcome<EnlistAnswer>>;
  /** A new run of a workflow in a mesh, which supersedes all earlier ones. */
  run(gid: Gid): Promise<Outcome<RunAnswer>>;
  /** Records a finished step of a run. */
  step(gid: Gid, request: StepRequest): Promise<Outcome<GlobalTransaction>>;
  submit(gid: Gid, request?: SubmitRequest): Promise<Outcome<GlobalTransaction>>;
  abort(gid: Gid, request: AbortRequest): Promise<Outcome<GlobalTransaction>>;
  /** Has every unfinished branch asked again now. */
  retry(gid: Gid, request?: RetryRequest): Promise<Outcome<GlobalTransaction>>;
  /** An operator's decision about dirty branches. */
  resolve(gid: Gid, request: ResolveRequest): Promise<Outcome<GlobalTransaction>>;
  /** An operator gives the transaction up. TRANSACTION_DECIDED when it is over, stopped by an earlier call too. */
  giveUp(gid: Gid, request?: StopRequest): Promise<Outcome<GlobalTransaction>>;
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
