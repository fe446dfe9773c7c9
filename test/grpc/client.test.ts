import { createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import fc from 'fast-check';
import { CodedError } from '../../src/contract/errors.ts';
import type { DtmTransaction } from '../../src/dtm/service.ts';
import { connectDtmGrpc, type DtmGrpcClient, type DtmGrpcOptions } from '../../src/grpc/client.ts';
import { messageOf, transactionOf } from '../../src/grpc/dtm-messages.ts';
import { NOTHING_KNOWN, RecordingService, serve, serveRunner } from './served.ts';

function connect(url: string, options: Partial<DtmGrpcOptions> = {}): DtmGrpcClient & Disposable {
  const client = connectDtmGrpc(url, { timeoutMs: 3000, ...options });
  return { ...client, [Symbol.dispose]: () => client.close() };
}

const SAGA: DtmTransaction = {
  gid: 'g1',
  transType: 'saga',
  steps: [{ action: 'a:1/p.S/Do', compensate: 'a:1/p.S/Undo' }],
  payloads: ['AP8='],
  queryPrepared: '',
  protocol: 'grpc',
  customData: '',
  rollbackReason: '',
  reqExtra: {},
  waitResult: true,
  timeoutToFail: 30,
  requestTimeout: undefined,
  retryInterval: undefined,
  retryLimit: undefined,
  concurrent: false,
  branchHeaders: { a: 'b' },
};

test('each call arrives as it was made, and its answer comes back', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN }, 'sesame');
  using client = connect(`grpc://${server.address}`, { token: 'sesame' });
  const branch = { gid: 'g1', transType: 'tcc', branchId: '01', op: '', data: { confirm: 'c' }, payload: 'AP8=' };
  const success = { kind: 'success', value: undefined } as const;
  t.is(await client.newGid(), 'gid-1');
  t.deepEqual(await client.prepare(SAGA), success);
  t.deepEqual(await client.submit(SAGA), success);
  t.deepEqual(await client.abort(SAGA), success);
  t.deepEqual(await client.registerBranch(branch), success);
  t.deepEqual(
    dtm.asked.map(({ verb, request }) => [verb, request]),
    [
      ['prepare', SAGA],
      ['submit', SAGA],
      ['abort', SAGA],
      ['registerBranch', branch],
    ],
  );
  t.deepEqual(await client.prepareWorkflow({ ...SAGA, gid: 'w' }), {
    kind: 'success',
    value: {
      status: 'succeed',
      rollbackReason: 'why',
      result: 'cmVzdWx0',
      transaction: { gid: 'w', status: 'succeed', rollback_reason: 'why', result: 'cmVzdWx0' },
      progresses: [{ branchId: '01', op: 'action', status: 'succeed', data: 'AP8=' }],
    },
  });
});

test('what the coordinator refuses is an answer with its words', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  using client = connect(server.address);
  for (const kind of ['failure', 'ongoing', 'error'] as const) {
    dtm.reply = () => Promise.resolve({ kind, message: `because ${kind}` });
    t.deepEqual(await client.submit(SAGA), { kind, message: `because ${kind}` });
    t.deepEqual(await client.prepareWorkflow(SAGA), { kind, message: `because ${kind}` });
  }
});

test('a coordinator that is not there, does not answer, or wants a token is an error that says so', async (t) => {
  const dtm = new RecordingService();
  await using server = await serve({ dtm, runner: NOTHING_KNOWN }, 'sesame');
  using stranger = connect(server.address);
  t.like(await t.throwsAsync(stranger.submit(SAGA), { instanceOf: CodedError }), { code: 'UNAUTHORIZED' });
  using lost = connect('127.0.0.1:1');
  const unreachable = { code: 'COORDINATOR_UNREACHABLE', retry: 'safe' };
  t.like(await t.throwsAsync(lost.submit(SAGA), { instanceOf: CodedError }), unreachable);

  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  using patient = connect(`127.0.0.1:${(silent.address() as AddressInfo).port}`, { timeoutMs: 200 });
  t.like(await t.throwsAsync(patient.newGid(), { instanceOf: CodedError }), unreachable);
  const stop = new AbortController();
  const stopped = patient.submit(SAGA, { timeoutMs: 60_000, signal: stop.signal });
  stop.abort();
  t.like(await t.throwsAsync(stopped, { instanceOf: CodedError }), unreachable);
  silent.close();
  for (const socket of sockets) socket.destroy();
});

