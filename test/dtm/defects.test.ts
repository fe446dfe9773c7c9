/** Where DTM goes wrong and we must not: each test names the defect as DTM's users meet it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { until, type BranchAnswer } from '../coordinator/started.ts';
import { beginTcc, message, saga, startBranches, startDtm, STORES, type Dtm } from './dtm.ts';

const SUCCESS = '{"dtm_result":"SUCCESS"}';

/** Begins a transaction of each mode with two branches; answers what its initiator submits. */
const MODES: Readonly<Record<string, (dtm: Dtm, gid: string, url: string) => Promise<Record<string, unknown>>>> = {
  saga: async (_, gid, url) => saga(gid, url, { wait_result: false }),
  msg: async (dtm, gid, url) => {
    const steps = [{ action: `${url}/a` }, { action: `${url}/b` }];
    const request = message(gid, url, { steps, payloads: ['1', '2'] });
    await dtm.post('prepare', request);
    return request;
  },
  tcc: async (dtm, gid, url) => {
    await beginTcc(dtm, gid, url);
    return { gid, trans_type: 'tcc' };
  },
  xa: async (dtm, gid, url) => {
    await dtm.post('prepare', { gid, trans_type: 'xa' });
    for (const branch_id of ['01', '02']) await dtm.post('registerBranch', { gid, trans_type: 'xa', branch_id, url });
    return { gid, trans_type: 'xa' };
  },
};

for (const store of STORES) {
  for (const [mode, begin] of Object.entries(MODES)) {
    test(`${store}: a second submit of ${mode} while branches are under way changes nothing: every branch is called, and once`, async (t) => {
      const open = Promise.withResolvers<void>();
      await using slow = await startGate(() => open.promise);
      await using dtm = await startDtm(store);
      const request = await begin(dtm, 'twice', slow.url);
      t.is((await dtm.post('submit', request)).text, SUCCESS);
      await until('a branch is being called', () => slow.started() > 0);
      t.is((await dtm.post('submit', request)).text, SUCCESS);
      t.is((await dtm.state('twice')).status, 'submitted', 'DTM calls it succeed here, with no branch called');
      open.resolve();
      await until('it has succeeded', async () => (await dtm.state('twice')).status === 'succeed');
      t.is(slow.answered(), 2);
      t.is((await dtm.post('submit', request)).text, SUCCESS, 'the answer of the first submit may have been lost');
      t.is((await dtm.post('submit', { ...request, wait_result: true })).text, SUCCESS);
      t.is(slow.started(), 2);
    });
  }
}

test('a second submit of a workflow answers as the first, and one with the other end is refused', async (t) => {
  await using dtm = await startDtm();
  await dtm.post('prepareWorkflow', { gid: 'wf', custom_data: '{"name":"x"}' });
  const end = (status: string): object => ({
    gid: 'wf',
    trans_type: 'workflow',
    req_extra: { status, result: 'eA==' },
  });
  t.is((await dtm.post('submit', end('succeed'))).text, SUCCESS);
  t.is((await dtm.post('submit', end('succeed'))).text, SUCCESS);
  t.is((await dtm.post('submit', end('failed'))).body.message, "current status 'succeed', cannot sumbmit. FAILURE");
});

for (const [title, answer] of [
  ['a branch says that it is not ready yet', { status: 425 }],
  ['a branch meets a transient error', { status: 503, body: 'try later' }],
] as const satisfies readonly (readonly [string, BranchAnswer])[]) {
  test(`wait_result answers 425 ONGOING, never FAILURE, while ${title}`, async (t) => {
    let isReady = false;
    await using branches = await startBranches(() => (isReady ? { status: 200 } : answer));
    await using dtm = await startDtm();
    const patient = { retry_interval: 60 };
    await beginTcc(dtm, 'tcc', branches.url);
    const requests = [
      saga('saga', branches.url, patient),
      message('msg', branches.url, { ...patient, wait_result: true }),
      { gid: 'tcc', trans_type: 'tcc', wait_result: true },
    ];
    for (const request of requests) {
      const { status, text, body } = await dtm.post('submit', request);
      t.deepEqual([status, body.dtm_result], [425, 'ONGOING'], String(request['gid']));
      t.notRegex(text, /FAILURE/);
      t.is((await dtm.state(String(request['gid']))).status, 'submitted');
    }
    isReady = true;
    t.is(
      (await dtm.post('submit', saga('saga', branches.url, patient))).text,
      SUCCESS,
      'asking again asks the branches at once',
    );
  });
}

