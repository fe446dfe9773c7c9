import test from 'ava';
import { connectCoordinator } from '../../src/client/connect.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startTestBranch, startTestCoordinator, type TestCoordinator, until } from '../coordinator/started.ts';

const GID = 'g' as Gid;
const workflow = (url: string, afterMs = 60_000): object => ({
  gid: 'g',
  callback: { operation: 'workflow', url: `${url}/run`, afterMs, payload: 'cmVx' },
});
const step = (run: number, name: string, data = 'YQ=='): object => ({ run, step: name, data });

async function codesOf(
  coordinator: TestCoordinator,
  requests: readonly (readonly [path: string, body: object])[],
): Promise<readonly (readonly [number, string | undefined])[]> {
  const found: (readonly [number, string | undefined])[] = [];
  for (const [path, body] of requests) {
    const answer = await coordinator.ask('POST', `/v1/transactions/g/${path}`, body);
    found.push([answer.status, answer.body.error?.code]);
  }
  return found;
}

test('a workflow: begin is run 1, steps are recorded, a new run gets them and ends the earlier one', async (t) => {
  await using coordinator = await startTestCoordinator();
  const begun = await coordinator.ask('POST', '/v1/transactions', workflow('http://127.0.0.1:1'));
  t.is(begun.status, 201);
  t.like(begun.body, { run: 1, callback: { operation: 'workflow', url: 'http://127.0.0.1:1/run', attempts: 0 } });
  t.is(begun.body.deadline, begun.body.createdAt + 60_000);
  const recorded = await coordinator.ask('POST', '/v1/transactions/g/steps', step(1, 'a'));
  t.deepEqual([recorded.status, recorded.body], [200, {}]);
  const run = await coordinator.ask('POST', '/v1/transactions/g/runs', {});
  t.deepEqual(run.body, { run: 2, payload: 'cmVx', steps: [{ step: 'a', data: 'YQ==' }] });
  t.deepEqual(
    await codesOf(coordinator, [
      ['steps', step(1, 'b')],
      ['steps', step(3, 'b')],
      ['steps', step(2, 'a', 'Yg==')],
      ['submit', {}],
      ['submit', { run: 1 }],
      ['abort', { run: 1 }],
      ['steps', step(2, 'a')],
      ['submit', { run: 2 }],
      ['runs', {}],
      ['submit', { run: 2 }],
    ]),
    [
      [409, 'RUN_SUPERSEDED'],
      [400, 'BAD_REQUEST'],
      [409, 'TRANSACTION_DECIDED'],
      [400, 'BAD_REQUEST'],
      [409, 'RUN_SUPERSEDED'],
      [409, 'RUN_SUPERSEDED'],
      [200, undefined],
      [200, undefined],
      [409, 'TRANSACTION_DECIDED'],
      [200, undefined],
    ],
  );
  const over = await coordinator.ask('GET', '/v1/transactions/g');
  t.like(over.body, { status: 'succeed', run: 2, steps: ['a'] });
  const kept = await coordinator.ask('GET', '/v1/transactions/g/steps');
  t.deepEqual(kept.body, run.body, 'what is recorded is there when it is over');
});

test('only a workflow has runs and steps', async (t) => {
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  t.deepEqual(
    await codesOf(coordinator, [
      ['runs', {}],
      ['steps', step(1, 'a')],
      ['submit', { run: 1 }],
    ]),
    [
      [400, 'BAD_REQUEST'],
      [400, 'BAD_REQUEST'],
      [400, 'BAD_REQUEST'],
    ],
  );
  t.is((await coordinator.ask('GET', '/v1/transactions/g/steps')).status, 400);
  t.is((await coordinator.ask('GET', '/v1/transactions/nobody/steps')).status, 404);
  t.is((await coordinator.ask('GET', '/v1/transactions/g/steps?x=1')).status, 400);
});

test('runs of a workflow that began by DTM’s protocol are its own affair', async (t) => {
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/api/dtmsvr/prepareWorkflow', { gid: 'g', trans_type: 'workflow' });
  t.deepEqual(
    await codesOf(coordinator, [
      ['runs', {}],
      ['steps', step(1, 'a')],
    ]),
    [
      [400, 'BAD_REQUEST'],
      [400, 'BAD_REQUEST'],
    ],
  );
});

test('a silent workflow is called with the native headers, and the one that is called may begin a run', async (t) => {
  await using initiator = await startTestBranch();
  await using coordinator = await startTestCoordinator({ branchToken: 'sesame' });
  await coordinator.ask('POST', '/v1/transactions', workflow(initiator.url, 1));
  await until('it is called', () => initiator.requests.length > 0);
  t.like(initiator.requests[0], { method: 'POST', path: '/run', body: '{}' });
  t.like(initiator.requests[0]?.headers, {
    'atomesh-gid': 'g',
    'atomesh-branch': '00',
    'atomesh-op': 'workflow',
    authorization: 'Bearer sesame',
  });
  t.is((await coordinator.ask('POST', '/v1/transactions/g/runs', {})).body.run, 2);
});

