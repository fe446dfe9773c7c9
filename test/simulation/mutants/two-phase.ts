/** Coordinators that are wrong about TCC or XA. */
import { decide } from '../../../src/engine/decide.ts';
import type { Effect } from '../../../src/engine/effect.ts';
import { isOverdue } from '../../../src/engine/deadline.ts';
import { ended, redone, spoiling, withStore, type Mutant } from './mutant.ts';

/** What is wrong with each. */
export const TWO_PHASE_MUTANTS: readonly Mutant[] = [
  {
    only: 'tcc',
    wrong: 'takes a second submit for the end',
    variant: spoiling((decision, before, event, now) =>
      event.kind === 'submit' && before.status === 'submitted' ? ended(decision.next, 'succeed', now) : decision,
    ),
  },
  {
    only: 'tcc',
    wrong: 'confirms all branches at once',
    variant: spoiling((decision, _, __, now) => {
      const { branches, status } = decision.next;
      if (status !== 'submitted') return decision;
      const effects = branches.flatMap(
        (branch): readonly Effect[] => decide({ ...decision.next, branches: [branch] }, { kind: 'woken' }, now).effects,
      );
      return { ...decision, effects };
    }),
  },
  {
    only: 'tcc',
    wrong: 'fails at its deadline without cancelling',
    variant: spoiling((decision, before, _, now) =>
      isOverdue(before, now) ? ended(decision.next, 'failed', now) : decision,
    ),
  },
  {
    only: 'tcc',
    wrong: 'registers branches that are not durable',
    variant: withStore((store) => ({
      save: (next, version, lease, dueAt, durability) =>
        store.save(next, version, lease, dueAt, next.status === 'prepared' ? 'soon' : durability),
    })),
  },
  {
    only: 'tcc',
    wrong: 'forgets a branch that is registered again',
    variant: spoiling((decision, before, event, now) => {
      if (event.kind !== 'enlist' || decision.next !== before || decision.refused !== undefined) return decision;
      return redone(decision, { ...before, branches: before.branches.slice(0, -1) }, now);
    }),
  },
  {
    only: 'xa',
    wrong: 'commits at its deadline',
    variant: () => ({
      decide: (state, event, now) => {
        if (!isOverdue(state, now)) return decide(state, event, now);
        const { deadline: _, ...timeless } = state;
        return decide(timeless, { kind: 'submit' }, now);
      },
    }),
  },
  {
    only: 'xa',
    wrong: 'rolls the rest back when one branch fails to commit',
    variant: spoiling((decision, before, event, now) => {
      const isFailure = event.kind === 'replied' && event.operation === 'commit' && event.result === 'failure';
      if (!isFailure || before.status !== 'submitted') return decision;
      return redone(decision, { ...decision.next, status: 'aborting' }, now);
    }),
  },
  {
    only: 'xa',
    wrong: 'leaves a branch prepared that does not answer',
    variant: spoiling((decision, _, event, now) => {
      if (event.kind !== 'replied' || event.result !== 'unknown') return decision;
      const branches = decision.next.branches.map((branch) =>
        branch.id === event.branch ? { ...branch, status: 'succeed' as const } : branch,
      );
      const isOver = branches.every(({ status }) => status === 'succeed');
      const next = { ...decision.next, branches };
      return isOver
        ? ended(next, next.status === 'submitted' ? 'succeed' : 'failed', now)
        : redone(decision, next, now);
    }),
  },
];
