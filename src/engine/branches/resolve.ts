/** What an operator decides about dirty branches: recorded with the branch, and carried out by its next call. */
import { isFinal, type BranchId, type Instant } from '../../contract/transaction.ts';
import type { Refusal, Step } from '../decision.ts';
import type { Event } from '../event.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { decidedAbout } from './calls.ts';
import { finishedIfOver } from './phase-two.ts';

type Resolve = Extract<Event, { kind: 'resolve' }>;

/** The state after an operator has decided. The same decision about a branch that it has been made about already changes nothing. */
export function resolve(state: GlobalTransaction, event: Resolve, now: Instant): Step {
  const { branch: id, how } = event;
  if (id !== undefined && !state.branches.some((branch) => branch.id === id)) {
    return { next: state, refused: unknownBranch(state, id) };
  }
  const asked = state.branches.filter((branch) => id === undefined || branch.id === id);
  const dirty = isFinal(state.status) ? [] : asked.filter(({ status }) => status === 'dirty');
  if (dirty.length === 0) {
    const isRepeated = asked.some((branch) => decidedSo(branch, how));
    return isRepeated ? { next: state } : { next: state, refused: notDirty(state, id) };
  }
  const misfit = how === 'apply-before' ? dirty.find(({ kind }) => kind !== 'undo') : undefined;
  if (misfit !== undefined) return { next: state, refused: noImages(misfit) };
  const branches = state.branches.map((branch) => (dirty.includes(branch) ? resolved(branch, event, now) : branch));
  return { next: finishedIfOver({ ...state, branches }, now) };
}

function resolved(branch: Branch, event: Resolve, now: Instant): Branch {
  const { notBefore: _, ...rest } = branch;
  // A participant that has no images has nothing to forget: whoever has put it right by hand says so, and it is over.
  const isOver = event.how === 'keep-current' && branch.kind !== 'undo';
  return isOver
    ? decidedAbout({ ...rest, status: 'succeed' }, event, now, 'done')
    : decidedAbout({ ...rest, status: 'prepared' }, event, now);
}

function decidedSo({ resolutions }: Branch, how: Resolve['how']): boolean {
  const last = resolutions?.at(-1);
  return last?.how === how && last.outcome !== 'refused';
}

function unknownBranch({ gid }: GlobalTransaction, id: BranchId): Refusal {
  return {
    code: 'BRANCH_UNKNOWN',
    message: `transaction ${gid} has no branch ${id}`,
    hint: 'read the transaction for the ids of its branches',
  };
}

function notDirty({ gid, status }: GlobalTransaction, id: BranchId | undefined): Refusal {
  return {
    code: 'BRANCH_NOT_DIRTY',
    message: `${id === undefined ? 'no branch' : `branch ${id}`} of transaction ${gid} (${status}) is ${id === undefined ? '' : 'not '}dirty`,
    hint: 'there is nothing for an operator to decide; read the transaction to see what has become of it',
  };
}

function noImages({ id, kind }: Branch): Refusal {
  return {
    code: 'BAD_REQUEST',
    message: `branch ${id} is of kind ${kind}, which has no row images to apply`,
    hint: 'put right by hand what it did, then resolve it with keep-current; or have it asked again with retry',
  };
}
