import test from 'ava';
import type { BranchKind } from '../../src/contract/transaction.ts';
import { resolutionOf } from '../../src/engine/branches/calls.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import {
  after,
  begun,
  branchId,
  dueWords,
  effectWords,
  happened,
  inStatus,
  participant,
  reply,
} from '../engine/sample.ts';

const DIAGNOSIS = { reason: 'changed by somebody else', table: 'public.account' };

/** Branch 02 is dirty, 01 is rolled back. */
function stuck(): GlobalTransaction {
  return happened(inStatus('aborting'), [
    { ...reply('02', 'rollback', 'dirty'), diagnosis: DIAGNOSIS } as Event,
    reply('01', 'rollback', 'success'),
  ]);
}

function resolve(how: 'apply-before' | 'keep-current' | 'retry', branch?: string): Event {
  return {
    kind: 'resolve',
    how,
    by: 'ann',
    reason: 'the customer said so',
    ...(branch === undefined ? {} : { branch: branchId(branch) }),
  };
}

for (const how of ['apply-before', 'keep-current', 'retry'] as const) {
  test(`${how} is recorded, carried out by the next call, and ends the transaction`, (t) => {
    t.deepEqual(dueWords(stuck()), []);
    const decided = decide(stuck(), resolve(how, '02'), after(7));
    t.deepEqual(
      decided.effects.map((effect) => effect.kind),
      ['call'],
    );
    const record = { how, by: 'ann', reason: 'the customer said so', at: after(7) };
    t.like(decided.next.branches[1], { status: 'prepared', diagnosis: DIAGNOSIS });
    t.deepEqual(decided.next.branches[1]?.resolutions, [record]);
    const branch = decided.next.branches[1];
    t.is(branch && resolutionOf(branch), how === 'retry' ? undefined : how);
    const over = happened(decided.next, [reply('02', 'rollback', 'success')], after(9));
    t.like(over, { status: 'failed', finishedAt: after(9) });
    t.deepEqual(over.branches[1]?.resolutions, [{ ...record, outcome: 'done' }]);
    t.is(decide(over, resolve(how, '02'), after(10)).next, over);
    t.is(decide(over, resolve(how, '02'), after(10)).refused, undefined);
  });
}

test('what was decided once is not decided otherwise while it is under way, nor when it is over', (t) => {
  const decided = happened(stuck(), [resolve('keep-current', '02')]);
  const over = happened(decided, [reply('02', 'rollback', 'success')]);
  for (const state of [decided, over, happened(decided, [reply('02', 'rollback', 'unknown')])]) {
    t.is(decide(state, resolve('apply-before', '02'), after(1)).refused?.code, 'BRANCH_NOT_DIRTY');
    t.is(decide(state, resolve('apply-before'), after(1)).refused?.code, 'BRANCH_NOT_DIRTY');
  }
});

test('a branch that could not carry it out is dirty again, its decision refused, and the next one counts', (t) => {
  const again = happened(stuck(), [resolve('apply-before', '02'), reply('02', 'rollback', 'dirty')]);
  t.like(again.branches[1], { status: 'dirty', resolutions: [{ how: 'apply-before', outcome: 'refused' }] });
  t.is(again.branches[1]?.diagnosis, undefined);
  const kept = decide(again, resolve('keep-current', '02'), after(3));
  t.deepEqual(
    kept.next.branches[1]?.resolutions?.map((item) => [item.how, item.outcome]),
    [
      ['apply-before', 'refused'],
      ['keep-current', undefined],
    ],
  );
  t.is(decide(again, resolve('apply-before', '02'), after(3)).effects.length, 1);
});

test('silence leaves the decision under way: the branch is called again with it', (t) => {
  const silent = happened(stuck(), [resolve('keep-current', '02'), reply('02', 'rollback', 'unknown')]);
  const branch = silent.branches[1];
  t.is(branch && resolutionOf(branch), 'keep-current');
  t.deepEqual(effectWords(silent, { kind: 'retry' }, after(1)), ['rollback 02']);
});

