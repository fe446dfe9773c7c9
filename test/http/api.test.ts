import test from 'ava';
import { startTestBranch, startTestCoordinator } from '../coordinator/started.ts';

const undo = (url: string, resource = 'orders/main'): object => ({
  kind: 'undo',
  resource,
  operations: { commit: `${url}/commit`, rollback: `${url}/rollback` },
});

test('begin answers 201 with the transaction, 200 for the same again, 409 for another request with that gid', async (t) => {
  await using coordinator = await startTestCoordinator();
  const request = { gid: 'g1', timeoutMs: 5000, initiator: 'test' };
  const first = await coordinator.ask('POST', '/v1/transactions', request);
  t.is(first.status, 201);
  t.like(first.body, { gid: 'g1', mode: 'mesh', status: 'prepared', initiator: 'test', needsAttention: false });
  t.is(first.body.deadline, first.body.createdAt + 5000);
  t.deepEqual(first.body.branches, []);
  const again = await coordinator.ask('POST', '/v1/transactions', request);
  t.is(again.status, 200);
  t.deepEqual(again.body, first.body);
  const other = await coordinator.ask('POST', '/v1/transactions', { ...request, timeoutMs: 6000 });
  t.is(other.status, 409);
  t.is(other.body.error.code, 'GID_CONFLICT');
  t.is(other.headers.get('atomesh-error-source'), 'coordinator');
});

test('a begin without gid and body makes a gid', async (t) => {
  await using coordinator = await startTestCoordinator();
  const { status, body } = await coordinator.ask('POST', '/v1/transactions');
  t.is(status, 201);
  t.regex(body.gid, /^[0-9a-f]{32}$/);
});

test('submit commits every branch: one POST each with the headers of the contract', async (t) => {
  await using branch = await startTestBranch();
  await using coordinator = await startTestCoordinator({ branchToken: 'for-branches' });
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  for (const [index, resource] of ['a/a', 'b/b'].entries()) {
    const enlisted = await coordinator.ask('POST', '/v1/transactions/g/branches', undo(branch.url, resource));
    t.is(enlisted.status, 200);
    t.deepEqual(enlisted.body, { gid: 'g', branchId: `0${index + 1}`, sequence: index + 1 });
  }
  const submitted = await coordinator.ask('POST', '/v1/transactions/g/submit', {});
  t.is(submitted.status, 200);
  t.is(submitted.body.deadline, undefined);
  const over = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.is(over.body.status, 'succeed');
  t.true(over.body.finishedAt >= over.body.createdAt);
  t.is(branch.requests.length, 2);
  for (const request of branch.requests) {
    t.like(request, { method: 'POST', path: '/commit', body: '{}' });
    t.like(request.headers, {
      'atomesh-gid': 'g',
      'atomesh-op': 'commit',
      'content-type': 'application/json',
      authorization: 'Bearer for-branches',
    });
  }
  t.deepEqual(new Set(branch.requests.map((request) => request.headers['atomesh-branch'])), new Set(['01', '02']));
  t.is((await coordinator.ask('POST', '/v1/transactions/g/submit', {})).status, 200, 'idempotent');
  const abort = await coordinator.ask('POST', '/v1/transactions/g/abort', {});
  t.is(abort.status, 409);
  t.is(abort.body.error.code, 'TRANSACTION_DECIDED');
});

test('abort rolls back with its reason, after which submit and enlisting are refused', async (t) => {
  await using branch = await startTestBranch();
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  await coordinator.ask('POST', '/v1/transactions/g/branches', undo(branch.url));
  const aborted = await coordinator.ask('POST', '/v1/transactions/g/abort', { reason: 'payment refused' });
  t.is(aborted.status, 200);
  t.is(aborted.body.reason, 'payment refused');
  const over = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.is(over.body.status, 'failed');
  t.deepEqual(
    branch.requests.map((request) => request.path),
    ['/rollback'],
  );
  t.is((await coordinator.ask('POST', '/v1/transactions/g/abort')).status, 200, 'idempotent, and an empty body is {}');
  const submit = await coordinator.ask('POST', '/v1/transactions/g/submit', {});
  t.is(submit.status, 409);
  t.is(submit.body.error.code, 'TRANSACTION_ROLLED_BACK');
  const enlist = await coordinator.ask('POST', '/v1/transactions/g/branches', undo(branch.url, 'late/late'));
  t.is(enlist.status, 409);
});

