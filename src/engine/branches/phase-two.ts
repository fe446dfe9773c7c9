/** The second phase of modes whose branches are finished by one call each. */
import { isFinal, type Instant } from '../../contract/transaction.ts';
import { callEffects, errorText, tried, triedInVain, withOutcome, type Reply } from './calls.ts';
import type { Effect } from '../effect.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { operationFor } from '../operations.ts';
import { STATUS_RULES } from '../status.ts';
import { hasUrl } from './steps.ts';

/** Whether branches are finished all at once, or one after another from the last. */
export type Ordering = Readonly<Record<'commit' | 'rollback', 'parallel' | 'reverse'>>;

/** The state after the decision to commit (`submitted`) or to roll back (`aborting`); already final when no branch has to be asked. */
export function decided(state: GlobalTransaction, status: 'submitted' | 'aborting', now: Instant): GlobalTransaction {
  const outcome = STATUS_RULES[status].outcome;
  const branches = state.branches.map((branch): Branch => {
    const operation = operationFor(branch.kind, outcome);
    if (operation === undefined || !hasUrl(branch, operation)) return { ...branch, status: 'succeed' };
    return branch.delayMs === undefined ? branch : { ...branch, notBefore: (now + branch.delayMs) as Instant };
  });
  return finishedIfOver({ ...state, status, branches }, now);
}

/** The state after a branch has answered. A late, repeated or stray answer leaves it as it is. */
export function answered(state: GlobalTransaction, reply: Reply, now: Instant): GlobalTransaction {
  const index = state.branches.findIndex(({ id }) => id === reply.branch);
  const branch = state.branches[index];
  if (branch === undefined || isFinished(branch)) return state;
  if (operationFor(branch.kind, STATUS_RULES[state.status].outcome) !== reply.operation) return state;
  if (branch.status === 'dirty' && reply.result !== 'success') return state;
  const next = afterAnswer(state, branch, reply, now);
  return finishedIfOver({ ...state, branches: state.branches.with(index, next) }, now);
}

function afterAnswer(state: GlobalTransaction, branch: Branch, reply: Reply, now: Instant): Branch {
  if (reply.result === 'success') return { ...withOutcome(tried(branch), 'done'), status: 'succeed' };
  // Only a rollback finds rows that somebody else has changed: a commit has nothing to compare.
  if (reply.result === 'dirty' && state.status === 'aborting') {
    const { diagnosis: _, ...rest } = withOutcome(tried(branch), 'refused');
    const { diagnosis } = reply;
    return {
      ...rest,
      lastError: errorText(reply),
      status: 'dirty',
      ...(diagnosis === undefined ? {} : { diagnosis }),
    };
  }
  if (branch.attemptsMax !== undefined && branch.attempts + 1 >= branch.attemptsMax) {
    return { ...tried(branch), lastError: errorText(reply), status: 'abandoned' };
  }
  // The decision stands, so a branch's `failure` cannot change it: like DTM, ask again until it is done.
  return triedInVain(state, branch, reply, now);
}

function isFinished({ status }: Branch): boolean {
  return status === 'succeed' || status === 'abandoned';
}

/** The state, final when every branch has been finished. */
export function finishedIfOver(state: GlobalTransaction, now: Instant): GlobalTransaction {
  if (!state.branches.every(isFinished)) return state;
  return { ...state, status: state.status === 'submitted' ? 'succeed' : 'failed', finishedAt: now };
}

/** Everything that is due: the calls to make now, and when to look again. Nothing for a final state or when only dirty branches are left. */
export function dueEffects(state: GlobalTransaction, ordering: Ordering, now: Instant): readonly Effect[] {
  // One that an operator gave up is over with branches that are not.
  if (isFinal(state.status)) return [];
  const { outcome } = STATUS_RULES[state.status];
  if (outcome === 'undecided') return state.deadline === undefined ? [] : [{ kind: 'wake', at: state.deadline }];
  // A dirty branch is passed over: independent databases need not stay locked because one is dirty.
  const unfinished = state.branches.filter(({ status }) => status === 'prepared');
  const due = ordering[outcome] === 'parallel' ? unfinished : unfinished.slice(-1);
  return callEffects(
    due.flatMap((branch) => {
      const operation = operationFor(branch.kind, outcome);
      return operation === undefined ? [] : [{ branch, operation }];
    }),
    now,
  );
}
