import test from 'ava';
import { decide } from '../../src/engine/decide.ts';
import type { Event, NewBranch } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { after, branchId, dueWords, effectWords, happened, participant, reply, started } from './sample.ts';

const registered = (id: string, wanted: Partial<NewBranch> = {}): Event => ({
  kind: 'enlist',
  branch: {
    id: branchId(id),
    kind: 'tcc',
    resource: `http://${id}`,
    operations: { confirm: `http://${id}/confirm`, cancel: `http://${id}/cancel` },
    payload: 'e30=',
    ...wanted,
  },
});

const open = (timeoutMs?: number): GlobalTransaction =>
  started('tcc', 'prepared', timeoutMs === undefined ? {} : { timeoutMs });
const three = (): GlobalTransaction => happened(open(), [registered('01'), registered('0101'), registered('02')]);
const submit: Event = { kind: 'submit' };
const abort: Event = { kind: 'abort', reason: 'no stock' };

test('an undecided transaction only waits for its deadline, 35 seconds unless told otherwise', (t) => {
  t.deepEqual(dueWords(three()), ['wake +35000']);
  t.deepEqual(dueWords(open(10)), ['wake +10']);
});

test('submit confirms and abort cancels one after another, from the last registered', (t) => {
  for (const [event, operation, end] of [
    [submit, 'confirm', 'succeed'],
    [abort, 'cancel', 'failed'],
  ] as const) {
    let state = happened(three(), [event]);
    for (const id of ['02', '0101', '01']) {
      t.deepEqual(dueWords(state), [`${operation} ${id}`]);
      state = happened(state, [reply(id, operation, 'success')]);
    }
    t.is(state.status, end);
  }
});

test('submit again changes nothing, before the end and after it: no branch is skipped and none asked twice', (t) => {
  const once = happened(three(), [submit]);
  t.is(happened(once, [submit]), once);
  t.deepEqual(effectWords(once, submit, after(0)), ['confirm 02']);
  const over = happened(
    once,
    ['02', '0101', '01'].map((id) => reply(id, 'confirm', 'success')),
  );
  t.is(happened(over, [submit]), over);
});

test('the first of submit and abort decides, and the other one is told', (t) => {
  t.is(decide(happened(three(), [submit]), abort, after(0)).refused?.code, 'TRANSACTION_DECIDED');
  t.is(decide(happened(three(), [abort]), submit, after(0)).refused?.code, 'TRANSACTION_ROLLED_BACK');
});

test('at its deadline it is cancelled, and a submit comes too late', (t) => {
  const state = happened(open(500), [registered('01')]);
  t.is(happened(state, [submit], after(499)).status, 'submitted');
  t.deepEqual(effectWords(state, submit, after(500)), ['cancel 01']);
  t.is(decide(state, submit, after(500)).refused?.code, 'TRANSACTION_ROLLED_BACK');
});

test('confirm and cancel are asked until they succeed, whatever they answer', (t) => {
  for (const result of ['failure', 'unknown', 'ongoing'] as const) {
    const state = happened(three(), [submit, reply('02', 'confirm', result)]);
    t.like(state, { status: 'submitted' });
    t.regex(dueWords(state).join(), /^wake/, 'and those before it wait for their turn');
  }
});

test('a branch registered again with the same request is one branch', (t) => {
  const state = three();
  t.is(happened(state, [registered('0101')]), state);
});

test('a branch id that comes again with another request is refused', (t) => {
  for (const wanted of [
    { payload: 'bm8=' },
    { operations: { confirm: 'http://elsewhere/confirm', cancel: 'http://01/cancel' } },
  ]) {
    const { next, refused } = decide(three(), registered('01', wanted), after(0));
    t.is(refused?.code, 'BAD_REQUEST');
    t.is(next.branches.length, 3);
  }
});

test('nobody registers after the decision', (t) => {
  t.is(decide(happened(three(), [submit]), registered('03'), after(0)).refused?.code, 'TRANSACTION_DECIDED');
});

test('an empty URL means that there is nothing to do, and a missing one that it was forgotten', (t) => {
  const quiet = registered('03', { operations: { confirm: '', cancel: 'http://03/cancel' } });
  const state = happened(three(), [quiet, quiet]);
  t.is(state.branches.length, 4);
  t.deepEqual(effectWords(state, submit, after(0)), ['confirm 02']);
  t.deepEqual(effectWords(state, abort, after(0)), ['cancel 03']);
  const forgotten = registered('04', { operations: { cancel: 'http://04/cancel' } });
  t.is(decide(state, forgotten, after(0)).refused?.code, 'BAD_REQUEST');
});

test('ids made for sidecars keep out of the way of those that the initiator gives', (t) => {
  const state = happened(open(), [
    { kind: 'enlist', branch: participant('orders') },
    registered('01'),
    { kind: 'enlist', branch: participant('stock') },
    registered('02'),
  ]);
  t.deepEqual(
    state.branches.map(({ id }) => String(id)),
    ['00-01', '01', '00-03', '02'],
  );
  t.deepEqual(effectWords(state, submit, after(0)), ['confirm 02']);
});

test('one that an operator has given up is over: nothing is called, and late answers change nothing', (t) => {
  const stopped = happened(three(), [submit, { kind: 'stop' }], after(7));
  t.like(stopped, { status: 'failed', reason: 'stopped by an operator', finishedAt: after(7) });
  for (const event of [
    submit,
    abort,
    { kind: 'retry' },
    { kind: 'woken' },
    reply('02', 'cancel', 'success'),
  ] as const) {
    t.is(decide(stopped, event, after(9)).next, stopped, event.kind);
    t.deepEqual(effectWords(stopped, event, after(9)), [], event.kind);
  }
  t.is(decide(stopped, { kind: 'stop' }, after(9)).refused?.code, 'TRANSACTION_DECIDED');
});
