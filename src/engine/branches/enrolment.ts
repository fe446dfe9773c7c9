/** Modes in which participants are enlisted while the transaction is undecided, and one decision finishes them all: mesh, TCC, XA. */
import { INITIATOR, type BranchId, type Instant, type Operation } from '../../contract/transaction.ts';
import { askedAgain } from './calls.ts';
import { branchIdOf } from './id.ts';
import { DEADLINE_REASON, isOverdue } from '../deadline.ts';
import { isCommitted, isRolledBack, notInThisMode, type Decision, type Refusal, type Step } from '../decision.ts';
import type { Event, NewBranch } from '../event.ts';
import { termsOf, type Branch, type GlobalTransaction } from '../global-transaction.ts';
import { reasonText } from '../reason.ts';
import { requiredOperations } from '../operations.ts';
import { answered, decided, dueEffects, type Ordering } from './phase-two.ts';
import { resolve } from './resolve.ts';
import { STATUS_RULES } from '../status.ts';

/** Replicas of one participant that are remembered per operation, and enlistments that were replaced; the oldest makes room. */
export const ALTERNATIVES_MAX = 8;

/** The rules of such a mode. */
export function decideEnrolled(
  ordering: Ordering,
): (before: GlobalTransaction, event: Event, now: Instant) => Decision {
  return (before, event, now) => {
    const step = takeEnrolled(inTime(before, now), event, now);
    return { ...step, effects: dueEffects(step.next, ordering, now) };
  };
}

/** Time comes first: an undecided transaction past its deadline is rolled back before an event is looked at. */
export function inTime(state: GlobalTransaction, now: Instant): GlobalTransaction {
  return isOverdue(state, now) ? rolledBack(state, DEADLINE_REASON, now) : state;
}

/** What an event makes of a state in whose time it has come. */
export function takeEnrolled(state: GlobalTransaction, event: Event, now: Instant): Step {
  switch (event.kind) {
    case 'enlist':
      return enlist(state, event.branch, event.run);
    case 'submit':
      return submit(state, now);
    case 'abort':
      return abort(state, event.reason, now);
    case 'replied':
      return { next: answered(state, event, now) };
    case 'retry':
      return { next: askedAgain(state, event, now) };
    case 'resolve':
      return resolve(state, event, now);
    case 'woken':
      return { next: state };
    default:
      return { next: state, refused: notInThisMode(state, event.kind) };
  }
}

function submit(state: GlobalTransaction, now: Instant): Step {
  switch (STATUS_RULES[state.status].outcome) {
    case 'undecided':
      return { next: decided(state, 'submitted', now) };
    case 'commit':
      return { next: state };
    case 'rollback':
      return { next: state, refused: isRolledBack(state) };
  }
}

function abort(state: GlobalTransaction, reason: string, now: Instant): Step {
  switch (STATUS_RULES[state.status].outcome) {
    case 'undecided':
      return { next: rolledBack(state, reason, now) };
    case 'rollback':
      return { next: state };
    case 'commit':
      return { next: state, refused: isCommitted(state) };
  }
}

function rolledBack(state: GlobalTransaction, reason: string, now: Instant): GlobalTransaction {
  return decided({ ...state, reason: reasonText(reason) }, 'aborting', now);
}

