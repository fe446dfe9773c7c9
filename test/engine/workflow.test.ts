import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { GlobalStatus } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { after, branchId, CALLBACK, dueWords, effectWords, happened, reply, started } from './sample.ts';

const workflow = (wanted: Partial<NewTransaction> = {}): GlobalTransaction =>
  started('workflow', 'prepared', { callback: { ...CALLBACK, name: 'trip' }, ...wanted });
const recorded = (branch: string, status: 'succeed' | 'failed', data = ''): Event => ({
  kind: 'record',
  step: { branch: branchId(branch), operation: 'action', status, data },
});

const EVENTS = {
  resume: { kind: 'resume' },
  'record 01': recorded('01', 'succeed', 'e30='),
  'record 01 otherwise': recorded('01', 'failed'),
  'record 02': recorded('02', 'succeed'),
  'conclude succeed': { kind: 'conclude', status: 'succeed', result: 'b2s=' },
  'conclude failed': { kind: 'conclude', status: 'failed', reason: 'no room' },
  'workflow ok': reply('00', 'workflow', 'success'),
  'workflow failure': reply('00', 'workflow', 'failure'),
  'workflow ongoing': reply('00', 'workflow', 'ongoing'),
  woken: { kind: 'woken' },
  retry: { kind: 'retry' },
  submit: { kind: 'submit' },
  abort: { kind: 'abort', reason: '' },
} satisfies Record<string, Event>;

/** A workflow that has recorded its first step. */
function workflowIn(status: GlobalStatus): GlobalTransaction {
  const one = happened(workflow(), [EVENTS['record 01']]);
  if (status === 'succeed') return happened(one, [EVENTS['conclude succeed']]);
  return status === 'failed' ? happened(one, [EVENTS['conclude failed']]) : one;
}

type Row = readonly [GlobalStatus, keyof typeof EVENTS, answer: string, GlobalStatus, effects: readonly string[]];

const TABLE: readonly Row[] = [
  ['prepared', 'resume', 'ok', 'prepared', ['wake +11000']],
  ['prepared', 'record 01', 'ok', 'prepared', ['wake +11000']],
  ['prepared', 'record 01 otherwise', 'TRANSACTION_DECIDED', 'prepared', ['wake +10000']],
  ['prepared', 'record 02', 'ok', 'prepared', ['wake +11000']],
  ['prepared', 'conclude succeed', 'ok', 'succeed', []],
  ['prepared', 'conclude failed', 'ok', 'failed', []],
  ['prepared', 'workflow ok', 'ok', 'prepared', ['wake +10719']],
  ['prepared', 'workflow failure', 'ok', 'prepared', ['wake +10719']],
  ['prepared', 'workflow ongoing', 'ok', 'prepared', ['wake +11000']],
  ['prepared', 'woken', 'ok', 'prepared', ['wake +10000']],
  ['prepared', 'retry', 'ok', 'prepared', ['workflow 00']],
  ['prepared', 'submit', 'BAD_REQUEST', 'prepared', ['wake +10000']],
  ['prepared', 'abort', 'BAD_REQUEST', 'prepared', ['wake +10000']],

  ['succeed', 'resume', 'ok', 'succeed', []],
  ['succeed', 'record 01', 'ok', 'succeed', []],
  ['succeed', 'record 01 otherwise', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'record 02', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'conclude succeed', 'ok', 'succeed', []],
  ['succeed', 'conclude failed', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'workflow ok', 'ok', 'succeed', []],
  ['succeed', 'workflow failure', 'ok', 'succeed', []],
  ['succeed', 'workflow ongoing', 'ok', 'succeed', []],
  ['succeed', 'woken', 'ok', 'succeed', []],
  ['succeed', 'retry', 'ok', 'succeed', []],
  ['succeed', 'submit', 'BAD_REQUEST', 'succeed', []],
  ['succeed', 'abort', 'BAD_REQUEST', 'succeed', []],

  ['failed', 'resume', 'ok', 'failed', []],
  ['failed', 'record 01', 'ok', 'failed', []],
  ['failed', 'record 01 otherwise', 'TRANSACTION_DECIDED', 'failed', []],
  ['failed', 'record 02', 'TRANSACTION_ROLLED_BACK', 'failed', []],
  ['failed', 'conclude succeed', 'TRANSACTION_ROLLED_BACK', 'failed', []],
  ['failed', 'conclude failed', 'ok', 'failed', []],
  ['failed', 'workflow ok', 'ok', 'failed', []],
  ['failed', 'workflow failure', 'ok', 'failed', []],
  ['failed', 'workflow ongoing', 'ok', 'failed', []],
  ['failed', 'woken', 'ok', 'failed', []],
  ['failed', 'retry', 'ok', 'failed', []],
  ['failed', 'submit', 'BAD_REQUEST', 'failed', []],
  ['failed', 'abort', 'BAD_REQUEST', 'failed', []],
];

