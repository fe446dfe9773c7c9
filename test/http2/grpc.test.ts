import { Metadata, status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { inboundTo, outbound, until } from '../proxy-http/support.ts';
import { bytes, call, grpcClient, startGrpcApp, type GrpcApp } from './grpc-service.ts';
import { startHttp2App, valueOf } from './support.ts';

/** A client, its outbound listener, the other's inbound listener, and the application. */
async function chain(t: ExecutionContext): Promise<{ app: GrpcApp; client: ReturnType<typeof grpcClient> }> {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port);
  const calls = await outbound(t, { points: { url: inbound.url } });
  return { app, client: grpcClient(t, calls.port, { 'grpc.default_authority': 'points' }) };
}

function binary(): Metadata {
  const metadata = new Metadata();
  metadata.add('x-text', 'a, b');
  metadata.add('x-text', 'c');
  metadata.add('x-echo-bin', Buffer.from([0, 255, 1]));
  return metadata;
}

test('a unary call goes through both listeners with its metadata, text and binary, and its trailers', async (t) => {
  const { app, client } = await chain(t);
  const reply = await call(client, 'Echo', Buffer.from('hello'), binary());
  t.is(reply.code, status.OK);
  t.is(reply.message?.toString(), 'hello');
  t.deepEqual(reply.trailers?.get('x-trailer-bin'), [Buffer.from([0, 255, 1])]);
  t.is(app.metadata[0]?.get('x-text').join(', '), 'a, b, c');
});

test('a status that is not OK arrives with its text and its trailers', async (t) => {
  const { client } = await chain(t);
  for (const code of [status.ABORTED, status.FAILED_PRECONDITION, status.UNAVAILABLE, status.DATA_LOSS]) {
    const reply = await call(client, 'Fail', Buffer.from(String(code)), binary());
    t.deepEqual([reply.code, reply.details, reply.message], [code, 'no, 100 % ünlucky', undefined]);
    t.deepEqual(reply.trailers?.get('x-trailer-bin'), [Buffer.from([0, 255, 1])]);
  }
  t.is((await call(client, 'Nothing', Buffer.alloc(0))).code, status.UNIMPLEMENTED);
});

test('messages stream from the client, from the server, and both ways at once', async (t) => {
  const { client } = await chain(t);
  const sum = await new Promise<Buffer | undefined>((resolve, reject) => {
    const stream = client.makeClientStreamRequest(
      '/shop.Points/Sum',
      bytes,
      bytes,
      new Metadata(),
      {},
      (error, value) => (error === null ? resolve(value) : reject(error)),
    );
    for (const part of ['a', 'b', 'c']) stream.write(Buffer.from(part));
    stream.end();
  });
  t.is(sum?.toString(), 'abc');

  const counted: string[] = [];
  const count = client.makeServerStreamRequest('/shop.Points/Count', bytes, bytes, Buffer.from('200'), binary(), {});
  count.on('data', (part: Buffer) => counted.push(part.toString()));
  const ended = await new Promise<{ code: number; metadata: Metadata }>((resolve) => count.on('status', resolve));
  t.deepEqual([counted.length, counted.at(-1), ended.code], [200, '199', status.OK]);
  t.is(ended.metadata.get('x-trailer-bin').length, 1);

  const talk = client.makeBidiStreamRequest('/shop.Points/Talk', bytes, bytes, new Metadata(), {});
  const heard: string[] = [];
  talk.on('data', (part: Buffer) => heard.push(part.toString()));
  for (const word of ['one', 'two', 'three']) {
    talk.write(Buffer.from(word));
    await until(() => heard.at(-1) === word, `${word} to come back before the next is sent`);
  }
  talk.end();
  const talked = await new Promise<{ code: number }>((resolve) => talk.on('status', resolve));
  t.is(talked.code, status.OK);
});

test('a deadline passes on, and a call that misses it is over on both sides', async (t) => {
  const app = await startHttp2App(t, () => undefined); // a service that looks at no deadline itself
  const inbound = await inboundTo(t, app.port);
  const calls = await outbound(t, { points: { url: inbound.url } });
  const client = grpcClient(t, calls.port, { 'grpc.default_authority': 'points' });
  const calling = call(client, 'Hang', Buffer.from('x'), new Metadata(), 1_000);
  await until(() => app.heads.length === 1, 'the call to arrive');
  t.regex(valueOf(app.heads[0] ?? [], 'grpc-timeout') ?? '', /^[0-9]+[mun]$/);
  t.is((await calling).code, status.DEADLINE_EXCEEDED);
  await until(() => app.streams.size === 0, 'the call to end at the application');
});