test('enlisting the same resource again answers the same branch and adds the URLs as alternatives', async (t) => {
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  const first = await coordinator.ask('POST', '/v1/transactions/g/branches', undo('http://127.0.0.1:1'));
  const second = await coordinator.ask('POST', '/v1/transactions/g/branches', undo('http://127.0.0.1:2'));
  t.deepEqual(second.body, first.body);
  const { body } = await coordinator.ask('GET', '/v1/transactions/g');
  t.is(body.branches.length, 1);
  t.deepEqual(
    new Set(body.branches[0].operations.commit),
    new Set(['http://127.0.0.1:1/commit', 'http://127.0.0.1:2/commit']),
  );
});

test('a dirty branch needs attention, ends the long poll, and is asked again by retry', async (t) => {
  let isDirty = true;
  await using branch = await startTestBranch(() =>
    isDirty ? { status: 409, body: '{"error":{"code":"BRANCH_DIRTY","message":"row changed"}}' } : { status: 200 },
  );
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  await coordinator.ask('POST', '/v1/transactions/g/branches', undo(branch.url));
  await coordinator.ask('POST', '/v1/transactions/g/abort', {});
  const stuck = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.like(stuck.body, { status: 'aborting', needsAttention: true });
  t.is(stuck.body.branches[0].status, 'dirty');
  t.regex(stuck.body.branches[0].lastError, /row changed/);
  isDirty = false;
  t.is((await coordinator.ask('POST', '/v1/transactions/g/retry', {})).status, 200);
  const over = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.like(over.body, { status: 'failed', needsAttention: false });
});

test('a dirty branch shows what the participant said of it, and is called once more with what an operator decides', async (t) => {
  const column = { name: 'qty', before: '1', current: null, changed: true, differs: true };
  const diagnosis = { reason: 'changed', table: 'item', rows: [{ table: 'item', columns: [column] }], rowsMore: 3 };
  const asked: unknown[] = [];
  await using branch = await startTestBranch(({ headers }) => {
    asked.push(headers['atomesh-resolution']);
    if (headers['atomesh-resolution'] !== undefined) return { status: 200 };
    return {
      status: 409,
      body: JSON.stringify({ error: { code: 'BRANCH_DIRTY', message: 'x'.repeat(5000) }, diagnosis }),
    };
  });
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  await coordinator.ask('POST', '/v1/transactions/g/branches', undo(branch.url));
  await coordinator.ask('POST', '/v1/transactions/g/abort', {});
  const stuck = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.deepEqual(stuck.body.branches[0].diagnosis, diagnosis);
  for (const wrong of [{}, { how: 'undo' }, { how: 'retry', branch: 'x' }, { how: 'retry', who: 'ann' }]) {
    t.is((await coordinator.ask('POST', '/v1/transactions/g/resolve', wrong)).status, 400);
  }
  t.is((await coordinator.ask('POST', '/v1/transactions/g/retry', { who: 'ann' })).status, 400);
  t.is((await coordinator.ask('POST', '/v1/transactions/g/retry', { by: 'bob', reason: 'again' })).status, 200);
  await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  const ask = { branch: '01', how: 'apply-before', by: 'ann' };
  t.is((await coordinator.ask('POST', '/v1/transactions/g/resolve', ask)).status, 200);
  const over = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.is(over.body.status, 'failed');
  t.like(over.body.branches[0].resolutions, [
    { how: 'retry', by: 'bob', reason: 'again', outcome: 'refused' },
    { how: 'apply-before', by: 'ann', outcome: 'done' },
  ]);
  t.deepEqual(asked, [undefined, undefined, 'apply-before']);
  const { status, body } = await coordinator.ask('POST', '/v1/transactions/g/resolve', { how: 'keep-current' });
  t.is(status, 409);
  t.is(body.error.code, 'BRANCH_NOT_DIRTY');
});

