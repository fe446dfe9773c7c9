import test from 'ava';
import type { GlobalStatus } from '../../../src/contract/transaction.ts';
import { requestIdentity } from '../../../src/engine/begin.ts';
import { decide } from '../../../src/engine/decide.ts';
import { dueFromBegin } from '../../../src/engine/deadline.ts';
import type { Event } from '../../../src/engine/event.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { after, begun, begunWith, CALLBACK, dueWords, effectWords, happened, participant, reply } from '../sample.ts';

const EVENTS = {
  enlist: { kind: 'enlist', branch: participant('m', 'msg') },
  'enlist run 1': { kind: 'enlist', branch: participant('m', 'msg'), run: 1 },
  'enlist run 2': { kind: 'enlist', branch: participant('m', 'msg'), run: 2 },
  submit: { kind: 'submit' },
  'submit run 1': { kind: 'submit', run: 1 },
  'submit run 2': { kind: 'submit', run: 2 },
  'submit run 3': { kind: 'submit', run: 3 },
  abort: { kind: 'abort', reason: 'no' },
  'abort run 1': { kind: 'abort', reason: 'no', run: 1 },
  'abort run 2': { kind: 'abort', reason: 'no', run: 2 },
  retry: { kind: 'retry' },
  'new run': { kind: 'resume', id: 'third' },
  'same run': { kind: 'resume', id: 'second' },
  'run without an id': { kind: 'resume' },
  'step run 1': { kind: 'step', run: 1, step: { step: 's', data: '' } },
  'step run 2': { kind: 'step', run: 2, step: { step: 's', data: '' } },
  'msg ok': reply('00', 'msg', 'success'),
  'msg failure': reply('00', 'msg', 'failure'),
  'msg ongoing': reply('00', 'msg', 'ongoing'),
  'workflow ok': reply('00', 'workflow', 'success'),
  'workflow failure': reply('00', 'workflow', 'failure'),
  record: { kind: 'record', step: { branch: '01' as never, operation: 'action', status: 'succeed', data: '' } },
} satisfies Record<string, Event>;

/** Event, code of the refusal or `ok`, status after it, and what is due then; all of it 1,000 ms after the begin. */
type Row = readonly [keyof typeof EVENTS, answer: string, GlobalStatus, effects: readonly string[]];

