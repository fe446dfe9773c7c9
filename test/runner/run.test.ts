import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import type { Store } from '../../src/runner/ports.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { answerAll, beginWith, branchAt, codeOf, sagaAt, setUp, stored, valueOf } from './bench.ts';

const never = new AbortController().signal;
const UNKNOWN = 'nobody' as Gid;

test('a transaction of two branches is written at begin, enlist, submit and end, and not once more', async (t) => {
  const bench = setUp();
  const gid = await beginWith(bench, ['a', 'b']);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  t.deepEqual(
    bench.calls.map(({ url }) => url),
    ['http://a/commit', 'http://b/commit'],
  );
  await answerAll(bench);
  t.deepEqual(bench.writes, ['insert', 'prepared now', 'prepared now', 'submitted now', 'succeed now']);
  t.like(await stored(bench, gid), { status: 'succeed' });
  t.deepEqual(bench.runner.load, { driven: 0, calls: 0 }, 'what is over leaves memory');
  t.deepEqual(
    bench.events.map(({ kind }) => kind),
    ['called', 'called', 'finished'],
  );
});

test('answers that come together are one write', async (t) => {
  const bench = setUp();
  const gid = await beginWith(bench, ['a', 'b', 'c']);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  for (const call of bench.calls.slice()) call.answer('success');
  await bench.pass(0);
  t.deepEqual(bench.writes.slice(4), ['submitted now', 'succeed now']);
});

test('what is enlisted while a write is under way shares the next one', async (t) => {
  const bench = setUp();
  const gid = await beginWith(bench, []);
  const answers = await Promise.all(['a', 'b', 'c', 'd'].map((each) => bench.runner.enlist(gid, branchAt(each))));
  t.deepEqual(
    answers.map((answer) => valueOf(answer).branchId),
    ['01', '02', '03', '04'] as never,
  );
  t.deepEqual(bench.writes, ['insert', 'prepared now', 'prepared now']);
});

test('rollback goes backwards, and each step is written before the next is asked', async (t) => {
  const bench = setUp();
  const gid = await beginWith(bench, ['a', 'b', 'c']);
  valueOf(await bench.runner.abort(gid, { reason: 'no stock' }));
  const asked: string[] = [];
  await bench.pass(0);
  for (let call = bench.calls[0]; call !== undefined; call = bench.calls[0]) {
    t.is(bench.calls.length, 1);
    asked.push(call.url);
    call.answer('success');
    await bench.pass(0);
  }
  t.deepEqual(asked, ['http://c/rollback', 'http://b/rollback', 'http://a/rollback']);
  t.like(await stored(bench, gid), { status: 'failed', reason: 'no stock' });
});

test('a call is never doubled while it is in flight, however long it takes and whatever else happens', async (t) => {
  const bench = setUp();
  bench.runner.start();
  const gid = await beginWith(bench, ['a']);
  valueOf(await bench.runner.submit(gid));
  for (let minute = 0; minute < 10; minute += 1) {
    await bench.pass(60_000);
    valueOf(await bench.runner.retry(gid));
    valueOf(await bench.runner.submit(gid));
  }
  t.is(bench.calls.length, 1);
  t.deepEqual(bench.writes, ['insert', 'prepared now', 'submitted now'], 'what changes nothing is not written');
  await answerAll(bench);
  t.like(await stored(bench, gid), { status: 'succeed', branches: [{ attempts: 1 }] });
});

test('a deadline is kept to the millisecond', async (t) => {
  const bench = setUp();
  const gid = await beginWith(bench, ['a'], 1234);
  const startedAt = bench.now();
  await bench.pass(1233);
  t.is(bench.calls.length, 0);
  await bench.pass(1);
  t.is(bench.calls[0]?.operation, 'rollback');
  t.is(bench.now() - startedAt, 1234);
  t.like(await stored(bench, gid), { status: 'aborting', reason: 'deadline passed' });
});

