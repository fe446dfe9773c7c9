/** What a store's answers, late or many, make of what is in memory. */
import test from 'ava';
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import type { Stored } from '../../src/runner/ports.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { answerAll, beginWith, codeOf, sagaAt, setUp, stored, valueOf, withVerbs } from './bench.ts';

test('what a late answer of the store hands over is not driven from where it was, when it has been driven further meanwhile', async (t) => {
  const before = setUp();
  valueOf(await before.runner.startNew(sagaAt(['a']), 'submitted'));
  const gid = 'saga' as Gid;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const store = withVerbs(before.store, {
    claimDue: async (...asked): Promise<readonly Stored[]> => {
      const claimed = await before.store.claimDue(...asked);
      if (claimed.length > 0) await released;
      return claimed;
    },
  });
  const after = setUp({ store }, before.time);
  after.runner.start();
  await after.pass(0);
  valueOf(await after.runner.retry(gid));
  await answerAll(after);
  t.is((await stored(after, gid))?.status, 'succeed');
  release();
  await after.pass(10);
  t.is(after.calls.length, 0);
  t.deepEqual(after.runner.load, { driven: 0, calls: 0 });
});

test('a coordinator does not claim its own transactions in a circle, however many begin in the millisecond of its start', async (t) => {
  let claims = 0;
  const inner = openMemoryStore();
  const store = withVerbs(inner, {
    claimDue: (...asked) => {
      claims += 1;
      if (claims > 50) throw new Error('in a circle');
      return inner.claimDue(...asked);
    },
  });
  const bench = setUp({ store, limits: { branches: 9, unfinished: 9999, calls: 256 } });
  await Promise.all(
    Array.from({ length: 600 }, (_, n) => bench.runner.startNew(sagaAt(['a'], { gid: `s${n}` as Gid }), 'submitted')),
  );
  bench.runner.start();
  await bench.pass(0);
  t.true(claims < 5, `${claims} claims`);
  t.is(bench.runner.load.driven, 600);
});

test('a coordinator whose transactions are all the store’s oldest does not claim them in a circle when their leases are short', async (t) => {
  let claims = 0;
  const inner = openMemoryStore();
  const store = withVerbs(inner, {
    // A store that hands out what is driven already, each time.
    claimDue: (now, lease, limit) => {
      claims += 1;
      if (claims > 50) throw new Error('in a circle');
      return inner.claimDue(now, lease, limit);
    },
  });
  const bench = setUp({ store, limits: { branches: 9, unfinished: 9999, calls: 256 } });
  await Promise.all(
    Array.from({ length: 600 }, (_, n) => bench.runner.startNew(sagaAt(['a'], { gid: `s${n}` as Gid }), 'submitted')),
  );
  bench.runner.start();
  await bench.pass(0);
  t.true(claims < 5, `${claims} claims`);
});

test('at the limit of unfinished transactions those that are known go on: a message is submitted, a workflow taken up, a begin repeated', async (t) => {
  const bench = setUp({ limits: { branches: 9, unfinished: 3, calls: 256 } });
  const message = {
    ...sagaAt(['a'], { gid: 'msg' as Gid }),
    mode: 'msg' as const,
    callback: { url: 'http://i/asked' },
  };
  const flow = { ...sagaAt([], { gid: 'flow' as Gid }), mode: 'workflow' as const, callback: { url: 'http://i/run' } };
  valueOf(await bench.runner.startNew(message, 'prepared'));
  valueOf(await bench.runner.startNew(flow, 'prepared'));
  valueOf(await bench.runner.begin({ gid: 'mesh' as Gid }));
  t.is(codeOf(await bench.runner.startNew(sagaAt(['a']), 'submitted')), 'TOO_MANY_TRANSACTIONS');
  t.is(codeOf(await bench.runner.begin({ gid: 'other' as Gid })), 'TOO_MANY_TRANSACTIONS');
  t.is(codeOf(await bench.runner.begin({})), 'TOO_MANY_TRANSACTIONS');
  t.false(valueOf(await bench.runner.begin({ gid: 'mesh' as Gid })).created);
  t.false(valueOf(await bench.runner.startNew(flow, 'prepared')).created);
  t.is(codeOf(await bench.runner.startNew({ ...flow, identity: 'another' }, 'prepared')), 'GID_CONFLICT');
  t.is(valueOf(await bench.runner.startNew(message, 'submitted')).transaction.status, 'submitted');
  await answerAll(bench);
  t.is((await stored(bench, message.gid))?.status, 'succeed');
});

for (const verb of ['claim', 'claimDue'] as const) {
  test(`stopping waits for a ${verb} that the store is answering, and gives up what it hands over`, async (t) => {
    const before = setUp();
    const gid = await beginWith(before, ['a']);
    valueOf(await before.runner.submit(gid));
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const givenUp: Gid[] = [];
    const store = withVerbs(before.store, {
      [verb]: async (...asked: never[]) => {
        const claimed: unknown = await (
          before.store[verb].bind(before.store) as (...asked: never[]) => Promise<unknown>
        )(...asked);
        await released;
        return claimed;
      },
      renew: (gids, lease) => {
        if (lease.until === (0 as Instant)) givenUp.push(...gids);
        return before.store.renew(gids, lease);
      },
    });
    const peers = { happen: async () => undefined, onDue: () => undefined };
    const after = setUp({ store, peers }, before.time);
    if (verb === 'claimDue') after.runner.start();
    const asked = verb === 'claim' ? after.runner.retry(gid) : undefined;
    await after.pass(0);
    const stopped = after.runner.stop(5000);
    await after.pass(100);
    release();
    await after.settle(stopped);
    t.deepEqual(givenUp, [gid]);
    t.is(after.calls.length, 0);
    if (asked !== undefined) t.regex(codeOf(await asked), /^(?:ok|SHUTTING_DOWN)$/);
  });
}