const MESSAGE: readonly Row[] = [
  ['enlist', 'ok', 'prepared', ['wake +5000']],
  ['submit', 'ok', 'submitted', ['confirm 01']],
  ['abort', 'ok', 'aborting', ['cancel 01']],
  ['retry', 'ok', 'prepared', ['msg 00']],
  ['msg ok', 'ok', 'submitted', ['confirm 01']],
  ['msg failure', 'ok', 'aborting', ['cancel 01']],
  ['msg ongoing', 'ok', 'prepared', ['wake +2000']],
  ['workflow ok', 'ok', 'prepared', ['wake +5000']],
  ['submit run 1', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['enlist run 1', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['step run 1', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['new run', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['record', 'BAD_REQUEST', 'prepared', ['wake +5000']],
];

/** In its second run, 1,000 ms old. */
const WORKFLOW: readonly Row[] = [
  ['enlist', 'ok', 'prepared', ['wake +6000']],
  ['enlist run 1', 'RUN_SUPERSEDED', 'prepared', ['wake +5000']],
  ['enlist run 2', 'ok', 'prepared', ['wake +6000']],
  ['submit', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['submit run 1', 'RUN_SUPERSEDED', 'prepared', ['wake +5000']],
  ['submit run 2', 'ok', 'submitted', ['confirm 01']],
  ['submit run 3', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['abort', 'ok', 'aborting', ['cancel 01']],
  ['abort run 1', 'RUN_SUPERSEDED', 'prepared', ['wake +5000']],
  ['abort run 2', 'ok', 'aborting', ['cancel 01']],
  ['retry', 'ok', 'prepared', ['workflow 00', 'wake +60000']],
  ['new run', 'ok', 'prepared', ['wake +6000']],
  ['same run', 'ok', 'prepared', ['wake +5000']],
  ['run without an id', 'BAD_REQUEST', 'prepared', ['wake +5000']],
  ['step run 1', 'RUN_SUPERSEDED', 'prepared', ['wake +5000']],
  ['step run 2', 'ok', 'prepared', ['wake +6000']],
  ['msg ok', 'ok', 'prepared', ['wake +5000']],
  ['workflow ok', 'ok', 'prepared', ['wake +6000']],
  ['workflow failure', 'ok', 'prepared', ['wake +5000']],
  ['record', 'BAD_REQUEST', 'prepared', ['wake +5000']],
];

const withBranch = (state: GlobalTransaction): GlobalTransaction =>
  happened(state, [{ kind: 'enlist', branch: participant('t', 'tcc') }]);
const message = withBranch(begunWith('msg'));
const workflow = happened(withBranch(begunWith('workflow')), [{ kind: 'resume', id: 'second' }]);

for (const [name, state, table] of [
  ['message', message, MESSAGE],
  ['workflow', workflow, WORKFLOW],
] as const) {
  for (const [event, answer, status, effects] of table) {
    test(`mesh as a ${name}: ${event} is ${answer}, and leaves it ${status}`, (t) => {
      const decision = decide(state, EVENTS[event], after(1000));
      t.is(decision.refused?.code ?? 'ok', answer);
      t.is(decision.next.status, status);
      t.deepEqual(effectWords(state, EVENTS[event], after(1000)), effects);
      if (decision.refused !== undefined) t.is(JSON.stringify(decision.next), JSON.stringify(state));
    });
  }
}

test('a message has no deadline: however long it takes, its initiator is asked, with growing pauses', (t) => {
  t.is(message.deadline, undefined);
  t.is(dueFromBegin(message), after(5000));
  t.deepEqual(dueWords(message, after(4999)), ['wake +5000']);
  t.deepEqual(dueWords(message, after(5000)), ['msg 00']);
  const asked = happened(message, [reply('00', 'msg', 'unknown')], after(5000));
  t.is(asked.status, 'prepared');
  const [wake = ''] = dueWords(asked, after(5000));
  t.regex(wake, /^wake \+(?:5[5-9]|60)[0-9]{2}$/);
  t.deepEqual(dueWords(message, after(40 * 86_400_000)), ['msg 00']);
});

test('a message that was not sent says why', (t) => {
  const { reason } = happened(message, [{ ...EVENTS['msg failure'], detail: 'HTTP 409' }] as readonly Event[]);
  t.is(reason, 'the local transaction of the initiator has not committed: HTTP 409');
});

test('a late word of the initiator changes nothing of what is decided', (t) => {
  const submitted = happened(message, [EVENTS.submit]);
  t.is(happened(submitted, [EVENTS['msg failure']]), submitted);
  const aborting = happened(message, [EVENTS.abort]);
  t.is(happened(aborting, [EVENTS['msg ok']]), aborting);
});

test('a workflow is run again after silence, and rolled back at its deadline even while it runs', (t) => {
  t.is(dueFromBegin(begunWith('workflow')), after(5000));
  t.is(dueFromBegin(begunWith('workflow', { timeoutMs: 300 })), after(300));
  t.deepEqual(dueWords(workflow, after(5000)), ['workflow 00', 'wake +60000']);
  const late = decide(workflow, EVENTS['step run 2'], after(60_000));
  t.is(late.refused?.code, 'TRANSACTION_DECIDED');
  t.like(late.next, { status: 'aborting', reason: 'deadline passed' });
  t.is(decide(workflow, EVENTS['new run'], after(60_000)).refused?.code, 'TRANSACTION_DECIDED');
  t.is(decide(workflow, EVENTS['submit run 2'], after(60_000)).refused?.code, 'TRANSACTION_ROLLED_BACK');
});

test('no call to run a workflow is begun from its deadline on', (t) => {
  const [call] = decide(workflow, { kind: 'woken' }, after(5000)).effects;
  t.like(call, { kind: 'call', before: after(60_000) });
});

test('an initiator that fails while its program shows signs of life is left alone for as long as they count', (t) => {
  const alive = happened(workflow, [{ kind: 'step', run: 2, step: { step: 's', data: '' } }], after(6000));
  const failed = happened(alive, [EVENTS['workflow failure']], after(6500));
  t.deepEqual(dueWords(failed, after(6500)), ['wake +11000']);
});

test('each new run has the next number, its own request again changes nothing, and none begins after the decision', (t) => {
  const first = begunWith('workflow');
  t.deepEqual(first.run, { number: 1 });
  const second = happened(first, [{ kind: 'resume', id: 'a' }]);
  t.deepEqual(second.run, { number: 2, id: 'a' });
  t.is(happened(second, [{ kind: 'resume', id: 'a' }], after(9)), second);
  t.deepEqual(happened(second, [{ kind: 'resume', id: 'b' }]).run, { number: 3, id: 'b' });
  const done = happened(second, [{ kind: 'submit', run: 2 }]);
  t.is(decide(done, { kind: 'resume', id: 'c' }, after(0)).refused?.code, 'TRANSACTION_DECIDED');
  t.is(decide(done, { kind: 'submit', run: 1 }, after(0)).refused?.code, 'RUN_SUPERSEDED');
  t.is(decide(done, { kind: 'submit', run: 2 }, after(0)).refused, undefined);
});

test('a step is recorded once; the same data again is the same step, other data is refused', (t) => {
  const recorded = happened(workflow, [{ kind: 'step', run: 2, step: { step: 's', data: 'YQ==' } }]);
  t.deepEqual(recorded.steps, [{ step: 's', data: 'YQ==' }]);
  const again = decide(recorded, { kind: 'step', run: 2, step: { step: 's', data: 'YQ==' } }, after(1));
  t.is(again.refused, undefined);
  t.deepEqual(again.next.steps, recorded.steps);
  const other = decide(recorded, { kind: 'step', run: 2, step: { step: 's', data: 'Yg==' } }, after(1));
  t.is(other.refused?.code, 'TRANSACTION_DECIDED');
  const decided = happened(recorded, [{ kind: 'submit', run: 2 }]);
  const late = { kind: 'step', run: 2, step: { step: 't', data: '' } } as const;
  t.is(decide(decided, late, after(1)).refused?.code, 'TRANSACTION_DECIDED');
  t.is(decide(decided, { ...late, step: { step: 's', data: 'YQ==' } }, after(1)).refused, undefined);
});

test('a begin without a callback is the same request as it always was; each part of a callback makes it another', (t) => {
  t.is(requestIdentity({}), '["mesh",60000,1000,10000,null]');
  const callback = { operation: 'msg', url: CALLBACK.url, afterMs: 1 } as const;
  const others = [
    {},
    { callback },
    { callback: { ...callback, operation: 'workflow' as const } },
    { callback: { ...callback, url: 'http://other/' } },
    { callback: { ...callback, afterMs: 2 } },
    { callback: { ...callback, payload: 'YQ==' } },
  ];
  t.is(new Set(others.map(requestIdentity)).size, others.length);
  t.is(begun().callback, undefined);
});

const call = (resource: string, run: number): Event => ({ kind: 'enlist', branch: participant(resource, 'tcc'), run });
const next = (id: string): Event => ({ kind: 'resume', id });

/** Events from the begin on, the submit that follows, and how it is answered. */
const FORGOTTEN: readonly (readonly [name: string, events: readonly Event[], submit: Event, answer: string])[] = [
  ['its only run', [call('a', 1)], { kind: 'submit', run: 1 }, 'ok'],
  ['a run that forgets', [call('a', 1), next('2')], { kind: 'submit', run: 2 }, 'REPLAY_MISMATCH'],
  ['a run that goes elsewhere', [call('a', 1), next('2'), call('b', 2)], { kind: 'submit', run: 2 }, 'REPLAY_MISMATCH'],
  ['a run that comes to it', [call('a', 1), next('2'), call('b', 2), call('a', 2)], { kind: 'submit', run: 2 }, 'ok'],
  [
    'a run after one that came to it',
    [call('a', 1), next('2'), call('a', 2), next('3')],
    { kind: 'submit', run: 3 },
    'REPLAY_MISMATCH',
  ],
  [
    'a run that carries a recorded end out',
    [call('a', 1), next('2'), call('a', 2), next('3')],
    { kind: 'submit', run: 3, ended: 2 },
    'ok',
  ],
  [
    'a run with row images of another',
    [{ kind: 'enlist', branch: participant('o/d'), run: 1 }, next('2')],
    { kind: 'submit', run: 2 },
    'ok',
  ],
  [
    'a run beside branches of other services',
    [{ kind: 'enlist', branch: participant('h', 'tcc') }, next('2')],
    { kind: 'submit', run: 2 },
    'ok',
  ],
];

for (const [name, events, submit, answer] of FORGOTTEN) {
  test(`the submit of ${name} is answered ${answer}`, (t) => {
    const state = happened(begunWith('workflow'), events);
    const decision = decide(state, submit, after(1));
    t.is(decision.refused?.code ?? 'ok', answer);
    t.is(decision.next.status, answer === 'ok' ? 'submitted' : 'prepared');
    if (answer === 'ok') t.is(decide(decision.next, submit, after(2)).refused, undefined);
    else t.is(decide(state, { kind: 'abort', reason: 'no', run: state.run?.number ?? 0 }, after(1)).refused, undefined);
  });
}
