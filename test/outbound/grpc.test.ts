import { Metadata, Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { bytes, call, grpcClient } from '../http2/grpc-service.ts';
import { world, type World } from './world.ts';

const CODES = Object.values(status).filter((value) => typeof value === 'number');

interface Points {
  readonly port: number;
  /** `method op branch message` of each call, in their order. */
  readonly lines: string[];
  readonly metadata: Metadata[];
}

/** A unary service that answers OK; `Fail` answers ABORTED, `Hold` begins its answer and ends it with the status that its message names. */
async function points(t: ExecutionContext): Promise<Points> {
  const lines: string[] = [];
  const metadata: Metadata[] = [];
  const server = new Server();
  const method = (name: string) => ({
    path: `/shop.Points/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  });
  const serve =
    (name: string) =>
    (asked: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void => {
      const of = (key: string): string => asked.metadata.get(key).join(',');
      lines.push(`${name} ${of('atomesh-op')} ${of('atomesh-branch')} ${asked.request.toString()}`);
      metadata.push(asked.metadata);
      if (name === 'Fail') done({ code: status.ABORTED, details: 'no' });
      else if (name === 'Hold') {
        asked.sendMetadata(new Metadata());
        const code = CODES.find((one) => String(one) === asked.request.toString()) ?? status.OK;
        done(code === status.OK ? null : { code, details: 'no' }, Buffer.from('held'));
      } else done(null, Buffer.from('ok'));
    };
  const names = ['Echo', 'Fail', 'Hold', 'Sum', 'Count', 'Talk'];
  server.addService(
    Object.fromEntries(names.map((name) => [name, method(name)])),
    Object.fromEntries(names.map((name) => [name, serve(name)])),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  return { port, lines, metadata };
}

interface Mesh extends World {
  readonly service: Points;
  readonly ask: (name: 'Echo' | 'Fail' | 'Hold' | 'Talk', message: string, gid: string) => ReturnType<typeof call>;
}

async function mesh(t: ExecutionContext, options: { readonly body?: string } = {}): Promise<Mesh> {
  const service = await points(t);
  const url = `grpc://127.0.0.1:${service.port}/shop.Points`;
  const routes = [
    {
      match: `${url}/Echo`,
      tcc: { confirm: `${url}/Sum`, cancel: { request: `${url}/Count`, headers: { 'x-gid': '${gid}' } } },
    },
    { match: `${url}/Hold`, tcc: { confirm: `${url}/Sum`, cancel: `${url}/Count` } },
    { match: `${url}/Fail`, saga: { compensate: `${url}/Count` } },
    { match: `${url}/Talk`, message: {} },
  ];
  const started = await world(t, routes, {
    upstreams: { points: { url: `http://127.0.0.1:${service.port}` } },
    ...options,
  });
  const client = grpcClient(t, started.outbound.port, { 'grpc.default_authority': 'points' });
  const ask: Mesh['ask'] = (name, message, gid) => {
    const metadata = new Metadata();
    metadata.set('atomesh-gid', gid);
    metadata.set('x-own', '1');
    return call(client, name, Buffer.from(message), metadata);
  };
  return { ...started, service, ask };
}

test('a unary call becomes a TCC branch, confirmed and cancelled over gRPC with its own message', async (t) => {
  const { client, asked, begin, over, service, ask } = await mesh(t);
  for (const isCommitted of [true, false]) {
    const gid = await begin();
    const reply = await ask('Echo', 'seven', gid);
    t.is(reply.code, status.OK, reply.details);
    t.is(reply.message?.toString(), 'ok');
    if (isCommitted) await client.submit(gid);
    else await client.abort(gid, {});
    t.is(await over(gid), isCommitted ? 'succeed' : 'failed');
    t.deepEqual(service.metadata.at(-1)?.get('x-gid'), isCommitted ? [] : [gid]);
    t.deepEqual(service.metadata.at(-1)?.get('atomesh-gid'), [gid]);
  }
  t.deepEqual(service.lines, [
    'Echo try 01 seven',
    'Sum confirm 01 seven',
    'Echo try 01 seven',
    'Count cancel 01 seven',
  ]);
  t.deepEqual(asked, ['enlist', 'enlist']);
});

/** Those by which a service refuses; after the others nobody knows. */
const REFUSALS = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
];

for (const code of CODES) {
  const isRefused = REFUSALS.includes(code);
  const rule = isRefused ? 'is not confirmed' : 'is confirmed';
  test(`a try whose trailers say ${status[code]} ${rule} by a commit, is cancelled by a rollback, and its caller hears it`, async (t) => {
    const { client, begin, over, service, ask } = await mesh(t);
    for (const isCommitted of [true, false]) {
      const gid = await begin();
      t.is((await ask('Hold', String(code), gid)).code, code);
      await (isCommitted ? client.submit(gid) : client.abort(gid, {}));
      t.is(await over(gid), isCommitted ? 'succeed' : 'failed');
    }
    const confirmed = isRefused ? [] : [`Sum confirm 01 ${code}`];
    t.deepEqual(service.lines, [`Hold try 01 ${code}`, ...confirmed, `Hold try 01 ${code}`, `Count cancel 01 ${code}`]);
  });
}

test('a saga call that fails is passed on as it failed, and compensated by the rollback', async (t) => {
  const { client, begin, over, service, ask } = await mesh(t);
  const gid = await begin();
  t.is((await ask('Fail', 'x', gid)).code, status.ABORTED);
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  t.deepEqual(service.lines, ['Fail action 01 x', 'Count compensate 01 x']);
});

test('a message over gRPC is answered at once and delivered after the commit with its metadata', async (t) => {
  const { client, begin, over, service, ask } = await mesh(t);
  const gid = await begin();
  const reply = await ask('Talk', 'hello', gid);
  t.is(reply.code, status.OK, reply.details);
  t.is(service.lines.length, 0);
  await client.submit(gid);
  t.is(await over(gid), 'succeed');
  t.deepEqual(service.lines, ['Talk action 01 hello']);
  t.deepEqual(service.metadata[0]?.get('x-own'), ['1']);
});

test('a call that cannot be enlisted does not leave', async (t) => {
  const { client, begin, service, ask } = await mesh(t);
  const gid = await begin();
  await client.abort(gid, {});
  t.is((await ask('Echo', 'x', gid)).code, status.ABORTED);
  t.is((await ask('Echo', 'x', 'never-begun')).code, status.UNIMPLEMENTED);
  t.deepEqual(service.lines, []);
});

test('a message beyond the limit, and a call that streams, are refused where a route has to keep them', async (t) => {
  const { asked, begin, service, ask, outbound } = await mesh(t, { body: '1KiB' });
  const gid = await begin();
  t.is((await ask('Echo', 'x'.repeat(2_000), gid)).code, status.RESOURCE_EXHAUSTED);
  const client = grpcClient(t, outbound.port, { 'grpc.default_authority': 'points' });
  const metadata = new Metadata();
  metadata.set('atomesh-gid', gid);
  const streamed = await new Promise<{ code: number; details: string }>((resolve) => {
    const stream = client.makeClientStreamRequest('/shop.Points/Echo', bytes, bytes, metadata, () => undefined);
    stream.on('status', resolve);
    stream.write(Buffer.from('one'));
    stream.write(Buffer.from('two'));
    stream.end();
  });
  t.is(streamed.code, status.INVALID_ARGUMENT);
  t.regex(streamed.details, /does not consist of one message/);
  t.deepEqual([...service.lines, ...asked], []);
});
