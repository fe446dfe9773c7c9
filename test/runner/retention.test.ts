import test from 'ava';
import type { BranchKind, GlobalStatus } from '../../src/contract/transaction.ts';
import type { Event } from '../../src/engine/event.ts';
import { agesFrom } from '../../src/engine/retention.ts';
import { viewOf } from '../../src/runner/view.ts';
import { after, begun, happened, inStatus, participant, reply } from '../engine/sample.ts';

const STOP: Event = { kind: 'stop' };

test('what is over ages from its end, and what is not over does not age', (t) => {
  for (const status of ['prepared', 'submitted', 'aborting'] as const) t.is(agesFrom(inStatus(status)), undefined);
  for (const status of ['succeed', 'failed'] as const) t.is(agesFrom(inStatus(status)), inStatus(status).finishedAt);
});

test('one that was stopped before it was decided, or when it was to be rolled back, ages: unknown means rolled back', (t) => {
  for (const status of ['prepared', 'aborting'] as const) {
    const stopped = happened(inStatus(status), [STOP], after(7));
    t.like(stopped, { status: 'failed', stoppedFrom: status satisfies GlobalStatus });
    t.is(agesFrom(stopped), after(7));
  }
});

/** Whether something of a branch of this kind may stay prepared until it hears of the decision. */
const MAY_BE_PREPARED = { undo: true, xa: true, tcc: false } as const satisfies Partial<Record<BranchKind, boolean>>;

for (const [kind, mayBe] of Object.entries(MAY_BE_PREPARED) as [keyof typeof MAY_BE_PREPARED, boolean][]) {
  test(`one that was stopped on its way to commit ${mayBe ? 'never ages' : 'ages'} with an unfinished branch of kind ${kind}`, (t) => {
    const submitted = happened(begun(), [
      { kind: 'enlist', branch: participant('a', kind) },
      { kind: 'enlist', branch: participant('b', kind) },
      { kind: 'submit' },
    ]);
    const operation = kind === 'tcc' ? 'confirm' : 'commit';
    const half = happened(submitted, [reply('01', operation, 'success'), STOP], after(7));
    t.like(half, { status: 'failed', stoppedFrom: 'submitted', finishedAt: after(7) });
    t.is((agesFrom(half) ?? 0) > Date.UTC(9999, 0), mayBe);
  });
}

test('one that was stopped says in which status, and promises no next call', (t) => {
  const waiting = happened(inStatus('submitted'), [reply('01', 'commit', 'unknown')]);
  t.true(viewOf(waiting).branches.some(({ nextAttemptAt }) => nextAttemptAt !== undefined));
  const stopped = viewOf(happened(waiting, [STOP]));
  t.like(stopped, { status: 'failed', stoppedFrom: 'submitted', needsAttention: false });
  t.true(stopped.branches.every(({ nextAttemptAt }) => nextAttemptAt === undefined));
});
