import test from 'ava';
import { until } from '../coordinator/started.ts';
import { beginTcc, message, saga, startBranches, startDtm, STORES } from './dtm.ts';

const SUCCESS = '{"dtm_result":"SUCCESS"}';

for (const store of STORES) {
  test(`${store}: a saga calls its actions in order with their payloads, and answers with the exact body of DTM`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    const answer = await dtm.post('submit', saga('saga-1', branches.url));
    t.deepEqual([answer.status, answer.text, answer.type], [200, SUCCESS, 'application/json; charset=utf-8']);
    t.deepEqual(branches.calls, ['action 01 /out', 'action 02 /in']);
    t.deepEqual(
      branches.requests.map(({ method, body, headers }) => [method, body, headers['content-type']]),
      [1, 2].map(() => ['POST', '{"amount":30}', 'application/json']),
    );
    t.is(branches.requests[0]?.path, '/out?branch_id=01&gid=saga-1&op=action&trans_type=saga');
    t.deepEqual(await dtm.state('saga-1'), {
      status: 'succeed',
      branches: ['compensate: prepared', 'action: succeed', 'compensate: prepared', 'action: succeed'],
    });
  });

  test(`${store}: a saga whose action fails is compensated backwards, the failed step too, and answers 409 with the reason`, async (t) => {
    await using branches = await startBranches(({ name }) =>
      name === '/in' ? { status: 409, body: '{"error":"no money"}' } : { status: 200 },
    );
    await using dtm = await startDtm(store);
    const answer = await dtm.post('submit', saga('saga-2', branches.url));
    t.is(answer.status, 409);
    t.deepEqual(answer.body, {
      dtm_result: 'FAILURE',
      message: `url:${branches.url}/in return failed: {"error":"no money"} FAILURE`,
    });
    t.deepEqual(branches.calls, [
      'action 01 /out',
      'action 02 /in',
      'compensate 02 /in-back',
      'compensate 01 /out-back',
    ]);
    t.deepEqual(await dtm.state('saga-2'), {
      status: 'failed',
      branches: ['compensate: succeed', 'action: succeed', 'compensate: succeed', 'action: failed'],
    });
  });

  test(`${store}: TCC confirms in reverse order of registration, and an abort cancels in reverse`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    await beginTcc(dtm, 'tcc-1', branches.url);
    t.deepEqual(
      (await dtm.state('tcc-1')).branches,
      [1, 2].flatMap(() => ['cancel: prepared', 'confirm: prepared']),
    );
    t.is((await dtm.post('submit', { gid: 'tcc-1', trans_type: 'tcc', wait_result: true })).text, SUCCESS);
    t.deepEqual(branches.calls, ['confirm 02 /confirm', 'confirm 01 /confirm']);
    t.deepEqual(
      (await dtm.state('tcc-1')).branches,
      [1, 2].flatMap(() => ['cancel: prepared', 'confirm: succeed']),
    );
    await beginTcc(dtm, 'tcc-2', branches.url);
    t.is(
      (await dtm.post('abort', { gid: 'tcc-2', trans_type: 'tcc', rollback_reason: 'changed my mind' })).text,
      SUCCESS,
    );
    await until('it is cancelled', async () => (await dtm.state('tcc-2')).status === 'failed');
    t.deepEqual(branches.calls.slice(2), ['cancel 02 /cancel', 'cancel 01 /cancel']);
    const { body } = await dtm.get('/api/dtmsvr/query?gid=tcc-2');
    t.is(body.transaction.rollback_reason, 'changed my mind');
  });

  test(`${store}: XA posts commit and rollback to the one URL of each branch, without a body when it has no data`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    for (const [gid, end] of [
      ['xa-1', 'submit'],
      ['xa-2', 'abort'],
    ] as const) {
      await dtm.post('prepare', { gid, trans_type: 'xa' });
      const branch = { gid, trans_type: 'xa', branch_id: '01', url: `${branches.url}/xa` };
      t.is((await dtm.post('registerXaBranch', branch)).text, SUCCESS);
      t.is((await dtm.post(end, { gid, trans_type: 'xa' })).text, SUCCESS);
    }
    await until('both have ended', () => branches.calls.length === 2);
    t.deepEqual([...branches.calls].sort(), ['commit 01 /xa', 'rollback 01 /xa']);
    t.deepEqual(new Set(branches.requests.map(({ method, body }) => `${method} ${body}`)), new Set(['POST ']));
    await until('both are over', async () => (await dtm.state('xa-2')).status === 'failed');
    t.deepEqual((await dtm.state('xa-1')).branches, ['rollback: prepared', 'commit: succeed']);
    t.deepEqual((await dtm.state('xa-2')).branches, ['rollback: succeed', 'commit: prepared']);
  });

  test(`${store}: a message is prepared, submitted, and delivered`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    t.is((await dtm.post('prepare', message('msg-1', branches.url))).text, SUCCESS);
    t.is((await dtm.post('prepare', message('msg-1', branches.url))).text, SUCCESS);
    t.is((await dtm.post('submit', message('msg-1', branches.url, { wait_result: true }))).text, SUCCESS);
    t.deepEqual(branches.calls, ['action 01 /in']);
    t.deepEqual(await dtm.state('msg-1'), { status: 'succeed', branches: ['action: succeed'] });
  });

  test(`${store}: the sender of a prepared message is asked once its time is over, and its word decides`, async (t) => {
    await using branches = await startBranches(({ name, path }) =>
      name === '/asked' && path?.includes('msg-3') ? { status: 409 } : { status: 200 },
    );
    await using dtm = await startDtm(store);
    await dtm.post('prepare', message('msg-2', branches.url, { timeout_to_fail: 0.05 }));
    await dtm.post('prepare', message('msg-3', branches.url, { timeout_to_fail: 0.05 }));
    await until('both are over', async () => {
      const states = await Promise.all(['msg-2', 'msg-3'].map((gid) => dtm.state(gid)));
      return states[0]?.status === 'succeed' && states[1]?.status === 'failed';
    });
    t.deepEqual([...branches.calls].sort(), ['action 01 /in', 'msg 00 /asked', 'msg 00 /asked']);
    t.is(branches.requests[0]?.method, 'GET');
  });

  test(`${store}: a message can be aborted while it is prepared, and then no more be submitted`, async (t) => {
    await using dtm = await startDtm(store);
    await dtm.post('prepare', message('msg-4', 'http://127.0.0.1:1'));
    t.is((await dtm.post('abort', { gid: 'msg-4', trans_type: 'msg' })).text, SUCCESS);
    const answer = await dtm.post('submit', message('msg-4', 'http://127.0.0.1:1'));
    t.deepEqual(answer.body, { dtm_result: 'FAILURE', message: "current status 'failed', cannot sumbmit. FAILURE" });
  });

  test(`${store}: a workflow keeps the steps it has recorded, gives them back, and ends with its result`, async (t) => {
    await using dtm = await startDtm(store);
    const workflow = {
      gid: 'wf-1',
      trans_type: 'workflow',
      protocol: 'http',
      query_prepared: 'http://127.0.0.1:1/callback',
      custom_data: JSON.stringify({ name: 'trip', data: Buffer.from('{"to":"Bergen"}').toString('base64') }),
    };
    const begun = await dtm.post('prepareWorkflow', workflow);
    t.is(begun.status, 200);
    t.like(begun.body.transaction, { gid: 'wf-1', status: 'prepared', trans_type: 'workflow' });
    t.deepEqual(begun.body.progresses, []);
    const step = {
      gid: 'wf-1',
      trans_type: 'workflow',
      branch_id: '01',
      op: 'action',
      status: 'succeed',
      data: 'booked ✓',
    };
    t.is((await dtm.post('registerBranch', step)).text, SUCCESS);
    const resumed = await dtm.post('prepareWorkflow', workflow);
    const bin_data = Buffer.from('booked ✓').toString('base64');
    t.deepEqual(resumed.body.progresses, [{ branch_id: '01', op: 'action', status: 'succeed', bin_data }]);
    const result = Buffer.from('done').toString('base64');
    const end = { gid: 'wf-1', trans_type: 'workflow', req_extra: { status: 'succeed', rollback_reason: '', result } };
    t.is((await dtm.post('submit', end)).text, SUCCESS);
    t.like((await dtm.post('prepareWorkflow', workflow)).body.transaction, { status: 'succeed', result });
  });

  test(`${store}: a workflow that falls silent is called back with its name and data`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    const data = Buffer.from('{"to":"Bergen"}').toString('base64');
    await dtm.post('prepareWorkflow', {
      gid: 'wf-2',
      query_prepared: `${branches.url}/callback`,
      custom_data: JSON.stringify({ name: 'trip', data }),
      retry_interval: 0.05,
    });
    await until('it is called back', () => branches.requests.length > 0);
    t.is(branches.requests[0]?.path, '/callback?branch_id=00&gid=wf-2&op=trip&trans_type=workflow');
    t.is(branches.requests[0]?.body, '{"to":"Bergen"}');
    await dtm.post('submit', {
      gid: 'wf-2',
      trans_type: 'workflow',
      req_extra: { status: 'failed', rollback_reason: 'full' },
    });
    t.is((await dtm.get('/api/dtmsvr/query?gid=wf-2')).body.transaction.rollback_reason, 'full');
  });
}