test('the same gid with the same request is the same transaction, with another request it is refused', async (t) => {
  const { runner } = setUp();
  const request = { gid: 'mine' as Gid, timeoutMs: 5000 };
  const first = valueOf(await runner.begin(request));
  t.true(first.created);
  const again = valueOf(await runner.begin({ ...request, mode: 'mesh', retryIntervalMs: 1000 }));
  t.false(again.created);
  t.deepEqual(again.transaction, first.transaction);
  t.is(codeOf(await runner.begin({ ...request, timeoutMs: 5001 })), 'GID_CONFLICT');
});

test('begin, submit and abort answer the same when they are repeated, before and after the end', async (t) => {
  const bench = setUp();
  const { runner } = bench;
  const good = await beginWith(bench, ['a']);
  const bad = await beginWith(bench, ['a']);
  for (const round of ['undecided', 'again', 'over']) {
    t.is(codeOf(await runner.submit(good)), 'ok', round);
    t.is(codeOf(await runner.abort(bad, {})), 'ok', round);
    t.is(codeOf(await runner.abort(good, {})), 'TRANSACTION_DECIDED', round);
    t.is(codeOf(await runner.submit(bad)), 'TRANSACTION_ROLLED_BACK', round);
    t.is(codeOf(await runner.enlist(good, branchAt('z'))), 'TRANSACTION_DECIDED', round);
    if (round === 'again') await answerAll(bench);
  }
  t.like(await stored(bench, good), { status: 'succeed' });
  t.like(await stored(bench, bad), { status: 'failed' });
});

test('requests that come while the last answer is being written are answered by the end', async (t) => {
  const inner = openMemoryStore();
  const gate = Promise.withResolvers<void>();
  const store = new Proxy(inner, {
    get: (target, verb: keyof Store) => {
      if (verb !== 'save') return target[verb].bind(target);
      return async (...save: Parameters<Store['save']>) => {
        if (save[0].status === 'succeed') await gate.promise;
        return inner.save(...save);
      };
    },
  });
  const bench = setUp({ store });
  const gid = await beginWith(bench, ['a']);
  valueOf(await bench.runner.submit(gid));
  await answerAll(bench);
  t.deepEqual(bench.writes.slice(2), ['submitted now', 'succeed now']);
  t.is(valueOf(await bench.runner.read(gid)).status, 'submitted', 'nobody sees the end before it is durable');
  const answers = Promise.all([bench.runner.submit(gid), bench.runner.abort(gid, {}), bench.runner.retry(gid)]);
  await bench.pass(0);
  gate.resolve();
  t.deepEqual((await bench.settle(answers)).map(codeOf), ['ok', 'TRANSACTION_DECIDED', 'ok']);
  t.is(valueOf(await bench.runner.read(gid)).status, 'succeed');
});

test('the answer of one of several branches is written behind, at the latest when the lease is tended', async (t) => {
  const bench = setUp({ leaseMs: 9000 });
  bench.runner.start();
  const gid = await beginWith(bench, ['a', 'b']);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  bench.calls[0]?.answer('success');
  await bench.pass(2000);
  t.like(await stored(bench, gid), { branches: [{ status: 'prepared' }, { status: 'prepared' }] });
  await bench.pass(1000);
  t.like(await stored(bench, gid), { branches: [{ status: 'succeed' }, { status: 'prepared' }] });
});

test('so are the answers of deliveries that come one after another: none waits for a write', async (t) => {
  const bench = setUp();
  const message: NewTransaction = { ...sagaAt(['a', 'b', 'c']), gid: 'message' as Gid, mode: 'msg' };
  valueOf(await bench.runner.startNew(message, 'submitted'));
  await answerAll(bench);
  t.deepEqual(bench.writes, ['insert', 'succeed now']);
});

test('an unknown gid is unknown to every verb', async (t) => {
  const { runner } = setUp();
  t.is(codeOf(await runner.read(UNKNOWN)), 'GID_UNKNOWN');
  t.is(codeOf(await runner.submit(UNKNOWN)), 'GID_UNKNOWN');
  t.is(codeOf(await runner.abort(UNKNOWN, {})), 'GID_UNKNOWN');
  t.is(codeOf(await runner.retry(UNKNOWN)), 'GID_UNKNOWN');
  t.is(codeOf(await runner.enlist(UNKNOWN, branchAt('a'))), 'GID_UNKNOWN');
  t.is(codeOf(await runner.waitForEnd(UNKNOWN, 1000, never)), 'GID_UNKNOWN');
});

