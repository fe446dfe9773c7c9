import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import type { Branch, GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { goEveryWay, type Situation, type Work } from './every-way.ts';
import { begunWith, branchId, happened, participant, started, stepsOf } from './sample.ts';

/** Whatever is astray arrives in the end as well. */
function isLeftAlone({ state, work }: Situation): boolean {
  const of = (id: string): Work | undefined => work[id];
  if (state.mode === 'saga') {
    return state.branches.every(({ id, operations }) =>
      state.status === 'succeed'
        ? of(id)?.done === true && !of(id)?.undone
        : of(id)?.done !== true || of(id)?.undone === true || operations.compensate === undefined,
    );
  }
  return state.branches.every(({ id }) => (state.status === 'succeed' ? of(id)?.confirmed : of(id)?.undone) === true);
}

const saga = (steps: readonly string[], wanted: Partial<NewTransaction> = {}): GlobalTransaction =>
  started('saga', 'submitted', { ...wanted, steps: stepsOf(...steps) });

const ASKED: readonly Event[] = [{ kind: 'submit' }, { kind: 'abort', reason: 'r' }, { kind: 'retry' }];

const SAGAS: Readonly<Record<string, GlobalTransaction>> = {
  'two steps': saga(['ac', 'ac']),
  'two steps with a deadline': saga(['ac', 'ac'], { timeoutMs: 1000 }),
  'two steps with a retry limit': saga(['ac', 'ac'], { retryLimit: 1 }),
  'three steps with a deadline': saga(['ac', 'ac', 'ac'], { timeoutMs: 1000 }),
  'two steps at once, with a deadline': saga(['ac', 'ac'], { timeoutMs: 1000, order: [[], []] }),
  'a step after two at once': saga(['ac', 'ac', 'ac'], { order: [[], [], [0, 1]] }),
  'two at once after a step': saga(['ac', 'ac', 'ac'], { order: [[], [0], [0]] }),
  'a step without a compensation between two': saga(['ac', 'a', 'ac']),
};

for (const [name, first] of Object.entries(SAGAS)) {
  test(`a saga of ${name} ends all or nothing, whatever way it goes, and always can`, (t) => {
    const { situations, ends, stuck } = goEveryWay({ first, requests: ASKED });
    t.deepEqual(stuck.slice(0, 1), []);
    t.deepEqual(ends.filter((end) => !isLeftAlone(end)).slice(0, 1), []);
    t.deepEqual([...new Set(ends.map(({ state }) => state.status))].sort(), ['failed', 'succeed']);
    t.log(`${situations} situations, ${ends.length} ends`);
  });
}

for (const mode of ['tcc', 'xa'] as const) {
  test(`${mode}: whoever submits or aborts, it ends all or nothing, and always can`, (t) => {
    const first = happened(started(mode, 'prepared', { timeoutMs: 1000 }), [
      { kind: 'enlist', branch: { ...participant('a', mode), id: branchId('01') } },
      { kind: 'enlist', branch: { ...participant('b', mode), id: branchId('02') } },
    ]);
    // The initiator has had the first phase of both done: only then does it submit.
    const { situations, ends, stuck } = goEveryWay({ first, requests: ASKED, wasDone: ['01', '02'] });
    t.deepEqual(stuck.slice(0, 1), []);
    t.deepEqual(ends.filter((end) => !isLeftAlone(end)).slice(0, 1), []);
    t.deepEqual([...new Set(ends.map(({ state }) => state.status))].sort(), ['failed', 'succeed']);
    t.log(`${situations} situations, ${ends.length} ends`);
  });
}

const MESSAGE = happened(begunWith('msg'), [
  { kind: 'enlist', branch: participant('mail', 'msg') },
  { kind: 'enlist', branch: participant('stock', 'tcc') },
]);

/** Delivered and confirmed exactly when the initiator's local transaction has committed; else cancelled, and never delivered. */
function isAsCommitted({ state, work }: Situation): boolean {
  const isGood = state.status === 'succeed';
  const isDone = isGood ? work['02']?.confirmed === true : work['02']?.undone === true;
  return isDone && (work['01']?.done ?? false) === isGood && (work['00']?.done ?? false) === isGood;
}

test('a message in a mesh ends as its initiator’s local transaction, whatever way it goes, and always can', (t) => {
  const requests: readonly Event[] = [{ kind: 'retry' }];
  const { situations, ends, stuck } = goEveryWay({
    first: MESSAGE,
    requests,
    wasDone: ['02'],
    hasLocalTransaction: true,
  });
  t.deepEqual(stuck.slice(0, 1), []);
  t.deepEqual(ends.filter((end) => !isAsCommitted(end)).slice(0, 1), []);
  t.deepEqual([...new Set(ends.map(({ state }) => state.status))].sort(), ['failed', 'succeed']);
  t.log(`${situations} situations, ${ends.length} ends`);
});

test('a message in a mesh that takes silence of its initiator for a no is found', (t) => {
  const judge: typeof decide = (state, event, now) => {
    const isSilence = event.kind === 'replied' && event.operation === 'msg' && event.result === 'unknown';
    return decide(state, isSilence ? { ...event, result: 'failure' } : event, now);
  };
  const { ends } = goEveryWay({ first: MESSAGE, requests: [], wasDone: ['02'], hasLocalTransaction: true, judge });
  t.true(ends.some((end) => !isAsCommitted(end)));
});

/** Wrong sagas: the search must see that they are. */
const WRONG: Readonly<Record<string, typeof decide>> = {
  'spares a step whose action has no answer': (state, event, now) => {
    const decision = decide(state, event, now);
    if (state.status !== 'submitted' || decision.next.status !== 'aborting') return decision;
    const branches = decision.next.branches.map((branch): Branch => {
      const { compensation: _, ...rest } = branch;
      return branch.action === undefined ? { ...rest, status: 'succeed' } : branch;
    });
    return { ...decision, next: { ...decision.next, branches } };
  },
  'takes silence for success': (state, event, now) =>
    decide(
      state,
      event.kind === 'replied' && event.result === 'unknown' ? { ...event, result: 'success' } : event,
      now,
    ),
  'forgets to call the last step': (state, event, now) => {
    const { effects, ...decision } = decide(state, event, now);
    return { ...decision, effects: effects.filter((effect) => effect.kind === 'wake' || effect.branch !== '02') };
  },
};

for (const [wrong, judge] of Object.entries(WRONG)) {
  test(`a saga that ${wrong} is found`, (t) => {
    const { ends, stuck } = goEveryWay({ first: saga(['ac', 'ac'], { timeoutMs: 1000 }), requests: ASKED, judge });
    t.true(stuck.length > 0 || ends.some((end) => !isLeftAlone(end)));
  });
}
