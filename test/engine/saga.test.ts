import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { GlobalStatus, Instant } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Effect } from '../../src/engine/effect.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { outcomeOf } from '../../src/engine/status.ts';
import { after, dueWords, effectWords, happened, participant, reply, started, stepsOf } from './sample.ts';

const saga = (steps: readonly string[], wanted: Partial<NewTransaction> = {}): GlobalTransaction =>
  started('saga', 'submitted', { ...wanted, steps: stepsOf(...steps) });

const EVENTS = {
  submit: { kind: 'submit' },
  abort: { kind: 'abort', reason: 'asked to' },
  woken: { kind: 'woken' },
  retry: { kind: 'retry' },
  stop: { kind: 'stop' },
  enlist: { kind: 'enlist', branch: participant('x') },
  resume: { kind: 'resume' },
  'action 01 ok': reply('01', 'action', 'success'),
  'action 01 failure': reply('01', 'action', 'failure'),
  'action 01 unknown': reply('01', 'action', 'unknown'),
  'action 02 ok': reply('02', 'action', 'success'),
  'compensate 01 ok': reply('01', 'compensate', 'success'),
  'compensate 02 ok': reply('02', 'compensate', 'success'),
} satisfies Record<string, Event>;

/** A saga of two steps; `aborting` because the second has failed. */
function sagaIn(status: GlobalStatus): GlobalTransaction {
  const second = happened(saga(['ac', 'ac']), [EVENTS['action 01 ok']]);
  const aborting = happened(second, [reply('02', 'action', 'failure')]);
  switch (status) {
    case 'succeed':
      return happened(second, [EVENTS['action 02 ok']]);
    case 'aborting':
      return aborting;
    case 'failed':
      return happened(aborting, [EVENTS['compensate 02 ok'], EVENTS['compensate 01 ok']]);
    default:
      return saga(['ac', 'ac']);
  }
}

type Row = readonly [GlobalStatus, keyof typeof EVENTS, answer: string, GlobalStatus, effects: readonly string[]];

const TABLE: readonly Row[] = [
  ['submitted', 'submit', 'ok', 'submitted', ['action 01']],
  ['submitted', 'abort', 'TRANSACTION_DECIDED', 'submitted', ['action 01']],
  ['submitted', 'woken', 'ok', 'submitted', ['action 01']],
  ['submitted', 'retry', 'ok', 'submitted', ['action 01']],
  ['submitted', 'stop', 'ok', 'failed', []],
  ['submitted', 'enlist', 'BAD_REQUEST', 'submitted', ['action 01']],
  ['submitted', 'resume', 'BAD_REQUEST', 'submitted', ['action 01']],
  ['submitted', 'action 01 ok', 'ok', 'submitted', ['action 02']],
  ['submitted', 'action 01 failure', 'ok', 'aborting', ['compensate 01']],
  ['submitted', 'action 01 unknown', 'ok', 'submitted', ['wake +1798']],
  ['submitted', 'action 02 ok', 'ok', 'submitted', ['action 01']],
  ['submitted', 'compensate 01 ok', 'ok', 'submitted', ['action 01']],
  ['submitted', 'compensate 02 ok', 'ok', 'submitted', ['action 01']],

  ['aborting', 'submit', 'TRANSACTION_ROLLED_BACK', 'aborting', ['compensate 02']],
  ['aborting', 'abort', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'woken', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'retry', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'stop', 'ok', 'failed', []],
  ['aborting', 'enlist', 'BAD_REQUEST', 'aborting', ['compensate 02']],
  ['aborting', 'resume', 'BAD_REQUEST', 'aborting', ['compensate 02']],
  ['aborting', 'action 01 ok', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'action 01 failure', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'action 01 unknown', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'action 02 ok', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'compensate 01 ok', 'ok', 'aborting', ['compensate 02']],
  ['aborting', 'compensate 02 ok', 'ok', 'aborting', ['compensate 01']],

  ['succeed', 'submit', 'ok', 'succeed', []],
  ['succeed', 'abort', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'woken', 'ok', 'succeed', []],
  ['succeed', 'retry', 'ok', 'succeed', []],
  ['succeed', 'stop', 'TRANSACTION_DECIDED', 'succeed', []],
  ['succeed', 'enlist', 'BAD_REQUEST', 'succeed', []],
  ['succeed', 'resume', 'BAD_REQUEST', 'succeed', []],
  ['succeed', 'action 01 ok', 'ok', 'succeed', []],
  ['succeed', 'action 01 failure', 'ok', 'succeed', []],
  ['succeed', 'action 01 unknown', 'ok', 'succeed', []],
  ['succeed', 'action 02 ok', 'ok', 'succeed', []],
  ['succeed', 'compensate 01 ok', 'ok', 'succeed', []],
  ['succeed', 'compensate 02 ok', 'ok', 'succeed', []],

  ['failed', 'submit', 'TRANSACTION_ROLLED_BACK', 'failed', []],
  ['failed', 'abort', 'ok', 'failed', []],
  ['failed', 'woken', 'ok', 'failed', []],
  ['failed', 'retry', 'ok', 'failed', []],
  ['failed', 'stop', 'TRANSACTION_DECIDED', 'failed', []],
  ['failed', 'enlist', 'BAD_REQUEST', 'failed', []],
  ['failed', 'resume', 'BAD_REQUEST', 'failed', []],
  ['failed', 'action 01 ok', 'ok', 'failed', []],
  ['failed', 'action 01 failure', 'ok', 'failed', []],
  ['failed', 'action 01 unknown', 'ok', 'failed', []],
  ['failed', 'action 02 ok', 'ok', 'failed', []],
  ['failed', 'compensate 01 ok', 'ok', 'failed', []],
  ['failed', 'compensate 02 ok', 'ok', 'failed', []],
];

