import { once } from 'node:events';
import { connect } from 'node:net';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { listenGrpc } from '../../src/grpc/server.ts';
import { openLog } from '../../src/platform/log.ts';
import { startGrpcBranch } from '../transport/calls.ts';
import { askAt, NOTHING_KNOWN, RecordingService, serve, serveRunner } from './served.ts';
import { startTestCoordinator, until } from '../coordinator/started.ts';

const steps = JSON.stringify([{ action: 'a:1/p.S/Do', compensate: 'a:1/p.S/Undo' }, { action: null }, {}]);

test('a transaction arrives as its initiator sent it', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  const answer = await server.ask('Submit', {
    Gid: 'g1',
    TransType: 'saga',
    TransOptions: {
      WaitResult: true,
      TimeoutToFail: 30,
      RetryInterval: 2,
      RequestTimeout: 5,
      RetryLimit: 3,
      BranchHeaders: { 'x-tenant': 't1' },
    },
    CustomedData: '{"concurrent":true}',
    BinPayloads: ['AP8=', ''],
    QueryPrepared: 'a:1/p.S/Check',
    Steps: steps,
    ReqExtra: { status: 'succeed' },
    RollbackReason: 'ü',
  });
  t.is(answer.code, status.OK);
  t.deepEqual(answer.message, {});
  t.deepEqual(dtm.asked[0]?.request, {
    gid: 'g1',
    transType: 'saga',
    steps: [{ action: 'a:1/p.S/Do', compensate: 'a:1/p.S/Undo' }, {}, {}],
    payloads: ['AP8=', ''],
    queryPrepared: 'a:1/p.S/Check',
    protocol: 'grpc',
    customData: '{"concurrent":true}',
    rollbackReason: 'ü',
    reqExtra: { status: 'succeed' },
    waitResult: true,
    timeoutToFail: 30,
    requestTimeout: 5,
    retryInterval: 2,
    retryLimit: 3,
    concurrent: false,
    branchHeaders: { 'x-tenant': 't1' },
  });
});

test('what is not said is undefined, empty or false', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  for (const message of [{}, { TransOptions: {} }, { TransOptions: { TimeoutToFail: -1 }, Steps: 'null' }]) {
    t.is((await server.ask('Prepare', message)).code, status.OK);
    t.like(dtm.asked.at(-1)?.request, {
      gid: '',
      steps: [],
      payloads: [],
      waitResult: false,
      timeoutToFail: undefined,
      retryLimit: undefined,
      branchHeaders: {},
      reqExtra: {},
    });
  }
});

test('every method reaches its verb', async (t) => {
  const dtm = new RecordingService();
  const counted: string[] = [];
  await using server = await serve({ dtm, runner: NOTHING_KNOWN, onDtmRequest: (api) => counted.push(api) });
  t.deepEqual((await server.ask('NewGid', {})).message, { Gid: 'gid-1' });
  const branch = { Gid: 'g', TransType: 'tcc', BranchID: '01', Op: 'x', Data: { confirm: 'c' }, BusiPayload: 'AP8=' };
  await server.ask('RegisterBranch', branch);
  await server.ask('Abort', { Gid: 'g' });
  await server.ask('Subscribe', { Topic: 't', URL: 'u', Remark: 'r' });
  await server.ask('Unsubscribe', { Topic: 't', URL: 'u' });
  await server.ask('DeleteTopic', { Topic: 't' });
  t.deepEqual(
    dtm.asked.map(({ verb }) => verb),
    ['registerBranch', 'abort', 'subscribe', 'unsubscribe', 'deleteTopic'],
  );
  t.deepEqual(dtm.asked[0]?.request, {
    gid: 'g',
    transType: 'tcc',
    branchId: '01',
    op: 'x',
    data: { confirm: 'c' },
    payload: 'AP8=',
  });
  t.deepEqual(
    dtm.asked.slice(2).map(({ request }) => request),
    [['t', 'u', 'r'], ['t', 'u'], ['t']],
  );
  t.deepEqual((await server.ask('PrepareWorkflow', { Gid: 'w' })).message, {
    Transaction: { Gid: 'w', Status: 'succeed', RollbackReason: 'why', Result: 'cmVzdWx0' },
    Progresses: [{ BranchID: '01', Op: 'action', Status: 'succeed', BinData: 'AP8=' }],
  });
  // The names that the same endpoints have over HTTP (src/http/dtm/routes.ts).
  t.deepEqual(counted, [
    'newGid',
    'registerBranch',
    'abort',
    'subscribe',
    'unsubscribe',
    'deleteTopic',
    'prepareWorkflow',
  ]);
});

