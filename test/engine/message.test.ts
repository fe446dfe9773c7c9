import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { GlobalStatus } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import { dueFromBegin } from '../../src/engine/deadline.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { after, CALLBACK, dueWords, effectWords, happened, reply, started, stepsOf } from './sample.ts';

const message = (status: 'prepared' | 'submitted', wanted: Partial<NewTransaction> = {}): GlobalTransaction =>
  started('msg', status, { steps: stepsOf('a', 'a'), callback: CALLBACK, timeoutMs: 5000, ...wanted });

const EVENTS = {
  submit: { kind: 'submit' },
  abort: { kind: 'abort', reason: 'no money' },
  woken: { kind: 'woken' },
  retry: { kind: 'retry' },
  record: { kind: 'record', step: { branch: '01' as never, operation: 'action', status: 'succeed', data: '' } },
  'msg ok': reply('00', 'msg', 'success'),
  'msg failure': reply('00', 'msg', 'failure'),
  'msg ongoing': reply('00', 'msg', 'ongoing'),
  'action 01 ok': reply('01', 'action', 'success'),
  'action 01 failure': reply('01', 'action', 'failure'),
  'action 02 ok': reply('02', 'action', 'success'),
} satisfies Record<string, Event>;

function messageIn(status: GlobalStatus): GlobalTransaction {
  switch (status) {
    case 'submitted':
      return message('submitted');
    case 'succeed':
      return happened(message('submitted'), [EVENTS['action 01 ok'], EVENTS['action 02 ok']]);
    case 'failed':
      return happened(message('prepared'), [EVENTS.abort]);
    default:
      return message('prepared');
  }
}

type Row = readonly [GlobalStatus, keyof typeof EVENTS, answer: string, GlobalStatus, effects: readonly string[]];

