import { readFileSync } from 'node:fs';
import test from 'ava';
import { VERSION } from '../../src/contract/version.ts';
import { until } from '../coordinator/started.ts';
import { beginTcc, message, saga, startBranches, startDtm, STORES } from './dtm.ts';

const SUCCESS = '{"dtm_result":"SUCCESS"}';
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

test('query shows a transaction with DTM’s fields, numbers and times', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  await dtm.post('submit', saga('shown', branches.url, { request_timeout: 2, retry_limit: 5, retry_interval: 3 }));
  const { status, body } = await dtm.get('/api/dtmsvr/query?gid=shown');
  t.is(status, 200);
  const { transaction } = body;
  t.like(transaction, {
    id: 0,
    gid: 'shown',
    trans_type: 'saga',
    status: 'succeed',
    protocol: 'http',
    query_prepared: '',
    request_timeout: 2,
    retry_interval: 3,
    retry_limit: 5,
    concurrent: false,
    next_cron_interval: 3,
    retry_count: 0,
    steps: [
      { action: `${branches.url}/out`, compensate: `${branches.url}/out-back` },
      { action: `${branches.url}/in`, compensate: `${branches.url}/in-back` },
    ],
  });
  t.deepEqual(JSON.parse(transaction.options), {
    request_timeout: 2,
    retry_interval: 3,
    retry_limit: 5,
    concurrent: false,
  });
  for (const name of ['create_time', 'update_time', 'finish_time']) t.regex(transaction[name], RFC3339, name);
  t.is(transaction.rollback_time, undefined);
  const [first] = body.branches;
  t.like(first, {
    id: 0,
    gid: 'shown',
    url: `${branches.url}/out-back`,
    branch_id: '01',
    op: 'compensate',
    status: 'prepared',
  });
  t.is(Buffer.from(first.bin_data, 'base64').toString(), '{"amount":30}');
  t.regex(first.create_time, RFC3339);
});

test('query of an unknown gid is null and no branches, and without a gid an error', async (t) => {
  await using dtm = await startDtm();
  for (const gid of ['nobody', 'a%20b', 'x'.repeat(500)]) {
    const { status, text } = await dtm.get(`/api/dtmsvr/query?gid=${gid}`);
    t.deepEqual([status, text], [200, '{"transaction":null,"branches":[]}']);
  }
  const { status, text } = await dtm.get('/api/dtmsvr/query');
  t.deepEqual([status, text], [500, '{"message":"no gid specified"}']);
});

test('newGid, version and ping answer as DTM does', async (t) => {
  await using dtm = await startDtm();
  const gids = await Promise.all([1, 2].map(async () => (await dtm.get('/api/dtmsvr/newGid')).body));
  t.deepEqual(
    gids.map(({ dtm_result }) => dtm_result),
    ['SUCCESS', 'SUCCESS'],
  );
  t.regex(gids[0].gid, /^[0-9a-f]{32}$/);
  t.not(gids[0].gid, gids[1].gid);
  t.deepEqual((await dtm.get('/api/dtmsvr/version')).body, { version: VERSION });
  t.deepEqual((await dtm.get('/api/ping')).body, { msg: 'pong' });
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  t.is(VERSION, version);
});