test('FAILURE is ABORTED, ONGOING is FAILED_PRECONDITION, anything else UNKNOWN, a defect INTERNAL', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  for (const [kind, code] of [
    ['failure', status.ABORTED],
    ['ongoing', status.FAILED_PRECONDITION],
    ['error', status.UNKNOWN],
  ] as const) {
    dtm.reply = () => Promise.resolve({ kind, message: `the message, ü: ${kind}` });
    for (const method of ['Submit', 'Prepare', 'Abort', 'RegisterBranch', 'PrepareWorkflow', 'Subscribe']) {
      t.like(await server.ask(method, {}), { code, details: `the message, ü: ${kind}` });
    }
  }
  dtm.reply = () => Promise.reject(new Error('secret'));
  const defect = await server.ask('Submit', {});
  t.is(defect.code, status.INTERNAL);
  t.false(defect.details.includes('secret'));
});

test('a message that is too long for a status is cut between two characters', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  dtm.reply = () => Promise.resolve({ kind: 'failure', message: `${'💥'.repeat(10_000)} FAILURE` });
  const { code, details } = await server.ask('Submit', {});
  t.is(code, status.ABORTED);
  t.is(details, '💥'.repeat(500));
});

test('with a token, callers without it get UNAUTHENTICATED and reach nothing', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN }, 'sesame');
  for (const metadata of [{}, { authorization: 'Bearer other' }, { authorization: 'sesame' }]) {
    t.is((await server.ask('Submit', {}, metadata)).code, status.UNAUTHENTICATED);
  }
  t.is((await server.ask('Submit', {}, { authorization: 'Bearer sesame' })).code, status.OK);
  t.is(dtm.asked.length, 1);
});

test('who goes away ends the wait, and so does the end of the server', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  dtm.reply = () => {
    const signal = dtm.asked.at(-1)?.signal;
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () => resolve({ kind: 'ongoing', message: 'not yet ONGOING' }));
    });
  };
  const waiting = server.ask('Submit', { TransOptions: { WaitResult: true } });
  await until('the submit has arrived', () => dtm.asked.length === 1);
  server.drain();
  t.is((await waiting).code, status.FAILED_PRECONDITION);
  await server.close(1000);
  t.true(dtm.asked[0]?.signal?.aborted);
});

test('a close does not wait for connections without a call, whether their client has said anything or not', async (t) => {
  const server = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN });
  t.is((await server.ask('NewGid', {})).code, status.OK);
  const silent = connect(server.port, '127.0.0.1');
  silent.on('error', () => undefined);
  await once(silent, 'connect');
  const start = performance.now();
  await server.close(20_000);
  t.true(performance.now() - start < 10_000);
  silent.destroy();
  await server[Symbol.asyncDispose]();
});

test('a close waits for calls no longer than it is told', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  dtm.reply = () => new Promise(() => undefined);
  const waiting = server.ask('Prepare', {});
  await until('the call has arrived', () => dtm.asked.length === 1);
  const start = performance.now();
  await server.close(200);
  const tookMs = performance.now() - start;
  t.true(tookMs >= 190 && tookMs < 3000, String(tookMs));
  t.is((await waiting).code, status.CANCELLED);
  t.true(performance.now() - start < 3000, 'the connection is cut');
});

test('an address that is taken is refused in the words of the system', async (t) => {
  await using first = await serve({ dtm: new RecordingService(), runner: NOTHING_KNOWN });
  const options = { listen: { host: '127.0.0.1', port: first.port }, token: undefined };
  const services = { dtm: new RecordingService(), runner: NOTHING_KNOWN };
  const error = await t.throwsAsync(listenGrpc(options, services, openLog('test', 'silent')));
  t.like(error, { code: 'EADDRINUSE', syscall: 'listen', address: '127.0.0.1', port: first.port });
});

