import test from 'ava';
import type { Gid } from '../../src/contract/transaction.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { answerAll, branchAt, codeOf, setUp, stored, valueOf, type Bench } from './bench.ts';

const REQUEST = Buffer.from('POST /trips').toString('base64');

async function workflow(bench: Bench, timeoutMs = 600_000): Promise<Gid> {
  const callback = { operation: 'workflow', url: 'http://initiator/run', afterMs: 5000, payload: REQUEST } as const;
  return valueOf(await bench.runner.begin({ timeoutMs, callback })).transaction.gid;
}

const stepOf = (run: number, step: string, data = ''): { run: number; step: string; data: string } => ({
  run,
  step,
  data,
});

test('of requests for a run that are decided together, one gets the newest run and the others hear that they are superseded', async (t) => {
  const bench = setUp();
  const gid = await workflow(bench);
  const answers = await Promise.all(Array.from({ length: 5 }, () => bench.runner.run(gid)));
  const runs = answers.flatMap((answer) => (answer.ok ? [answer.value.run] : []));
  t.true(new Set(runs).size === runs.length, 'no number twice');
  t.true(answers.every((answer) => answer.ok || answer.error.code === 'RUN_SUPERSEDED'));
  t.is(runs.at(-1), (await stored(bench, gid))?.run?.number);
});

test('what an interrupted run has recorded is given to the next one, with the request that it all began with', async (t) => {
  const bench = setUp();
  const gid = await workflow(bench);
  valueOf(await bench.runner.step(gid, stepOf(1, '1:POST http://a', 'YQ==')));
  t.deepEqual(valueOf(await bench.runner.run(gid)), {
    run: 2,
    payload: REQUEST,
    steps: [{ step: '1:POST http://a', data: 'YQ==' }],
  });
  t.is(codeOf(await bench.runner.step(gid, stepOf(1, '2:POST http://b'))), 'RUN_SUPERSEDED');
  t.is(codeOf(await bench.runner.enlist(gid, { ...branchAt('a'), run: 1 })), 'RUN_SUPERSEDED');
  t.is(codeOf(await bench.runner.submit(gid, { run: 1 })), 'RUN_SUPERSEDED');
  t.is(codeOf(await bench.runner.abort(gid, { run: 1 })), 'RUN_SUPERSEDED');
  valueOf(await bench.runner.enlist(gid, { ...branchAt('a'), run: 2 }));
  t.is(valueOf(await bench.runner.submit(gid, { run: 2 })).status, 'submitted');
});

test('a submit and a new run that come together: either the run ends it and no other begins, or the other supersedes it', async (t) => {
  for (const isRunFirst of [true, false]) {
    const bench = setUp();
    const gid = await workflow(bench);
    const begin = (): ReturnType<Bench['runner']['run']> => bench.runner.run(gid);
    const end = (): ReturnType<Bench['runner']['submit']> => bench.runner.submit(gid, { run: 1 });
    const [first, second] = isRunFirst
      ? await Promise.all([begin(), end()])
      : (await Promise.all([end(), begin()])).toReversed();
    t.deepEqual(
      [codeOf(first as never), codeOf(second as never)],
      isRunFirst ? ['ok', 'RUN_SUPERSEDED'] : ['TRANSACTION_DECIDED', 'ok'],
    );
  }
});

test('each step and each run is on disk before it is answered', async (t) => {
  const bench = setUp();
  const gid = await workflow(bench);
  valueOf(await bench.runner.step(gid, stepOf(1, 's')));
  valueOf(await bench.runner.run(gid));
  t.deepEqual(bench.writes, ['insert', 'prepared now', 'prepared now']);
});

test('the initiator of a workflow is called after silence, and every sign of life puts that off', async (t) => {
  const bench = setUp();
  const gid = await workflow(bench);
  await bench.pass(4000);
  valueOf(await bench.runner.step(gid, stepOf(1, 's')));
  await bench.pass(4900);
  t.deepEqual(bench.calls, []);
  await bench.pass(200);
  t.like(bench.calls[0], { branch: '00', operation: 'workflow', url: 'http://initiator/run' });
});

test('a coordinator that comes back finds the runs and steps, and calls the initiator of a silent one', async (t) => {
  const store = openMemoryStore();
  const first = setUp({ store });
  const gid = await workflow(first);
  valueOf(await first.runner.step(gid, stepOf(1, 's', 'YQ==')));
  await first.runner.stop(0);
  const second = setUp({ store }, first.time);
  second.runner.start();
  await second.pass(30_000);
  t.like(second.calls[0], { operation: 'workflow' });
  t.like(valueOf(await second.runner.run(gid)), { run: 2, steps: [{ step: 's' }] });
});

