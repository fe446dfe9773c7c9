import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { startTestCoordinator, type TestCoordinator, until } from '../coordinator/started.ts';
import { base64, type GrpcTestBranch, startGrpcBranch } from '../transport/calls.ts';
import { askAt, type Served } from './served.ts';

interface Mesh extends AsyncDisposable {
  readonly coordinator: TestCoordinator;
  readonly ask: Served['ask'];
  /** The status of a transaction, and `id status` of its branches in their order. */
  state(gid: string): Promise<string>;
}

async function startMesh(options: Parameters<typeof startTestCoordinator>[0] = {}): Promise<Mesh> {
  const coordinator = await startTestCoordinator({ dtm: { retryInterval: '20ms' }, ...options });
  const asker = askAt(coordinator.grpcUrl?.slice('grpc://'.length) ?? '');
  return {
    coordinator,
    ask: asker.ask,
    state: async (gid) => {
      const { message } = await asker.ask('Query', { gid });
      const branches = message.branches as { readonly branch_id: string; readonly status: string }[];
      return [message.status, ...branches.map(({ branch_id, status }) => `${branch_id} ${status}`)].join(', ');
    },
    [Symbol.asyncDispose]: async () => {
      asker[Symbol.dispose]();
      await coordinator[Symbol.asyncDispose]();
    },
  };
}

/** `op branch_id payload` of each call, in order. */
function callsOf({ requests }: GrpcTestBranch): readonly string[] {
  return requests.map(({ metadata, message }) =>
    [metadata.get('dtm-op')[0], metadata.get('dtm-branch_id')[0], message.toString()].join(' '),
  );
}

/** DTM's clients name what to do in the path; this branch has one method, and tells by the operation. */
function urlOf({ address }: GrpcTestBranch): string {
  return `${address}/busi.Busi/TransIn`;
}

function sagaOf(branch: GrpcTestBranch, gid: string): object {
  const step = { action: urlOf(branch), compensate: urlOf(branch) };
  return {
    Gid: gid,
    TransType: 'saga',
    TransOptions: { WaitResult: true },
    Steps: JSON.stringify([step, step]),
    BinPayloads: [base64('out'), base64('in')],
  };
}

test('a saga calls its actions in order, each with its own payload', async (t) => {
  await using branch = await startGrpcBranch();
  await using mesh = await startMesh();
  const { code, details } = await mesh.ask('Submit', sagaOf(branch, 'saga-1'));
  t.is(code, status.OK, details);
  t.deepEqual(callsOf(branch), ['action 01 out', 'action 02 in']);
  t.is(await mesh.state('saga-1'), 'succeed, 01 succeed, 02 succeed');
  t.is((await mesh.ask('Submit', sagaOf(branch, 'saga-1'))).code, status.OK, 'the same again has the same answer');
  const other = { ...sagaOf(branch, 'saga-1'), BinPayloads: [base64('out'), base64('else')] };
  t.is((await mesh.ask('Submit', other)).code, status.ABORTED, 'another one under the same gid is refused');
  t.is(branch.requests.length, 2);
});

test('a saga whose action fails is compensated backwards, the failed step too', async (t) => {
  await using branch = await startGrpcBranch(({ metadata, message }) =>
    metadata.get('dtm-op')[0] === 'action' && message.toString() === 'in'
      ? { code: status.ABORTED, details: 'no money' }
      : { code: status.OK },
  );
  await using mesh = await startMesh();
  const { code, details } = await mesh.ask('Submit', sagaOf(branch, 'saga-2'));
  t.is(code, status.ABORTED);
  t.is(details, `url:${urlOf(branch)} return failed: no money FAILURE`);
  t.deepEqual(callsOf(branch), ['action 01 out', 'action 02 in', 'compensate 02 in', 'compensate 01 out']);
  t.is((await mesh.ask('Query', { gid: 'saga-2' })).message.status, 'failed');
});

test('a branch that is ongoing makes a waiting submit FAILED_PRECONDITION, and the saga goes on', async (t) => {
  let isReady = false;
  await using branch = await startGrpcBranch(() => ({ code: isReady ? status.OK : status.FAILED_PRECONDITION }));
  await using mesh = await startMesh();
  t.is((await mesh.ask('Submit', sagaOf(branch, 'saga-3'))).code, status.FAILED_PRECONDITION);
  isReady = true;
  const { message } = await mesh.ask('Query', { gid: 'saga-3', wait_ms: 10_000 });
  t.is(message.status, 'succeed');
});