test('one branch too many is refused; the others and their replicas are not', async (t) => {
  const bench = setUp({ limits: { branches: 2, unfinished: 10, calls: 10 } });
  const gid = await beginWith(bench, ['a', 'b']);
  t.is(codeOf(await bench.runner.enlist(gid, branchAt('c'))), 'TOO_MANY_BRANCHES');
  t.is(codeOf(await bench.runner.enlist(gid, branchAt('a', 'replica'))), 'ok');
  t.is(codeOf(await bench.runner.submit(gid)), 'ok');
  await answerAll(bench);
  t.is((await stored(bench, gid))?.status, 'succeed');
});

test('too many unfinished transactions are refused until one ends', async (t) => {
  const bench = setUp({ limits: { branches: 2, unfinished: 2, calls: 10 } });
  const first = await beginWith(bench, []);
  await beginWith(bench, []);
  const refused = await bench.runner.begin({});
  t.is(codeOf(refused), 'TOO_MANY_TRANSACTIONS');
  t.is(refused.ok ? undefined : refused.error.retry, 'safe');
  valueOf(await bench.runner.abort(first, {}));
  t.is(codeOf(await bench.runner.begin({})), 'ok');
});

test('a dirty branch leaves memory, waits for retry however long, and then ends the transaction', async (t) => {
  const bench = setUp();
  bench.runner.start();
  const gid = await beginWith(bench, ['a', 'b']);
  valueOf(await bench.runner.abort(gid, {}));
  await bench.pass(0);
  bench.calls[0]?.answer('dirty', 'row 7 was changed');
  await answerAll(bench);
  t.is(bench.runner.load.driven, 0);
  await bench.pass(3_600_000);
  t.is(bench.calls.length, 0);
  t.like(await stored(bench, gid), {
    status: 'aborting',
    branches: [{ status: 'succeed' }, { status: 'dirty', lastError: 'row 7 was changed' }],
  });
  valueOf(await bench.settle(bench.runner.retry(gid)));
  await answerAll(bench);
  t.like(await stored(bench, gid), { status: 'failed' });
});

test('one who waits is told of the end, of a dirty branch, of the time that passed, and when nobody listens any more', async (t) => {
  const bench = setUp();
  const [good, dirty, slow] = [
    await beginWith(bench, ['a']),
    await beginWith(bench, ['b']),
    await beginWith(bench, ['c']),
  ];
  const waits = [good, dirty, slow].map((gid) => bench.runner.waitForEnd(gid, 5000, never));
  const gone = new AbortController();
  const left = bench.runner.waitForEnd(slow, 50_000, gone.signal);
  valueOf(await bench.runner.submit(good));
  valueOf(await bench.runner.abort(dirty, {}));
  await bench.pass(0);
  bench.calls.find(({ gid }) => gid === dirty)?.answer('dirty');
  await answerAll(bench);
  gone.abort();
  t.like(valueOf(await bench.settle(left)), { gid: slow, status: 'prepared' });
  const startedAt = bench.now();
  const [over, attention, undecided] = waits;
  t.like(over && valueOf(await bench.settle(over)), { status: 'succeed' });
  t.like(attention && valueOf(await bench.settle(attention)), { status: 'aborting' });
  t.is(bench.now(), startedAt, 'they are told when it happens');
  t.like(undecided && valueOf(await bench.settle(undecided)), { status: 'prepared' });
  t.is(bench.now() - startedAt, 5000);
  t.is(valueOf(await bench.runner.waitForEnd(good, 5000, never)).status, 'succeed', 'what is over is answered at once');
});

test('finished transactions are deleted after the retention time', async (t) => {
  const bench = setUp({ retentionMs: 10_000 });
  bench.runner.start();
  const gid = await beginWith(bench, []);
  valueOf(await bench.runner.submit(gid));
  await bench.pass(9000);
  t.is(codeOf(await bench.runner.read(gid)), 'ok');
  await bench.pass(30_000);
  t.is(codeOf(await bench.runner.read(gid)), 'GID_UNKNOWN');
});