for (const [status, name, answer, nextStatus, effects] of TABLE) {
  test(`${status}, ${name}: ${answer}, then ${nextStatus}, due: ${effects.join(', ') || 'nothing'}`, (t) => {
    const before = sagaIn(status);
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

test('a saga without steps has succeeded with its begin', (t) => {
  t.like(saga([]), { status: 'succeed', finishedAt: after(0) });
});

test('a step that has failed is compensated like those before it, and those that were never called are not', (t) => {
  const state = happened(saga(['ac', 'ac', 'ac']), [
    reply('01', 'action', 'success'),
    { kind: 'replied', branch: '02' as never, operation: 'action', result: 'failure', detail: 'no money' },
  ]);
  t.is(state.reason, 'url:http://s1/action return failed: no money');
  t.deepEqual(
    state.branches.map(({ action, compensation, status }) => [action, compensation, status]),
    [
      ['succeed', 'due', 'prepared'],
      ['failed', 'due', 'prepared'],
      [undefined, undefined, 'succeed'],
    ],
  );
  t.deepEqual(dueWords(state), ['compensate 02']);
  const one = happened(state, [reply('02', 'compensate', 'success')]);
  t.deepEqual(dueWords(one), ['compensate 01']);
  t.is(happened(one, [reply('01', 'compensate', 'success')]).status, 'failed');
});

test('a compensation that answers failure, unknown or ongoing is asked again, whatever the retry limit', (t) => {
  const aborting = happened(saga(['ac'], { retryLimit: 1 }), [reply('01', 'action', 'failure')]);
  for (const result of ['failure', 'unknown', 'ongoing', 'dirty'] as const) {
    const state = happened(
      aborting,
      Array.from({ length: 9 }, () => reply('01', 'compensate', result)),
    );
    t.like(state, { status: 'aborting', branches: [{ compensation: 'due', attempts: 9 }] });
    t.regex(dueWords(state).join(), /^wake/);
  }
});

test('steps without an action are passed, also those that are reached by passing later ones', (t) => {
  t.deepEqual(dueWords(saga(['c', '-', 'ac', '-'])), ['action 03']);
  t.is(happened(saga(['c', '-', 'ac', '-']), [reply('03', 'action', 'success')]).status, 'succeed');
  t.is(saga(['-', '-', '-'], { order: [[1], [2], []] }).status, 'succeed');
  t.deepEqual(dueWords(saga(['-', '-', 'ac'], { order: [[1], [], [0]] })), ['action 03']);
});

test('steps without a compensation are passed backwards in their turn, and nothing overtakes them', (t) => {
  const state = happened(saga(['ac', 'a', 'ac']), [
    reply('01', 'action', 'success'),
    reply('02', 'action', 'success'),
    reply('03', 'action', 'failure'),
  ]);
  t.deepEqual(dueWords(state), ['compensate 03']);
  t.deepEqual(dueWords(happened(state, [reply('03', 'compensate', 'success')])), ['compensate 01']);
  t.is(happened(saga(['a']), [reply('01', 'action', 'failure')]).status, 'failed');
});

test('concurrent steps are called at once, ordered ones when all before them have succeeded', (t) => {
  const state = saga(['ac', 'ac', 'ac', 'ac'], { order: [[], [], [0, 1]] });
  t.deepEqual(dueWords(state), ['action 01', 'action 02', 'action 04']);
  const one = happened(state, [reply('02', 'action', 'success')]);
  t.deepEqual(dueWords(one), ['action 01', 'action 04']);
  t.deepEqual(dueWords(happened(one, [reply('01', 'action', 'success')])), ['action 03', 'action 04']);
});

test('concurrent steps are compensated in the inverted order, also those whose action is still under way', (t) => {
  const state = happened(saga(['ac', 'ac', 'ac', 'ac'], { order: [[], [], [0, 1]] }), [
    reply('01', 'action', 'success'),
    reply('02', 'action', 'success'),
    reply('04', 'action', 'failure'),
  ]);
  t.deepEqual(dueWords(state), ['compensate 03', 'compensate 04']);
  const late = happened(state, [reply('03', 'action', 'success')]);
  t.is(late.branches[2]?.action, 'succeed', 'a late answer is remembered for people, and changes nothing else');
  t.deepEqual(dueWords(late), ['compensate 03', 'compensate 04']);
  t.deepEqual(dueWords(happened(late, [reply('03', 'compensate', 'success')])), [
    'compensate 01',
    'compensate 02',
    'compensate 04',
  ]);
});

test('without a timeout a saga waits for ever, and with one it turns round to the millisecond', (t) => {
  t.deepEqual(dueWords(saga(['ac'])), ['action 01']);
  const timed = saga(['ac', 'ac'], { timeoutMs: 250 });
  t.deepEqual(dueWords(timed), ['action 01', 'wake +250'], 'the wake is there while the call is under way');
  t.is(happened(timed, [{ kind: 'woken' }], after(249)).status, 'submitted');
  for (const event of Object.values(EVENTS)) {
    if (event.kind === 'stop' || event === EVENTS['compensate 01 ok']) continue;
    t.like(happened(timed, [event], after(250)), {
      status: 'aborting',
      reason: 'Timeout after 0.25 seconds',
      branches: [{ compensation: 'due' }, { status: 'succeed' }],
    });
  }
});

test('an action is not to be begun from the deadline on, a compensation whenever its turn comes', (t) => {
  const timed = saga(['ac'], { timeoutMs: 250 });
  const calls = (state: GlobalTransaction, now: Instant): readonly Effect[] =>
    decide(state, { kind: 'woken' }, now).effects.filter(({ kind }) => kind === 'call');
  t.like(calls(timed, after(0)), [{ operation: 'action', before: after(250) }]);
  const [compensation] = calls(timed, after(250));
  t.like(compensation, { operation: 'compensate' });
  t.false(compensation && 'before' in compensation);
});

test('the wake is for the next try when that comes before the deadline', (t) => {
  const early = happened(saga(['ac'], { timeoutMs: 60_000 }), [reply('01', 'action', 'ongoing')]);
  t.deepEqual(dueWords(early), ['wake +1000']);
  const late = happened(saga(['ac'], { timeoutMs: 900 }), [reply('01', 'action', 'ongoing')]);
  t.deepEqual(dueWords(late), ['wake +900']);
});

test('tries of all steps that ended with neither success nor failure count against one limit', (t) => {
  const state = saga(['ac', 'ac'], { order: [[], []], retryLimit: 2 });
  const two = happened(state, [reply('01', 'action', 'unknown'), reply('02', 'action', 'ongoing')]);
  t.like(two, { status: 'submitted', retries: 2 });
  t.true(
    dueWords(two).every((word) => word.startsWith('wake')),
    'with a pause between tries',
  );
  const three = happened(two, [reply('01', 'action', 'unknown')]);
  t.like(three, { status: 'aborting', reason: 'RetryCount is greater than RetryLimit, RetryLimit: 2' });
  t.deepEqual(dueWords(three), ['compensate 01', 'compensate 02'], 'at once: the pause was the action’s');
});

test('a retry limit of 0 is no limit', (t) => {
  const tries = Array.from({ length: 50 }, () => reply('01', 'action', 'unknown'));
  t.is(happened(saga(['ac'], { retryLimit: 0 }), tries).status, 'submitted');
});

test('while its actions are under way nothing is decided of a saga', (t) => {
  t.deepEqual(
    (['submitted', 'aborting', 'succeed', 'failed'] as const).map((status) => outcomeOf(sagaIn(status))),
    ['undecided', 'rollback', 'commit', 'rollback'],
  );
});
