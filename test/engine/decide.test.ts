import test from 'ava';
import type { GlobalStatus } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import { after, effectWords, inStatus, participant, reply, TIMEOUT_MS } from './sample.ts';

const EVENTS = {
  enlist: { kind: 'enlist', branch: participant('c') },
  'enlist known': { kind: 'enlist', branch: participant('a') },
  submit: { kind: 'submit' },
  abort: { kind: 'abort', reason: 'asked to' },
  woken: { kind: 'woken' },
  retry: { kind: 'retry' },
  'commit 01 ok': reply('01', 'commit', 'success'),
  'commit 01 failure': reply('01', 'commit', 'failure'),
  'rollback 02 ok': reply('02', 'rollback', 'success'),
  'rollback 01 ok': reply('01', 'rollback', 'success'),
  'rollback 02 dirty': reply('02', 'rollback', 'dirty'),
} satisfies Record<string, Event>;

type Row = readonly [
  GlobalStatus,
  keyof typeof EVENTS,
  answer: string,
  status: GlobalStatus,
  effects: readonly string[],
];

const DEADLINE = `wake +${TIMEOUT_MS}`;

/** Before the deadline: status and event, then what is answered, the status that follows, and everything that is due. */
const TABLE: readonly Row[] = [
  ['prepared', 'enlist', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'enlist known', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'submit', 'ok', 'submitted', ['commit 01', 'commit 02']],
  ['prepared', 'abort', 'ok', 'aborting', ['rollback 02']],
  ['prepared', 'woken', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'retry', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'commit 01 ok', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'commit 01 failure', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'rollback 02 ok', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'rollback 01 ok', 'ok', 'prepared', [DEADLINE]],
  ['prepared', 'rollback 02 dirty', 'ok', 'prepared', [DEADLINE]],

  ['submitted', 'enlist', 'TRANSACTION_DECIDED', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'enlist known', 'TRANSACTION_DECIDED', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'submit', 'ok', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'abort', 'TRANSACTION_DECIDED', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'woken', 'ok', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'retry', 'ok', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'commit 01 ok', 'ok', 'submitted', ['commit 02']],
  ['submitted', 'commit 01 failure', 'ok', 'submitted', ['commit 02', 'wake +1798']],
  ['submitted', 'rollback 02 ok', 'ok', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'rollback 01 ok', 'ok', 'submitted', ['commit 01', 'commit 02']],
  ['submitted', 'rollback 02 dirty', 'ok', 'submitted', ['commit 01', 'commit 02']],

  ['aborting', 'enlist', 'TRANSACTION_DECIDED', 'aborting', ['rollback 02']],
  ['aborting', 'enlist known', 'TRANSACTION_DECIDED', 'aborting', ['rollback 02']],
  ['aborting', 'submit', 'TRANSACTION_ROLLED_BACK', 'aborting', ['rollback 02']],
  ['aborting', 'abort', 'ok', 'aborting', ['rollback 02']],
  ['aborting', 'woken', 'ok', 'aborting', ['rollback 02']],
  ['aborting', 'retry', 'ok', 'aborting', ['rollback 02']],
  ['aborting', 'commit 01 ok', 'ok', 'aborting', ['rollback 02']],
  ['aborting', 'commit 01 failure', 'ok', 'aborting', ['rollback 02']],
  ['aborting', 'rollback 02 ok', 'ok', 'aborting', ['rollback 01']],
  ['aborting', 'rollback 01 ok', 'ok', 'aborting', ['rollback 02']],
  ['aborting', 'rollback 02 dirty', 'ok', 'aborting', ['rollback 01']],

  ['succeed', 'enlist', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'enlist known', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'submit', 'ok', 'succeed', []],
  ['succeed', 'abort', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'woken', 'ok', 'succeed', []],
  ['succeed', 'retry', 'ok', 'succeed', []],
  ['succeed', 'commit 01 ok', 'ok', 'succeed', []],
  ['succeed', 'commit 01 failure', 'ok', 'succeed', []],
  ['succeed', 'rollback 02 ok', 'ok', 'succeed', []],
  ['succeed', 'rollback 01 ok', 'ok', 'succeed', []],
  ['succeed', 'rollback 02 dirty', 'ok', 'succeed', []],

  ['failed', 'enlist', 'TRANSACTION_DECIDED', 'failed', []],
  ['failed', 'enlist known', 'TRANSACTION_DECIDED', 'failed', []],
  ['failed', 'submit', 'TRANSACTION_ROLLED_BACK', 'failed', []],
  ['failed', 'abort', 'ok', 'failed', []],
  ['failed', 'woken', 'ok', 'failed', []],
  ['failed', 'retry', 'ok', 'failed', []],
  ['failed', 'commit 01 ok', 'ok', 'failed', []],
  ['failed', 'commit 01 failure', 'ok', 'failed', []],
  ['failed', 'rollback 02 ok', 'ok', 'failed', []],
  ['failed', 'rollback 01 ok', 'ok', 'failed', []],
  ['failed', 'rollback 02 dirty', 'ok', 'failed', []],
];

for (const [status, name, answer, nextStatus, effects] of TABLE) {
  test(`${status}, ${name}: ${answer}, then ${nextStatus}, due: ${effects.join(', ') || 'nothing'}`, (t) => {
    const before = inStatus(status);
    const { next, refused } = decide(before, EVENTS[name], after(1000));
    t.is(refused?.code ?? 'ok', answer);
    t.is(next.status, nextStatus);
    t.deepEqual(effectWords(before, EVENTS[name], after(1000)), effects);
    if (refused !== undefined) {
      t.is(next, before, 'a refused event leaves the very same state');
      t.true(refused.hint.length > 0);
    }
  });
}

test('the table holds every status with every event', (t) => {
  t.is(new Set(TABLE.map(([status, name]) => `${status}/${name}`)).size, 5 * Object.keys(EVENTS).length);
});

/** At the deadline nothing of an undecided transaction is late enough to be saved. */
for (const [name, answer, effects] of [
  ['enlist', 'TRANSACTION_DECIDED', ['rollback 02']],
  ['submit', 'TRANSACTION_ROLLED_BACK', ['rollback 02']],
  ['abort', 'ok', ['rollback 02']],
  ['woken', 'ok', ['rollback 02']],
  ['retry', 'ok', ['rollback 02']],
] as const) {
  test(`prepared at its deadline, ${name}: ${answer}, and it is rolled back because the deadline passed`, (t) => {
    const { next, refused } = decide(inStatus('prepared'), EVENTS[name], after(TIMEOUT_MS));
    t.is(refused?.code ?? 'ok', answer);
    t.like(next, { status: 'aborting', reason: 'deadline passed' });
    t.deepEqual(effectWords(inStatus('prepared'), EVENTS[name], after(TIMEOUT_MS)), effects);
  });
}

test('one millisecond before the deadline a submit commits', (t) => {
  t.is(decide(inStatus('prepared'), { kind: 'submit' }, after(TIMEOUT_MS - 1)).next.status, 'submitted');
});

test('a decided transaction does not care about its deadline', (t) => {
  t.is(decide(inStatus('submitted'), { kind: 'woken' }, after(TIMEOUT_MS * 9)).next.status, 'submitted');
});