test('a retry of the whole transaction is on record with each branch that was dirty, as one of a branch is', (t) => {
  const retry: Event = { kind: 'retry', by: 'ann', reason: 'put right by hand' };
  const asked = decide(stuck(), retry, after(7));
  const record = { how: 'retry', by: 'ann', reason: 'put right by hand', at: after(7) } as const;
  t.deepEqual(
    asked.next.branches.map(({ resolutions }) => resolutions),
    [undefined, [record]],
  );
  t.deepEqual(
    asked.effects.map(({ kind }) => kind),
    ['call'],
  );
  t.is(decide(asked.next, retry, after(8)).next, asked.next);
  const again = happened(asked.next, [reply('02', 'rollback', 'dirty')]);
  t.deepEqual(again.branches[1]?.resolutions, [{ ...record, outcome: 'refused' }]);
  const over = happened(again, [{ kind: 'retry' }, reply('02', 'rollback', 'success')], after(9));
  t.like(over.branches[1]?.resolutions?.[1], { how: 'retry', outcome: 'done' });
  t.is(over.branches[1]?.resolutions?.[1]?.by, undefined);
});

test('a retry that only shortens a pause decides nothing, and leaves no record', (t) => {
  const waiting = happened(inStatus('aborting'), [reply('02', 'rollback', 'unknown')]);
  t.deepEqual(effectWords(waiting, { kind: 'retry', by: 'ann' }, after(1)), ['rollback 02']);
  t.true(
    happened(waiting, [{ kind: 'retry', by: 'ann' }]).branches.every(({ resolutions }) => resolutions === undefined),
  );
});

test('without a branch every dirty one is decided about, and no other', (t) => {
  const both = happened(inStatus('aborting'), [reply('02', 'rollback', 'dirty'), reply('01', 'rollback', 'dirty')]);
  const decided = happened(both, [resolve('apply-before')]);
  t.deepEqual(
    decided.branches.map(({ resolutions }) => resolutions?.length),
    [1, 1],
  );
  t.deepEqual(dueWords(decided), ['rollback 02']);
  const one = happened(stuck(), [resolve('apply-before')]);
  t.is(one.branches[0]?.resolutions, undefined);
});

test('nothing is decided about a branch that is not dirty or not there, or of a transaction that was given up', (t) => {
  for (const status of ['prepared', 'submitted', 'aborting', 'succeed', 'failed'] as const) {
    t.is(decide(inStatus(status), resolve('keep-current', '01'), after(1)).refused?.code, 'BRANCH_NOT_DIRTY', status);
    t.is(decide(inStatus(status), resolve('keep-current'), after(1)).refused?.code, 'BRANCH_NOT_DIRTY', status);
    t.is(decide(inStatus(status), resolve('keep-current', '07'), after(1)).refused?.code, 'BRANCH_UNKNOWN', status);
  }
  const given = happened(stuck(), [{ kind: 'stop' }]);
  t.is(decide(given, resolve('keep-current', '02'), after(1)).refused?.code, 'BRANCH_NOT_DIRTY');
});

test('a branch without images cannot be applied; kept, it is over without a call', (t) => {
  for (const kind of ['tcc', 'xa', 'saga'] satisfies BranchKind[]) {
    const operation = kind === 'tcc' ? 'cancel' : kind === 'xa' ? 'rollback' : 'compensate';
    const dirty = happened(begun(), [
      { kind: 'enlist', branch: participant('a', kind) },
      { kind: 'abort', reason: '' },
      reply('01', operation, 'dirty'),
    ]);
    t.is(dirty.branches[0]?.status, 'dirty');
    t.is(decide(dirty, resolve('apply-before', '01'), after(1)).refused?.code, 'BAD_REQUEST');
    t.deepEqual(effectWords(dirty, resolve('retry', '01'), after(1)), [`${operation} 01`]);
    const kept = happened(dirty, [resolve('keep-current', '01')], after(4));
    t.like(kept, { status: 'failed', finishedAt: after(4), branches: [{ resolutions: [{ outcome: 'done' }] }] });
  }
});