test('a confirm, commit or delivery that answers FAILURE leaves the transaction to go on: wait_result says ONGOING', async (t) => {
  await using branches = await startBranches(() => ({ status: 409, body: '{"error":"no"}' }));
  await using dtm = await startDtm();
  await beginTcc(dtm, 'tcc', branches.url);
  for (const request of [
    { gid: 'tcc', trans_type: 'tcc', wait_result: true },
    message('msg', branches.url, { wait_result: true }),
  ]) {
    const { status, body } = await dtm.post('submit', request);
    t.deepEqual([status, body.dtm_result], [425, 'ONGOING']);
    t.is((await dtm.state(String(request['gid']))).status, 'submitted');
  }
});

test('a branch that takes longer than any interval is called once, and wait_result waits for it', async (t) => {
  await using slow = await startGate(() => new Promise((resolve) => void setTimeout(resolve, 300)));
  await using dtm = await startDtm();
  t.is((await dtm.post('submit', saga('slow', slow.url, { retry_interval: 0.01 }))).text, SUCCESS);
  t.is(slow.started(), 2);
});

test('a failure that a compensation, a confirm or a delivery answers is tried again, with its count and next time to be seen', async (t) => {
  let isFailing = true;
  await using branches = await startBranches(() => ({ status: isFailing ? 409 : 200 }));
  await using dtm = await startDtm();
  await beginTcc(dtm, 'tcc', branches.url);
  await dtm.post('submit', { gid: 'tcc', trans_type: 'tcc' });
  await until('it was tried three times', () => branches.calls.length >= 3);
  const { body } = await dtm.get('/api/dtmsvr/query?gid=tcc');
  const confirm = body.branches.findLast(({ op }: { op: string }) => op === 'confirm');
  t.true(confirm.retry_count >= 2);
  t.regex(confirm.next_cron_time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.true(body.transaction.retry_count >= 2);
  isFailing = false;
  await until('it has succeeded', async () => (await dtm.state('tcc')).status === 'succeed');
});

for (const store of STORES) {
  test(`${store}: resetNextCronTime and resetCronTime bring a waiting branch to its next try at once`, async (t) => {
    await using branches = await startBranches(() => ({ status: 425 }));
    await using dtm = await startDtm(store);
    const hour = { retry_interval: 3600 };
    await dtm.post('submit', saga('reset-1', branches.url, hour));
    await dtm.post('submit', saga('reset-2', branches.url, hour));
    await dtm.post('prepare', { gid: 'undecided', trans_type: 'tcc', timeout_to_fail: 3600 });
    t.is(branches.calls.length, 2);
    const bothWait = (): Promise<void> =>
      until('both wait for their next try', async () => {
        const found = await Promise.all(['reset-1', 'reset-2'].map((gid) => dtm.get(`/api/dtmsvr/query?gid=${gid}`)));
        return found.every(({ body }) => Date.parse(body.transaction.next_cron_time) > Date.now() + 3_000_000);
      });
    t.is((await dtm.post('resetNextCronTime', { gid: 'reset-1' })).text, SUCCESS);
    await until('the one is tried again', () => branches.calls.length === 3);
    await bothWait();
    const all = async (parameters: string): Promise<unknown> =>
      (await dtm.get(`/api/dtmsvr/resetCronTime${parameters}`)).body;
    t.deepEqual(await all('?timeout=7200'), { has_remaining: false, succeed_count: 0 });
    t.deepEqual(await all('?limit=1'), { has_remaining: true, succeed_count: 1 });
    await until('it is tried again', () => branches.calls.length === 4);
    await bothWait();
    t.deepEqual(await all(''), { has_remaining: false, succeed_count: 2 });
    await until('both are tried again', () => branches.calls.length >= 5);
    const unknown = await dtm.post('resetNextCronTime', { gid: 'nobody' });
    t.deepEqual([unknown.status, unknown.text], [500, '{"message":"no TransGlobal with gid: nobody found"}']);
  });
}

test('the same gid with another payload is refused, and with other patience or headers it is the same', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  await dtm.post('submit', saga('same', branches.url));
  const other = await dtm.post('submit', saga('same', branches.url, { payloads: ['{"amount":30}', '{"amount":31}'] }));
  t.deepEqual([other.status, other.body.dtm_result], [409, 'FAILURE']);
  t.regex(other.body.message, /begun with another request/);
  t.is(
    (await dtm.post('submit', saga('same', branches.url, { retry_interval: 5, branch_headers: { a: 'b' } }))).text,
    SUCCESS,
  );
  await dtm.post('prepare', message('same-msg', branches.url));
  for (const api of ['prepare', 'submit']) {
    t.is((await dtm.post(api, message('same-msg', branches.url, { payloads: ['x'] }))).status, 409, api);
  }
  t.is((await dtm.post('prepare', { gid: 'same-msg', trans_type: 'tcc' })).status, 409);
  t.is(branches.calls.length, 2);
});

