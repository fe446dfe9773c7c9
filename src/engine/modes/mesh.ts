/** Mesh: participants of any kind are enlisted while the transaction is undecided; one decision finishes them all. */
import type { Instant, Operation } from '../../contract/transaction.ts';
import { branchIdOf } from '../branch-id.ts';
import { DEADLINE_REASON, isOverdue } from '../deadline.ts';
import type { Decision, Refusal } from '../decision.ts';
import type { Event, NewBranch } from '../event.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { requiredOperations } from '../operations.ts';
import { answered, askedAgain, decided, dueEffects } from '../phase-two.ts';
import { STATUS_RULES } from '../status.ts';

/** Replicas of one participant that are remembered per operation; the oldest makes room. */
export const ALTERNATIVES_MAX = 8;

const REASON_CHARACTERS_MAX = 1000;

interface Step {
  readonly next: GlobalTransaction;
  readonly refused?: Refusal;
}

/** The rules of mesh mode. Time comes first: an undecided transaction past its deadline is rolled back before the event is looked at. */
export function decideMesh(before: GlobalTransaction, event: Event, now: Instant): Decision {
  const state = isOverdue(before, now) ? rolledBack(before, DEADLINE_REASON, now) : before;
  const step = take(state, event, now);
  return { ...step, effects: dueEffects(step.next, now) };
}

function take(state: GlobalTransaction, event: Event, now: Instant): Step {
  switch (event.kind) {
    case 'enlist':
      return enlist(state, event.branch);
    case 'submit':
      return submit(state, now);
    case 'abort':
      return abort(state, event.reason, now);
    case 'replied':
      return { next: answered(state, event, now) };
    case 'retry':
      return { next: askedAgain(state) };
    case 'woken':
      return { next: state };
  }
}

function submit(state: GlobalTransaction, now: Instant): Step {
  switch (STATUS_RULES[state.status].outcome) {
    case 'undecided':
      return { next: decided(state, 'submitted', now) };
    case 'commit':
      return { next: state };
    case 'rollback':
      return {
        next: state,
        refused: {
          code: 'TRANSACTION_ROLLED_BACK',
          message: `transaction ${state.gid} is rolled back${state.reason === undefined ? '' : `: ${state.reason}`}`,
          hint: 'nothing of it takes effect; begin a new transaction to try again',
        },
      };
  }
}

function abort(state: GlobalTransaction, reason: string, now: Instant): Step {
  switch (STATUS_RULES[state.status].outcome) {
    case 'undecided':
      return { next: rolledBack(state, reason, now) };
    case 'rollback':
      return { next: state };
    case 'commit':
      return {
        next: state,
        refused: {
          code: 'TRANSACTION_DECIDED',
          message: `transaction ${state.gid} is committed and cannot be rolled back`,
          hint: 'read the transaction; to take its effects back, begin a new one that does the opposite',
        },
      };
  }
}

function rolledBack(state: GlobalTransaction, reason: string, now: Instant): GlobalTransaction {
  return decided({ ...state, reason: reason.slice(0, REASON_CHARACTERS_MAX).toWellFormed() }, 'aborting', now);
}

function enlist(state: GlobalTransaction, wanted: NewBranch): Step {
  const refused = enlistRefusal(state, wanted);
  if (refused !== undefined) return { next: state, refused };
  const index = state.branches.findIndex(({ resource }) => resource === wanted.resource);
  const known = state.branches[index];
  if (known === undefined) return { next: { ...state, branches: [...state.branches, newBranch(state, wanted)] } };
  const branch = withAlternatives(known, wanted);
  return { next: branch === known ? state : { ...state, branches: state.branches.with(index, branch) } };
}

function enlistRefusal(state: GlobalTransaction, wanted: NewBranch): Refusal | undefined {
  if (state.status !== 'prepared') {
    return {
      code: 'TRANSACTION_DECIDED',
      message: `transaction ${state.gid} is ${state.status}; nobody can join it any more`,
      hint: 'roll the local transaction back; begin a new global transaction to try again',
    };
  }
  const missing = requiredOperations(wanted.kind).filter((operation) => wanted.operations[operation] === undefined);
  if (missing.length > 0) {
    return {
      code: 'BAD_REQUEST',
      message: `branch "${wanted.resource}" of kind ${wanted.kind} has no URL for ${missing.join(' and ')}`,
      hint: `give operations ${requiredOperations(wanted.kind).join(' and ')}; without them it could not be finished`,
    };
  }
  const known = state.branches.find(({ resource }) => resource === wanted.resource);
  if (known !== undefined && known.kind !== wanted.kind) {
    return {
      code: 'BAD_REQUEST',
      message: `"${wanted.resource}" already takes part in ${state.gid} as ${known.kind}, not ${wanted.kind}`,
      hint: 'enlist it under a resource name of its own',
    };
  }
  return undefined;
}

function newBranch(state: GlobalTransaction, wanted: NewBranch): Branch {
  const sequence = state.branches.length + 1;
  const operations: Partial<Record<Operation, readonly string[]>> = {};
  for (const [operation, url] of entries(wanted.operations)) operations[operation] = [url];
  return {
    id: branchIdOf(sequence),
    sequence,
    kind: wanted.kind,
    resource: wanted.resource,
    operations,
    status: 'prepared',
    attempts: 0,
  };
}

/** The branch itself when it knows every URL already. */
function withAlternatives(branch: Branch, wanted: NewBranch): Branch {
  const operations: Partial<Record<Operation, readonly string[]>> = { ...branch.operations };
  let isNew = false;
  for (const [operation, url] of entries(wanted.operations)) {
    const urls = operations[operation] ?? [];
    if (urls.includes(url)) continue;
    isNew = true;
    operations[operation] = [...urls, url].slice(-ALTERNATIVES_MAX);
  }
  return isNew ? { ...branch, operations } : branch;
}

function entries(operations: NewBranch['operations']): readonly (readonly [Operation, string])[] {
  return Object.entries(operations) as [Operation, string][];
}
