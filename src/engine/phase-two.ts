/** The second phase, the same for every mode whose branches are finished by one call each: commit in parallel, roll back in reverse. */
import type { BranchStatus, Instant, Operation } from '../contract/transaction.ts';
import type { Effect } from './effect.ts';
import type { Event } from './event.ts';
import type { Branch, GlobalTransaction } from './global-transaction.ts';
import { operationFor } from './operations.ts';
import { backoffMs } from './retry.ts';
import { STATUS_RULES } from './status.ts';

const ERROR_CHARACTERS_MAX = 500;

/** The state after the decision to commit (`submitted`) or to roll back (`aborting`); already final when no branch has to be asked. */
export function decided(state: GlobalTransaction, status: 'submitted' | 'aborting', now: Instant): GlobalTransaction {
  const outcome = STATUS_RULES[status].outcome;
  const branches = state.branches.map((branch) =>
    operationFor(branch.kind, outcome) === undefined ? { ...branch, status: 'succeed' as const } : branch,
  );
  return finishedIfOver({ ...state, status, branches }, now);
}

/** The state after a branch has answered. A late, repeated or stray answer leaves it as it is. */
export function answered(
  state: GlobalTransaction,
  reply: Extract<Event, { kind: 'replied' }>,
  now: Instant,
): GlobalTransaction {
  const index = state.branches.findIndex(({ id }) => id === reply.branch);
  const branch = state.branches[index];
  if (branch === undefined || branch.status === 'succeed') return state;
  if (operationFor(branch.kind, STATUS_RULES[state.status].outcome) !== reply.operation) return state;
  if (branch.status === 'dirty' && reply.result !== 'success') return state;
  const next = afterAnswer(state, branch, reply, now);
  return finishedIfOver({ ...state, branches: state.branches.with(index, next) }, now);
}

function afterAnswer(
  state: GlobalTransaction,
  branch: Branch,
  reply: Extract<Event, { kind: 'replied' }>,
  now: Instant,
): Branch {
  const attempts = branch.attempts + 1;
  const { notBefore: _, ...rest } = branch;
  const tried = { ...rest, attempts };
  if (reply.result === 'success') return { ...tried, status: 'succeed' };
  const failed = { ...tried, lastError: errorText(reply) };
  // Only a rollback finds rows that somebody else has changed: a commit has nothing to compare.
  if (reply.result === 'dirty' && state.status === 'aborting') return { ...failed, status: 'dirty' };
  if (reply.result === 'ongoing') return { ...failed, notBefore: (now + state.retryIntervalMs) as Instant };
  // The decision stands, so a branch's `failure` cannot change it: like DTM, ask again until it is done.
  return {
    ...failed,
    notBefore: (now + backoffMs(state.gid, branch.id, attempts, state.retryIntervalMs)) as Instant,
  };
}

function errorText(reply: Extract<Event, { kind: 'replied' }>): string {
  return (reply.detail ?? `answered ${reply.result}`).slice(0, ERROR_CHARACTERS_MAX).toWellFormed();
}

function finishedIfOver(state: GlobalTransaction, now: Instant): GlobalTransaction {
  if (!state.branches.every(({ status }) => status === 'succeed')) return state;
  return { ...state, status: state.status === 'submitted' ? 'succeed' : 'failed', finishedAt: now };
}

/** The state in which every unfinished branch, a dirty one too, may be called at once. */
export function askedAgain(state: GlobalTransaction): GlobalTransaction {
  const waits = (branch: Branch): boolean => branch.status === 'dirty' || branch.notBefore !== undefined;
  if (!state.branches.some(waits)) return state;
  const status: BranchStatus = 'prepared';
  const branches = state.branches.map((branch) => {
    if (!waits(branch)) return branch;
    const { notBefore: _, ...rest } = branch;
    return { ...rest, status };
  });
  return { ...state, branches };
}

/** Everything that is due: the calls to make now, and when to look again. Nothing for a final state or when only dirty branches are left. */
export function dueEffects(state: GlobalTransaction, now: Instant): readonly Effect[] {
  switch (state.status) {
    case 'prepared':
      return [{ kind: 'wake', at: state.deadline }];
    case 'submitted':
      return effectsFor(state, state.branches.filter(isUnfinished), now);
    case 'aborting': {
      // One after another, backwards. A dirty branch is passed over: independent databases need not stay locked because one is dirty.
      const last = state.branches.findLast(isUnfinished);
      return last === undefined ? [] : effectsFor(state, [last], now);
    }
    case 'succeed':
    case 'failed':
      return [];
  }
}

function isUnfinished(branch: Branch): boolean {
  return branch.status === 'prepared';
}

function effectsFor(state: GlobalTransaction, branches: readonly Branch[], now: Instant): readonly Effect[] {
  const effects: Effect[] = [];
  let wakeAt: Instant | undefined;
  for (const branch of branches) {
    const operation = operationFor(branch.kind, STATUS_RULES[state.status].outcome);
    if (operation === undefined) continue;
    if (branch.notBefore === undefined || branch.notBefore <= now) {
      effects.push({ kind: 'call', branch: branch.id, operation, urls: urlsInTurn(branch, operation) });
    } else if (wakeAt === undefined || branch.notBefore < wakeAt) {
      wakeAt = branch.notBefore;
    }
  }
  if (wakeAt !== undefined) effects.push({ kind: 'wake', at: wakeAt });
  return effects;
}

/** The alternatives, beginning with the one whose turn it is: each try begins with the next. */
function urlsInTurn(branch: Branch, operation: Operation): readonly string[] {
  const urls = branch.operations[operation] ?? [];
  const first = urls.length < 2 ? 0 : branch.attempts % urls.length;
  return first === 0 ? urls : [...urls.slice(first), ...urls.slice(0, first)];
}
