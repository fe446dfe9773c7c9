/** Coordinators that are wrong about messages or workflows, whose initiators are asked. */
import { decide } from '../../../src/engine/decide.ts';
import { ended, hearing, redone, spoiling, withStore, withTransport, type Mutant } from './mutant.ts';

const MESSAGE_MUTANTS: readonly Mutant[] = [
  {
    only: 'msg',
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
    only: 'msg',
    wrong: 'takes silence of the initiator for a no',
    variant: hearing((reply) =>
      reply.operation === 'msg' && reply.result === 'unknown' ? { ...reply, result: 'failure' } : reply,
    ),
  },
  {
    only: 'msg',
    wrong: 'takes silence of the initiator for a yes',
    variant: hearing((reply) =>
      reply.operation === 'msg' && reply.result === 'unknown' ? { ...reply, result: 'success' } : reply,
    ),
  },
  {
    only: 'msg',
    wrong: 'takes “not yet” of the initiator for a no',
    variant: hearing((reply) =>
      reply.operation === 'msg' && reply.result === 'ongoing' ? { ...reply, result: 'failure' } : reply,
    ),
  },
  {
    only: 'msg',
    wrong: 'never asks the initiator',
    variant: spoiling((decision) => (decision.next.status === 'prepared' ? { ...decision, effects: [] } : decision)),
  },
  {
    only: 'msg',
    wrong: 'delivers before the delay is over',
    variant: spoiling((decision, _, __, now) => {
      const { holdUntil: _hold, ...next } = decision.next;
      return next.status === 'submitted'
        ? { ...decision, effects: decide(next, { kind: 'woken' }, now).effects }
        : decision;
    }),
  },
  {
    only: 'msg',
    wrong: 'plans no wake for the end of the delay',
    variant: spoiling((decision, _, __, now) =>
      decision.next.status === 'submitted' && now < (decision.next.holdUntil ?? now)
        ? { ...decision, effects: [] }
        : decision,
    ),
  },
  {
    only: 'msg',
    wrong: 'gives a message up when a step refuses it',
    variant: spoiling((decision, before, event, now) => {
      const isRefused = event.kind === 'replied' && event.operation === 'action' && event.result === 'failure';
      return isRefused && before.status === 'submitted' ? ended(decision.next, 'failed', now) : decision;
    }),
  },
  {
    only: 'msg',
    wrong: 'lets an abort take back what is submitted',
    variant: spoiling((decision, before, event, now) =>
      event.kind === 'replied' && event.operation === 'msg' && before.status === 'submitted'
        ? ended(decision.next, 'failed', now)
        : decision,
    ),
  },
];

const WORKFLOW_MUTANTS: readonly Mutant[] = [
  {
    only: 'workflow',
    wrong: 'never runs it again',
    variant: spoiling((decision) => ({ ...decision, effects: [] })),
  },
  {
    only: 'workflow',
    wrong: 'runs it twice at once',
    variant: withTransport((transport) => ({
      call: async (call, signal) => {
        const [first] = await Promise.all([transport.call(call, signal), transport.call(call, signal)]);
        return first;
      },
    })),
  },
  {
    only: 'workflow',
    wrong: 'lets a second result of a step replace the first',
    variant: () => ({
      decide: (state, event, now) => {
        if (event.kind !== 'record') return decide(state, event, now);
        const { branch, operation } = event.step;
        const progress = state.progress?.filter((step) => step.branch !== branch || step.operation !== operation);
        return decide(progress === undefined ? state : { ...state, progress }, event, now);
      },
    }),
  },
  {
    only: 'workflow',
    wrong: 'forgets what was recorded when it runs again',
    variant: spoiling((decision, _, event, now) =>
      event.kind === 'resume' && decision.next.status === 'prepared'
        ? redone(decision, { ...decision.next, progress: [] }, now)
        : decision,
    ),
  },
  {
    only: 'workflow',
    wrong: 'records steps that are not durable',
    variant: withStore((store) => ({
      save: (next, version, lease, dueAt, durability) =>
        store.save(next, version, lease, dueAt, next.status === 'prepared' ? 'soon' : durability),
    })),
  },
  {
    only: 'workflow',
    wrong: 'lets a call that is answered end it',
    variant: spoiling((decision, before, event, now) =>
      event.kind === 'replied' && event.result === 'unknown' && before.status === 'prepared'
        ? ended(decision.next, 'failed', now)
        : decision,
    ),
  },
  {
    only: 'workflow',
    wrong: 'lets a second end replace the first',
    variant: () => ({
      decide: (state, event, now) => {
        const isOver = event.kind === 'conclude' && state.finishedAt !== undefined;
        return isOver ? ended(state, event.status, now) : decide(state, event, now);
      },
    }),
  },
];

/** What is wrong with each. */
export const INITIATED_MUTANTS: readonly Mutant[] = [...MESSAGE_MUTANTS, ...WORKFLOW_MUTANTS];
