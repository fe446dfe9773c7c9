import test from 'ava';
import fc from 'fast-check';
import {
  parseBranchId,
  type BranchId,
  type Gid,
  type Instant,
  type Operation,
} from '../../src/contract/transaction.ts';
import { branchIdOf } from '../../src/engine/branch-id.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { backoffMs, BACKOFF_CAP_MS } from '../../src/engine/retry.ts';
import { STATUS_RULES } from '../../src/engine/status.ts';
import { begun, participant, T0 } from './sample.ts';

const operation = fc.constantFrom<Operation>('commit', 'rollback', 'confirm', 'cancel', 'compensate', 'action');
const kind = fc.constantFrom('undo', 'xa', 'tcc', 'saga', 'msg');
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('a', 'b', 'c', 'd'), kind, fc.constantFrom('x', 'y'))
      .map(([resource, as, host]): Event => ({ kind: 'enlist', branch: participant(resource, as, host) })),
  },
  fc.constant<Event>({ kind: 'submit' }),
  fc.constant<Event>({ kind: 'abort', reason: 'r' }),
  fc.constant<Event>({ kind: 'woken' }),
  fc.constant<Event>({ kind: 'retry' }),
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('replied' as const),
      branch: fc.constantFrom('01', '02', '03', '04').map((id) => id as BranchId),
      operation,
      result: fc.constantFrom('success', 'success', 'failure', 'ongoing', 'unknown', 'dirty'),
    }),
  },
);
/** Events with the time that passes before each; now and then time goes back, as clocks do. */
const story = fc.array(fc.tuple(event, fc.integer({ min: -2000, max: 9000 })), { maxLength: 60 });

/** Runs the story; `see` looks at each step. */
function tell(
  events: readonly (readonly [Event, number])[],
  see: (before: GlobalTransaction, event: Event, after: ReturnType<typeof decide>, now: Instant) => void,
): void {
  let state = begun();
  let now = T0 as number;
  for (const [next, passed] of events) {
    now += passed;
    const decision = decide(state, next, now as Instant);
    see(state, next, decision, now as Instant);
    state = decision.next;
  }
}

const check = (property: fc.IProperty<unknown>): void => fc.assert(property, { numRuns: 2000 });

test('an outcome, once there, never changes, and a final state changes in nothing', (t) => {
  check(
    fc.property(story, (events) => {
      tell(events, (before, _, { next }) => {
        const outcome = STATUS_RULES[before.status].outcome;
        if (outcome !== 'undecided' && STATUS_RULES[next.status].outcome !== outcome)
          throw new Error('the outcome changed');
        if (before.finishedAt !== undefined && next !== before) throw new Error('a final state changed');
      });
    }),
  );
  t.pass();
});

test('nobody joins after the decision, and no branch ever leaves or changes its identity', (t) => {
  check(
    fc.property(story, (events) => {
      tell(events, (before, _, { next }) => {
        if (before.status !== 'prepared' && next.branches.length !== before.branches.length)
          throw new Error('joined late');
        for (const [index, branch] of before.branches.entries()) {
          const now = next.branches[index];
          if (now?.id !== branch.id || now.resource !== branch.resource || now.kind !== branch.kind)
            throw new Error('changed');
          if (branch.status === 'succeed' && now.status !== 'succeed') throw new Error('unfinished again');
          if (now.attempts < branch.attempts) throw new Error('attempts forgotten');
        }
      });
    }),
  );
  t.pass();
});

test('an unfinished transaction always has something due, unless only dirty branches are left', (t) => {
  check(
    fc.property(story, (events) => {
      tell(events, (_, __, { next, effects }) => {
        const waits = next.branches.some(({ status }) => status === 'prepared') || next.status === 'prepared';
        const isFinal = next.status === 'succeed' || next.status === 'failed';
        if (effects.length > 0 !== (waits && !isFinal)) throw new Error(`due: ${JSON.stringify(effects)}`);
      });
    }),
  );
  t.pass();
});

test('calls fit the outcome, have a URL, and a rollback never overtakes a later branch', (t) => {
  check(
    fc.property(story, (events) => {
      tell(events, (_, __, { next, effects }, now) => {
        for (const effect of effects) {
          if (effect.kind === 'wake') {
            if (next.status !== 'prepared' && effect.at <= now) throw new Error('a wake in the past');
            continue;
          }
          if (effect.urls.length === 0) throw new Error('no URL');
          if (next.status !== 'submitted' && next.status !== 'aborting')
            throw new Error('a call before or after its time');
          const index = next.branches.findIndex(({ id }) => id === effect.branch);
          const later = next.branches.slice(index + 1);
          if (next.status === 'aborting' && later.some(({ status }) => status === 'prepared'))
            throw new Error('overtaken');
        }
      });
    }),
  );
  t.pass();
});

test('a refused event changes nothing, and woken again changes nothing', (t) => {
  check(
    fc.property(story, (events) => {
      tell(events, (before, _, { next, refused }, now) => {
        const passed = decide(before, { kind: 'woken' }, now).next;
        if (refused !== undefined && JSON.stringify(next) !== JSON.stringify(passed))
          throw new Error('a refusal changed more than time did');
        if (decide(next, { kind: 'woken' }, now).next !== next) throw new Error('woken twice is not woken once');
      });
    }),
  );
  t.pass();
});

test('a state survives its way through JSON', (t) => {
  check(
    fc.property(story, (events) => {
      let last = begun();
      tell(events, (_, __, { next }) => (last = next));
      if (JSON.stringify(JSON.parse(JSON.stringify(last))) !== JSON.stringify(last)) throw new Error('lost in JSON');
    }),
  );
  t.pass();
});

test('the pause grows from the first interval, is spread over its upper half, and stays under the cap', (t) => {
  check(
    fc.property(
      fc.string(),
      fc.integer({ min: 1, max: 2000 }),
      fc.integer({ min: 1, max: 30_000 }),
      (gid, attempt, first) => {
        const full = Math.min(BACKOFF_CAP_MS, first * 2 ** (attempt - 1));
        const pause = backoffMs(gid as Gid, '01' as BranchId, attempt, first);
        if (
          pause < full / 2 ||
          pause > Math.ceil(full) ||
          pause !== backoffMs(gid as Gid, '01' as BranchId, attempt, first)
        )
          throw new Error(`${pause}`);
      },
    ),
  );
  const pauses = Array.from({ length: 1000 }, (_, index) => backoffMs(`g${index}` as Gid, '01' as BranchId, 3, 1000));
  const upper = pauses.filter((pause) => pause > 3000).length;
  t.true(upper > 400 && upper < 600, `${upper} of 1000 in the upper half`);
});

test('branch ids are well formed, unique, in the order of enlistment, and none begins another', (t) => {
  t.deepEqual(
    [1, 2, 98, 99, 100, 9998, 9999].map((sequence) => String(branchIdOf(sequence))),
    ['01', '02', '98', '990000', '990001', '999899', '9999000000'],
  );
  let last = '';
  for (let sequence = 1; sequence <= 100_000; sequence += 1) {
    const id = branchIdOf(sequence);
    if (parseBranchId(id) === undefined || id <= last || (last !== '' && id.startsWith(last)))
      return t.fail(`${last} ${id}`);
    last = id;
  }
  t.pass();
});