test('a concurrent saga follows its orders, forwards and backwards', async (t) => {
  await using branches = await startBranches(({ name }) => ({ status: name === '/3' ? 409 : 200 }));
  await using dtm = await startDtm();
  const steps = [0, 1, 2, 3].map((n) => ({ action: `${branches.url}/${n}`, compensate: `${branches.url}/back-${n}` }));
  const custom_data = JSON.stringify({ concurrent: true, orders: { '2': [0, 1], '3': [2] } });
  const answer = await dtm.post('submit', {
    gid: 'ordered',
    trans_type: 'saga',
    steps,
    payloads: ['a', 'b', 'c', 'd'],
    custom_data,
    concurrent: true,
    wait_result: true,
  });
  t.is(answer.status, 409);
  const names = branches.calls.map((call) => call.split(' ')[2]);
  t.deepEqual(new Set(names.slice(0, 2)), new Set(['/0', '/1']));
  t.deepEqual(names.slice(2, 6), ['/2', '/3', '/back-3', '/back-2']);
  t.deepEqual(new Set(names.slice(6)), new Set(['/back-0', '/back-1']));
});

test('a saga turns round at its own timeout, and says so as DTM does', async (t) => {
  await using branches = await startBranches(({ op }) => ({ status: op === 'action' ? 425 : 200 }));
  await using dtm = await startDtm();
  await dtm.post('submit', saga('late', branches.url, { timeout_to_fail: 1, wait_result: false }));
  await until('it has failed', async () => (await dtm.state('late')).status === 'failed');
  t.is((await dtm.get('/api/dtmsvr/query?gid=late')).body.transaction.rollback_reason, 'Timeout after 1 seconds');
});

