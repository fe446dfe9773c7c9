import test from 'ava';
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { answerAll, codeOf, sagaAt, setUp, stored, valueOf, withVerbs, type Bench } from './bench.ts';

const SAGA = 'saga' as Gid;
const NOBODY = 'nobody' as Gid;
const WORKFLOW: NewTransaction = {
  ...sagaAt([]),
  mode: 'workflow',
  callback: { url: 'http://initiator/run', payload: 'aGk=', name: 'trip' },
};

/** What is in flight, in short words. */
function inFlight(bench: Bench): readonly string[] {
  return bench.calls.map(({ operation, branch }) => `${operation} ${branch}`);
}

test('a saga of two steps is written at its begin, before each action, and at its end', async (t) => {
  const bench = setUp();
  valueOf(await bench.runner.startNew(sagaAt(['a', 'b']), 'submitted'));
  await answerAll(bench);
  t.deepEqual(bench.writes, ['insert', 'submitted now', 'succeed now']);
  t.like(await stored(bench, SAGA), { status: 'succeed' });
});

test('submitted again, a transaction is the same one; it is asked at once where it pauses, and not while a call runs', async (t) => {
  const bench = setUp();
  const request = sagaAt(['a'], { retryIntervalMs: 60_000 });
  t.true(valueOf(await bench.runner.startNew(request, 'submitted')).created);
  t.false(valueOf(await bench.runner.startNew(request, 'submitted')).created);
  await bench.pass(0);
  t.deepEqual(inFlight(bench), ['action 01']);
  bench.calls[0]?.answer('unknown');
  await bench.pass(10);
  t.deepEqual(inFlight(bench), []);
  t.false(valueOf(await bench.runner.startNew(request, 'submitted')).created);
  await bench.pass(0);
  t.deepEqual(inFlight(bench), ['action 01']);
  await answerAll(bench);
  t.like(valueOf(await bench.runner.startNew(request, 'submitted')).transaction, { status: 'succeed' });
  t.deepEqual(inFlight(bench), [], 'what is over is not done again');
});

test('a prepared message is delivered when it is submitted, once, and not again when that comes twice', async (t) => {
  const bench = setUp();
  const steps = [{ id: '01' as BranchId, action: 'http://a/action' }];
  const message: NewTransaction = { ...sagaAt([], { steps }), mode: 'msg' };
  valueOf(await bench.runner.startNew(message, 'prepared'));
  await bench.pass(1000);
  t.deepEqual(inFlight(bench), []);
  await Promise.all([bench.runner.startNew(message, 'submitted'), bench.runner.startNew(message, 'submitted')]);
  await bench.pass(0);
  t.deepEqual(inFlight(bench), ['action 01']);
  await answerAll(bench);
  t.like(await stored(bench, SAGA), { status: 'succeed' });
});

test('compensation waits until the action that is in flight has been answered', async (t) => {
  const bench = setUp();
  valueOf(await bench.runner.startNew(sagaAt(['a'], { timeoutMs: 250 }), 'submitted'));
  await bench.pass(9000);
  t.deepEqual(inFlight(bench), ['action 01']);
  t.like(await stored(bench, SAGA), { status: 'aborting', reason: 'Timeout after 0.25 seconds' });
  bench.calls[0]?.answer('success');
  await bench.pass(0);
  t.deepEqual(inFlight(bench), ['compensate 01']);
  await answerAll(bench);
  t.like(await stored(bench, SAGA), { status: 'failed', branches: [{ action: 'succeed', compensation: 'done' }] });
});

test('an action whose save lasts beyond the deadline is not begun', async (t) => {
  const inner = openMemoryStore();
  const bench: Bench = setUp({
    store: withVerbs(inner, {
      save: async (...save) => {
        await bench.time.sleep(100);
        return inner.save(...save);
      },
    }),
  });
  valueOf(await bench.runner.startNew(sagaAt(['a', 'b'], { timeoutMs: 250 }), 'submitted'));
  await bench.pass(200);
  bench.calls[0]?.answer('success');
  const begun: string[] = [];
  for (let passed = 0; passed < 500; passed += 10) {
    await bench.pass(10);
    begun.push(...inFlight(bench));
    for (const call of bench.calls.slice()) call.answer('success');
  }
  t.deepEqual(begun, ['compensate 02', 'compensate 01'], 'the second is as good as called, for whoever recovers');
  t.like(await stored(bench, SAGA), { status: 'failed' });
});

test('an action whose turn comes after the deadline is not begun', async (t) => {
  const bench = setUp({ limits: { branches: 100, unfinished: 1000, calls: 1 } });
  valueOf(await bench.runner.startNew(sagaAt(['a'], { gid: 'slow' as Gid }), 'submitted'));
  valueOf(await bench.runner.startNew(sagaAt(['a'], { timeoutMs: 250 }), 'submitted'));
  await bench.pass(250);
  bench.calls[0]?.answer('success');
  await bench.pass(0);
  t.deepEqual(inFlight(bench), ['compensate 01']);
});

