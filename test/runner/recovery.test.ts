import test from 'ava';
import type { GlobalStatus, Gid, Instant } from '../../src/contract/transaction.ts';
import { STATUS_RULES } from '../../src/engine/status.ts';
import { coordinatorOptions } from '../../src/options.ts';
import type { Store } from '../../src/runner/ports.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import {
  answerAll,
  beginWith,
  branchAt,
  codeOf,
  sagaAt,
  setUp,
  stored,
  valueOf,
  withVerbs,
  type Bench,
  type OpenCall,
} from './bench.ts';

/** Leaves a transaction of two branches in the given status, its coordinator silent from then on. */
async function leaveIn(status: GlobalStatus, bench: Bench): Promise<Gid> {
  const gid = await beginWith(bench, ['a', 'b']);
  if (status === 'submitted' || status === 'succeed') valueOf(await bench.runner.submit(gid));
  if (status === 'aborting' || status === 'failed') valueOf(await bench.runner.abort(gid, {}));
  if (status === 'succeed' || status === 'failed') await answerAll(bench);
  return gid;
}

for (const [status, rule] of Object.entries(STATUS_RULES)) {
  for (const [who, owner] of [
    ['itself after a restart', 'me'],
    ['another coordinator', 'you'],
  ] as const) {
    test(`died while ${status}, found by ${who}: ${rule.ifWeDieHere}`, async (t) => {
      const before = setUp();
      const gid = await leaveIn(status as GlobalStatus, before);
      t.is((await stored(before, gid))?.status, status as GlobalStatus);
      const after = setUp({ store: before.store, owner }, before.time);
      after.runner.start();
      // Longer than the deadline and the lease of the dead one, who answers nothing any more.
      await after.pass(owner === 'me' && status !== 'prepared' ? 0 : 75_000);
      await answerAll(after);
      t.is((await stored(after, gid))?.status, rule.recoversTo);
      t.deepEqual(after.runner.load, { driven: 0, calls: 0 });
    });
  }
}

test('the store is asked for whole milliseconds only, whatever the lease is', async (t) => {
  const asked: (number | undefined)[] = [];
  const inner = openMemoryStore();
  const store = withVerbs(inner, {
    claimDue: (now, lease, limit, ownUntil) => {
      asked.push(now, lease.until, ownUntil);
      return inner.claimDue(now, lease, limit, ownUntil);
    },
  });
  const bench = setUp({ store, leaseMs: 10_000 });
  bench.runner.start();
  // Past the first lease, from when on more than the start of this life counts.
  await bench.pass(20_000);
  t.true(asked.length > 0);
  t.deepEqual(
    asked.filter((instant) => !Number.isInteger(instant)),
    [],
  );
});

test('another coordinator leaves a transaction alone while its owner lives, and says so to those who ask', async (t) => {
  const mine = setUp();
  mine.runner.start();
  const yours = setUp({ store: mine.store, owner: 'you' }, mine.time);
  yours.runner.start();
  const gid = await beginWith(mine, ['a']);
  valueOf(await mine.runner.submit(gid));
  await mine.pass(120_000);
  t.is(mine.calls.length, 1);
  t.is(yours.calls.length, 0, 'the heartbeat keeps the lease while a call runs');
  const answer = await yours.runner.submit(gid);
  t.is(codeOf(answer), 'STORE_FAILED');
  t.is(answer.ok ? undefined : answer.error.retry, 'safe');
  t.is(valueOf(await yours.runner.read(gid)).status, 'submitted');
});

test('one that was taken over is let go of: its call is given up, and it is read from the store', async (t) => {
  const mine = setUp();
  const gid = await beginWith(mine, ['a']);
  valueOf(await mine.runner.submit(gid));
  await mine.pass(15_000);
  // Nothing has renewed the lease, as when a process sleeps too long.
  const yours = setUp({ store: mine.store, owner: 'you' }, mine.time);
  yours.runner.start();
  await answerAll(yours);
  t.is((await stored(mine, gid))?.status, 'succeed');
  t.is(valueOf(await mine.runner.read(gid)).status, 'succeed');
  const [call] = mine.calls;
  mine.runner.start();
  await mine.pass(10_000);
  t.true(call?.signal.aborted);
  t.is(mine.runner.load.driven, 0);
  call?.answer('success');
  await mine.pass(0);
  t.deepEqual(mine.events, [], 'its answer counts for nothing');
});

test('many transactions are taken over at once, in batches, and none is driven twice', async (t) => {
  const before = setUp();
  for (let count = 0; count < 500; count += 1)
    valueOf(await before.runner.submit(await beginWith(before, [`r${count}`])));
  const after = setUp({ store: before.store }, before.time);
  after.runner.start();
  await after.pass(0);
  t.is(after.runner.load.driven, 500);
  t.is(after.calls.length, 256);
  await answerAll(after);
  t.deepEqual(after.runner.load, { driven: 0, calls: 0 });
  t.is(after.events.filter(({ kind }) => kind === 'finished').length, 500);
});

