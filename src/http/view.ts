/** A transaction as the API shows it. */
import type { BranchView, TransactionView } from '../contract/messages.ts';
import { isFinal } from '../contract/transaction.ts';
import type { Branch, GlobalTransaction } from '../engine/global-transaction.ts';

/** The view of `transaction`: what the contract promises and nothing else of the state. */
export function viewOf(transaction: GlobalTransaction): TransactionView {
  const { gid, mode, status, createdAt, deadline, finishedAt, reason, initiator, branches } = transaction;
  return {
    gid,
    mode,
    status,
    createdAt,
    ...(status === 'prepared' ? { deadline } : {}),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(reason === undefined ? {} : { reason }),
    ...(initiator === undefined ? {} : { initiator }),
    needsAttention: !isFinal(status) && branches.some((branch) => branch.status === 'dirty'),
    branches: branches.map(branchViewOf),
  };
}

function branchViewOf(branch: Branch): BranchView {
  const { id, sequence, kind, resource, status, operations, attempts, notBefore, lastError } = branch;
  return {
    branchId: id,
    sequence,
    kind,
    resource,
    status,
    operations,
    attempts,
    ...(notBefore === undefined || status !== 'prepared' ? {} : { nextAttemptAt: notBefore }),
    ...(lastError === undefined ? {} : { lastError }),
  };
}
