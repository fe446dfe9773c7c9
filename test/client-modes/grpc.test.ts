import { spawnSync } from 'node:child_process';
import { type Metadata, Server, ServerCredentials, type ServerUnaryCall, status } from '@grpc/grpc-js';
import test from 'ava';
import {
  branchFromMetadata,
  CodedError,
  connectDtm,
  createWorkflows,
  type DtmClient,
  FailureError,
  newMessage,
  OngoingError,
  resultOfError,
  runTcc,
  runXa,
  submitSaga,
  type Workflows,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import { NOTHING_KNOWN, RecordingService, serve, serveRunner } from '../grpc/served.ts';
import { gidOf } from './support.ts';

interface GrpcService extends AsyncDisposable {
  /** `127.0.0.1:port/test.Service` */
  readonly url: string;
  /** `<op> <branch id> <method>` of each call, in order. */
  readonly calls: readonly string[];
}

type Work = (message: Buffer, metadata: Metadata) => Uint8Array | Promise<Uint8Array>;

/** A service whose methods get and give bytes; what they throw becomes a status as DTM has it. */
async function startGrpcService(methods: Readonly<Record<string, Work>>, name = 'test.Service'): Promise<GrpcService> {
  const calls: string[] = [];
  const server = new Server();
  const same = (bytes: Buffer): Buffer => bytes;
  for (const [method, work] of Object.entries(methods)) {
    const codec = {
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
    const definition = { path: `/${name}/${method}`, requestStream: false, responseStream: false, ...codec } as const;
    server.addService(
      { method: definition },
      {
        method: (call: ServerUnaryCall<Buffer, Buffer>, answer: (error: object | null, value?: Buffer) => void) => {
          const first = (key: string): string => String(call.metadata.get(`dtm-${key}`)[0]);
          calls.push(`${first('op')} ${first('branch_id')} ${method}`);
          new Promise<Uint8Array>((resolve) => resolve(work(call.request, call.metadata))).then(
            (value) => answer(null, Buffer.from(value)),
            (error: unknown) => answer({ code: codeOf(error), details: String(error) }),
          );
        },
      },
    );
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    url: `127.0.0.1:${port}/${name}`,
    calls,
    [Symbol.asyncDispose]: () => Promise.resolve(server.forceShutdown()),
  };
}

function codeOf(error: unknown): status {
  const result = resultOfError(error);
  if (result === 'failure') return status.ABORTED;
  return result === 'ongoing' ? status.FAILED_PRECONDITION : status.INTERNAL;
}

const fine: Work = () => Buffer.alloc(0);
const throwing =
  (error: Error): Work =>
  () =>
    Promise.reject(error);

interface World extends AsyncDisposable {
  readonly dtm: DtmClient;
  statusOf(gid: string): Promise<string>;
}

async function startWorld(): Promise<World> {
  const stack = new AsyncDisposableStack();
  const served = stack.use(await serveRunner());
  const dtm = connectDtm({ url: `grpc://${served.address}` });
  stack.defer(() => dtm.close());
  return {
    dtm,
    statusOf: async (gid) => (await served.ask('Query', { gid })).message.status,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test('a saga over gRPC: the coordinator calls the methods with the payload’s bytes', async (t) => {
  const messages: string[] = [];
  const keep: Work = (message) => (messages.push(message.toString('hex')), Buffer.alloc(0));
  await using service = await startGrpcService({
    Out: keep,
    OutBack: fine,
    In: throwing(new FailureError('no')),
    InBack: fine,
  });
  await using world = await startWorld();
  const steps = ['Out', 'In'].map((name) => ({
    action: `${service.url}/${name}`,
    compensate: `${service.url}/${name}Back`,
    payload: Uint8Array.of(0xff, 0x00, 0x08),
  }));
  await submitSaga(world.dtm, { gid: gidOf('s'), steps: steps.slice(0, 1), waitResult: true });
  t.deepEqual(messages, ['ff0008']);
  await t.throwsAsync(submitSaga(world.dtm, { gid: gidOf('f'), steps, waitResult: true }), {
    instanceOf: FailureError,
  });
  t.deepEqual(service.calls, [
    'action 01 Out',
    'action 01 Out',
    'action 02 In',
    'compensate 02 InBack',
    'compensate 01 OutBack',
  ]);
});

test('a Try over gRPC carries its identity as metadata, and its answer comes back', async (t) => {
  const identities: unknown[] = [];
  await using service = await startGrpcService({
    Try: (message, metadata) => {
      identities.push(
        branchFromMetadata((key) => metadata.get(key)[0]?.toString()),
        metadata.get('x-token')[0],
      );
      return Uint8Array.of(...message, 0xfe);
    },
    Confirm: fine,
    Cancel: fine,
  });
  await using world = await startWorld();
  const branch = {
    try: `${service.url}/Try`,
    confirm: `${service.url}/Confirm`,
    cancel: `${service.url}/Cancel`,
    body: Uint8Array.of(1),
  };
  const options = { gid: gidOf('t'), waitResult: true, branchHeaders: { 'x-token': 'secret' } };
  const answer = await runTcc(world.dtm, options, (tcc) => tcc.callBranch(branch));
  t.deepEqual([...answer.body], [1, 0xfe]);
  t.deepEqual(identities, [{ gid: gidOf('t'), transType: 'tcc', branchId: '01', op: 'try' }, 'secret']);
  t.deepEqual(service.calls, ['try 01 Try', 'confirm 01 Confirm']);
});

test('ABORTED is a failure, FAILED_PRECONDITION goes on, and everything else is not known', async (t) => {
  await using service = await startGrpcService({
    Aborted: throwing(new FailureError('no')),
    Later: throwing(new OngoingError('later')),
    Broken: throwing(new Error('FAILURE is only a word here')),
    Slow: () => new Promise(() => undefined),
    Cancel: fine,
  });
  await using world = await startWorld();
  const expected = {
    [`${service.url}/Aborted`]: ['failure', undefined],
    [`${service.url}/Later`]: ['ongoing', undefined],
    [`${service.url}/Broken`]: ['unknown', 'OUTCOME_UNKNOWN'],
    [`${service.url}/Slow`]: ['unknown', 'UPSTREAM_TIMEOUT'],
    '127.0.0.1:1/test.Service/Nobody': ['unknown', 'UPSTREAM_UNREACHABLE'],
    'no gRPC address': ['unknown', 'BAD_REQUEST'],
  } as const;
  for (const [url, [result, code]] of Object.entries(expected)) {
    const error = await t.throwsAsync(
      runXa(world.dtm, {}, (xa) => xa.callBranch(code === 'UPSTREAM_TIMEOUT' ? { url, timeoutMs: 300 } : { url })),
      undefined,
      url,
    );
    t.is(resultOfError(error), result, url);
    t.is(error instanceof CodedError ? error.code : undefined, code, url);
  }
});

test('a workflow over gRPC: bytes are recorded undamaged, and the coordinator has it run again', async (t) => {
  let isHealed = false;
  await using service = await startGrpcService({
    Draw: () => Uint8Array.of(0xff, 0x00, 0xc3, 0x28),
    Later: () => (isHealed ? Uint8Array.of(7) : Promise.reject(new OngoingError('later'))),
    Commit: fine,
  });
  await using world = await startWorld();
  let workflows: Workflows;
  const execute: Work = async (message, metadata) => {
    const first = (key: string): string => String(metadata.get(key)[0]);
    // The message's only field: its tag, its length, its bytes.
    await workflows.resume(first('dtm-op'), gidOf(first('dtm-gid')), message.subarray(2));
    return Buffer.alloc(0);
  };
  await using door = await startGrpcService({ Execute: execute }, 'workflow.Workflow');
  workflows = createWorkflows(world.dtm, { callback: `${door.url}/Execute` });
  const registered = workflows.register(
    'draws',
    async (workflow, { n }: { readonly n: number }) => {
      const payload = new Uint8Array();
      const drawn = await workflow
        .newBranch()
        .onCommit(async ({ grpc }) => void (await grpc({ url: `${service.url}/Commit`, payload })))
        .grpc({ url: `${service.url}/Draw`, payload });
      const later = await workflow.newBranch().grpc({ url: `${service.url}/Later`, payload });
      return [n, ...drawn.body, ...later.body];
    },
    { retryIntervalMs: 50 },
  );
  await t.throwsAsync(registered.execute(gidOf('w'), { n: 1 }), { instanceOf: OngoingError });
  isHealed = true;
  await until('the workflow succeeds', async () => (await world.statusOf('w')) === 'succeed');
  // DTM's own server gives no result over gRPC.
  t.deepEqual(await registered.execute(gidOf('w'), { n: 1 }), [1, 0xff, 0x00, 0xc3, 0x28, 7]);
  t.is(service.calls.filter((call) => call.endsWith('Draw')).length, 1);
  t.is(service.calls.at(-1), 'commit 01 Commit');
});

test('options travel in DTM’s message', async (t) => {
  const recording = new RecordingService();
  await using served = await serve({ dtm: recording, runner: NOTHING_KNOWN }, 'secret');
  const dtm = connectDtm({ url: `grpc://${served.address}`, token: 'secret' });
  const message = newMessage(dtm, {
    gid: gidOf('m'),
    delayMs: 1500,
    timeoutToFailMs: 30_000,
    requestTimeoutMs: 2000,
    retryIntervalMs: 4000,
    branchHeaders: { 'x-token': '1' },
    steps: [{ action: 'a:1/b.C/D', payload: 'text' }],
  });
  await message.prepare('a:1/b.C/Ask');
  const [asked] = recording.asked;
  t.is(asked?.verb, 'prepare');
  t.like(asked?.request, {
    gid: 'm',
    transType: 'msg',
    steps: [{ action: 'a:1/b.C/D' }],
    payloads: [Buffer.from('text').toString('base64')],
    queryPrepared: 'a:1/b.C/Ask',
    customData: '{"delay":1.5}',
    timeoutToFail: 30,
    requestTimeout: 2,
    retryInterval: 4,
    branchHeaders: { 'x-token': '1' },
  });
  await dtm.close();
});

test('what the coordinator says over gRPC is success, failure, ongoing, or unknown', async (t) => {
  const recording = new RecordingService();
  await using served = await serve({ dtm: recording, runner: NOTHING_KNOWN }, 'secret');
  const url = `grpc://${served.address}`;
  const dtm = connectDtm({ url, token: 'secret' });
  const request = { gid: gidOf('g'), transType: 'saga' } as const;
  for (const kind of ['failure', 'ongoing', 'error'] as const) {
    recording.reply = () => Promise.resolve({ kind, message: `said ${kind}` });
    const error = await t.throwsAsync(dtm.submit(request));
    t.is(resultOfError(error), kind === 'error' ? 'unknown' : kind);
    t.regex(error?.message ?? '', /said/);
  }
  recording.reply = () => new Promise(() => undefined);
  const silent = connectDtm({ url, token: 'secret', timeoutMs: 50 });
  const waiting = { ...request, options: { waitResult: true, waitResultMs: 100 } };
  await t.throwsAsync(silent.submit(waiting), { code: 'COORDINATOR_UNREACHABLE' });
  await t.throwsAsync(connectDtm({ url, timeoutMs: 5000 }).submit(request), { code: 'UNAUTHORIZED' });
  await t.throwsAsync(connectDtm({ url: 'grpc://127.0.0.1:1' }).submit(request), { code: 'COORDINATOR_UNREACHABLE' });
  for (const wrong of ['grpc://host', 'grpc://host:1/path', 'grpcs://'])
    t.throws(() => connectDtm({ url: wrong }), { instanceOf: TypeError });
  await Promise.all([dtm.close(), silent.close()]);
});

test('a connection over gRPC that breaks while a submit waits for the end leaves the outcome open, and nothing is submitted twice', async (t) => {
  for (const waitResult of [true, false]) {
    const recording = new RecordingService();
    const served = await serve({ dtm: recording, runner: NOTHING_KNOWN });
    const dtm = connectDtm({ url: `grpc://${served.address}` });
    recording.reply = () => new Promise(() => undefined);
    const request = { gid: gidOf('g'), transType: 'tcc', options: { waitResult } } as const;
    const ended = t.throwsAsync(dtm.submit(request), { code: 'COORDINATOR_UNREACHABLE' });
    await until('it is asked', () => recording.asked.length === 1);
    await served[Symbol.asyncDispose]();
    t.is(resultOfError(await ended), 'unknown');
    t.is(recording.asked.length, 1);
    await dtm.close();
  }
});

test('without the gRPC packages everything else works, and what needs them says so', (t) => {
  const index = new URL('../../src/client/index.ts', import.meta.url).href;
  const program = `
    import { registerHooks } from 'node:module';
    registerHooks({ resolve: (name, context, next) => {
      if (/^(@grpc|mysql2|redis|mongodb|pg)/.test(name)) throw new Error(name + ' is not installed');
      return next(name, context);
    } });
    const { connectDtm, submitSaga } = await import(${JSON.stringify(index)});
    const errors = [];
    for (const scheme of ['http', 'grpc']) {
      const dtm = connectDtm({ url: scheme + '://127.0.0.1:1' });
      await submitSaga(dtm, { steps: [] }).catch((error) => errors.push(error.code));
    }
    console.log(errors.join());
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  t.is(stdout.trim(), 'COORDINATOR_UNREACHABLE,BAD_REQUEST', stderr);
});