for (const store of STORES) {
  test(`${store}: all lists page by page, and by status, type, gid and time`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    const before = Date.now();
    for (const gid of ['a', 'b', 'c']) await dtm.post('submit', saga(gid, branches.url));
    for (const gid of ['d', 'e']) await dtm.post('prepare', { gid, trans_type: 'tcc' });
    const all = async (query: string): Promise<{ gids: string[] | null; next: string }> => {
      const { body } = await dtm.get(`/api/dtmsvr/all?${query}`);
      return { gids: body.transactions?.map(({ gid }: { gid: string }) => gid) ?? null, next: body.next_position };
    };
    t.deepEqual(await all(''), { gids: ['a', 'b', 'c', 'd', 'e'], next: '' });
    t.deepEqual(await all('limit=2'), { gids: ['a', 'b'], next: 'b' });
    t.deepEqual(await all('limit=2&position=b'), { gids: ['c', 'd'], next: 'd' });
    t.deepEqual(await all('limit=2&position=d'), { gids: ['e'], next: '' });
    t.deepEqual(await all('status=prepared'), { gids: ['d', 'e'], next: '' });
    t.deepEqual(await all('transType=saga&limit=3'), { gids: ['a', 'b', 'c'], next: '' });
    t.deepEqual(await all('status=none'), { gids: [], next: '' });
    t.deepEqual(await all('gid=c'), { gids: ['c'], next: '' });
    t.deepEqual(await all('gid=nobody'), { gids: null, next: '' });
    t.deepEqual(await all(`createTimeStart=${before}&createTimeEnd=${Date.now()}`), {
      gids: ['a', 'b', 'c', 'd', 'e'],
      next: '',
    });
    t.deepEqual(await all(`createTimeStart=${Date.now() + 1000}`), { gids: [], next: '' });
    t.deepEqual(await all(`createTimeEnd=${before - 1000}`), { gids: [], next: '' });
    t.is((await dtm.get('/api/dtmsvr/all?limit=x')).status, 500);
  });

  test(`${store}: a message to a topic goes to whoever is subscribed, and a change counts at once`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    const topic = async (path: string): Promise<unknown> => (await dtm.get(`/api/dtmsvr/${path}`)).body.message ?? 'ok';
    const url = (name: string): string => encodeURIComponent(`${branches.url}/${name}`);
    t.is(await topic('subscribe?url=http://x'), 'empty topic');
    t.is(await topic('subscribe?topic=paid'), 'empty url');
    t.is(await topic(`unsubscribe?topic=paid&url=${url('a')}`), 'no such a topic');
    t.is(await topic(`subscribe?topic=paid&url=${url('a')}&remark=first`), 'ok');
    t.is(await topic(`subscribe?topic=paid&url=${url('a')}`), 'this url exists');
    const send = (gid: string): Promise<unknown> =>
      dtm.post('submit', message(gid, branches.url, { steps: [{ action: 'topic://paid' }], wait_result: true }));
    await send('one');
    t.is(await topic(`subscribe?topic=paid&url=${url('b')}`), 'ok');
    await send('two');
    t.deepEqual(branches.calls, ['action 01 /a', 'action 01-01 /a', 'action 01-02 /b']);
    const { kv, next_position } = (await dtm.get('/api/dtmsvr/scanKV?cat=topics')).body;
    t.is(next_position, '');
    t.like(kv[0], { id: 0, cat: 'topics', k: 'paid', version: 2 });
    t.deepEqual(JSON.parse(kv[0].v), [
      { url: `${branches.url}/a`, remark: 'first' },
      { url: `${branches.url}/b`, remark: '' },
    ]);
    t.deepEqual((await dtm.get('/api/dtmsvr/queryKV?cat=topics&key=paid')).body, { kv });
    t.deepEqual((await dtm.get('/api/dtmsvr/queryKV?cat=topics&key=none')).body, { kv: [] });
    t.is(await topic(`unsubscribe?topic=paid&url=${url('c')}`), 'no such an url ');
    for (const name of ['a', 'b']) t.is(await topic(`unsubscribe?topic=paid&url=${url(name)}`), 'ok');
    t.is(await topic(`unsubscribe?topic=paid&url=${url('a')}`), 'this topic is empty');
    t.like(await send('three'), { status: 500, body: { message: 'topic not found' } });
    t.is((await dtm.request('DELETE', '/api/dtmsvr/topic/paid')).text, SUCCESS);
    t.deepEqual((await dtm.request('DELETE', '/api/dtmsvr/topic/paid')).body, { message: 'storage: NotFound' });
    t.deepEqual((await dtm.get('/api/dtmsvr/scanKV?cat=topics')).body, { kv: [], next_position: '' });
  });
}

for (const store of STORES) {
  test(`${store}: scanKV goes page by page, and finds nothing under names that no record can have`, async (t) => {
    await using dtm = await startDtm(store);
    for (const topic of ['c', 'a', 'b']) await dtm.get(`/api/dtmsvr/subscribe?topic=${topic}&url=http://x/`);
    const scan = async (query: string): Promise<unknown> => {
      const { kv, next_position } = (await dtm.get(`/api/dtmsvr/scanKV?cat=topics&${query}`)).body;
      return [kv.map(({ k }: { k: string }) => k).join(), next_position];
    };
    t.deepEqual(await scan('limit=2'), ['a,b', 'b']);
    t.deepEqual(await scan('limit=2&position=b'), ['c', '']);
    t.deepEqual(await scan('position=%00'), ['', '']);
    t.deepEqual((await dtm.get('/api/dtmsvr/queryKV?cat=%00&key=a')).body, { kv: [] });
    const named = await dtm.get('/api/dtmsvr/subscribe?topic=a%00b&url=http://x/');
    t.deepEqual([named.status, Object.keys(named.body)], [500, ['message']]);
    t.regex(named.body.message, /^topic: expected at most 128 characters, none of them a control character$/);
  });
}

test('a prepared message to a topic is delivered though the topic is gone when it is submitted', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  await dtm.get(`/api/dtmsvr/subscribe?topic=t&url=${encodeURIComponent(`${branches.url}/a`)}`);
  const request = message('kept', branches.url, { steps: [{ action: 'topic://t' }], wait_result: true });
  await dtm.post('prepare', request);
  await dtm.request('DELETE', '/api/dtmsvr/topic/t');
  t.is((await dtm.post('submit', request)).text, SUCCESS);
  t.deepEqual(branches.calls, ['action 01 /a']);
});

test('many who subscribe at once are all subscribed', async (t) => {
  await using dtm = await startDtm('sqlite');
  const names = Array.from({ length: 10 }, (_, n) => n);
  await Promise.all(names.map((n) => dtm.get(`/api/dtmsvr/subscribe?topic=t&url=http://host-${n}/`)));
  const { kv } = (await dtm.get('/api/dtmsvr/queryKV?cat=topics&key=t')).body;
  t.is(JSON.parse(kv[0].v).length, 10);
});