test('a saga beyond its retry limit turns round, after pauses between the tries', async (t) => {
  await using branches = await startBranches(({ op }) => ({ status: op === 'action' ? 500 : 200 }));
  await using dtm = await startDtm();
  await dtm.post('submit', saga('limited', branches.url, { retry_limit: 2, retry_interval: 0.02, wait_result: false }));
  await until('it has failed', async () => (await dtm.state('limited')).status === 'failed');
  t.is(branches.calls.filter((call) => call.startsWith('action')).length, 3);
  t.regex(
    (await dtm.get('/api/dtmsvr/query?gid=limited')).body.transaction.rollback_reason,
    /^RetryCount is greater than RetryLimit, RetryLimit: 2/,
  );
});

test('headers for branches go along with every call', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  await dtm.post(
    'submit',
    saga('headers', branches.url, { branch_headers: { 'x-tenant': 'blue', Host: 'elsewhere' } }),
  );
  t.is(branches.requests[0]?.headers['x-tenant'], 'blue');
  t.regex(branches.requests[0]?.headers.host ?? '', /^127\.0\.0\.1/);
});

for (const isPrepared of [false, true]) {
  const how = isPrepared ? 'though only its submit speaks of a delay, as with the Go client' : 'at once submitted';
  test(`a delayed message is delivered after its delay, ${how}`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm();
    const start = performance.now();
    if (isPrepared) await dtm.post('prepare', message('delayed', branches.url));
    const delayed = message('delayed', branches.url, { custom_data: '{"delay":1.5}', wait_result: true });
    const answer = await dtm.post('submit', delayed);
    t.deepEqual([answer.status, answer.body.dtm_result], [425, 'ONGOING']);
    await until('it is delivered', () => branches.calls.length === 1);
    t.true(performance.now() - start >= 1490);
  });
}
