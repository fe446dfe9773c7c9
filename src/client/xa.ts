/** XA: branches are prepared database transactions; when all are prepared, the coordinator has them committed. */
import { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import type { BranchIdentity } from './barrier/types.ts';
import type { BranchAnswer } from './branch/answer.ts';
import { callBranch } from './branch/call-branch.ts';
import { createBranchIds } from './branch/ids.ts';
import { type BranchReply, type BranchRequest, parameterOf, serveBranch, type ServeOptions } from './branch/serve.ts';
import type { DtmClient, TransactionOptions } from './dtm/client.ts';
import { initiate } from './initiator.ts';
import type { XaDatabase } from './xa/database.ts';

export interface XaBranch {
  /** Where the branch does its local phase; the coordinator calls the same URL to commit or roll back. */
  readonly url: string;
  /** Text and bytes as they are, anything else as JSON. */
  readonly body?: unknown;
  /** How long the local phase may take. Default 10,000. */
  readonly timeoutMs?: number;
}

/** An XA transaction in the hands of its initiator. */
export interface Xa {
  readonly gid: Gid;
  /**
   * Has a branch do its local phase. Resolves with its answer when it is prepared. Rejects with `FailureError`, `OngoingError`
   * or `CodedError` otherwise: the transaction is then rolled back, also when the error is caught.
   */
  callBranch(branch: XaBranch): Promise<BranchAnswer>;
}

/**
 * Does `work` in an XA transaction and resolves with its value once the coordinator has it that all is to be committed. See
 * `initiate` for the errors; what `work` throws is passed on after the transaction has been given up.
 */
export function runXa<T>(dtm: DtmClient, options: TransactionOptions, work: (xa: Xa) => Promise<T>): Promise<T> {
  return initiate(dtm, 'xa', options, (gid, calls) => {
    const nextId = createBranchIds('');
    const { branchHeaders: headers } = options;
    const call = ({ url, body, timeoutMs }: XaBranch): Promise<BranchAnswer> => {
      const branch: BranchIdentity = { gid, transType: 'xa', branchId: nextId(), op: 'action' };
      return callBranch({ url, body, headers, timeoutMs }, branch, { dtm: dtm.url, phase2_url: url });
    };
    return work({ gid, callBranch: (branch) => calls.watch(async () => call(branch)) });
  });
}

/**
 * Serves a branch of XA transactions, all of it at one URL: the local phase, which does `work` and leaves it prepared in
 * `database`, and the coordinator's commit or rollback. What `work` returns is the answer; a repeated request is answered
 * without it. See `serveBranch` for what errors become. The coordinator is the one of `dtm`, whatever the request says.
 */
export function serveXa<Tx>(
  request: BranchRequest,
  dtm: Pick<DtmClient, 'registerBranch'>,
  database: XaDatabase<Tx>,
  work: (tx: Tx, branch: BranchIdentity, body: unknown) => Promise<unknown>,
  options: ServeOptions = {},
): Promise<BranchReply> {
  return serveBranch(
    request,
    async (branch, body) => {
      if (branch.op === 'commit' || branch.op === 'rollback') return database.finish(branch);
      if (branch.op !== 'action') throw misplaced(branch);
      const { gid, transType, branchId } = branch;
      if (transType !== 'xa') throw misplaced(branch);
      const url = phaseTwoUrl(request);
      const register = (): Promise<void> =>
        dtm.registerBranch({ gid, transType, branchId, data: { url }, payload: new Uint8Array() });
      const outcome = await database.prepare(branch, register, (tx) => work(tx, branch, body));
      return outcome.kind === 'prepared' ? outcome.value : undefined;
    },
    options,
  );
}

function phaseTwoUrl(request: BranchRequest): string {
  const url = parameterOf(request, 'phase2_url');
  if (url !== undefined) return url;
  throw new CodedError('BAD_REQUEST', 'the request does not say where the coordinator is to call the second phase', {
    hint: 'Call the branch with callBranch of an XA transaction, which sends phase2_url along.',
  });
}

function misplaced({ transType, op }: BranchIdentity): CodedError {
  return new CodedError('BAD_REQUEST', `an XA branch knows no ${op} of a ${transType} transaction`, {
    hint: 'Call this URL as a branch of an XA transaction only.',
  });
}