test('a transaction that cannot finish is given up once, and says by whom, why and in which status', async (t) => {
  await using branch = await startTestBranch(() => ({ status: 500 }));
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  await coordinator.ask('POST', '/v1/transactions/g/branches', undo(branch.url));
  await coordinator.ask('POST', '/v1/transactions/g/submit', {});
  for (const wrong of [{ who: 'ann' }, { by: true }, { reason: 7 }, { by: 'x'.repeat(201) }])
    t.is((await coordinator.ask('POST', '/v1/transactions/g/stop', wrong)).status, 400);
  const { status, body } = await coordinator.ask('POST', '/v1/transactions/g/stop', { by: 'ann', reason: 'gone' });
  t.is(status, 200);
  const told = {
    status: 'failed',
    stoppedFrom: 'submitted',
    stoppedBy: 'ann',
    reason: 'stopped by an operator: gone',
  };
  t.like(body, told);
  const again = await coordinator.ask('POST', '/v1/transactions/g/stop', { by: 'bob' });
  t.is(again.status, 409);
  t.is(again.body.error.code, 'TRANSACTION_DECIDED');
  t.like((await coordinator.ask('GET', '/v1/transactions/g')).body, told);
  t.is((await coordinator.ask('POST', '/v1/transactions/nobody/stop', {})).status, 404);
  await coordinator.ask('POST', '/v1/transactions', { gid: 'h' });
  const bare = await coordinator.ask('POST', '/v1/transactions/h/stop', {});
  t.like(bare.body, { stoppedFrom: 'prepared', stoppedBy: undefined, reason: 'stopped by an operator' });
});

test('the list goes page by page in the order of gid, by status when asked', async (t) => {
  await using coordinator = await startTestCoordinator();
  for (const gid of ['c', 'a', 'e', 'b', 'd']) await coordinator.ask('POST', '/v1/transactions', { gid });
  await coordinator.ask('POST', '/v1/transactions/c/submit', {});
  const gidsOf = (body: { transactions: { gid: string }[] }): string[] => body.transactions.map(({ gid }) => gid);
  const first = await coordinator.ask('GET', '/v1/transactions?limit=2');
  t.deepEqual([gidsOf(first.body), first.body.next], [['a', 'b'], 'b']);
  const last = await coordinator.ask('GET', '/v1/transactions?limit=3&after=b');
  t.deepEqual([gidsOf(last.body), last.body.next], [['c', 'd', 'e'], undefined]);
  const prepared = await coordinator.ask('GET', '/v1/transactions?status=prepared');
  t.deepEqual(gidsOf(prepared.body), ['a', 'b', 'd', 'e']);
});

test('a long poll answers the state as it is when its time has passed', async (t) => {
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  const start = performance.now();
  const { status, body } = await coordinator.ask('GET', '/v1/transactions/g?wait=200ms');
  t.is(status, 200);
  t.is(body.status, 'prepared');
  t.true(performance.now() - start >= 190);
});

test('gids with braces and colons work, encoded and plain', async (t) => {
  await using coordinator = await startTestCoordinator();
  const gid = 'a:{b}.c_d-E';
  t.is((await coordinator.ask('POST', '/v1/transactions', { gid })).status, 201);
  t.is((await coordinator.ask('GET', `/v1/transactions/${encodeURIComponent(gid)}`)).body.gid, gid);
  t.is((await coordinator.ask('GET', `/v1/transactions/${gid}`)).body.gid, gid);
});

test('an unknown gid is 404 GID_UNKNOWN for every verb', async (t) => {
  await using coordinator = await startTestCoordinator();
  const answers = await Promise.all([
    coordinator.ask('GET', '/v1/transactions/nobody'),
    coordinator.ask('GET', '/v1/transactions/nobody?wait=1s'),
    coordinator.ask('POST', '/v1/transactions/nobody/branches', undo('http://127.0.0.1:1')),
    ...['submit', 'abort', 'retry'].map((verb) => coordinator.ask('POST', `/v1/transactions/nobody/${verb}`, {})),
  ]);
  for (const { status, body } of answers) t.deepEqual([status, body.error.code], [404, 'GID_UNKNOWN']);
});