test('steps count like branches, and take no more room than a transaction may', async (t) => {
  const bench = setUp({ limits: { branches: 3, unfinished: 10, calls: 10 } });
  const gid = await workflow(bench);
  for (const step of ['a', 'b', 'c']) valueOf(await bench.runner.step(gid, stepOf(1, step)));
  t.is(codeOf(await bench.runner.step(gid, stepOf(1, 'd'))), 'TOO_MANY_BRANCHES');
  t.is(codeOf(await bench.runner.enlist(gid, branchAt('x'))), 'TOO_MANY_BRANCHES');
  t.is(codeOf(await bench.runner.step(gid, stepOf(1, 'a'))), 'ok', 'what is recorded stays so');

  const large = await workflow(bench);
  const half = 'A'.repeat(8 * 1024 * 1024);
  valueOf(await bench.runner.step(large, stepOf(1, 'a', half)));
  const outcome = await bench.runner.step(large, stepOf(1, 'b', half));
  t.is(codeOf(outcome), 'TOO_MANY_BRANCHES');
  t.regex(outcome.ok ? '' : outcome.error.message, /16777216 characters/);
  t.is((await stored(bench, large))?.steps?.length, 1);
});

test('a message whose initiator has committed is delivered, and one whose initiator has not is not', async (t) => {
  for (const [answer, status] of [
    ['success', 'succeed'],
    ['failure', 'failed'],
  ] as const) {
    const bench = setUp();
    const callback = { operation: 'msg', url: 'http://initiator/check', afterMs: 1000 } as const;
    const { gid } = valueOf(await bench.runner.begin({ callback })).transaction;
    const message = { kind: 'msg', resource: 'm', operations: { action: 'http://mail/send' } } as const;
    valueOf(await bench.runner.enlist(gid, message));
    await bench.pass(1000);
    t.like(bench.calls[0], { branch: '00', operation: 'msg' });
    bench.calls[0]?.answer(answer);
    await answerAll(bench);
    const asked = bench.events.flatMap((event) => (event.kind === 'called' ? [event.operation] : []));
    t.deepEqual(asked, status === 'succeed' ? ['msg', 'action'] : ['msg']);
    t.like(await stored(bench, gid), { status });
  }
});

test('a message that is given up is told of once, with how often and why, before the end is', async (t) => {
  const bench = setUp();
  const { gid } = valueOf(await bench.runner.begin({})).transaction;
  const message = { kind: 'msg', resource: 'm', operations: { action: 'http://mail/send' } } as const;
  const terms = { attemptsMax: 2, retryIntervalMs: 50, requestTimeoutMs: 77 };
  valueOf(await bench.runner.enlist(gid, { ...message, ...terms }));
  valueOf(await bench.runner.submit(gid));
  await bench.pass(0);
  t.is(bench.calls[0]?.timeoutMs, 77);
  bench.calls[0]?.answer('unknown', 'HTTP 500');
  await bench.pass(60);
  bench.calls[0]?.answer('unknown', 'HTTP 503');
  await bench.pass(0);
  t.deepEqual(
    bench.events.map(({ kind }) => kind),
    ['called', 'called', 'abandoned', 'finished'],
  );
  const [, , told] = bench.events;
  t.like(told, { branch: { id: '01', attempts: 2, lastError: 'HTTP 503' }, transaction: { status: 'succeed' } });
});

test('a call is made as its branch was enlisted with', async (t) => {
  const bench = setUp();
  const { gid } = valueOf(await bench.runner.begin({})).transaction;
  const results = { success: [[200, 299]], failure: [[404, 404]], ongoing: [] } as const;
  const requests = { cancel: { method: 'DELETE', headers: { 'x-reason': 'cancelled' } } };
  const operations = { confirm: 'http://hotel/confirm', cancel: 'http://hotel/bookings/7' };
  valueOf(await bench.runner.enlist(gid, { kind: 'tcc', resource: 'hotel', operations, requests, results }));
  valueOf(await bench.runner.abort(gid, {}));
  await bench.pass(0);
  t.like(bench.calls[0], { operation: 'cancel', request: requests.cancel, results });
  t.is(bench.calls[0]?.protocol, undefined);
});
