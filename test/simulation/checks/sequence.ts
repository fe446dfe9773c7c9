/** Which branches must be done before a call may be made. */
import type { BranchId, Operation } from '../../../src/contract/transaction.ts';
import { hasUrl, predecessorsOf } from '../../../src/engine/branches/steps.ts';
import type { Branch, GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { operationFor } from '../../../src/engine/operations.ts';
import { outcomeAskedBy } from '../history.ts';

/** A call that must have been answered before. */
export interface Before {
  readonly branch: BranchId;
  readonly operation: Operation;
}

/** What must be done before `operation` of `branch`, as the modes promise it. */
export function before(transaction: GlobalTransaction, branch: BranchId, operation: Operation): readonly Before[] {
  const index = transaction.branches.findIndex(({ id }) => id === branch);
  switch (transaction.mode) {
    case 'mesh':
      return outcomeAskedBy('mesh', operation) === 'rollback' ? laterBranches(transaction, index) : [];
    case 'tcc':
      return laterBranches(transaction, index, operation);
    case 'saga':
    case 'msg':
      return operation === 'compensate' ? laterSteps(transaction, index) : earlierSteps(transaction, index);
    default:
      return [];
  }
}

function laterBranches({ branches }: GlobalTransaction, index: number, operation?: Operation): readonly Before[] {
  return branches.slice(index + 1).flatMap((branch): readonly Before[] => {
    const asked = operation ?? operationFor(branch.kind, 'rollback');
    return asked === undefined || !hasUrl(branch, asked) ? [] : [{ branch: branch.id, operation: asked }];
  });
}

/** The actions right before the step; those before a step that has none. */
function earlierSteps(transaction: GlobalTransaction, index: number): readonly Before[] {
  return predecessorsOf(transaction, index).flatMap((other): readonly Before[] => {
    const branch = transaction.branches[other];
    if (branch === undefined) return [];
    return hasUrl(branch, 'action') ? [{ branch: branch.id, operation: 'action' }] : earlierSteps(transaction, other);
  });
}

/** The compensations right after the step, of steps that were called; those after a step that has none. */
function laterSteps(transaction: GlobalTransaction, index: number): readonly Before[] {
  return transaction.branches.flatMap((branch: Branch, other): readonly Before[] => {
    if (branch.compensation === undefined || !predecessorsOf(transaction, other).includes(index)) return [];
    return hasUrl(branch, 'compensate')
      ? [{ branch: branch.id, operation: 'compensate' }]
      : laterSteps(transaction, other);
  });
}
