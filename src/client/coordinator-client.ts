/** What the sidecar and the command line ask of a coordinator over its native REST API. */
import type {
  AbortRequest,
  BeginRequest,
  EnlistAnswer,
  EnlistRequest,
  TransactionList,
  TransactionView,
} from '../contract/messages.ts';
import type { Gid, GlobalStatus } from '../contract/transaction.ts';

/**
 * Every method resolves with the answer or rejects with a `CodedError`: the coordinator's own code, or
 * `COORDINATOR_UNREACHABLE` (retry `safe`: every method is idempotent) when no answer came.
 */
export interface CoordinatorClient {
  begin(request: BeginRequest): Promise<TransactionView>;
  enlist(gid: Gid, request: EnlistRequest): Promise<EnlistAnswer>;
  submit(gid: Gid): Promise<TransactionView>;
  abort(gid: Gid, request: AbortRequest): Promise<TransactionView>;
  retry(gid: Gid): Promise<TransactionView>;
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