test('orders of a concurrent saga that wait for each other in a circle are refused, and nobody is called', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  for (const [orders, step] of [
    ['{"0":[0]}', 0],
    ['{"0":[1],"1":[0]}', 0],
  ] as const) {
    const custom_data = `{"concurrent":true,"orders":${orders}}`;
    const answer = await dtm.post('submit', saga('circle', branches.url, { custom_data }));
    t.is(answer.status, 500, orders);
    t.regex(answer.body.message, new RegExp(`^orders: step ${step} waits in a circle`), orders);
  }
  t.is((await dtm.get('/api/dtmsvr/query?gid=circle')).body.transaction, null);
  t.deepEqual(branches.calls, []);
});

test('nothing is cut at 1,024 characters: custom data, reason, payload, headers, a workflow’s input and result', async (t) => {
  const long = 'x'.repeat(3000);
  await using branches = await startBranches(() => ({ status: 200 }));
  await using dtm = await startDtm('sqlite');
  const custom_data = JSON.stringify({ concurrent: false, note: long });
  await dtm.post(
    'submit',
    saga('long', branches.url, { custom_data, payloads: [long, long], branch_headers: { 'x-long': long } }),
  );
  t.is((await dtm.get('/api/dtmsvr/query?gid=long')).body.transaction.custom_data, custom_data);
  t.is(branches.requests[0]?.body, long);
  t.is(branches.requests[0]?.headers['x-long'], long);
  await dtm.post('prepare', { gid: 'long-tcc', trans_type: 'tcc' });
  await dtm.post('abort', { gid: 'long-tcc', trans_type: 'tcc', rollback_reason: long });
  t.is((await dtm.get('/api/dtmsvr/query?gid=long-tcc')).body.transaction.rollback_reason, long);
  const workflow = { gid: 'long-wf', custom_data: JSON.stringify({ name: 'w', data: btoa(long) }) };
  await dtm.post('prepareWorkflow', workflow);
  await dtm.post('submit', {
    gid: 'long-wf',
    trans_type: 'workflow',
    req_extra: { status: 'succeed', result: btoa(long) },
  });
  const { transaction } = (await dtm.post('prepareWorkflow', workflow)).body;
  t.deepEqual([transaction.result, transaction.custom_data], [btoa(long), workflow.custom_data]);
});