async function beginTcc({ ask }: Mesh, branch: GrpcTestBranch, gid: string): Promise<readonly status[]> {
  const prepared = await ask('Prepare', { Gid: gid, TransType: 'tcc' });
  const registered = ['01', '02'].map((BranchID) => {
    const Data = { confirm: urlOf(branch), cancel: urlOf(branch) };
    return { Gid: gid, TransType: 'tcc', BranchID, Data, BusiPayload: base64('30') };
  });
  const answers = [prepared];
  for (const message of registered) answers.push(await ask('RegisterBranch', message));
  return answers.map(({ code }) => code);
}

test('TCC confirms in reverse order of registration, and an abort cancels in reverse', async (t) => {
  await using branch = await startGrpcBranch();
  await using mesh = await startMesh();
  t.deepEqual(await beginTcc(mesh, branch, 'tcc-1'), [status.OK, status.OK, status.OK]);
  const options = { WaitResult: true };
  t.is((await mesh.ask('Submit', { Gid: 'tcc-1', TransType: 'tcc', TransOptions: options })).code, status.OK);
  t.deepEqual(callsOf(branch), ['confirm 02 30', 'confirm 01 30']);
  t.is((await mesh.ask('Submit', { Gid: 'tcc-2', TransType: 'tcc' })).code, status.OK, 'of one without branches');
  await beginTcc(mesh, branch, 'tcc-3');
  t.is((await mesh.ask('Abort', { Gid: 'tcc-3', TransType: 'tcc', RollbackReason: 'changed' })).code, status.OK);
  const { message } = await mesh.ask('Query', { gid: 'tcc-3', wait_ms: 10_000 });
  t.like(message, { status: 'failed', reason: 'changed' });
  t.deepEqual(callsOf(branch).slice(2), ['cancel 02 30', 'cancel 01 30']);
});

test('XA commits and rolls back at the one URL of each branch', async (t) => {
  await using branch = await startGrpcBranch();
  await using mesh = await startMesh();
  for (const [gid, end] of [
    ['xa-1', 'Submit'],
    ['xa-2', 'Abort'],
  ] as const) {
    t.is((await mesh.ask('Prepare', { Gid: gid, TransType: 'xa' })).code, status.OK);
    const message = { Gid: gid, TransType: 'xa', BranchID: '01', Data: { url: urlOf(branch) } };
    t.is((await mesh.ask('RegisterBranch', message)).code, status.OK);
    t.is((await mesh.ask(end, { Gid: gid, TransType: 'xa' })).code, status.OK);
    await mesh.ask('Query', { gid, wait_ms: 10_000 });
  }
  t.deepEqual(callsOf(branch), ['commit 01 ', 'rollback 01 ']);
  t.deepEqual([await mesh.state('xa-1'), await mesh.state('xa-2')], ['succeed, 01 succeed', 'failed, 01 succeed']);
});

test('a message is delivered to the subscribers of its topic, and one never submitted is asked about', async (t) => {
  await using branch = await startGrpcBranch();
  await using mesh = await startMesh();
  const subscribed = await mesh.ask('Subscribe', { Topic: 'paid', URL: urlOf(branch), Remark: 'points' });
  t.is(subscribed.code, status.OK, subscribed.details);
  t.is((await mesh.ask('Subscribe', { Topic: 'paid', URL: urlOf(branch), Remark: '' })).code, status.UNKNOWN);
  const message = {
    TransType: 'msg',
    Steps: JSON.stringify([{ action: 'topic://paid' }]),
    BinPayloads: [base64('30')],
    QueryPrepared: urlOf(branch),
  };
  t.is((await mesh.ask('Prepare', { ...message, Gid: 'msg-1' })).code, status.OK);
  t.is(callsOf(branch).length, 0);
  const options = { WaitResult: true };
  t.is((await mesh.ask('Submit', { ...message, Gid: 'msg-1', TransOptions: options })).code, status.OK);
  t.deepEqual(callsOf(branch), ['action 01 30']);
  const forgotten = { ...message, Gid: 'msg-2', TransOptions: { TimeoutToFail: 1 } };
  t.is((await mesh.ask('Prepare', forgotten)).code, status.OK);
  t.is((await mesh.ask('Query', { gid: 'msg-2', wait_ms: 10_000 })).message.status, 'succeed');
  t.deepEqual(callsOf(branch).slice(1), ['msg 00 ', 'action 01 30']);
  t.is((await mesh.ask('DeleteTopic', { Topic: 'paid' })).code, status.OK);
});

