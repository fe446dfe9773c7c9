/** Coordinators that are wrong whatever the mode. A simulation that does not find them proves nothing. */
import type { Gid, Instant } from '../../../src/contract/transaction.ts';
import { isOverdue } from '../../../src/engine/deadline.ts';
import { decide } from '../../../src/engine/decide.ts';
import type { Decision } from '../../../src/engine/decision.ts';
import type { Branch, GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import type { Decide } from '../../../src/runner/fold.ts';
import type { Peers } from '../../../src/runner/peers.ts';
import type { Outcome } from '../../../src/runner/runner.ts';
import type { Variant } from '../coordinator.ts';
import { hearing, spoiling, withStore, withTransport, type Mutant, type Reply } from './mutant.ts';

const asSuccess = (...results: readonly Reply['result'][]): (() => Variant) =>
  hearing((reply) => (results.includes(reply.result) ? { ...reply, result: 'success' } : reply));

const withBranches = (decision: Decision, now: Instant, change: (branch: Branch) => Branch): Decision => {
  const next = { ...decision.next, branches: decision.next.branches.map(change) };
  return { ...decision, next, effects: decide(next, { kind: 'woken' }, now).effects };
};

const withoutPause = (branch: Branch): Branch => ({ ...branch, notBefore: 0 as Instant });

function forgettingSecondReply(): Variant {
  let last = '';
  return {
    decide: (state, event, now) => {
      const key = `${state.gid} ${now}`;
      const isSecond = event.kind === 'replied' && key === last;
      if (event.kind === 'replied') last = key;
      return decide(state, isSecond ? { kind: 'woken' } : event, now);
    },
  };
}

const ignoringDeadline: Decide = (state, event, now) =>
  decide(state, event, isOverdue(state, now) ? (((state.deadline ?? now) - 1) as Instant) : now);

/** Answers what the holder last said of the transaction, whatever is asked of it now. */
function silenceAsYes(peers: Peers): Peers['happen'] {
  const known = new Map<Gid, Outcome<GlobalTransaction>>();
  return async (gid, event) => {
    const answer = await peers.happen(gid, event);
    if (answer?.ok) known.set(gid, answer);
    return answer ?? known.get(gid);
  };
}

/** What is wrong with each. */
export const GENERAL_MUTANTS: readonly Mutant[] = [
  {
    wrong: 'performs before the save is answered',
    variant: withStore((store) => ({
      save: (...save) => {
        void store.save(...save).catch(() => undefined);
        return Promise.resolve('saved');
      },
    })),
  },
  {
    wrong: 'rolls back at the deadline before that is saved',
    variant: withStore((store) => ({
      save: (next, ...rest) => {
        const saved = store.save(next, ...rest);
        return next.reason === 'deadline passed'
          ? Promise.race([saved.catch(() => 'saved' as const), Promise.resolve('saved' as const)])
          : saved;
      },
    })),
  },
  {
    wrong: 'answers begin before it is durable',
    variant: withStore((store) => ({
      insert: (...insert) => {
        void store.insert(...insert).catch(() => undefined);
        return Promise.resolve('inserted');
      },
    })),
  },
  {
    wrong: 'saves everything soon, nothing now',
    variant: withStore((store) => ({
      save: (next, version, lease, dueAt) => store.save(next, version, lease, dueAt, 'soon'),
    })),
  },
  {
    wrong: 'saves the enlisting of branches soon',
    variant: withStore((store) => ({
      save: (next, version, lease, dueAt, durability) =>
        store.save(next, version, lease, dueAt, next.status === 'prepared' ? 'soon' : durability),
    })),
  },
  {
    wrong: 'takes a failed save for a save',
    variant: withStore((store) => ({
      save: (...save) => store.save(...save).catch(() => 'saved'),
    })),
  },
  {
    wrong: 'takes a conflict for a save',
    variant: withStore((store) => ({
      save: (...save) => store.save(...save).then(() => 'saved'),
    })),
  },
  { wrong: 'takes unknown for success', variant: asSuccess('unknown') },
  { wrong: 'takes failure for success', variant: asSuccess('failure') },
  { wrong: 'takes ongoing for success', variant: asSuccess('ongoing') },
  { wrong: 'takes dirty for success', variant: asSuccess('dirty') },
  {
    wrong: 'rolls back when a commit answers failure',
    variant: spoiling((decision, state, event, now) => {
      if (state.status !== 'submitted' || event.kind !== 'replied' || event.result !== 'failure') return decision;
      const next: GlobalTransaction = { ...decision.next, status: 'aborting' };
      return { ...decision, next, effects: decide(next, { kind: 'woken' }, now).effects };
    }),
  },
  {
    wrong: 'enlists after the decision',
    variant: spoiling((decision, state, event, now) => {
      if (event.kind !== 'enlist' || (state.status !== 'submitted' && state.status !== 'aborting')) return decision;
      const open = decide({ ...state, status: 'prepared', deadline: Infinity as Instant }, event, now);
      return { ...open, next: { ...state, branches: open.next.branches } };
    }),
  },
  {
    wrong: 'aborts after the submit',
    variant: () => ({
      decide: (state, event, now) => {
        const isLate = event.kind === 'abort' && state.status === 'submitted';
        return decide(isLate ? { ...state, status: 'prepared' } : state, event, now);
      },
    }),
  },
  {
    wrong: 'submits after the abort',
    variant: () => ({
      decide: (state, event, now) => {
        const isLate = event.kind === 'submit' && state.status === 'aborting';
        return decide(isLate ? { ...state, status: 'prepared', deadline: Infinity as Instant } : state, event, now);
      },
    }),
  },
  {
    wrong: 'answers a late submit as if it had committed',
    variant: spoiling((decision, _, event) =>
      event.kind === 'submit' ? { next: decision.next, effects: decision.effects } : decision,
    ),
  },
  {
    wrong: 'rolls back forwards',
    variant: spoiling((decision, _, __, now) => {
      if (decision.next.status !== 'aborting') return decision;
      const { effects } = decide(
        { ...decision.next, branches: decision.next.branches.toReversed() },
        { kind: 'woken' },
        now,
      );
      return { ...decision, effects };
    }),
  },
  {
    wrong: 'rolls back all branches at once',
    variant: spoiling((decision, _, __, now) => {
      const { branches, status } = decision.next;
      if (status !== 'aborting') return decision;
      const each = branches.flatMap(
        (branch) => decide({ ...decision.next, branches: [branch] }, { kind: 'woken' }, now).effects,
      );
      return { ...decision, effects: each };
    }),
  },
  {
    wrong: 'finishes with the first branch that answers',
    variant: spoiling((decision, state, event, now) => {
      const isFirst = event.kind === 'replied' && event.result === 'success' && decision.next !== state;
      if (!isFirst || decision.next.finishedAt !== undefined) return decision;
      const status = decision.next.status === 'submitted' ? 'succeed' : 'failed';
      return { next: { ...decision.next, status, finishedAt: now }, effects: [] };
    }),
  },
  { wrong: 'forgets the deadline', variant: () => ({ decide: ignoringDeadline }) },
  {
    wrong: 'plans no wake for the deadline',
    variant: spoiling((decision) => (decision.next.status === 'prepared' ? { ...decision, effects: [] } : decision)),
  },
  {
    wrong: 'retries without a pause',
    variant: spoiling((decision, _, event, now) =>
      event.kind === 'replied' ? withBranches(decision, now, withoutPause) : decision,
    ),
  },
  {
    wrong: 'never retries',
    variant: spoiling((decision, _, event) =>
      event.kind === 'replied' && event.result !== 'success'
        ? { ...decision, effects: decision.effects.filter(({ kind }) => kind === 'call') }
        : decision,
    ),
  },
  { wrong: 'drops one of two answers that come together', variant: forgettingSecondReply },
  {
    wrong: 'makes each call twice',
    variant: withTransport((transport) => ({
      call: async (call, signal) => {
        const [first] = await Promise.all([transport.call(call, signal), transport.call(call, signal)]);
        return first;
      },
    })),
  },
  {
    wrong: 'repeats a call that takes long',
    variant: withTransport((transport) => ({
      call: (call, signal) => {
        const quick = transport.call({ ...call, timeoutMs: Math.ceil(call.timeoutMs / 4) }, signal);
        return quick.then((answer) => (answer.result === 'unknown' ? transport.call(call, signal) : answer));
      },
    })),
  },
  { wrong: 'has a store that ignores versions and owners', variant: () => ({ checksVersion: false }) },
  { wrong: 'has a store that ignores leases', variant: () => ({ checksLease: false }) },
  {
    wrong: 'takes the silence of a holder for its yes',
    variant: () => ({ peers: (peers) => ({ ...peers, happen: silenceAsYes(peers) }) }),
  },
  { wrong: 'renews no lease', variant: withStore(() => ({ renew: () => Promise.resolve([]) })) },
  { wrong: 'claims nothing that is due', variant: withStore(() => ({ claimDue: () => Promise.resolve([]) })) },
  {
    wrong: 'begins a gid again that exists',
    variant: withStore((store) => ({ insert: (...insert) => store.insert(...insert).then(() => 'inserted') })),
  },
];
