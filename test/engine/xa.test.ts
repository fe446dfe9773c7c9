import test from 'ava';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { after, branchId, dueWords, effectWords, happened, reply, started } from './sample.ts';

/** Both operations of an XA branch go to one URL. */
const registered = (id: string): Event => ({
  kind: 'enlist',
  branch: {
    id: branchId(id),
    kind: 'xa',
    resource: `http://${id}`,
    operations: { commit: `http://${id}`, rollback: `http://${id}` },
  },
});

const open = (): GlobalTransaction =>
  happened(started('xa', 'prepared', { timeoutMs: 5000 }), [registered('01'), registered('02'), registered('03')]);

test('all prepared database transactions are committed, or rolled back, at once', (t) => {
  t.deepEqual(effectWords(open(), { kind: 'submit' }, after(0)), ['commit 01', 'commit 02', 'commit 03']);
  t.deepEqual(effectWords(open(), { kind: 'abort', reason: '' }, after(0)), [
    'rollback 01',
    'rollback 02',
    'rollback 03',
  ]);
});

test('it is over when every branch has said success, in whatever order', (t) => {
  const two = happened(open(), [
    { kind: 'submit' },
    reply('03', 'commit', 'success'),
    reply('01', 'commit', 'success'),
  ]);
  t.is(two.status, 'submitted');
  t.deepEqual(dueWords(two), ['commit 02']);
  t.is(happened(two, [reply('02', 'commit', 'success')]).status, 'succeed');
});

test('a branch that fails to commit is asked again and does not hold up the others', (t) => {
  const state = happened(open(), [{ kind: 'submit' }, reply('01', 'commit', 'failure')]);
  t.is(state.status, 'submitted');
  t.deepEqual(dueWords(state).slice(0, 2), ['commit 02', 'commit 03']);
  t.regex(dueWords(state)[2] ?? '', /^wake/);
});

test('submit again is answered as the first time, and never ends a transaction that is not committed', (t) => {
  const once = happened(open(), [{ kind: 'submit' }]);
  t.is(happened(once, [{ kind: 'submit' }]), once);
  t.is(decide(once, { kind: 'submit' }, after(0)).refused, undefined);
});

test('past its deadline it is rolled back', (t) => {
  t.deepEqual(dueWords(open(), after(4999)), ['wake +5000']);
  t.deepEqual(dueWords(open(), after(5000)), ['rollback 01', 'rollback 02', 'rollback 03']);
  t.is(decide(open(), registered('04'), after(5000)).refused?.code, 'TRANSACTION_DECIDED');
});
