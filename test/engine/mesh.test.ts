import test from 'ava';
import { decide } from '../../src/engine/decide.ts';
import { ALTERNATIVES_MAX } from '../../src/engine/branches/enrolment.ts';
import { needsAttention } from '../../src/engine/status.ts';
import type { BranchKind } from '../../src/contract/transaction.ts';
import { after, begun, effectWords, happened, inStatus, participant, reply } from './sample.ts';

const KINDS: readonly BranchKind[] = ['undo', 'xa', 'tcc', 'saga', 'msg'];
const MIXED = happened(
  begun(),
  KINDS.map((kind) => ({ kind: 'enlist', branch: participant(kind, kind) })),
);

test('branches of mixed kinds are committed by their own operations, all at once; a saga step is not asked', (t) => {
  t.deepEqual(effectWords(MIXED, { kind: 'submit' }, after(0)), ['commit 01', 'commit 02', 'confirm 03', 'action 05']);
});

test('branches of mixed kinds are rolled back one after another, backwards; a message is not asked', (t) => {
  let state = happened(MIXED, [{ kind: 'abort', reason: '' }]);
  const asked: string[] = [];
  while (state.status === 'aborting') {
    const [call, ...others] = decide(state, { kind: 'woken' }, after(0)).effects;
    t.deepEqual(others, []);
    if (call?.kind !== 'call') return t.fail('a call is due');
    asked.push(`${call.operation} ${call.branch}`);
    state = happened(state, [reply(call.branch, call.operation, 'success')]);
  }
  t.deepEqual(asked, ['compensate 04', 'cancel 03', 'rollback 02', 'rollback 01']);
  t.is(state.status, 'failed');
});

test('without branches a decision is final at once', (t) => {
  t.like(happened(begun(), [{ kind: 'submit' }], after(5)), { status: 'succeed', finishedAt: after(5) });
  t.like(happened(begun(), [{ kind: 'abort', reason: 'no' }], after(5)), { status: 'failed', finishedAt: after(5) });
});

test('branches that the outcome asks nothing of end with the decision', (t) => {
  const saga = happened(begun(), [{ kind: 'enlist', branch: participant('s', 'saga') }, { kind: 'submit' }]);
  t.like(saga, { status: 'succeed', branches: [{ status: 'succeed', attempts: 0 }] });
});

test('the same resource is the same branch and adds its URLs as alternatives', (t) => {
  const state = happened(begun(), [
    { kind: 'enlist', branch: participant('a', 'undo', 'replica-1') },
    { kind: 'enlist', branch: participant('a', 'undo', 'replica-2') },
  ]);
  t.is(state.branches.length, 1);
  t.deepEqual(state.branches[0]?.operations.commit, ['http://replica-1/commit', 'http://replica-2/commit']);
});

test('enlisting what is known already changes nothing at all', (t) => {
  const state = inStatus('prepared');
  t.is(decide(state, { kind: 'enlist', branch: participant('a') }, after(1)).next, state);
});

test(`of more than ${ALTERNATIVES_MAX} replicas the newest are kept`, (t) => {
  const replicas = Array.from({ length: 10 }, (_, index) => participant('a', 'undo', `replica-${index}`));
  const state = happened(
    begun(),
    replicas.map((branch) => ({ kind: 'enlist', branch })),
  );
  const urls = state.branches[0]?.operations.commit;
  t.is(urls?.length, ALTERNATIVES_MAX);
  t.is(urls?.at(-1), 'http://replica-9/commit');
});

test('each try begins with the next alternative', (t) => {
  let state = happened(begun(), [
    { kind: 'enlist', branch: participant('a', 'undo', 'r1') },
    { kind: 'enlist', branch: participant('a', 'undo', 'r2') },
    { kind: 'enlist', branch: participant('a', 'undo', 'r3') },
    { kind: 'submit' },
  ]);
  const first: (string | undefined)[] = [];
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const [call] = decide(state, { kind: 'retry' }, after(0)).effects;
    first.push(call?.kind === 'call' ? call.urls[0] : undefined);
    t.is(call?.kind === 'call' ? call.urls.length : 0, 3);
    state = happened(state, [reply('01', 'commit', 'unknown')]);
  }
  t.deepEqual(first, ['http://r1/commit', 'http://r2/commit', 'http://r3/commit', 'http://r1/commit']);
});