for (const [status, name, answer, nextStatus, effects] of TABLE) {
  test(`${status}, ${name}: ${answer}, then ${nextStatus}, due: ${effects.join(', ') || 'nothing'}`, (t) => {
    const before = workflowIn(status);
    const { next, refused } = decide(before, EVENTS[name], after(1000));
    t.is(refused?.code ?? 'ok', answer);
    t.is(next.status, nextStatus);
    t.deepEqual(effectWords(before, EVENTS[name], after(1000)), effects);
    if (refused !== undefined || before.finishedAt !== undefined) t.is(next, before, 'the very same state');
  });
}

test('the table holds every status with every event', (t) => {
  t.is(new Set(TABLE.map(([status, name]) => `${status}/${name}`)).size, 3 * Object.keys(EVENTS).length);
});

test('a finished step is kept once, with the result that came first', (t) => {
  const state = happened(workflow(), [EVENTS['record 01'], EVENTS['record 01'], EVENTS['record 01 otherwise']]);
  t.deepEqual(state.progress, [{ branch: branchId('01'), operation: 'action', status: 'succeed', data: 'e30=' }]);
});

test('what one run has decided and begun to carry out, no other run ends otherwise', (t) => {
  for (const [decision, allowed, refused] of [
    ['succeed', 'conclude succeed', 'conclude failed'],
    ['failed', 'conclude failed', 'conclude succeed'],
  ] as const) {
    const step = { branch: branchId('00'), operation: 'decision', status: decision, data: '' };
    const state = happened(workflow(), [EVENTS['record 01'], { kind: 'record', step }]);
    const late = decide(state, EVENTS[refused], after(1));
    t.is(late.refused?.code, 'TRANSACTION_DECIDED');
    t.is(late.next, state);
    t.is(decide(state, EVENTS[allowed], after(1)).next.status, decision);
  }
});

test('operations of one branch are steps of their own', (t) => {
  const rollback: Event = {
    kind: 'record',
    step: { branch: branchId('01'), operation: 'rollback', status: 'succeed', data: '' },
  };
  t.is(happened(workflow(), [EVENTS['record 01'], rollback]).progress?.length, 2);
});

test('the end keeps what the program returned, or why it failed', (t) => {
  t.like(workflowIn('succeed'), { result: 'b2s=', finishedAt: after(0) });
  t.like(workflowIn('failed'), { reason: 'no room', finishedAt: after(0) });
});

test('the initiator is called when its program has given no sign of life for a while, which the initiator may set', (t) => {
  t.deepEqual(dueWords(workflow(), after(9999)), ['wake +10000']);
  t.deepEqual(dueWords(workflow(), after(10_000)), ['workflow 00']);
  const slow = happened(workflow({ timeoutMs: 60_000 }), [EVENTS['record 01']], after(5000));
  t.deepEqual(dueWords(slow, after(30_000)), ['wake +65000'], 'a step may take longer than the interval between tries');
});

test('a step that is recorded while a call is under way does not bring a second call', (t) => {
  const called = happened(workflow(), [{ kind: 'woken' }], after(10_000));
  t.deepEqual(effectWords(called, EVENTS['record 01'], after(12_000)), ['wake +22000']);
});

test('calls that do not end the workflow come with growing pauses', (t) => {
  const state = happened(
    workflow({ retryIntervalMs: 1000 }),
    Array.from({ length: 9 }, () => EVENTS['workflow ok']),
  );
  t.true((state.callback?.notBefore ?? 0) >= after(30_000));
});

test('without anybody to call it waits for the initiator to come back', (t) => {
  const state = started('workflow', 'prepared');
  t.deepEqual(dueWords(state, after(1e9)), []);
  t.is(happened(state, [EVENTS['record 01'], EVENTS['conclude succeed']]).status, 'succeed');
});