test('metrics have no more series after a hundred gids and unknown paths than after one', async (t) => {
  await using dtm = await startDtm();
  const series = async (): Promise<number> =>
    (await dtm.get('/api/metrics')).text.split('\n').filter((line) => line.startsWith('atomesh_')).length;
  const ask = (n: number): Promise<unknown> =>
    Promise.all([
      dtm.get(`/api/dtmsvr/query?gid=g-${n}`),
      dtm.get(`/api/dtmsvr/unknown-${n}`),
      dtm.post('submit', saga(`g-${n}`, 'http://127.0.0.1:1', { steps: [], payloads: [] })),
      dtm.post('submit', { gid: `g-${n}`, trans_type: `type-${n}` }),
      dtm.request('POST', '/api/json-rpc', `{"jsonrpc":"2.0","id":"${n}","method":"method-${n}"}`),
      dtm.request('POST', '/api/json-rpc', `{"jsonrpc":"2.0","id":"${n}","method":"newGid"}`),
    ]);
  await ask(0);
  const first = await series();
  for (let n = 1; n <= 100; n += 1) await ask(n);
  t.is(await series(), first);
  const { text } = await dtm.get('/api/metrics');
  for (const api of ['query', 'newGid']) {
    t.true(text.includes(`atomesh_dtm_requests_total{api="${api}",result="success"} 101`), api);
  }
});

test('a branch called by JSON-RPC is understood by its error code: -32901 fails, -32902 is not ready', async (t) => {
  let tries = 0;
  await using branches = await startBranches(({ body }) => {
    const { id, method } = JSON.parse(body) as { id: string; method: string };
    const code = method === 'out' && (tries += 1) === 1 ? -32902 : method === 'in' ? -32901 : undefined;
    const answer = code === undefined ? { result: {} } : { error: { code, message: 'no' } };
    return { status: 200, body: JSON.stringify({ jsonrpc: '2.0', id, ...answer }) };
  });
  await using dtm = await startDtm();
  const step = (name: string): object => ({
    action: `${branches.url}/rpc?method=${name}`,
    compensate: `${branches.url}/rpc?method=${name}-back`,
  });
  const steps = [step('out'), step('in')];
  await dtm.post('submit', saga('rpc', branches.url, { protocol: 'json-rpc', steps, wait_result: false }));
  await until('it has failed', async () => (await dtm.state('rpc')).status === 'failed');
  const methods = branches.requests.map(({ body }) => (JSON.parse(body) as { method: string }).method);
  t.deepEqual(methods, ['out', 'out', 'in', 'in-back', 'out-back']);
});

test('the words FAILURE and ONGOING stand in no reply that does not mean them, though the data holds them', async (t) => {
  await using branches = await startBranches(({ op }) => ({ status: op === 'action' ? 409 : 200, body: 'FAILURE' }));
  await using dtm = await startDtm();
  const steps = [{ action: `${branches.url}/ONGOING` }];
  const failed = await dtm.post('submit', saga('FAILURE-ONGOING', branches.url, { steps, payloads: ['1'] }));
  t.is(failed.status, 409);
  t.notRegex(failed.text, /ONGOING/, 'clients look for this word first');
  t.is(failed.body.message, `url:${branches.url}/ONGOING return failed: FAILURE FAILURE`);
  for (const path of ['query?gid=FAILURE-ONGOING', 'all']) {
    const { text, body } = await dtm.get(`/api/dtmsvr/${path}`);
    t.notRegex(text, /FAILURE|ONGOING/);
    const transaction = body.transaction ?? body.transactions[0];
    t.regex(transaction.rollback_reason, /ONGOING return failed: FAILURE$/);
    t.is(transaction.gid, 'FAILURE-ONGOING');
  }
  const unknown = await dtm.post('forceStop', { gid: 'ONGOING' });
  t.notRegex(unknown.text, /ONGOING/, 'an unknown gid is no transaction under way');
  t.is(unknown.body.message, 'no TransGlobal with gid: ONGOING found');
});

/** Branches that answer once `gate`, asked for each call, resolves. */
async function startGate(
  gate: () => Promise<void>,
): Promise<
  AsyncDisposable & { readonly url: string; readonly started: () => number; readonly answered: () => number }
> {
  let started = 0;
  let answered = 0;
  const server = createServer(async (request, response) => {
    request.resume();
    started += 1;
    await gate();
    answered += 1;
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    started: () => started,
    answered: () => answered,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