test('a branch without the URLs that finish it is refused, by name', (t) => {
  for (const [kind, missing] of [
    ['undo', 'commit and rollback'],
    ['xa', 'commit and rollback'],
    ['tcc', 'confirm and cancel'],
    ['saga', 'compensate'],
    ['msg', 'action'],
  ] as const) {
    const { next, refused } = decide(
      begun(),
      { kind: 'enlist', branch: { kind, resource: 'a', operations: {} } },
      after(0),
    );
    t.is(refused?.code, 'BAD_REQUEST');
    t.true(refused?.message.includes(missing));
    t.deepEqual(next.branches, []);
  }
});

test('a resource cannot take part as two kinds', (t) => {
  const { refused } = decide(inStatus('prepared'), { kind: 'enlist', branch: participant('a', 'xa') }, after(0));
  t.is(refused?.code, 'BAD_REQUEST');
});

test('failure, unknown and ongoing are never the end of a branch: they are asked again, later', (t) => {
  for (const result of ['failure', 'unknown', 'ongoing', 'dirty'] as const) {
    const state = happened(inStatus('submitted'), [reply('01', 'commit', result)], after(0));
    const [branch] = state.branches;
    t.like(branch, { status: 'prepared', attempts: 1 });
    t.true((branch?.notBefore ?? 0) >= after(500), result);
  }
});

test('ongoing waits the fixed interval, however often', (t) => {
  let state = inStatus('submitted');
  for (let attempt = 1; attempt <= 20; attempt += 1) {
    state = happened(state, [reply('01', 'commit', 'ongoing')], after(attempt * 5000));
    t.is(state.branches[0]?.notBefore, after(attempt * 5000 + 1000));
  }
});

test('a dirty branch waits for an operator while the others are rolled back', (t) => {
  const dirty = happened(inStatus('aborting'), [reply('02', 'rollback', 'dirty')]);
  t.true(needsAttention(dirty));
  t.deepEqual(effectWords(dirty, { kind: 'woken' }, after(1)), ['rollback 01']);
  const left = happened(dirty, [reply('01', 'rollback', 'success')]);
  t.is(left.status, 'aborting');
  t.deepEqual(decide(left, { kind: 'woken' }, after(1_000_000)).effects, []);
});

test('retry asks a dirty branch again, and its success ends the transaction', (t) => {
  const dirty = happened(inStatus('aborting'), [reply('02', 'rollback', 'dirty'), reply('01', 'rollback', 'success')]);
  t.deepEqual(effectWords(dirty, { kind: 'retry' }, after(1)), ['rollback 02']);
  const over = happened(dirty, [{ kind: 'retry' }, reply('02', 'rollback', 'success')], after(9));
  t.like(over, { status: 'failed', finishedAt: after(9) });
});

test('retry does not wait for the back-off', (t) => {
  const waiting = happened(inStatus('submitted'), [reply('01', 'commit', 'unknown'), reply('02', 'commit', 'unknown')]);
  t.deepEqual(effectWords(waiting, { kind: 'retry' }, after(1)), ['commit 01', 'commit 02']);
});

test('late, repeated and stray answers change nothing', (t) => {
  const state = happened(inStatus('submitted'), [reply('01', 'commit', 'success')]);
  for (const late of [
    reply('01', 'commit', 'success'),
    reply('01', 'commit', 'unknown'),
    reply('01', 'rollback', 'success'),
    reply('77', 'commit', 'success'),
    reply('02', 'confirm', 'success'),
  ]) {
    t.is(decide(state, late, after(1)).next, state);
  }
  const dirty = happened(inStatus('aborting'), [reply('02', 'rollback', 'dirty')]);
  t.is(decide(dirty, reply('02', 'rollback', 'unknown'), after(1)).next, dirty);
});

test('the last error of a branch is kept, cut to 500 characters and well formed', (t) => {
  const detail = `${'x'.repeat(499)}\u{1f4b8}`;
  const state = decide(inStatus('submitted'), { ...reply('01', 'commit', 'unknown'), detail } as never, after(0)).next;
  t.is(state.branches[0]?.lastError?.length, 500);
  t.true(state.branches[0]?.lastError?.isWellFormed());
});
