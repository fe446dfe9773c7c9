/** Steps that the coordinator itself carries out, in their order: the actions of a saga, the deliveries of a message. */
import type { Instant, Operation } from '../../contract/transaction.ts';
import type { Effect } from '../effect.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { callEffects, type DueCall } from './calls.ts';

/** The indexes of the steps that come right before the step `index`. */
export function predecessorsOf(state: GlobalTransaction, index: number): readonly number[] {
  if (state.order !== undefined) return state.order[index] ?? [];
  return index === 0 ? [] : [index - 1];
}

/** True when every step before this one has succeeded, so that its action may have been called. */
export function isReached({ branches, order }: GlobalTransaction, index: number): boolean {
  // Asked of every step with every answer: without an order it must not cost a list.
  if (order === undefined) return index === 0 || branches[index - 1]?.status === 'succeed';
  return (order[index] ?? []).every((before) => branches[before]?.status === 'succeed');
}

/**
 * True when `after` lets an action of a saga be called that `before` did not. That must be durable before it is called: a
 * recovery that has forgotten it would not compensate what it does not know to have been called.
 */
export function opensActions(before: GlobalTransaction, after: GlobalTransaction): boolean {
  if (after.mode !== 'saga' || after.status !== 'submitted' || after.branches === before.branches) return false;
  return after.branches.some(
    ({ status }, index) => status === 'prepared' && isReached(after, index) && !isReached(before, index),
  );
}

/** A branch without a URL for the operation has nothing to do, and is done. */
export function hasUrl(branch: Branch, operation: Operation): boolean {
  return (branch.operations[operation]?.length ?? 0) > 0;
}

/** Finishes every reached step whose action has no URL, then those that are reached by that, and so on. */
export function passEmptyActions(state: GlobalTransaction, done: (branch: Branch) => Branch): GlobalTransaction {
  const isEmpty = (branch: Branch): boolean => branch.status === 'prepared' && !hasUrl(branch, 'action');
  const passed: number[] = [];
  for (const [index, branch] of state.branches.entries()) {
    if (isEmpty(branch) && isReached(state, index)) passed.push(index);
  }
  if (passed.length === 0) return state;
  const branches = [...state.branches];
  const { successors, waitsFor } = waitingSteps(state);
  for (const index of passed) {
    const branch = branches[index];
    if (branch === undefined) continue;
    branches[index] = done(branch);
    for (const next of successors[index] ?? []) {
      const left = (waitsFor[next] ?? 0) - 1;
      waitsFor[next] = left;
      const reached = branches[next];
      if (left === 0 && reached !== undefined && isEmpty(reached)) passed.push(next);
    }
  }
  return { ...state, branches };
}

/** For each step those right after it, and for how many of those before it it waits: each step is then looked at once, not once per step. */
function waitingSteps(state: GlobalTransaction): { readonly successors: number[][]; readonly waitsFor: number[] } {
  const successors = state.branches.map((): number[] => []);
  const waitsFor = state.branches.map((_, index) => {
    const before = predecessorsOf(state, index).filter((other) => state.branches[other]?.status !== 'succeed');
    for (const other of before) successors[other]?.push(index);
    return before.length;
  });
  return { successors, waitsFor };
}

/** The actions to call at `now`, and when to look again. */
export function actionEffects(state: GlobalTransaction, now: Instant): readonly Effect[] {
  const due: DueCall[] = [];
  for (const [index, branch] of state.branches.entries()) {
    if (branch.status === 'prepared' && isReached(state, index)) due.push({ branch, operation: 'action' });
  }
  return callEffects(due, now);
}