test('a call that is cancelled is cancelled at the application, unary and streaming', async (t) => {
  const { app, client } = await chain(t);
  const hang = client.makeUnaryRequest('/shop.Points/Hang', bytes, bytes, Buffer.from('x'), () => undefined);
  const talk = client.makeBidiStreamRequest('/shop.Points/Talk', bytes, bytes, new Metadata(), {});
  talk.on('error', () => undefined).write(Buffer.from('x'));
  await until(() => app.running.size === 2, 'both calls to arrive');
  hang.cancel();
  talk.cancel();
  await until(() => app.cancelled === 2, 'both calls to be cancelled');
  t.is(app.running.size, 0);
});

test('a message of 16 MiB goes and comes back', async (t) => {
  const { client } = await chain(t);
  const message = Buffer.alloc(16 * 1024 * 1024, 'atomesh ');
  const reply = await call(client, 'Echo', message);
  t.is(reply.code, status.OK);
  t.true(reply.message?.equals(message));
});

test('1,000 streams run at the same time', async (t) => {
  const { app, client } = await chain(t);
  const talks = Array.from({ length: 1_000 }, () => {
    const talk = client.makeBidiStreamRequest('/shop.Points/Talk', bytes, bytes, new Metadata(), {});
    let heard = '';
    talk.on('data', (part: Buffer) => (heard += part.toString()));
    talk.write(Buffer.from('x'));
    return { talk, heard: () => heard };
  });
  await until(() => talks.every(({ heard }) => heard() === 'x'), 'all to be answered');
  t.is(app.running.size, 1_000);
  const codes = talks.map(({ talk }) => {
    talk.end();
    return new Promise<number>((resolve) => talk.on('status', ({ code }) => resolve(code)));
  });
  t.deepEqual(new Set(await Promise.all(codes)), new Set([status.OK]));
});

test('errors of the sidecar are statuses to a gRPC client: nobody there, silence, a gid that is none, no such upstream', async (t) => {
  const dead = await inboundTo(t, 1);
  const gone = await call(grpcClient(t, dead.port), 'Echo', Buffer.from('x'));
  t.is(gone.code, status.UNAVAILABLE);
  t.regex(gone.details, /^UPSTREAM_UNREACHABLE: No connection could be made \(ECONNREFUSED\)/);
  const app = await startGrpcApp(t);
  const slow = await inboundTo(t, app.port, { timeout: '100ms' });
  // A call with a deadline of its own would be given that.
  const silent = await call(grpcClient(t, slow.port), 'Hang', Buffer.from('x'), new Metadata(), Infinity);
  t.is(silent.code, status.DEADLINE_EXCEEDED);
  t.regex(silent.details, /^UPSTREAM/);
  const bad = new Metadata();
  bad.set('atomesh-gid', 'a b');
  const refused = await call(grpcClient(t, slow.port), 'Echo', Buffer.from('x'), bad);
  t.deepEqual([refused.code, app.metadata.length], [status.INVALID_ARGUMENT, 1]);
  const calls = await outbound(t, {});
  const unknown = await call(grpcClient(t, calls.port), 'Echo', Buffer.from('x'));
  t.is(unknown.code, status.UNIMPLEMENTED);
  t.regex(unknown.details, /^ROUTE_UNKNOWN/);
});

test('a gid in the metadata goes through outbound and inbound in every carrier', async (t) => {
  const { app, client } = await chain(t);
  const metadata = new Metadata();
  metadata.set('atomesh-gid', 'g-1');
  t.is((await call(client, 'Echo', Buffer.from('x'), metadata)).code, status.OK);
  t.deepEqual(app.metadata[0]?.get('atomesh-gid'), ['g-1']);
  t.deepEqual(app.metadata[0]?.get('tracestate'), ['atomesh=g:g-1']);
  t.deepEqual(app.metadata[0]?.get('baggage'), ['atomesh.gid=g-1']);
  t.is(app.metadata[0]?.get('traceparent').length, 1);
});
