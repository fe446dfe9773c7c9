import test from 'ava';
import { freePort } from '../../examples/support/free-port.ts';
import { type Answer, call } from '../../examples/support/http.ts';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { connectDtm } from '../../src/client/dtm/connect.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import { startTestBranch } from '../coordinator/started.ts';

const LOG = openLog('test', 'silent');
let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
});
test.after.always(() => server[Symbol.asyncDispose]());

interface Members extends AsyncDisposable {
  readonly grpcUrls: readonly string[];
  ask(member: number, path: string, body?: object, headers?: Readonly<Record<string, string>>): Promise<Answer>;
}

/** Coordinators in this process on one schema; `options` for each. */
async function startMembers(each: readonly object[]): Promise<Members> {
  const schema = `forward_${newId()}`;
  const members = await Promise.all(
    each.map(async (options) => {
      const parsed = coordinatorOptions.parse({
        listen: `127.0.0.1:${await freePort()}`,
        grpc: { listen: '127.0.0.1:0' },
        store: { postgres: { url: server.url('postgres'), schema } },
        // Longer than any of these tests: whatever is answered was answered by the one that holds the transaction.
        lease: '60s',
        ...options,
      });
      return startCoordinator(parsed, LOG);
    }),
  );
  const urls = members.map(({ url }) => url);
  return {
    grpcUrls: members.map(({ grpcUrl }) => grpcUrl ?? ''),
    ask: (member, path, body, headers = {}) =>
      call(body === undefined ? 'GET' : 'POST', `${urls[member] ?? ''}${path}`, {
        headers,
        timeoutMs: 15_000,
        ...(body === undefined ? {} : { body }),
      }),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(members.map((member) => member.close(500)));
    },
  };
}

test('each request for a transaction may go to another coordinator', async (t) => {
  await using branch = await startTestBranch();
  await using members = await startMembers([{}, {}, {}]);
  const operations = { commit: `${branch.url}/commit`, rollback: `${branch.url}/rollback` };
  t.is((await members.ask(0, '/v1/transactions', { gid: 'g' })).status, 201);
  t.is((await members.ask(1, '/v1/transactions', { gid: 'g' })).status, 200, 'the same begin again');
  t.is((await members.ask(1, '/v1/transactions', { gid: 'g', timeoutMs: 5 })).status, 409, 'another one');
  const first = await members.ask(1, '/v1/transactions/g/branches', { kind: 'xa', resource: 'a', operations });
  t.like(first.body, { branchId: '01', sequence: 1 });
  const second = await members.ask(2, '/v1/transactions/g/branches', { kind: 'xa', resource: 'b', operations });
  t.like(second.body, { branchId: '02', sequence: 2 });
  const waiting = members.ask(1, '/v1/transactions/g?wait=10s');
  t.like(await members.ask(2, '/v1/transactions/g/submit', {}), { status: 200 });
  t.like((await waiting).body, { status: 'succeed' });
  t.is(branch.requests.length, 2);
  const late = await members.ask(1, '/v1/transactions/g/abort', {});
  t.is(late.status, 409);
  t.like(late.body, { error: { code: 'TRANSACTION_DECIDED', retry: 'never' } });
  t.is((await members.ask(2, '/v1/transactions/nothing/submit', {})).status, 404);
});

test('each run, step and branch of a workflow may go to another coordinator, and the newest run is the newest everywhere', async (t) => {
  await using branch = await startTestBranch();
  await using members = await startMembers([{}, {}, {}]);
  const callback = { operation: 'workflow', url: branch.url, afterMs: 60_000, payload: 'cmVx' };
  t.is((await members.ask(0, '/v1/transactions', { gid: 'w', callback })).status, 201);
  const step = { run: 1, step: 'a', data: 'YQ==' };
  t.is((await members.ask(1, '/v1/transactions/w/steps', step)).status, 200);
  const runs = await Promise.all([0, 1, 2].map((member) => members.ask(member, '/v1/transactions/w/runs', {})));
  const numbers = runs.flatMap(({ status, body }) => (status === 200 ? [(body as { run: number }).run] : []));
  t.is(new Set(numbers).size, numbers.length, 'no number twice');
  const newest = Math.max(...numbers);
  const enlist = {
    kind: 'msg',
    resource: 'm',
    operations: { action: `${branch.url}/send` },
    requests: { action: { method: 'PUT', headers: { a: 'b' }, body: 'aGk=' } },
    results: { success: [[200, 200]], failure: [], ongoing: [] },
    delayMs: 1,
    attemptsMax: 5,
    retryIntervalMs: 10,
    requestTimeoutMs: 1000,
  };
  const late = await members.ask(2, '/v1/transactions/w/branches', { ...enlist, run: 1 });
  t.like(late.body, { error: { code: 'RUN_SUPERSEDED' } });
  t.is((await members.ask(1, '/v1/transactions/w/branches', { ...enlist, run: newest })).status, 200);
  t.is((await members.ask(2, '/v1/transactions/w/submit', { run: newest - 1 })).status, 409);
  t.is((await members.ask(2, '/v1/transactions/w/submit', { run: newest })).status, 200);
  t.like((await members.ask(1, '/v1/transactions/w?wait=10s')).body, { status: 'succeed' });
  t.like(branch.requests[0], { method: 'PUT', path: '/send', body: 'hi' });
  t.like((await members.ask(2, '/v1/transactions/w/steps')).body, {
    run: newest,
    steps: [{ step: 'a', data: 'YQ==' }],
  });
});