const TABLE: readonly Row[] = [
  ['prepared', 'submit', 'ok', 'submitted', ['action 01']],
  ['prepared', 'abort', 'ok', 'failed', []],
  ['prepared', 'woken', 'ok', 'prepared', ['wake +5000']],
  ['prepared', 'retry', 'ok', 'prepared', ['msg 00']],
  ['prepared', 'record', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['prepared', 'msg ok', 'ok', 'submitted', ['action 01']],
  ['prepared', 'msg failure', 'ok', 'failed', []],
  ['prepared', 'msg ongoing', 'ok', 'prepared', ['wake +2000']],
  ['prepared', 'action 01 ok', 'ok', 'prepared', ['wake +5000']],
  ['prepared', 'action 01 failure', 'ok', 'prepared', ['wake +5000']],
  ['prepared', 'action 02 ok', 'ok', 'prepared', ['wake +5000']],

  ['submitted', 'submit', 'ok', 'submitted', ['action 01']],
  ['submitted', 'abort', 'TRANSACTION_DECIDED', 'submitted', ['action 01']],
  ['submitted', 'woken', 'ok', 'submitted', ['action 01']],
  ['submitted', 'retry', 'ok', 'submitted', ['action 01']],
  ['submitted', 'record', 'BAD_REQUEST', 'submitted', ['action 01']],
  ['submitted', 'msg ok', 'ok', 'submitted', ['action 01']],
  ['submitted', 'msg failure', 'ok', 'submitted', ['action 01']],
  ['submitted', 'msg ongoing', 'ok', 'submitted', ['action 01']],
  ['submitted', 'action 01 ok', 'ok', 'submitted', ['action 02']],
  ['submitted', 'action 01 failure', 'ok', 'submitted', ['wake +1798']],
  ['submitted', 'action 02 ok', 'ok', 'submitted', ['action 01']],

  ['succeed', 'submit', 'ok', 'succeed', []],
  ['succeed', 'abort', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'woken', 'ok', 'succeed', []],
  ['succeed', 'retry', 'ok', 'succeed', []],
  ['succeed', 'record', 'BAD_REQUEST', 'succeed', []],
  ['succeed', 'msg ok', 'ok', 'succeed', []],
  ['succeed', 'msg failure', 'ok', 'succeed', []],
  ['succeed', 'msg ongoing', 'ok', 'succeed', []],
  ['succeed', 'action 01 ok', 'ok', 'succeed', []],
  ['succeed', 'action 01 failure', 'ok', 'succeed', []],
  ['succeed', 'action 02 ok', 'ok', 'succeed', []],

  ['failed', 'submit', 'TRANSACTION_ROLLED_BACK', 'failed', []],
  ['failed', 'abort', 'ok', 'failed', []],
  ['failed', 'woken', 'ok', 'failed', []],
  ['failed', 'retry', 'ok', 'failed', []],
  ['failed', 'record', 'BAD_REQUEST', 'failed', []],
  ['failed', 'msg ok', 'ok', 'failed', []],
  ['failed', 'msg failure', 'ok', 'failed', []],
  ['failed', 'msg ongoing', 'ok', 'failed', []],
  ['failed', 'action 01 ok', 'ok', 'failed', []],
  ['failed', 'action 01 failure', 'ok', 'failed', []],
  ['failed', 'action 02 ok', 'ok', 'failed', []],
];

for (const [status, name, answer, nextStatus, effects] of TABLE) {
  test(`${status}, ${name}: ${answer}, then ${nextStatus}, due: ${effects.join(', ') || 'nothing'}`, (t) => {
    const before = messageIn(status);
    const { next, refused } = decide(before, EVENTS[name], after(1000));
    t.is(refused?.code ?? 'ok', answer);
    t.is(next.status, nextStatus);
    t.deepEqual(effectWords(before, EVENTS[name], after(1000)), effects);
    if (refused !== undefined) t.is(next, before, 'a refused event leaves the very same state');
  });
}

test('the table holds every status with every event', (t) => {
  t.is(new Set(TABLE.map(([status, name]) => `${status}/${name}`)).size, 4 * Object.keys(EVENTS).length);
});

test('the initiator is asked when it has been silent for the timeout, 35 seconds unless told otherwise', (t) => {
  t.deepEqual(dueWords(message('prepared'), after(4999)), ['wake +5000']);
  t.deepEqual(dueWords(message('prepared'), after(5000)), ['msg 00']);
  const silent = started('msg', 'prepared', { callback: CALLBACK });
  t.deepEqual(dueWords(silent), ['wake +35000']);
  t.is(dueFromBegin(silent), after(35_000));
});

test('an initiator that does not know yet is asked at a fixed interval, one that cannot be reached with growing pauses', (t) => {
  let state = message('prepared');
  for (let attempt = 1; attempt <= 9; attempt += 1) {
    state = happened(state, [EVENTS['msg ongoing']], after(attempt * 5000));
    t.deepEqual(dueWords(state, after(attempt * 5000)), [`wake +${attempt * 5000 + 1000}`]);
  }
  const silent = happened(
    message('prepared'),
    Array.from({ length: 9 }, () => reply('00', 'msg', 'unknown')),
  );
  t.true((silent.callback?.notBefore ?? 0) >= after(30_000), 'unknown is never taken for failure');
  t.is(silent.status, 'prepared');
});

test('a message is never taken back once it is submitted, whatever its steps answer', (t) => {
  const tries = Array.from({ length: 30 }, (_, index) =>
    reply('01', 'action', (['failure', 'unknown', 'ongoing', 'dirty'] as const)[index % 4] ?? 'failure'),
  );
  t.like(happened(message('submitted'), tries), { status: 'submitted', branches: [{ attempts: 30 }] });
});

test('with a delay nothing is delivered before it is over, counted from the begin', (t) => {
  const delayed = message('submitted', { delayMs: 2500 });
  for (const event of [EVENTS.woken, EVENTS.retry, EVENTS.submit]) {
    t.deepEqual(effectWords(delayed, event, after(2499)), ['wake +2500']);
  }
  t.deepEqual(dueWords(delayed, after(2500)), ['action 01']);
  const later = happened(message('prepared', { delayMs: 2500 }), [EVENTS.submit], after(3000));
  t.deepEqual(dueWords(later, after(3000)), ['action 01']);
});

test('a message without steps, or whose steps have no URL, has succeeded when it is submitted and not before', (t) => {
  for (const steps of [stepsOf(), stepsOf('-', '-')]) {
    t.is(message('submitted', { steps }).status, 'succeed');
    t.is(message('prepared', { steps }).status, 'prepared');
    t.is(happened(message('prepared', { steps }), [EVENTS['msg ok']]).status, 'succeed');
  }
  t.deepEqual(dueWords(message('submitted', { steps: stepsOf('-', 'a', '-') })), ['action 02']);
});

test('concurrent steps are delivered at once', (t) => {
  t.deepEqual(dueWords(message('submitted', { order: [[], []] })), ['action 01', 'action 02']);
});

test('without anybody to ask it waits for a submit or an abort', (t) => {
  for (const state of [
    started('msg', 'prepared', { steps: stepsOf('a') }),
    started('msg', 'prepared', { steps: stepsOf('a'), callback: { url: '' } }),
  ]) {
    t.deepEqual(dueWords(state, after(1e9)), []);
    t.is(dueFromBegin(state), undefined);
    t.deepEqual(effectWords(state, EVENTS.submit, after(1e9)), ['action 01']);
  }
});
