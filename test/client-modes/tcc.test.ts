import test from 'ava';
import {
  branchOfRequest,
  type BranchRequest,
  CodedError,
  FailureError,
  joinTcc,
  OngoingError,
  resultOfError,
  runTcc,
  serveBranch,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import { gidOf, type Service, startService, startWorld } from './support.ts';

const fine = (request: BranchRequest) => serveBranch(request, () => undefined);
const refusing = (error: Error) => (request: BranchRequest) => serveBranch(request, () => Promise.reject(error));
const at = (service: Service, name: string) => ({
  try: `${service.url}/${name}`,
  confirm: `${service.url}/${name}`,
  cancel: `${service.url}/${name}`,
});

test('every branch is tried, then confirmed; what the work returns is the value', async (t) => {
  const bodies: unknown[] = [];
  await using service = await startService({
    '/a': (request) => serveBranch(request, ({ op }, body) => (bodies.push([op, body]), { held: 1 })),
  });
  await using world = await startWorld();
  const value = await runTcc(world.dtm, { gid: gidOf('t'), waitResult: true }, async (tcc) =>
    (await tcc.callBranch({ ...at(service, 'a'), body: { amount: 1 } })).json(),
  );
  t.deepEqual(value, { held: 1 });
  t.deepEqual(bodies, [
    ['try', { amount: 1 }],
    ['confirm', { amount: 1 }],
  ]);
  t.is(await world.statusOf('t'), 'succeed');
});

test('a gid that is decided is no failure when it is used again: nobody knows which of the two was meant', async (t) => {
  await using service = await startService({ '/a': fine });
  await using world = await startWorld();
  const run = () => runTcc(world.dtm, { gid: gidOf('t'), waitResult: true }, (tcc) => tcc.callBranch(at(service, 'a')));
  await run();
  const error = await t.throwsAsync(run(), { instanceOf: CodedError, code: 'TRANSACTION_DECIDED' });
  t.is(resultOfError(error), 'unknown');
  t.deepEqual(service.calls, ['try 01 /a', 'confirm 01 /a']);
});

test('a Try that refuses, or whose answer is not known, cancels all, also when the work goes on without it', async (t) => {
  type Reply = ReturnType<typeof serveBranch>;
  const refusals: readonly (readonly [(request: BranchRequest) => Reply, string])[] = [
    [refusing(new FailureError('none left')), 'failure'],
    [refusing(new OngoingError('later')), 'ongoing'],
    [refusing(new Error('a defect that says FAILURE')), 'unknown'],
    [() => Promise.resolve({ status: 200, headers: {}, body: 'an old service says FAILURE so' }), 'failure'],
  ];
  for (const [refuse, result] of refusals) {
    await using service = await startService({
      '/a': fine,
      '/b': (request) => (branchOfRequest(request).op === 'try' ? refuse(request) : fine(request)),
    });
    await using world = await startWorld();
    const work = runTcc(world.dtm, { gid: gidOf('t') }, async (tcc) => {
      await tcc.callBranch(at(service, 'a'));
      await tcc.callBranch(at(service, 'b')).catch(() => undefined);
    });
    const error = await t.throwsAsync(work);
    t.is(resultOfError(error), result as ReturnType<typeof resultOfError>);
    await until('all is cancelled', async () => (await world.statusOf('t')) === 'failed');
    t.deepEqual(service.calls, ['try 01 /a', 'try 02 /b', 'cancel 02 /b', 'cancel 01 /a']);
  }
});

test('a Try that nobody waited for still counts', async (t) => {
  await using service = await startService({
    '/slow': (request) =>
      serveBranch(request, ({ op }) => {
        if (op === 'try') throw new FailureError('no');
      }),
  });
  await using world = await startWorld();
  await t.throwsAsync(
    runTcc(world.dtm, { gid: gidOf('t') }, (tcc) => {
      void tcc.callBranch(at(service, 'slow'));
      return Promise.resolve();
    }),
    { instanceOf: FailureError },
  );
  await until('it is cancelled', async () => (await world.statusOf('t')) === 'failed');
});

test('a branch that is not there leaves open what it did, and is cancelled', async (t) => {
  await using service = await startService({ '/a': fine });
  await using world = await startWorld();
  const error = await t.throwsAsync(
    runTcc(world.dtm, { gid: gidOf('t') }, (tcc) =>
      tcc.callBranch({ ...at(service, 'a'), try: 'http://127.0.0.1:1/' }),
    ),
    { instanceOf: CodedError },
  );
  t.deepEqual([error?.code, error?.retry], ['UPSTREAM_UNREACHABLE', 'ask']);
  await until('it is cancelled', () => service.calls.includes('cancel 01 /a'));
});

test('a branch numbers its own branches below itself', async (t) => {
  await using world = await startWorld();
  await using leaf = await startService({ '/leaf': fine });
  await using middle = await startService({
    '/middle': (request) =>
      serveBranch(request, async (branch) => {
        if (branch.op === 'try') await joinTcc(world.dtm, branch).callBranch(at(leaf, 'leaf'));
      }),
  });
  await runTcc(world.dtm, { waitResult: true }, async (tcc) => {
    await tcc.callBranch(at(middle, 'middle'));
    await tcc.callBranch(at(leaf, 'leaf'));
  });
  t.deepEqual(
    leaf.calls.toSorted(),
    ['confirm 02 /leaf', 'confirm 0101 /leaf', 'try 02 /leaf', 'try 0101 /leaf'].toSorted(),
  );
  t.deepEqual(middle.calls, ['try 01 /middle', 'confirm 01 /middle']);
});

test('a level has at most 99 branches, and so many levels', async (t) => {
  await using service = await startService({ '/a': fine });
  await using world = await startWorld();
  const error = await t.throwsAsync(
    runTcc(world.dtm, { gid: gidOf('t') }, async (tcc) => {
      for (let count = 0; count < 100; count += 1) await tcc.callBranch(at(service, 'a'));
    }),
    { instanceOf: CodedError },
  );
  t.is(error?.code, 'TOO_MANY_BRANCHES');
  t.is(service.calls.filter((call) => call.startsWith('try')).length, 99);
  t.true(service.calls.includes('try 99 /a'));
  const deep = { gid: gidOf('t'), transType: 'tcc', branchId: '01'.repeat(10), op: 'try' } as const;
  await t.throwsAsync(joinTcc(world.dtm, deep).callBranch(at(service, 'a')), { message: /too deeply/ });
});

test('a transaction that took too long is a failure, and says so', async (t) => {
  await using service = await startService({ '/a': fine });
  await using world = await startWorld();
  const error = await t.throwsAsync(
    runTcc(world.dtm, { gid: gidOf('t'), timeoutToFailMs: 50 }, async (tcc) => {
      await tcc.callBranch(at(service, 'a'));
      await until('the coordinator rolls back', async () => (await world.statusOf('t')) === 'failed');
    }),
    { instanceOf: FailureError },
  );
  t.truthy(error?.message);
});
