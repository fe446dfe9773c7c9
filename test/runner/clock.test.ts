/** Clocks that are set: leases are instants of a clock that others do not share, and timers do not hear of it. */
import test from 'ava';
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import { Time } from '../simulation/time.ts';
import { beginWith, sagaAt, setUp, stored, valueOf } from './bench.ts';

const HOUR_MS = 3_600_000;

/** A clock that can be set; timers run by what really passes. */
function settable(time: Time) {
  const state = { offset: 0 };
  return {
    set: (ms: number): void => void (state.offset += ms),
    clock: {
      now: () => (time.now + state.offset) as Instant,
      at: (instant: Instant, run: () => void) => time.after(instant - time.now - state.offset, run),
    },
  };
}

test('a clock that is set back does not make leases last: what others have taken over meanwhile is called by them alone', async (t) => {
  const time = new Time();
  const { set, clock } = settable(time);
  const mine = setUp({ clock, limits: { branches: 9, unfinished: 9, calls: 1 } }, time);
  for (const gid of ['first', 'second'] as Gid[]) {
    valueOf(await mine.runner.startNew(sagaAt(['a'], { gid }), 'submitted'));
  }
  await mine.pass(0);
  t.is(mine.calls.length, 1, 'the other call waits for its turn');
  set(-HOUR_MS);
  const yours = setUp({ store: mine.store, owner: 'you' }, time);
  yours.runner.start();
  await yours.pass(20_000);
  t.is(yours.calls.length, 2);
  mine.calls[0]?.answer('success');
  await mine.pass(0);
  t.is(mine.calls.length, 0, 'the second is in other hands');
  for (const call of yours.calls.slice()) call.answer('success');
  await yours.pass(0);
  t.is(valueOf(await mine.runner.read('second' as Gid)).status, 'succeed');
});

test('a clock that is set back does not end the heartbeat: others leave alone what is being driven', async (t) => {
  const time = new Time();
  const { set, clock } = settable(time);
  set(HOUR_MS);
  const mine = setUp({ clock }, time);
  mine.runner.start();
  valueOf(await mine.runner.startNew(sagaAt(['a']), 'submitted'));
  await mine.pass(0);
  // From an hour ahead to what everybody else has.
  set(-HOUR_MS);
  await mine.pass(5000);
  const yours = setUp({ store: mine.store, owner: 'you' }, time);
  yours.runner.start();
  await yours.pass(60_000);
  t.is(yours.calls.length, 0);
  await mine.settle(mine.runner.stop(0));
  await yours.pass(11_000);
  valueOf(await yours.settle(yours.runner.retry('saga' as Gid)));
  t.is(yours.calls.length, 1, 'the lease has ended as if it had never been an hour ahead');
});

test('a clock that is set forward, as when a machine wakes up, does not delay a deadline by as much', async (t) => {
  const time = new Time();
  const { set, clock } = settable(time);
  const bench = setUp({ clock }, time);
  bench.runner.start();
  const gid = await beginWith(bench, ['a'], HOUR_MS / 2);
  await bench.pass(1000);
  set(HOUR_MS);
  await bench.pass(4000);
  t.is((await stored(bench, gid))?.status, 'aborting');
});