test('JSON-RPC: each method, and the code of each kind of error', async (t) => {
  let answer = 409;
  await using branches = await startBranches(({ op }) => ({ status: op === 'action' ? answer : 200 }));
  await using dtm = await startDtm();
  // oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
  const rpc = async (method: string, params?: unknown): Promise<any> =>
    (await dtm.request('POST', '/api/json-rpc', JSON.stringify({ jsonrpc: '2.0', id: 'x', method, params }))).body;
  const newGid = await rpc('newGid');
  t.deepEqual(Object.keys(newGid), ['jsonrpc', 'id', 'result', 'error']);
  t.regex(newGid.result.gid, /^[0-9a-f]{32}$/);
  const done = { jsonrpc: '2.0', id: 'x', result: null, error: null };
  t.deepEqual(await rpc('prepare', { gid: 'rpc', trans_type: 'tcc' }), done);
  const branch = {
    gid: 'rpc',
    trans_type: 'tcc',
    branch_id: '01',
    confirm: `${branches.url}/c`,
    cancel: `${branches.url}/x`,
  };
  t.deepEqual(await rpc('registerBranch', branch), done);
  t.deepEqual(await rpc('abort', { gid: 'rpc', trans_type: 'tcc' }), done);
  t.is((await rpc('submit', saga('rpc-1', branches.url))).error.code, -32901);
  answer = 425;
  t.is((await rpc('submit', saga('rpc-2', branches.url))).error.code, -32902);
  t.is((await rpc('abort', { gid: 'nobody' })).error.code, -32603);
  t.is((await rpc('unknown')).error.code, -32601);
  for (const [body, code, status] of [
    ['{', -32700, 400],
    ['[{"jsonrpc":"2.0","id":"1","method":"newGid"}]', -32700, 400],
    ['{"jsonrpc":"2.0","id":{},"method":"newGid"}', -32700, 400],
    ['{"jsonrpc":"1.0","id":"1","method":"newGid"}', -32600, 200],
    ['{"jsonrpc":"2.0","id":"1"}', -32600, 200],
  ] as const) {
    const { status: found, body: reply } = await dtm.request('POST', '/api/json-rpc', body);
    t.deepEqual([found, reply.error.code], [status, code], body);
  }
});

test('transactions of the native API are shown and can be stopped through DTM’s too', async (t) => {
  await using dtm = await startDtm();
  await dtm.coordinator.ask('POST', '/v1/transactions', { gid: 'mesh' });
  const operations = { commit: 'http://127.0.0.1:1/c', rollback: 'http://127.0.0.1:1/r' };
  await dtm.coordinator.ask('POST', '/v1/transactions/mesh/branches', { kind: 'undo', resource: 'a/b', operations });
  t.deepEqual(await dtm.state('mesh'), { status: 'prepared', branches: ['rollback: prepared', 'commit: prepared'] });
  t.is((await dtm.post('forceStop', { gid: 'mesh' })).text, SUCCESS);
  t.is((await dtm.state('mesh')).status, 'failed');
});

test('resetCronTime leaves alone the initiators that have never been asked: they may be at work', async (t) => {
  await using branches = await startBranches(({ op }) => ({ status: op === 'msg' ? 425 : 200 }));
  await using dtm = await startDtm('sqlite');
  const patient = { timeout_to_fail: 3600, retry_interval: 3600 };
  await dtm.post('prepare', message('at-work', branches.url, patient));
  const flow = { gid: 'running', query_prepared: `${branches.url}/run`, custom_data: '{"name":"trip","data":""}' };
  await dtm.post('prepareWorkflow', { ...flow, ...patient });
  const reset = async (): Promise<unknown> => (await dtm.get('/api/dtmsvr/resetCronTime')).body;
  t.deepEqual(await reset(), { has_remaining: false, succeed_count: 0 });
  t.deepEqual(branches.calls, []);
  t.is((await dtm.post('resetNextCronTime', { gid: 'at-work' })).text, SUCCESS, 'who names it wants it');
  await until('it is asked', () => branches.calls.length === 1, 40_000);
  await until(
    'it waits for its next try',
    async () => (await dtm.get('/api/dtmsvr/query?gid=at-work')).body.transaction.retry_count === 1,
    40_000,
  );
  t.deepEqual(await reset(), { has_remaining: false, succeed_count: 1 });
  await until('it is asked again', () => branches.calls.length === 2, 40_000);
});

test('a TCC transaction that nobody decides is cancelled after the time that the options say', async (t) => {
  await using branches = await startBranches();
  // Long enough for both branches to be registered in time on a machine that is busy; waiting for it costs nothing.
  await using dtm = await startDtm('sqlite', { dtm: { timeoutToFail: '12s', retryInterval: '20ms' } });
  await beginTcc(dtm, 'kept', branches.url);
  await until('it is cancelled', async () => (await dtm.state('kept')).status === 'failed', 40_000);
  t.deepEqual(branches.calls, ['cancel 02 /cancel', 'cancel 01 /cancel']);
});
