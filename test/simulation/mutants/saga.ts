/** Coordinators that are wrong about sagas. */
import { decide } from '../../../src/engine/decide.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import type { Decision } from '../../../src/engine/decision.ts';
import type { Effect } from '../../../src/engine/effect.ts';
import type { Branch, GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { ended, hearing, redone, spoiling, withStore, type Mutant } from './mutant.ts';

const timeless = (effect: Effect): Effect => {
  if (effect.kind !== 'call') return effect;
  const { before: _, ...call } = effect;
  return call;
};

const isTurn = (before: GlobalTransaction, { next }: Decision): boolean =>
  before.status === 'submitted' && next.status === 'aborting';

/** At the turn, compensates fewer steps than it should. */
const sparing = (isSpared: (branch: Branch) => boolean): Mutant['variant'] =>
  spoiling((decision, before, _, now) => {
    if (!isTurn(before, decision)) return decision;
    const branches = decision.next.branches.map((branch): Branch => {
      const { compensation: _, ...rest } = branch;
      return isSpared(branch) ? { ...rest, status: 'succeed' } : branch;
    });
    return redone(decision, { ...decision.next, branches }, now);
  });

/** Calls in another order than the saga's own. */
const reordered = (
  status: 'submitted' | 'aborting',
  order: (state: GlobalTransaction) => GlobalTransaction['order'],
): Mutant['variant'] =>
  spoiling((decision, _, __, now) => {
    const { next } = decision;
    if (next.status !== status) return decision;
    const other = order(next);
    return other === undefined
      ? decision
      : { ...decision, effects: decide({ ...next, order: other }, { kind: 'woken' }, now).effects };
  });

/** What is wrong with each. */
export const SAGA_MUTANTS: readonly Mutant[] = [
  {
    wrong: 'lets the next action be called before the one before is durable',
    variant: withStore((store) => ({
      save: (next, version, lease, dueAt, durability) =>
        store.save(next, version, lease, dueAt, next.status === 'submitted' ? 'soon' : durability),
    })),
  },
  { wrong: 'does not compensate the step that failed', variant: sparing(({ action }) => action === 'failed') },
  { wrong: 'does not compensate actions without an answer', variant: sparing(({ action }) => action === undefined) },
  { wrong: 'does not compensate what has succeeded', variant: sparing(({ action }) => action === 'succeed') },
  {
    wrong: 'takes an action without an answer for a failed one',
    variant: hearing((reply) =>
      reply.operation === 'action' && reply.result === 'unknown' ? { ...reply, result: 'failure' } : reply,
    ),
  },
  { wrong: 'calls every action at once', variant: reordered('submitted', () => []) },
  { wrong: 'compensates all steps at once', variant: reordered('aborting', () => []) },
  {
    wrong: 'compensates forwards',
    variant: reordered('aborting', ({ branches, order }) =>
      order === undefined ? branches.map((_, index) => (index + 1 < branches.length ? [index + 1] : [])) : undefined,
    ),
  },
  {
    wrong: 'succeeds without its last step',
    variant: spoiling((decision, _, __, now) => {
      const { status, branches } = decision.next;
      const isLast = status === 'submitted' && branches.filter(({ status }) => status !== 'succeed').length === 1;
      return isLast ? ended(decision.next, 'succeed', now) : decision;
    }),
  },
  {
    wrong: 'fails at once instead of turning round',
    variant: spoiling((decision, before, _, now) =>
      isTurn(before, decision) ? ended(decision.next, 'failed', now) : decision,
    ),
  },
  {
    wrong: 'goes on forwards when an action succeeds after the turn',
    variant: spoiling((decision, before, event, now) => {
      const isLate = event.kind === 'replied' && event.operation === 'action' && event.result === 'success';
      if (!isLate || before.status !== 'aborting') return decision;
      return redone(decision, { ...decision.next, status: 'submitted' }, now);
    }),
  },
  {
    wrong: 'ignores the deadline of a saga',
    variant: () => ({
      decide: (state, event, now) => {
        const { deadline, ...timeless } = state;
        if (deadline === undefined) return decide(state, event, now);
        const decision = decide(timeless, event, now);
        return { ...decision, next: { ...decision.next, deadline } };
      },
    }),
  },
  {
    wrong: 'begins an action whose save has lasted beyond the deadline',
    variant: spoiling((decision) => ({ ...decision, effects: decision.effects.map(timeless) })),
  },
  {
    wrong: 'goes on after an operator has stopped it',
    variant: spoiling((decision, before, event, now) => {
      if (event.kind !== 'stop' || decision.refused !== undefined) return decision;
      return { ...decision, next: { ...before, reason: decision.next.reason ?? '', deadline: now } };
    }),
  },
  {
    wrong: 'begins from the first step when it recovers',
    variant: withStore((store) => ({
      claimDue: async (...claim) =>
        (await store.claimDue(...claim)).map((stored) => {
          const { transaction } = stored;
          if (transaction.status !== 'submitted') return stored;
          const branches = transaction.branches.map((branch): Branch => {
            const { action: _, ...rest } = branch;
            return { ...rest, status: 'prepared' };
          });
          return { ...stored, transaction: { ...transaction, branches } };
        }),
    })),
  },
  {
    wrong: 'keeps every try within the first pause',
    variant: spoiling((decision, _, event, now) => {
      if (event.kind !== 'replied' || event.result === 'success') return decision;
      const branches = decision.next.branches.map((branch) =>
        branch.notBefore === undefined ? branch : { ...branch, notBefore: (now + 5) as Instant },
      );
      return redone(decision, { ...decision.next, branches }, now);
    }),
  },
  {
    wrong: 'calls an action again whose failure turned it round',
    variant: spoiling((decision, before) => {
      if (!isTurn(before, decision)) return decision;
      const [failed] = decision.next.branches.filter(({ action }) => action === 'failed');
      const urls = failed?.operations.action;
      if (failed === undefined || urls === undefined) return decision;
      return { ...decision, effects: [{ kind: 'call', branch: failed.id, operation: 'action', urls }] };
    }),
  },
  {
    wrong: 'ignores the retry limit',
    variant: () => ({
      decide: (state, event, now) => {
        const { retryLimit, ...limitless } = state;
        if (retryLimit === undefined) return decide(state, event, now);
        const decision = decide(limitless, event, now);
        return { ...decision, next: { ...decision.next, retryLimit } };
      },
    }),
  },
  {
    wrong: 'gives a compensation up that fails',
    variant: hearing((reply) =>
      reply.operation === 'compensate' && reply.result === 'failure' ? { ...reply, result: 'success' } : reply,
    ),
  },
  {
    wrong: 'asks again without a pause when told that an action goes on',
    variant: spoiling((decision, _, event, now) => {
      if (event.kind !== 'replied' || event.result !== 'ongoing') return decision;
      const branches = decision.next.branches.map((branch) => ({ ...branch, notBefore: now }));
      return redone(decision, { ...decision.next, branches }, now);
    }),
  },
];
