/** Coordinators that are wrong about meshes that are messages or workflows, or about branches on terms of their own. */
import type { Instant } from '../../../src/contract/transaction.ts';
import { decide } from '../../../src/engine/decide.ts';
import type { Event } from '../../../src/engine/event.ts';
import type { Branch, GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { ended, hearing, redone, spoiling, withStore, type Mutant } from './mutant.ts';

const MESSAGE = { only: 'mesh message' } as const;
const WORKFLOW = { only: 'mesh workflow' } as const;

/** Decides as the engine does about every branch as `change` leaves it. */
function rethinking(change: (branch: Branch, before: Branch | undefined, now: Instant) => Branch): Mutant['variant'] {
  return spoiling((decision, state, _, now) => {
    const branches = decision.next.branches.map((branch, index) => change(branch, state.branches[index], now));
    const isChanged = branches.some((branch, index) => branch !== decision.next.branches[index]);
    if (!isChanged) return decision;
    const next: GlobalTransaction = { ...decision.next, branches };
    if (decision.next.finishedAt === undefined) return redone(decision, next, now);
    const { finishedAt: _end, ...open } = next;
    return redone(decision, { ...open, status: 'submitted' }, now);
  });
}

/** Takes what an older run wants for what the newest one wants. */
function believingOlderRuns(kind: Event['kind']): Mutant['variant'] {
  return () => ({
    decide: (state, event, now) => {
      const isOlder = event.kind === kind && 'run' in event && event.run !== undefined && state.run !== undefined;
      return decide(state, isOlder ? { ...event, run: state.run.number } : event, now);
    },
  });
}

const hearingInitiator = (heard: 'unknown' | 'ongoing', as: 'success' | 'failure'): Mutant['variant'] =>
  hearing((reply) => (reply.operation === 'msg' && reply.result === heard ? { ...reply, result: as } : reply));

/** What is wrong with each. */
export const MESH_MUTANTS: readonly Mutant[] = [
  { ...MESSAGE, wrong: 'takes silence of the initiator for a no', variant: hearingInitiator('unknown', 'failure') },
  { ...MESSAGE, wrong: 'takes silence of the initiator for a yes', variant: hearingInitiator('unknown', 'success') },
  { ...MESSAGE, wrong: 'takes “not yet” of the initiator for a no', variant: hearingInitiator('ongoing', 'failure') },
  {
    ...MESSAGE,
    wrong: 'never asks the initiator',
    variant: spoiling((decision) => (decision.next.status === 'prepared' ? { ...decision, effects: [] } : decision)),
  },
  {
    ...MESSAGE,
    wrong: 'rolls it back when the initiator is silent for long',
    variant: () => ({
      decide: (state, event, now) =>
        decide(
          state.status === 'prepared' ? { ...state, deadline: (state.createdAt + 1000) as Instant } : state,
          event,
          now,
        ),
    }),
  },
  {
    ...MESSAGE,
    wrong: 'delivers before the submit',
    variant: spoiling((decision, _, __, now) => {
      if (decision.next.status !== 'prepared') return decision;
      return {
        ...decision,
        effects: decide({ ...decision.next, status: 'submitted' }, { kind: 'woken' }, now).effects,
      };
    }),
  },
  {
    ...MESSAGE,
    wrong: 'lets a late no of the initiator take back what is submitted',
    variant: spoiling((decision, before, event, now) =>
      event.kind === 'replied' && event.operation === 'msg' && before.status === 'submitted'
        ? ended(decision.next, 'failed', now)
        : decision,
    ),
  },
  {
    ...MESSAGE,
    wrong: 'delivers before the delay of a branch is over',
    variant: spoiling((decision, _, __, now) => {
      if (decision.next.status !== 'submitted') return decision;
      const branches = decision.next.branches.map((branch) => {
        const { notBefore, ...rest } = branch;
        return branch.attempts === 0 && notBefore !== undefined ? rest : branch;
      });
      return { ...decision, effects: decide({ ...decision.next, branches }, { kind: 'woken' }, now).effects };
    }),
  },
  {
    ...MESSAGE,
    wrong: 'gives a message up that nobody wished to be given up',
    variant: () => ({
      decide: (state, event, now) => {
        if (event.kind !== 'replied' || event.operation !== 'action') return decide(state, event, now);
        const hasty = state.branches.map((branch) => (branch.kind === 'msg' ? { ...branch, attemptsMax: 1 } : branch));
        const decision = decide({ ...state, branches: hasty }, event, now);
        const branches = decision.next.branches.map((branch, index): Branch => {
          const { attemptsMax: _, ...rest } = branch;
          const { attemptsMax } = state.branches[index] ?? {};
          return attemptsMax === undefined ? rest : { ...rest, attemptsMax };
        });
        return { ...decision, next: { ...decision.next, branches } };
      },
    }),
  },
  {
    ...MESSAGE,
    wrong: 'gives a message up one try too late',
    variant: rethinking((branch, before, now) =>
      branch.status === 'abandoned' && before?.status === 'prepared' && branch.attempts === branch.attemptsMax
        ? { ...branch, status: 'prepared', notBefore: (now + 100) as Instant }
        : branch,
    ),
  },
  {
    only: 'mesh',
    wrong: 'lets a repetition of an enlistment replace what is known better',
    variant: () => ({
      decide: (state, event, now) => {
        if (event.kind !== 'enlist') return decide(state, event, now);
        const { hash: _, ...branch } = event.branch;
        return decide(state, { ...event, branch }, now);
      },
    }),
  },
  {
    only: 'mesh',
    wrong: 'forgets what is sent when a branch is enlisted again',
    variant: spoiling((decision, before, event) => {
      if (event.kind !== 'enlist' || decision.next.branches.length > before.branches.length) return decision;
      return { ...decision, next: before };
    }),
  },
  { ...WORKFLOW, wrong: 'lets an older run record a step', variant: believingOlderRuns('step') },
  {
    ...WORKFLOW,
    wrong: 'forgets which run enlisted a branch',
    variant: spoiling((decision, _, event) => {
      if (event.kind !== 'enlist') return decision;
      const branches = decision.next.branches.map(({ run: _run, ...branch }) => branch);
      return { ...decision, next: { ...decision.next, branches } };
    }),
  },
  { ...WORKFLOW, wrong: 'lets an older run submit', variant: believingOlderRuns('submit') },
  {
    ...WORKFLOW,
    wrong: 'gives a new run the number of the last one',
    variant: spoiling((decision, before, event, now) =>
      event.kind === 'resume' && before.run !== undefined && decision.next.run !== before.run
        ? redone(decision, { ...decision.next, run: { ...decision.next.run, number: before.run.number } }, now)
        : decision,
    ),
  },
  {
    ...WORKFLOW,
    wrong: 'forgets what is recorded when a run begins',
    variant: spoiling((decision, before, event, now) =>
      event.kind === 'resume' && decision.next.run !== before.run
        ? redone(decision, { ...decision.next, steps: [] }, now)
        : decision,
    ),
  },
  {
    ...WORKFLOW,
    wrong: 'lets a second result of a step replace the first',
    variant: () => ({
      decide: (state, event, now) => {
        if (event.kind !== 'step' || state.steps === undefined) return decide(state, event, now);
        return decide({ ...state, steps: state.steps.filter(({ step }) => step !== event.step.step) }, event, now);
      },
    }),
  },
  {
    ...WORKFLOW,
    wrong: 'records steps that are not durable',
    variant: withStore((store) => ({
      save: (next, version, lease, dueAt, durability) =>
        store.save(next, version, lease, dueAt, next.status === 'prepared' ? 'soon' : durability),
    })),
  },
  {
    ...WORKFLOW,
    wrong: 'takes the answer of a call for the end of the program',
    variant: spoiling((decision, _, event, now) =>
      event.kind === 'replied' &&
      event.operation === 'workflow' &&
      event.result === 'success' &&
      decision.next.status === 'prepared'
        ? decide(decision.next, { kind: 'submit', run: decision.next.run?.number ?? 0 }, now)
        : decision,
    ),
  },
  {
    ...WORKFLOW,
    wrong: 'begins a call to run it after its deadline',
    variant: spoiling((decision) => ({
      ...decision,
      effects: decision.effects.map((effect) => {
        if (effect.kind === 'wake') return effect;
        const { before: _, ...rest } = effect;
        return rest;
      }),
    })),
  },
];