test('transactions of every mode of the DTM protocol go on at any coordinator', async (t) => {
  await using branch = await startTestBranch();
  await using members = await startMembers([{}, {}]);
  const dtm = (member: number, verb: string, body: object): Promise<Answer> =>
    members.ask(member, `/api/dtmsvr/${verb}`, body);
  const success = { status: 200, body: { dtm_result: 'SUCCESS' } };

  const tcc = { gid: 'tcc', trans_type: 'tcc' };
  t.like(await dtm(0, 'prepare', tcc), success);
  const registered = { ...tcc, branch_id: '01', confirm: `${branch.url}/confirm`, cancel: `${branch.url}/cancel` };
  t.like(await dtm(1, 'registerBranch', { ...registered, data: '{"amount":30}' }), success);
  t.like(await dtm(1, 'submit', { ...tcc, wait_result: true }), success);

  const given = { gid: 'given up', trans_type: 'tcc' };
  t.like(await dtm(0, 'prepare', { ...given, gid: 'given-up' }), success);
  t.like(await dtm(1, 'abort', { ...given, gid: 'given-up' }), success);

  const message = {
    gid: 'message',
    trans_type: 'msg',
    steps: [{ action: `${branch.url}/deliver` }],
    payloads: ['{"to":"b"}'],
    query_prepared: `${branch.url}/query`,
  };
  t.like(await dtm(1, 'prepare', message), success);
  t.like(await dtm(0, 'submit', { ...message, wait_result: true }), success);

  const workflow = {
    gid: 'workflow',
    trans_type: 'workflow',
    query_prepared: `${branch.url}/workflow`,
    custom_data: '{"name":"w","data":""}',
  };
  t.is((await dtm(0, 'prepareWorkflow', workflow)).status, 200);
  const step = { gid: 'workflow', trans_type: 'workflow', branch_id: '01', op: 'action', status: 'succeed', data: 'x' };
  t.like(await dtm(1, 'registerBranch', step), success);
  const ended = { ...workflow, req_extra: { status: 'succeed', result: 'eA==' } };
  t.like(await dtm(1, 'submit', ended), success);

  const saga = { gid: 'saga', trans_type: 'saga', steps: [{ action: `${branch.url}/out` }], payloads: ['{}'] };
  t.like(await dtm(0, 'submit', { ...saga, wait_result: true }), success);
  t.like(await dtm(1, 'submit', { ...saga, wait_result: true }), success);

  for (const [gid, status] of Object.entries({
    tcc: 'succeed',
    'given-up': 'failed',
    message: 'succeed',
    workflow: 'succeed',
    saga: 'succeed',
  })) {
    for (const member of [0, 1]) {
      const { body } = await members.ask(member, `/api/dtmsvr/query?gid=${gid}`);
      t.like(body, { transaction: { status } }, `${gid} at ${member}`);
    }
  }
  t.deepEqual(
    branch.requests.map(({ path }) => path?.split('?')[0]),
    ['/confirm', '/deliver', '/out'],
    'each branch once',
  );
  t.is(branch.requests[0]?.body, '{"amount":30}');
});

test('what began over HTTP at one coordinator goes on over gRPC at another', async (t) => {
  await using branch = await startTestBranch();
  await using members = await startMembers([{}, {}]);
  const client = connectDtm({ url: members.grpcUrls[1] ?? '' });
  const tcc = { gid: 'g' as Gid, transType: 'tcc' } as const;
  await members.ask(0, '/api/dtmsvr/prepare', { gid: 'g', trans_type: 'tcc' });
  const data = { confirm: `${branch.url}/confirm`, cancel: `${branch.url}/cancel` };
  await client.registerBranch({ ...tcc, branchId: '01', data, payload: Buffer.from('{}') });
  await client.submit({ ...tcc, options: { waitResult: true } });
  t.like((await members.ask(0, '/v1/transactions/g')).body, { status: 'succeed' });
  t.is(branch.requests.length, 1);
  const error = await t.throwsAsync(client.abort(tcc));
  t.regex(error.message, /current status 'succeed', cannot abort/);
  await client.close();
});