test('a thousand stuck sagas whose branches take a second, all of one service, are over in less than 15 seconds', async (t) => {
  // As the coordinator is set up unless told otherwise.
  const { limits } = coordinatorOptions.parse({});
  const before = setUp({ limits });
  const sagas = Array.from({ length: 1000 }, (_, index) => sagaAt(['a', 'a'], { gid: `s${index}` as Gid }));
  await Promise.all(sagas.map((saga) => before.runner.startNew(saga, 'submitted')));
  await before.pass(0);
  const after = setUp({ store: before.store, limits }, before.time);
  await after.pass(1);
  const startedAt = after.now();
  after.runner.start();
  const slow = new Set<OpenCall>();
  while (after.events.filter(({ kind }) => kind === 'finished').length < sagas.length) {
    await after.pass(50);
    for (const call of after.calls) {
      if (slow.has(call)) continue;
      slow.add(call);
      after.time.after(1000, () => call.answer('success'));
    }
    if (after.now() - startedAt > 60_000) return t.fail('still not over');
  }
  t.is(slow.size, 2000, 'each is called once');
  return t.true(after.now() - startedAt < 15_000, `${after.now() - startedAt} ms`);
});

test('what is under way does not hide what nobody drives', async (t) => {
  const mine = setUp();
  mine.runner.start();
  for (let count = 0; count < 300; count += 1) valueOf(await mine.runner.submit(await beginWith(mine, [`r${count}`])));
  const dead = setUp({ store: mine.store, owner: 'dead', leaseMs: 1 }, mine.time);
  const gid = valueOf(await dead.runner.begin({ gid: 'lost' as Gid })).transaction.gid;
  valueOf(await dead.runner.enlist(gid, branchAt('x')));
  valueOf(await dead.runner.submit(gid));
  await mine.pass(3000);
  t.true(mine.calls.length === 256 && mine.runner.load.driven === 301);
});

test('one that only waits leaves memory, and is back at its deadline', async (t) => {
  const bench = setUp();
  bench.runner.start();
  const gid = await beginWith(bench, ['a'], 600_123);
  await bench.pass(60_000);
  t.is(bench.runner.load.driven, 0);
  const writes = bench.writes.length;
  await bench.pass(540_122);
  t.is(bench.writes.length, writes);
  await bench.pass(1);
  t.is(bench.calls[0]?.operation, 'rollback');
  t.is((await stored(bench, gid))?.status, 'aborting');
});

test('a call that waits for its turn is not made once its transaction is lost', async (t) => {
  const mine = setUp({ limits: { branches: 9, unfinished: 9, calls: 1 } });
  for (const resource of ['a', 'b']) valueOf(await mine.runner.submit(await beginWith(mine, [resource])));
  await mine.pass(15_000);
  const yours = setUp({ store: mine.store, owner: 'you' }, mine.time);
  yours.runner.start();
  await yours.pass(0);
  t.is(yours.calls.length, 2);
  mine.runner.start();
  await mine.pass(10_000);
  mine.calls[0]?.answer('success');
  await mine.pass(0);
  t.is(mine.calls.length, 0);
});

test('no more is taken into memory than the limit of unfinished transactions, and all get their turn', async (t) => {
  const before = setUp();
  for (let count = 0; count < 20; count += 1)
    valueOf(await before.runner.submit(await beginWith(before, [`r${count}`])));
  const after = setUp({ store: before.store, limits: { branches: 9, unfinished: 6, calls: 256 } }, before.time);
  after.runner.start();
  for (let round = 0; round < 4; round += 1) {
    await after.pass(1500);
    t.true(after.runner.load.driven <= 6);
    await answerAll(after);
  }
  t.is(after.events.filter(({ kind }) => kind === 'finished').length, 20);
});

test('one that only waits is there for those who ask', async (t) => {
  const bench = setUp({ limits: { branches: 9, unfinished: 1, calls: 9 } });
  bench.runner.start();
  const gid = await beginWith(bench, ['a'], 600_000);
  await bench.pass(60_000);
  valueOf(await bench.settle(bench.runner.enlist(gid, branchAt('b'))));
  valueOf(await bench.runner.submit(gid));
  await answerAll(bench);
  t.like(await stored(bench, gid), { status: 'succeed', branches: { length: 2 } });
  t.is(codeOf(await bench.runner.begin({})), 'ok', 'and counts as unfinished no longer');
});

/** A memory store of which the test can make single verbs fail. */
function failing(): { readonly store: Store; readonly failed: Set<keyof Store> } {
  const inner = openMemoryStore();
  const failed = new Set<keyof Store>();
  const store = new Proxy(inner, {
    get: (target, verb: keyof Store) => {
      const method = target[verb].bind(target) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => (failed.has(verb) ? Promise.reject(new Error('disk full')) : method(...args));
    },
  });
  return { store, failed };
}