test('a workflow whose program died is called again, gets its steps back, and ends with its result', async (t) => {
  await using branch = await startGrpcBranch();
  await using mesh = await startMesh();
  const workflow = {
    Gid: 'wf-1',
    TransType: 'workflow',
    TransOptions: { RetryInterval: 1 },
    QueryPrepared: `${branch.address}/workflow.Workflow/Execute`,
    CustomedData: JSON.stringify({ name: 'trip', data: base64('Bergen') }),
  };
  t.like((await mesh.ask('PrepareWorkflow', workflow)).message, {
    Transaction: { Status: 'prepared' },
    Progresses: [],
  });
  const step = { Gid: 'wf-1', TransType: 'workflow', BranchID: '01', Op: 'action', BusiPayload: base64('booked') };
  const Data = { op: 'action', status: 'succeed' };
  t.is((await mesh.ask('RegisterBranch', { ...step, Data })).code, status.OK);
  await until('the program is called', () => branch.requests.length > 0);
  t.is(branch.requests[0]?.path, '/workflow.Workflow/Execute');
  t.deepEqual(branch.requests[0]?.metadata.get('dtm-op'), ['trip']);
  t.true(branch.requests[0]?.message.toString().endsWith('Bergen'));
  const again = await mesh.ask('PrepareWorkflow', workflow);
  const progress = { BranchID: '01', Op: 'action', Status: 'succeed', BinData: base64('booked') };
  t.deepEqual(again.message.Progresses, [progress]);
  const ReqExtra = { status: 'succeed', result: base64('done') };
  t.is((await mesh.ask('Submit', { ...workflow, ReqExtra })).code, status.OK);
  t.like((await mesh.ask('PrepareWorkflow', workflow)).message, {
    Transaction: { Status: 'succeed', Result: base64('done') },
  });
});

test('what was begun over gRPC is seen over HTTP and counted', async (t) => {
  await using branch = await startGrpcBranch(() => ({ code: status.UNAVAILABLE }));
  await using mesh = await startMesh();
  const saga = { ...sagaOf(branch, 'saga-4'), TransOptions: {} };
  t.is((await mesh.ask('Submit', saga)).code, status.OK);
  t.is((await mesh.coordinator.ask('GET', '/v1/transactions/saga-4')).body.status, 'submitted');
  const { body } = await mesh.coordinator.ask('GET', '/metrics');
  t.regex(body as string, /atomesh_dtm_requests_total\{api="submit",result="success"\} 1/);
});

test('both listeners ask for the same token', async (t) => {
  await using mesh = await startMesh({ token: 'sesame' });
  t.is((await mesh.ask('NewGid', {})).code, status.UNAUTHENTICATED);
  t.is((await mesh.ask('NewGid', {}, { authorization: 'Bearer sesame' })).code, status.OK);
});

test('with grpc.listen: off nothing listens; an address that is taken ends the start and gives the other one back', async (t) => {
  await using quiet = await startTestCoordinator({ grpc: { listen: 'off' } });
  t.is(quiet.grpcUrl, undefined);
  await using other = await startTestCoordinator();
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  free.close();
  await once(free, 'close');
  const listen = `127.0.0.1:${port}`;
  const taken = { listen: other.grpcUrl?.slice('grpc://'.length) };
  await t.throwsAsync(startTestCoordinator({ listen, grpc: taken }), { code: 'EADDRINUSE' });
  await using third = await startTestCoordinator({ listen });
  t.is(third.port, port);
});

test('a coordinator that closes answers what waits over gRPC, and then listens no more', async (t) => {
  await using branch = await startGrpcBranch(() => undefined);
  await using mesh = await startMesh({ dtm: { requestTimeout: '60s' } });
  const waiting = mesh.ask('Submit', sagaOf(branch, 'saga-5'));
  const polling = mesh.ask('Query', { gid: 'saga-5', wait_ms: 60_000 });
  await until('the branch is called', () => branch.requests.length === 1);
  await mesh.coordinator.close(200);
  t.is((await waiting).code, status.FAILED_PRECONDITION);
  t.true([status.OK, status.NOT_FOUND].includes((await polling).code));
  t.is((await mesh.ask('NewGid', {})).code, status.UNAVAILABLE);
});