test('tries are visible: how many, what came of the last one, and when the next one comes', async (t) => {
  const bench = setUp();
  bench.runner.start();
  valueOf(await bench.runner.startNew(sagaAt(['a'], { retryIntervalMs: 200 }), 'submitted'));
  for (let tries = 1; tries <= 4; tries += 1) {
    await bench.pass(60_000);
    t.is(bench.events.length, tries - 1, 'however long a call takes it is one try');
    bench.calls[0]?.answer('unknown', `status 50${tries}`);
    await bench.pass(0);
    const answeredAt = bench.now();
    const [branch] = valueOf(await bench.runner.read(SAGA)).branches;
    t.like(branch, { attempts: tries, lastError: `status 50${tries}` });
    const pauseMs = (branch?.notBefore ?? 0) - answeredAt;
    t.true(pauseMs >= 100 * 2 ** (tries - 1) && pauseMs <= 200 * 2 ** (tries - 1), `${pauseMs} ms after try ${tries}`);
    t.like(await stored(bench, SAGA), { branches: [{ attempts: tries }] }, 'and in the store');
    const later = { limit: 10, dueAfter: answeredAt };
    t.is(valueOf(await bench.runner.list(later)).length, 1);
    await bench.pass(pauseMs - 1);
    t.is(bench.calls.length, 0);
    await bench.pass(1);
    t.is(bench.calls.length, 1, 'to the millisecond');
  }
});

test('each answer is an event that tells of the try, and the end is one', async (t) => {
  const bench = setUp();
  valueOf(await bench.runner.startNew(sagaAt(['a']), 'submitted'));
  await bench.pass(40);
  bench.calls[0]?.answer('unknown', 'status 500');
  await bench.pass(2000);
  bench.calls[0]?.answer('failure', 'no money');
  await answerAll(bench);
  const [first, second, third, end] = bench.events;
  t.like(first, {
    kind: 'called',
    operation: 'action',
    result: 'unknown',
    detail: 'status 500',
    durationMs: 40,
    branch: { attempts: 0 },
    transaction: { gid: SAGA, status: 'submitted' },
  });
  t.like(second, { kind: 'called', result: 'failure', branch: { attempts: 1 } });
  t.like(third, { kind: 'called', operation: 'compensate', transaction: { status: 'aborting' } });
  t.like(end, { kind: 'finished', transaction: { status: 'failed' } });
  t.is(bench.events.length, 4);
});

test('a workflow is called in its silence, one call at a time, with what its initiator gave it', async (t) => {
  const bench = setUp();
  bench.runner.start();
  valueOf(await bench.runner.startNew(WORKFLOW, 'prepared'));
  await bench.pass(9999);
  t.is(bench.calls.length, 0);
  await bench.pass(1);
  t.like(bench.calls[0], {
    operation: 'workflow',
    branch: '00',
    url: 'http://initiator/run',
    payload: 'aGk=',
    name: 'trip',
  });
  valueOf(await bench.runner.happen(SAGA, { kind: 'resume' }));
  const step = { branch: '01' as BranchId, operation: 'action', status: 'succeed', data: '' } as const;
  valueOf(await bench.runner.happen(SAGA, { kind: 'record', step }));
  await bench.pass(600_000);
  t.is(bench.calls.length, 1, 'however long it takes');
  valueOf(await bench.runner.happen(SAGA, { kind: 'conclude', status: 'succeed', result: 'b2s=' }));
  bench.calls[0]?.answer('success');
  await bench.pass(600_000);
  t.is(bench.calls.length, 0);
  t.like(await stored(bench, SAGA), { status: 'succeed', result: 'b2s=', progress: [step] });
});

test('what has happened to a transaction is durable when it is answered, also what changes nothing', async (t) => {
  const bench = setUp();
  valueOf(await bench.runner.startNew(WORKFLOW, 'prepared'));
  const step = { branch: '01' as BranchId, operation: 'action', status: 'succeed', data: '' } as const;
  for (let time = 0; time < 2; time += 1) {
    valueOf(await bench.runner.happen(SAGA, { kind: 'record', step }));
    t.like(await stored(bench, SAGA), { progress: [step] });
  }
  t.is(
    codeOf(await bench.runner.happen(SAGA, { kind: 'record', step: { ...step, data: 'eA==' } })),
    'TRANSACTION_DECIDED',
  );
  t.is(codeOf(await bench.runner.happen(SAGA, { kind: 'submit' })), 'BAD_REQUEST');
  t.is(codeOf(await bench.runner.happen(NOBODY, { kind: 'resume' })), 'GID_UNKNOWN');
});

test('one that an operator stops makes no further call, and the answer that still comes changes nothing', async (t) => {
  const bench = setUp();
  bench.runner.start();
  valueOf(await bench.runner.startNew(sagaAt(['a', 'b']), 'submitted'));
  await bench.pass(0);
  t.like(valueOf(await bench.runner.happen(SAGA, { kind: 'stop' })), { status: 'failed' });
  const over = await stored(bench, SAGA);
  bench.calls[0]?.answer('success');
  await bench.pass(600_000);
  t.deepEqual(inFlight(bench), []);
  t.deepEqual(await stored(bench, SAGA), over);
  t.is(codeOf(await bench.runner.happen(SAGA, { kind: 'stop' })), 'TRANSACTION_DECIDED');
  t.deepEqual(bench.runner.load, { driven: 0, calls: 0 });
});

test('more steps than a transaction may have branches are refused before anything is kept', async (t) => {
  const bench = setUp({ limits: { branches: 2, unfinished: 1000, calls: 8 } });
  t.is(codeOf(await bench.runner.startNew(sagaAt(['a', 'b', 'c']), 'submitted')), 'TOO_MANY_BRANCHES');
  t.is(codeOf(await bench.runner.read(SAGA)), 'GID_UNKNOWN');
  t.is(codeOf(await bench.runner.startNew(sagaAt(['a', 'b']), 'submitted')), 'ok');
});