test('a saga that fails at one coordinator is stopped, retried and shown by another', async (t) => {
  let isUp = false;
  await using branch = await startTestBranch(() => ({ status: isUp ? 200 : 500 }));
  await using members = await startMembers([{}, {}]);
  const saga = { trans_type: 'saga', steps: [{ action: `${branch.url}/out` }], payloads: ['{}'], retry_interval: 60 };
  for (const gid of ['retried', 'stopped']) {
    const { status } = await members.ask(0, '/api/dtmsvr/submit', { ...saga, gid, wait_result: true });
    t.is(status, 425, gid);
  }
  t.is((await members.ask(1, '/api/dtmsvr/forceStop', { gid: 'stopped' })).status, 200);
  isUp = true;
  t.is((await members.ask(1, '/v1/transactions/retried/retry', {})).status, 200);
  t.like((await members.ask(1, '/v1/transactions/retried?wait=10s')).body, { status: 'succeed' });
  t.like((await members.ask(0, '/v1/transactions/stopped')).body, { status: 'failed' });
});

test('what a client may send to one coordinator, another takes from it, in the largest form', async (t) => {
  await using members = await startMembers([{ limits: { body: '16KiB' } }, { limits: { body: '16KiB' } }]);
  const tcc = { gid: 'large', trans_type: 'tcc' };
  await members.ask(0, '/api/dtmsvr/prepare', tcc);
  const branch = { ...tcc, branch_id: '01', confirm: 'http://127.0.0.1:1/', cancel: 'http://127.0.0.1:1/' };
  const { status, body } = await members.ask(1, '/api/dtmsvr/registerBranch', { ...branch, data: 'x'.repeat(16_000) });
  t.is(status, 200, JSON.stringify(body));
});

test('coordinators send each other the token that clients need, and nobody else gets in', async (t) => {
  await using members = await startMembers([{ token: 'secret' }, { token: 'secret' }]);
  const authorization = 'Bearer secret';
  t.is((await members.ask(0, '/v1/transactions', { gid: 'g' }, { authorization })).status, 201);
  t.is((await members.ask(1, '/v1/transactions/g/abort', {}, { authorization })).status, 200);
  const stranger = await members.ask(0, '/v1/peers/events', { gid: 'g', event: { kind: 'retry' } });
  t.is(stranger.status, 401);
});

for (const [what, holder] of [
  ['has another token', { token: 'other' }],
  ['cannot be reached', { cluster: { url: 'http://127.0.0.1:1' } }],
] as const) {
  test(`while the one that holds a transaction ${what}, requests are refused with the advice to try again`, async (t) => {
    await using branch = await startTestBranch(() => undefined);
    await using members = await startMembers([
      { ...holder, lease: '2s' },
      { token: 'token', lease: '2s' },
    ]);
    const own = 'token' in holder ? { authorization: `Bearer ${holder.token}` } : {};
    const theirs = { authorization: 'Bearer token' };
    const operations = { commit: branch.url, rollback: branch.url };
    await members.ask(0, '/v1/transactions', { gid: 'g' }, own);
    await members.ask(0, '/v1/transactions/g/branches', { kind: 'xa', resource: 'a', operations }, own);
    // Its call never ends, so its lease is renewed for ever.
    t.is((await members.ask(0, '/v1/transactions/g/submit', {}, own)).status, 200);
    const refused = await members.ask(1, '/v1/transactions/g/retry', {}, theirs);
    t.is(refused.status, 503);
    t.like(refused.body, { error: { code: 'STORE_FAILED', retry: 'safe' } });
    t.like((await members.ask(1, '/v1/transactions/g', undefined, theirs)).body, { status: 'submitted' });
    t.is(branch.requests.length, 1);
  });
}

test('one that only waits for a later instant is taken over from a coordinator that cannot be reached', async (t) => {
  await using members = await startMembers([{ cluster: { url: 'http://127.0.0.1:1' }, lease: '2s' }, { lease: '2s' }]);
  t.is((await members.ask(0, '/v1/transactions', { gid: 'g' })).status, 201);
  t.is((await members.ask(1, '/v1/transactions/g/abort', {})).status, 200);
  t.like((await members.ask(0, '/v1/transactions/g')).body, { status: 'failed' });
});

test('what is no event of a client is refused, and harms nothing', async (t) => {
  await using members = await startMembers([{}, {}]);
  await members.ask(0, '/v1/transactions', { gid: 'g' });
  const branch = { kind: 'xa', resource: 'a', operations: {} };
  for (const request of [
    {},
    { gid: 'g' },
    { gid: '', event: { kind: 'retry' } },
    { gid: 'g', event: { kind: 'woken' } },
    { gid: 'g', event: { kind: 'replied', branch: '01', operation: 'commit', result: 'success' } },
    { gid: 'g', event: { kind: 'enlist' } },
    { gid: 'g', event: { kind: 'enlist', branch: { ...branch, operations: { commit: 7 } } } },
    { gid: 'g', event: { kind: 'enlist', branch: { ...branch, id: 'x' } } },
    { gid: 'g', event: { kind: 'enlist', branch, more: true } },
    { gid: 'g', event: { kind: 'submit', delayMs: -1 } },
    { gid: 'g', event: { kind: 'record', step: { branch: '01', operation: 'action', status: 'maybe', data: '' } } },
  ]) {
    const { status } = await members.ask(0, '/v1/peers/events', request);
    t.is(status, 404, JSON.stringify(request));
  }
  t.like((await members.ask(0, '/v1/transactions/g')).body, { status: 'prepared', branches: [] });
});