test('a saga runs over gRPC from its submit to its branches, and its state can be queried', async (t) => {
  await using branch = await startGrpcBranch();
  await using server = await serveRunner();
  const url = `${branch.address}/busi.Busi/TransIn`;
  const answer = await server.ask('Submit', {
    Gid: 'saga-1',
    TransType: 'saga',
    TransOptions: { WaitResult: true },
    Steps: JSON.stringify([{ action: url, compensate: url }]),
    BinPayloads: ['AP8='],
  });
  t.is(answer.code, status.OK, answer.details);
  t.deepEqual([...(branch.requests[0]?.message ?? [])], [0x00, 0xff]);
  const { message } = await server.ask('Query', { gid: 'saga-1' });
  t.like(message, { gid: 'saga-1', mode: 'saga', status: 'succeed', needs_attention: false, deadline: 0 });
  t.like(message.branches[0], { branch_id: '01', kind: 'saga', status: 'succeed', attempts: 1, last_error: '' });
  t.deepEqual(message.branches[0].operations.action, { urls: [url] });
  t.true(message.created_at > 1.7e12 && message.finished_at >= message.created_at);
});

test('of a workflow in a mesh the state tells over gRPC what it tells over HTTP', async (t) => {
  await using coordinator = await startTestCoordinator();
  using asker = askAt(new URL(coordinator.grpcUrl ?? '').host);
  const callback = { operation: 'workflow', url: 'grpc://127.0.0.1:1/a.B/C', afterMs: 60_000 };
  await coordinator.ask('POST', '/v1/transactions', { gid: 'w', callback });
  await coordinator.ask('POST', '/v1/transactions/w/steps', { run: 1, step: 'first', data: '' });
  await coordinator.ask('POST', '/v1/transactions/w/runs', {});
  const message = { kind: 'msg', resource: 'm', operations: { action: 'http://127.0.0.1:1/' }, attemptsMax: 3 };
  await coordinator.ask('POST', '/v1/transactions/w/branches', message);
  const told = (await asker.ask('Query', { gid: 'w' })).message;
  t.like(told, { mode: 'mesh', status: 'prepared', run: 2, steps: ['first'] });
  t.like(told.callback, { operation: 'workflow', url: callback.url, attempts: 0, last_error: '' });
  t.true(told.callback.next_attempt_at > told.created_at);
  t.like(told.branches[0], { kind: 'msg', attempts_max: 3 });
});

test('a saga whose branch refuses is rolled back, and its submit answers ABORTED with the reason', async (t) => {
  await using branch = await startGrpcBranch(({ metadata }) =>
    metadata.get('dtm-op')[0] === 'action' ? { code: status.ABORTED, details: 'no money' } : { code: status.OK },
  );
  await using server = await serveRunner();
  const url = `${branch.address}/busi.Busi/TransIn`;
  const { code, details } = await server.ask('Submit', {
    Gid: 'saga-2',
    TransType: 'saga',
    TransOptions: { WaitResult: true },
    Steps: JSON.stringify([{ action: url, compensate: url }]),
    BinPayloads: [''],
  });
  t.is(code, status.ABORTED, details);
  t.regex(details, /no money/);
  t.deepEqual(
    branch.requests.map(({ metadata }) => metadata.get('dtm-op')[0]),
    ['action', 'compensate'],
  );
});

test('a query waits for the end as long as it is told, and names what is wrong with a gid', async (t) => {
  await using server = await serveRunner();
  t.is((await server.ask('Prepare', { Gid: 'tcc-1', TransType: 'tcc' })).code, status.OK);
  const waiting = server.ask('Query', { gid: 'tcc-1', wait_ms: 60_000 });
  t.is((await server.ask('Query', { gid: 'tcc-1', wait_ms: 50 })).message.status, 'prepared');
  t.is((await server.ask('Submit', { Gid: 'tcc-1', TransType: 'tcc' })).code, status.OK);
  t.is((await waiting).message.status, 'succeed');
  const unknown = await server.ask('Query', { gid: 'nobody' });
  t.is(unknown.code, status.NOT_FOUND);
  t.deepEqual(unknown.metadata.get('atomesh-error-code'), ['GID_UNKNOWN']);
  t.is((await server.ask('Query', { gid: 'ü' })).code, status.INVALID_ARGUMENT);
  t.is((await server.ask('Query', { gid: 'tcc-1', wait_ms: -5 })).code, status.OK);
});