test('a store that fails answers STORE_FAILED, and the transaction goes on from what is stored', async (t) => {
  const { store, failed } = failing();
  const bench = setUp({ store });
  bench.runner.start();
  const gid = await beginWith(bench, ['a']);
  failed.add('save');
  const answer = await bench.runner.submit(gid);
  t.is(codeOf(answer), 'STORE_FAILED');
  t.is(answer.ok ? undefined : answer.error.retry, 'safe');
  t.is(bench.calls.length, 0);
  t.is(valueOf(await bench.runner.read(gid)).status, 'prepared');
  failed.delete('save');
  t.is(codeOf(await bench.settle(bench.runner.submit(gid))), 'ok');
  await answerAll(bench);
  t.is((await stored(bench, gid))?.status, 'succeed');
});

test('an answer whose write fails is asked for again, by recovery', async (t) => {
  const { store, failed } = failing();
  const bench = setUp({ store });
  bench.runner.start();
  const gid = await beginWith(bench, ['a']);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  failed.add('save').add('claimDue');
  await answerAll(bench);
  t.is(bench.runner.load.driven, 0);
  await bench.pass(5000);
  failed.clear();
  await bench.pass(2000);
  t.is(bench.calls.length, 1);
  await answerAll(bench);
  t.is((await stored(bench, gid))?.status, 'succeed');
});

test('every verb says so when the store fails', async (t) => {
  const { store, failed } = failing();
  const { runner } = setUp({ store });
  for (const verb of ['insert', 'read', 'claim', 'list'] as const) failed.add(verb);
  const gid = 'g' as Gid;
  t.is(codeOf(await runner.begin({})), 'STORE_FAILED');
  t.is(codeOf(await runner.read(gid)), 'STORE_FAILED');
  t.is(codeOf(await runner.submit(gid)), 'STORE_FAILED');
  t.is(codeOf(await runner.list({ limit: 1 })), 'STORE_FAILED');
  t.is(codeOf(await runner.waitForEnd(gid, 10, new AbortController().signal)), 'STORE_FAILED');
});

test('an engine that throws stops one request, not the process', async (t) => {
  const bench = setUp({
    decide: () => {
      throw new Error('a bug');
    },
  });
  const { gid } = valueOf(await bench.runner.begin({})).transaction;
  t.is(codeOf(await bench.settle(bench.runner.submit(gid))), 'INTERNAL');
  t.is(codeOf(await bench.settle(bench.runner.submit(gid))), 'INTERNAL');
});

test('stopping refuses new work, waits for calls in flight, and writes their answers', async (t) => {
  const bench = setUp();
  bench.runner.start();
  const gid = await beginWith(bench, ['a', 'b']);
  const waiting = await beginWith(bench, ['c']);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  const waiter = bench.runner.waitForEnd(waiting, 60_000, new AbortController().signal);
  const stopped = bench.runner.stop(5000);
  t.is(codeOf(await bench.runner.begin({})), 'SHUTTING_DOWN');
  t.is(codeOf(await bench.runner.enlist(waiting, branchAt('d'))), 'SHUTTING_DOWN');
  t.is(codeOf(await bench.runner.submit(waiting)), 'SHUTTING_DOWN');
  t.is(codeOf(await bench.runner.read(waiting)), 'ok');
  t.is(valueOf(await waiter).status, 'prepared');
  await answerAll(bench);
  await bench.settle(stopped);
  t.is((await stored(bench, gid))?.status, 'succeed');
  t.deepEqual(bench.runner.load, { driven: 0, calls: 0 });
});

test('stopping gives up the leases of what is not under way, also of what waits for its turn', async (t) => {
  const peers = { happen: () => Promise.resolve(undefined), onDue: () => undefined };
  const bench = setUp({ peers, limits: { branches: 100, unfinished: 1000, calls: 1 } });
  for (const name of ['busy', 'waiting']) {
    valueOf(await bench.runner.startNew(sagaAt(['a'], { gid: name as Gid }), 'submitted'));
  }
  const resting = await beginWith(bench, ['b']);
  await bench.pass(0);
  await bench.settle(bench.runner.stop(1000));
  const now = bench.now();
  const yours = { owner: 'you', until: (now + 1000) as Instant };
  t.deepEqual(
    await Promise.all(['busy' as Gid, 'waiting' as Gid, resting].map((gid) => bench.store.claim(gid, now, yours))).then(
      (claims) => claims.map((claimed) => typeof claimed === 'object'),
    ),
    [false, true, true],
  );
});

test('stopping does not wait longer than the grace, and writes what was answered until then', async (t) => {
  const bench = setUp();
  const gid = await beginWith(bench, ['a', 'b']);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  bench.calls[0]?.answer('success');
  await bench.pass(0);
  const startedAt = bench.now();
  await bench.settle(bench.runner.stop(5000));
  t.is(bench.now() - startedAt, 5000);
  t.true(bench.calls[0]?.signal.aborted);
  t.like(await stored(bench, gid), { status: 'submitted', branches: [{ status: 'succeed' }, { status: 'prepared' }] });
});