test('a URL that is none is refused at once', (t) => {
  for (const url of ['', 'http://a:1', 'a', 'grpc://a', 'grpc://a:1/x', 'grpc://u@a:1']) {
    t.throws(() => connectDtmGrpc(url, { timeoutMs: 1000 }), { instanceOf: TypeError }, url);
  }
});

test('a workflow over gRPC gets its result back once it has ended', async (t) => {
  await using server = await serveRunner();
  using client = connect(server.address);
  const workflow: DtmTransaction = {
    ...SAGA,
    gid: 'wf-1',
    transType: 'workflow',
    steps: [],
    payloads: [],
    waitResult: false,
    timeoutToFail: undefined,
    queryPrepared: '127.0.0.1:1/workflow.Workflow/Execute',
    customData: '{"name":"trip","data":"ZGF0YQ=="}',
  };
  t.like(await client.prepareWorkflow(workflow), { kind: 'success', value: { status: 'prepared', progresses: [] } });
  const step = { gid: 'wf-1', transType: 'workflow', branchId: '01', op: 'action', payload: 'AP8=' };
  const recorded = await client.registerBranch({ ...step, data: { op: 'action', status: 'succeed' } });
  t.is(recorded.kind, 'success', JSON.stringify(recorded));
  const progresses = [{ branchId: '01', op: 'action', status: 'succeed', data: 'AP8=' }];
  t.like(await client.prepareWorkflow(workflow), { value: { progresses } });
  const reqExtra = { status: 'succeed', result: 'cmVzdWx0', rollback_reason: '' };
  const ended = await client.submit({ ...workflow, reqExtra });
  t.is(ended.kind, 'success', JSON.stringify(ended));
  t.like(await client.prepareWorkflow(workflow), { value: { status: 'succeed', result: 'cmVzdWx0' } });
});

test('a transaction is the same after its way through a message', (t) => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 });
  const texts = fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true });
  const seconds = fc.option(fc.integer({ min: 1, max: 1e9 }), { nil: undefined });
  const transactions: fc.Arbitrary<DtmTransaction> = fc.record({
    gid: text,
    transType: text,
    steps: fc.array(fc.record({ action: text, compensate: text }, { noNullPrototype: true, requiredKeys: [] })),
    payloads: fc.array(fc.base64String()),
    queryPrepared: text,
    protocol: fc.constant('grpc'),
    customData: text,
    rollbackReason: text,
    reqExtra: texts,
    waitResult: fc.boolean(),
    timeoutToFail: seconds,
    requestTimeout: seconds,
    retryInterval: seconds,
    retryLimit: seconds,
    concurrent: fc.constant(false),
    branchHeaders: texts,
  });
  fc.assert(
    fc.property(transactions, (transaction) => {
      t.deepEqual(transactionOf(messageOf(transaction)), transaction);
    }),
  );
});

test('parts of a second are rounded up, so that they do not become "not said"', (t) => {
  const { TransOptions } = messageOf({ ...SAGA, timeoutToFail: 0.2, retryInterval: 1.5 });
  t.like(TransOptions, { TimeoutToFail: 1, RetryInterval: 2, RequestTimeout: 0 });
});

test('a workflow with many recorded steps comes back whole, beyond the 4 MiB that gRPC reads by itself', async (t) => {
  const dtm = new RecordingService();
  const data = Buffer.alloc(9_000_000, 1).toString('base64');
  dtm.prepareWorkflow = () => {
    const progresses = [{ branchId: '01', op: 'action', status: 'succeed', data }];
    const value = { status: 'prepared', rollbackReason: '', result: '', transaction: {}, progresses };
    return Promise.resolve({ kind: 'success', value });
  };
  await using server = await serve({ dtm, runner: NOTHING_KNOWN });
  using client = connect(server.address, { timeoutMs: 10_000 });
  const reply = await client.prepareWorkflow(SAGA);
  t.is(reply.kind === 'success' && reply.value.progresses[0]?.data.length, data.length);
});
