import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import type { Outcome } from '../../src/runner/runner.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { answerAll, codeOf, sagaAt, setUp, valueOf, withVerbs, type Bench } from './bench.ts';

const never = new AbortController().signal;

/** Submits it and waits until it rests. */
function submitAndWait(
  { runner }: Bench,
  request: NewTransaction,
  waitMs = 60_000,
  signal = never,
): Promise<Outcome<GlobalTransaction>> {
  return runner.andWait(request.gid, waitMs, signal, async () => {
    const started = await runner.startNew(request, 'submitted');
    return started.ok ? { ok: true, value: started.value.transaction } : started;
  });
}

test('one who submits and waits is answered by the end, good or bad', async (t) => {
  const bench = setUp();
  const waits = (['good', 'bad'] as Gid[]).map((gid) => submitAndWait(bench, sagaAt(['a'], { gid })));
  await bench.pass(100);
  for (const call of bench.calls.slice()) call.answer(call.gid === 'good' ? 'success' : 'failure', 'no money');
  await bench.pass(0);
  bench.calls[0]?.answer('success');
  const startedAt = bench.now();
  const [good, bad] = await bench.settle(Promise.all(waits));
  t.like(good && valueOf(good), { status: 'succeed' });
  t.like(bad && valueOf(bad), { status: 'failed', reason: 'url:http://a/action return failed: no money' });
  t.is(bench.now(), startedAt);
});

test('what nobody has to ask is over with its submit, and so is the wait', async (t) => {
  const bench = setUp();
  t.like(valueOf(await bench.settle(submitAndWait(bench, sagaAt([])))), { status: 'succeed' });
  t.is(bench.calls.length, 0);
});

for (const result of ['ongoing', 'unknown', 'failure'] as const) {
  test(`a compensation that answers ${result} is a rest: the wait is answered at once with what is unfinished`, async (t) => {
    const bench = setUp();
    const wait = submitAndWait(bench, sagaAt(['a']));
    await bench.pass(5);
    bench.calls[0]?.answer('failure', 'no money');
    await bench.pass(5);
    bench.calls[0]?.answer(result);
    const startedAt = bench.now();
    t.like(valueOf(await bench.settle(wait)), { status: 'aborting', branches: [{ compensation: 'due', attempts: 1 }] });
    t.is(bench.now(), startedAt);
  });
}

test('it does not rest while another call for it is in flight, or waits for its turn', async (t) => {
  const bench = setUp({ limits: { branches: 100, unfinished: 1000, calls: 2 } });
  const wait = submitAndWait(bench, sagaAt(['a', 'b', 'c'], { order: [[], [], []] }));
  let isAnswered = false;
  void wait.then(() => (isAnswered = true));
  for (let answered = 0; answered < 3; answered += 1) {
    await bench.pass(10);
    t.false(isAnswered);
    bench.calls[0]?.answer('ongoing');
  }
  await bench.pass(0);
  t.true(isAnswered);
  t.is(valueOf(await wait).status, 'submitted');
});

test('a rest from before the request is not taken for the one that is waited for', async (t) => {
  const inner = openMemoryStore();
  const bench: Bench = setUp({
    store: withVerbs(inner, {
      // The gid is known, and finding that out takes so long that an answer comes in between.
      insert: async (...insert) => {
        const inserted = await inner.insert(...insert);
        if (inserted === 'exists') bench.calls[0]?.answer('unknown');
        return inserted;
      },
    }),
  });
  const first = submitAndWait(bench, sagaAt(['a']));
  await bench.pass(10);
  const second = submitAndWait(bench, sagaAt(['a']));
  t.is(valueOf(await bench.settle(first)).status, 'submitted', 'the first is told of the rest');
  let isAnswered = false;
  void second.then(() => (isAnswered = true));
  await bench.pass(10);
  t.false(isAnswered, 'the second has asked for another try, and waits for it');
  await answerAll(bench);
  t.is(valueOf(await second).status, 'succeed');
});

test('the wait ends with its time, and when nobody listens any more', async (t) => {
  const bench = setUp();
  const gone = new AbortController();
  const startedAt = bench.now();
  const waits = [submitAndWait(bench, sagaAt(['a']), 5000), submitAndWait(bench, sagaAt(['a']), 50_000, gone.signal)];
  await bench.pass(4999);
  gone.abort();
  t.is(valueOf(await (waits[1] ?? t.fail())).status, 'submitted');
  t.is(valueOf(await bench.settle(waits[0] ?? t.fail())).status, 'submitted');
  t.is(bench.now() - startedAt, 5000);
  t.is(bench.calls.length, 1, 'the call goes on');
});

test('what is refused is answered at once', async (t) => {
  const bench = setUp();
  valueOf(await bench.runner.startNew(sagaAt(['a']), 'submitted'));
  t.is(codeOf(await submitAndWait(bench, sagaAt(['b'], { identity: 'another' }))), 'GID_CONFLICT');
});

test('a message that is delayed rests until then, and one that is held by nobody too', async (t) => {
  const bench = setUp();
  const steps = [{ id: '01' as BranchId, action: 'http://a/action' }];
  const message: NewTransaction = { ...sagaAt([], { steps, delayMs: 3000 }), mode: 'msg' };
  t.is(valueOf(await bench.settle(submitAndWait(bench, message))).status, 'submitted');
  await bench.pass(2999);
  t.is(bench.calls.length, 0);
  await bench.pass(1);
  t.is(bench.calls[0]?.url, 'http://a/action');
});
