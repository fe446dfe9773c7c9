import test from 'ava';
import { decide } from '../../../src/engine/decide.ts';
import type { NewBranch } from '../../../src/engine/event.ts';
import type { GlobalTransaction, Terms } from '../../../src/engine/global-transaction.ts';
import { after, begun, dueWords, happened, participant, reply } from '../sample.ts';

const enlisted = (branch: NewBranch): GlobalTransaction => happened(begun(), [{ kind: 'enlist', branch }]);
const message = (terms: Terms): GlobalTransaction => enlisted({ ...participant('m', 'msg'), ...terms });

test('a message with a delay is delivered so long after the decision, and an operator does not hurry it', (t) => {
  const waiting = happened(message({ delayMs: 10_000 }), [{ kind: 'submit' }], after(500));
  t.deepEqual(dueWords(waiting, after(500)), ['wake +10500']);
  t.deepEqual(dueWords(happened(waiting, [{ kind: 'retry' }], after(600)), after(600)), ['wake +10500']);
  t.deepEqual(dueWords(waiting, after(10_500)), ['action 01']);
  const tried = happened(waiting, [reply('01', 'action', 'unknown')], after(10_500));
  t.deepEqual(dueWords(happened(tried, [{ kind: 'retry' }], after(10_600)), after(10_600)), ['action 01']);
});

test('a message that was tried as often as wished is abandoned, and the transaction ends well without it', (t) => {
  const state = happened(
    begun(),
    [
      { kind: 'enlist', branch: { ...participant('m', 'msg'), attemptsMax: 3 } },
      { kind: 'enlist', branch: participant('u') },
      { kind: 'submit' },
      reply('02', 'commit', 'success'),
      reply('01', 'action', 'unknown'),
      reply('01', 'action', 'ongoing'),
    ],
    after(0),
  );
  t.is(state.status, 'submitted');
  const over = happened(state, [{ ...reply('01', 'action', 'failure'), detail: 'HTTP 409' } as never], after(7));
  t.like(over, { status: 'succeed', finishedAt: after(7) });
  t.like(over.branches[0], { status: 'abandoned', attempts: 3, lastError: 'HTTP 409' });
  t.is(happened(over, [reply('01', 'action', 'success')], after(8)), over);
});

test('an abandoned message stays abandoned while other branches go on', (t) => {
  const state = happened(begun(), [
    { kind: 'enlist', branch: { ...participant('m', 'msg'), attemptsMax: 1 } },
    { kind: 'enlist', branch: participant('u') },
    { kind: 'submit' },
    reply('01', 'action', 'unknown'),
  ]);
  t.is(state.branches[0]?.status, 'abandoned');
  t.deepEqual(dueWords(happened(state, [{ kind: 'retry' }])), ['commit 02']);
  t.is(happened(state, [reply('01', 'action', 'success')]), state);
});

test('a message whose last try succeeds is delivered', (t) => {
  const state = happened(message({ attemptsMax: 2 }), [
    { kind: 'submit' },
    reply('01', 'action', 'unknown'),
    reply('01', 'action', 'success'),
  ]);
  t.like(state, { status: 'succeed', branches: [{ status: 'succeed', attempts: 2 }] });
});

test('a branch with a pause of its own waits for that, not for the transaction', (t) => {
  const own = happened(message({ retryIntervalMs: 30_000 }), [{ kind: 'submit' }, reply('01', 'action', 'ongoing')]);
  t.deepEqual(dueWords(own), ['wake +30000']);
  const common = happened(message({}), [{ kind: 'submit' }, reply('01', 'action', 'ongoing')]);
  t.deepEqual(dueWords(common), ['wake +1000']);
});

test('only messages can be delayed or given up: anything else has to end', (t) => {
  for (const kind of ['undo', 'xa', 'tcc', 'saga'] as const) {
    for (const terms of [{ delayMs: 1 }, { attemptsMax: 1 }]) {
      const branch = { ...participant('b', kind), ...terms };
      t.is(decide(begun(), { kind: 'enlist', branch }, after(0)).refused?.code, 'BAD_REQUEST', kind);
    }
  }
});

test('whoever enlists a resource again with requests knows it better: URLs and requests are replaced', (t) => {
  const first = {
    ...participant('t', 'tcc', 'early'),
    hash: '1',
    requests: { cancel: { method: 'DELETE', body: '' } },
  };
  const later = {
    ...participant('t', 'tcc', 'late'),
    hash: '2',
    requests: { cancel: { method: 'DELETE', body: 'YQ==' } },
  };
  const state = happened(enlisted(first), [{ kind: 'enlist', branch: later }]);
  t.is(state.branches.length, 1);
  t.deepEqual(state.branches[0]?.operations.cancel, ['http://late/cancel']);
  t.deepEqual(state.branches[0]?.requests, later.requests);
  t.is(happened(state, [{ kind: 'enlist', branch: later }]), state, 'the same once more changes nothing');
  t.is(happened(state, [{ kind: 'enlist', branch: first }]), state, 'what was replaced does not come back');
  const joined = happened(state, [{ kind: 'enlist', branch: participant('t', 'tcc', 'replica') }]);
  t.deepEqual(joined.branches[0]?.operations.cancel, ['http://late/cancel', 'http://replica/cancel']);
});