test('a message is delivered as it was enlisted when its initiator says that it has committed', async (t) => {
  let isCommitted = false;
  await using initiator = await startTestBranch(() => ({ status: isCommitted ? 200 : 425 }));
  await using mail = await startTestBranch(() => ({ status: 302 }));
  await using coordinator = await startTestCoordinator({ branchToken: 'sesame' });
  const callback = { operation: 'msg', url: `${initiator.url}/check`, afterMs: 50 };
  t.is((await coordinator.ask('POST', '/v1/transactions', { gid: 'g', callback, retryIntervalMs: 20 })).status, 201);
  const enlisted = await coordinator.ask('POST', '/v1/transactions/g/branches', {
    kind: 'msg',
    resource: 'mail 1',
    operations: { action: `${mail.url}/send?x=1` },
    requests: {
      action: { method: 'PUT', headers: { 'content-type': 'text/plain', 'x-a': 'b' }, body: 'aGVsbG8=' },
    },
    results: { success: [[302, 302]], failure: [], ongoing: [] },
  });
  t.is(enlisted.status, 200);
  isCommitted = true;
  const over = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.like(over.body, { status: 'succeed', callback: { operation: 'msg' } });
  t.is(over.body.deadline, undefined);
  t.like(mail.requests[0], { method: 'PUT', path: '/send?x=1', body: 'hello' });
  t.like(mail.requests[0]?.headers, { 'content-type': 'text/plain', 'x-a': 'b', 'atomesh-op': 'action' });
  t.is(mail.requests[0]?.headers.authorization, undefined, 'the token is for sidecars, not for applications');
});

test('a message that is given up is seen in the transaction, in the metrics and by the alert hook', async (t) => {
  await using mail = await startTestBranch(() => ({ status: 500 }));
  await using hook = await startTestBranch();
  await using coordinator = await startTestCoordinator({ webhooks: { alert: { url: hook.url, after: 100 } } });
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  await coordinator.ask('POST', '/v1/transactions/g/branches', {
    kind: 'msg',
    resource: 'mail',
    operations: { action: mail.url },
    attemptsMax: 2,
    retryIntervalMs: 10,
  });
  await coordinator.ask('POST', '/v1/transactions/g/submit', {});
  const over = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.like(over.body, { status: 'succeed', branches: [{ status: 'abandoned', attempts: 2, attemptsMax: 2 }] });
  t.is(mail.requests.length, 2);
  await until('an alert', () => hook.requests.length > 0);
  const { error, ...alert } = JSON.parse(hook.requests[0]?.body ?? '{}');
  t.regex(error, /HTTP 500/);
  t.deepEqual(alert, { gid: 'g', status: 'succeed', branch: '01', op: 'action', retry_count: 2, abandoned: true });
  t.regex((await coordinator.ask('GET', '/metrics')).body, /^atomesh_messages_abandoned_total 1$/m);
});

test('the client has the same verbs', async (t) => {
  await using coordinator = await startTestCoordinator();
  const client = connectCoordinator({ url: coordinator.url, timeoutMs: 5000 });
  const callback = { operation: 'workflow', url: 'http://127.0.0.1:1/', afterMs: 60_000, payload: 'cmVx' } as const;
  await client.begin({ gid: GID, callback });
  t.is(await client.step(GID, { run: 1, step: 'a', data: '' }), undefined);
  const run = await client.runs(GID);
  t.deepEqual(run, { run: 2, payload: 'cmVx', steps: [{ step: 'a', data: '' }] });
  t.deepEqual(await client.steps(GID), run);
  t.is(await client.steps('nobody' as Gid), undefined);
  const error = await t.throwsAsync(client.step(GID, { run: 1, step: 'b', data: '' }), { instanceOf: CodedError });
  t.like(error, { code: 'RUN_SUPERSEDED', retry: 'never' });
  t.like(await client.submit(GID, { run: 2 }), { status: 'succeed' });
  await client.close();
});

test('what carries bodies of others may be as large as two of them in base64, and anything else as large as one', async (t) => {
  await using coordinator = await startTestCoordinator({ limits: { body: '64KiB' } });
  const body = Buffer.alloc(65_536, 'x').toString('base64');
  await coordinator.ask('POST', '/v1/transactions', workflow('http://127.0.0.1:1'));
  t.is((await coordinator.ask('POST', '/v1/transactions/g/steps', step(1, 'a', body))).status, 200);
  const branch = {
    kind: 'tcc',
    resource: 'hotel',
    operations: { confirm: 'http://127.0.0.1:1/', cancel: 'http://127.0.0.1:1/' },
    requests: { confirm: { body }, cancel: { body } },
  };
  t.is((await coordinator.ask('POST', '/v1/transactions/g/branches', branch)).status, 200);
  const larger = await coordinator.ask('POST', '/v1/transactions/g/steps', step(1, 'b', body.repeat(6)));
  t.deepEqual([larger.status, larger.body.error.code], [413, 'BODY_TOO_LARGE']);
  const reason = { reason: 'x'.repeat(70_000) };
  t.is((await coordinator.ask('POST', '/v1/transactions/g/abort', reason)).status, 413);
});
