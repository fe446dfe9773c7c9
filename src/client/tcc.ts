/** TCC: try every branch; when all have succeeded, the coordinator confirms them, otherwise it cancels them. */
import type { Gid } from '../contract/transaction.ts';
import type { BranchIdentity } from './barrier/types.ts';
import type { BranchAnswer } from './branch/answer.ts';
import { payloadOf } from './branch/call.ts';
import { callBranch } from './branch/call-branch.ts';
import { createBranchIds } from './branch/ids.ts';
import type { DtmClient, TransactionOptions } from './dtm/client.ts';
import { initiate } from './initiator.ts';

export interface TccBranch {
  readonly try: string;
  readonly confirm: string;
  readonly cancel: string;
  /** What all three calls carry: text and bytes as they are, anything else as JSON. */
  readonly body?: unknown;
  /** How long the Try may take. Default 10,000. */
  readonly timeoutMs?: number;
}

/** A TCC transaction in the hands of its initiator, or of a branch that calls further branches. */
export interface Tcc {
  readonly gid: Gid;
  /**
   * Registers a branch, then calls its Try. Resolves with the answer of a Try that succeeded. Rejects with `FailureError`,
   * `OngoingError` or `CodedError` otherwise: the transaction is then rolled back, also when the error is caught.
   */
  callBranch(branch: TccBranch): Promise<BranchAnswer>;
}

/**
 * Does `work` in a TCC transaction and resolves with its value once the coordinator has it that all is to be confirmed. See
 * `initiate` for the errors; what `work` throws is passed on after the transaction has been given up.
 */
export function runTcc<T>(dtm: DtmClient, options: TransactionOptions, work: (tcc: Tcc) => Promise<T>): Promise<T> {
  return initiate(dtm, 'tcc', options, (gid, calls) => {
    const branches = tccBranches(dtm, gid, '', options);
    return work({ gid, callBranch: (branch) => calls.watch(() => branches(branch)) });
  });
}

/**
 * The transaction that a Try belongs to, so that it can call branches of its own; they are numbered below it. The Try must
 * fail when one of them does. `options`: what the initiator sends along with each call (`branchHeaders`).
 */
export function joinTcc(dtm: DtmClient, branch: BranchIdentity, options: TransactionOptions = {}): Tcc {
  return { gid: branch.gid, callBranch: tccBranches(dtm, branch.gid, branch.branchId, options) };
}

function tccBranches(
  dtm: DtmClient,
  gid: Gid,
  parent: string,
  { branchHeaders: headers }: TransactionOptions,
): Tcc['callBranch'] {
  const nextId = createBranchIds(parent);
  return async ({ try: url, confirm, cancel, body, timeoutMs }) => {
    const branch: BranchIdentity = { gid, transType: 'tcc', branchId: nextId(), op: 'try' };
    const data = { confirm, cancel };
    await dtm.registerBranch({ gid, transType: 'tcc', branchId: branch.branchId, data, payload: payloadOf(body) });
    return callBranch({ url, body, headers, timeoutMs }, branch, { dtm: dtm.url });
  };
}
