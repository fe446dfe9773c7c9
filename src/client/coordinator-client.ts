/** What the sidecar and the command line ask of a coordinator over its native REST API. */
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
  TransactionList,
  TransactionView,
} from '../contract/messages.ts';
import type { Gid, GlobalStatus } from '../contract/transaction.ts';

/**
 * Every method resolves with the answer or rejects with a `CodedError`: the coordinator's own code, or
 * `COORDINATOR_UNREACHABLE` (retry `safe`: every method may be repeated) when no answer came; its cause is what broke the connection
 * that the request may have arrived over, or kept one from being made.
 */
export interface CoordinatorClient {
  begin(request: BeginRequest): Promise<TransactionView>;
  enlist(gid: Gid, request: EnlistRequest): Promise<EnlistAnswer>;
  /** Begins a new run of a workflow, which supersedes every run before it; a repetition begins one more. */
  runs(gid: Gid): Promise<RunAnswer>;
  /** Records a finished step of a run; resolves once that is durable. The same step with the same data again changes nothing. */
  step(gid: Gid, request: StepRequest): Promise<void>;
  /** The newest run and the recorded steps of a workflow, decided or not; begins nothing. Undefined when the gid is not known. */
  steps(gid: Gid): Promise<RunAnswer | undefined>;
  submit(gid: Gid, request?: SubmitRequest): Promise<TransactionView>;
  abort(gid: Gid, request: AbortRequest): Promise<TransactionView>;
  /** Has every unfinished branch asked again now, a dirty one too. */
  retry(gid: Gid, request?: RetryRequest): Promise<TransactionView>;
  /** Decides about dirty branches; the same again about what was decided so changes nothing. */
  resolve(gid: Gid, request: ResolveRequest): Promise<TransactionView>;
  /** Gives the transaction up: no branch is called any more. TRANSACTION_DECIDED when it is over, stopped by an earlier call too. */
  stop(gid: Gid, request?: StopRequest): Promise<TransactionView>;
  /** The transaction, or undefined when the coordinator does not know the gid. `waitMs`: how long to wait for its end. */
  read(gid: Gid, waitMs?: number): Promise<TransactionView | undefined>;
  list(filter: {
    readonly status?: GlobalStatus;
    readonly limit?: number;
    readonly after?: string;
  }): Promise<TransactionList>;
  /** True when the coordinator says that it is ready. */
  ready(): Promise<boolean>;
  close(): Promise<void>;
}