function enlist(state: GlobalTransaction, wanted: NewBranch, run: number | undefined): Step {
  const refused = enlistRefusal(state, wanted);
  if (refused !== undefined) return { next: state, refused };
  const index = state.branches.findIndex((branch) => isSame(branch, wanted));
  const known = state.branches[index];
  if (known === undefined) {
    return { next: { ...state, branches: [...state.branches, ofRun(newBranch(state, wanted), run)] } };
  }
  const branch = ofRun(wanted.requests === undefined ? withAlternatives(known, wanted) : replaced(known, wanted), run);
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
  if (wanted.kind !== 'msg' && (wanted.delayMs !== undefined || wanted.attemptsMax !== undefined)) {
    return {
      code: 'BAD_REQUEST',
      message: `branch "${wanted.resource}" is of kind ${wanted.kind}, which is neither delayed nor given up`,
      hint: 'leave delayMs and attemptsMax out; only branches of kind msg may have them',
    };
  }
  const known = state.branches.find((branch) => isSame(branch, wanted));
  if (known !== undefined && wanted.id !== undefined && !isRepeated(known, wanted)) {
    return {
      code: 'BAD_REQUEST',
      message: `branch ${wanted.id} of ${state.gid} is registered with other operations or another payload`,
      hint: 'give each branch an id of its own',
    };
  }
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
  return {
    id: wanted.id ?? freeId(state, sequence),
    sequence,
    kind: wanted.kind,
    resource: wanted.resource,
    operations: urlsOf(wanted),
    ...termsOf(wanted),
    status: 'prepared',
    attempts: 0,
    ...(wanted.id === undefined && state.protocol !== undefined ? { isNative: true } : {}),
    ...(wanted.payload === undefined ? {} : { payload: wanted.payload }),
    ...(wanted.hash === undefined ? {} : { hash: wanted.hash }),
  };
}

/** Only the newest run enlists, so the last that did is the newest that did. */
function ofRun(branch: Branch, run: number | undefined): Branch {
  return run === undefined || branch.run === run ? branch : { ...branch, run };
}

/** Where the initiator numbers its branches itself, made ids begin as none of its own does. */
function freeId({ mode, branches }: GlobalTransaction, sequence: number): BranchId {
  for (let number = sequence; ; number += 1) {
    const id = mode === 'mesh' ? branchIdOf(number) : (`${INITIATOR}-${branchIdOf(number)}` as BranchId);
    if (!branches.some((branch) => branch.id === id)) return id;
  }
}

/** A participant is known by the id that its initiator gave it, else by its resource. */
function isSame(branch: Branch, wanted: NewBranch): boolean {
  return wanted.id === undefined ? branch.resource === wanted.resource : branch.id === wanted.id;
}

/** The initiator has lost the answer and registers the same once more. */
function isRepeated(branch: Branch, wanted: NewBranch): boolean {
  return (
    branch.payload === wanted.payload &&
    entries(wanted.operations).every(([operation, url]) => (branch.operations[operation]?.[0] ?? '') === url)
  );
}

/**
 * Whoever says what is sent has learned more of the branch: what it said before may lack what an answer had to say. So what was
 * replaced does not come back: it is a repetition that took long, or a later run of a workflow that does not know the answer yet.
 */
function replaced(known: Branch, wanted: NewBranch): Branch {
  const { hash: last, replaced: earlier = [] } = known;
  const { hash } = wanted;
  if (hash !== undefined && (hash === last || earlier.includes(hash))) return known;
  return {
    ...known,
    operations: urlsOf(wanted),
    ...termsOf(wanted),
    ...(hash === undefined ? {} : { hash }),
    ...(last === undefined ? {} : { replaced: [...earlier, last].slice(-ALTERNATIVES_MAX) }),
  };
}

function urlsOf(wanted: NewBranch): Branch['operations'] {
  const operations: Partial<Record<Operation, readonly string[]>> = {};
  // An empty URL is how an initiator says that there is nothing to do.
  for (const [operation, url] of entries(wanted.operations)) if (url !== '') operations[operation] = [url];
  return operations;
}

/** The branch itself when it knows every URL already. */
function withAlternatives(branch: Branch, wanted: NewBranch): Branch {
  const operations: Partial<Record<Operation, readonly string[]>> = { ...branch.operations };
  let isNew = false;
  for (const [operation, url] of entries(wanted.operations)) {
    const urls = operations[operation] ?? [];
    if (url === '' || urls.includes(url)) continue;
    isNew = true;
    operations[operation] = [...urls, url].slice(-ALTERNATIVES_MAX);
  }
  return isNew ? { ...branch, operations } : branch;
}

function entries(operations: NewBranch['operations']): readonly (readonly [Operation, string])[] {
  return Object.entries(operations) as [Operation, string][];
}
