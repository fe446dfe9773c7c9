import { Metadata, status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import type { Admit, HeldAnswer } from '../../proxy/http/admission.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { until } from '../proxy-http/support.ts';
import { bytes, call, grpcClient, startGrpcApp } from './grpc-service.ts';
import { ask, client, get, listen, post, startHttp2App, valueOf, type Http2App } from './support.ts';

const ORIGIN = 'http://shop.example';

function echoApp(t: ExecutionContext): Promise<Http2App> {
  return startHttp2App(t, (stream) => {
    stream.respond([':status', '200', 'content-type', 'text/plain']);
    stream.pipe(stream);
  });
}

test('a body that is asked for is given whole and still sent on; of gRPC it is the bare message', async (t) => {
  const bodies: unknown[] = [];
  const admit: Admit = async (head) => {
    const body = await head.body(1_000);
    bodies.push(body instanceof CodedError ? body.code : body.toString());
    t.is(await head.body(1_000), body);
    if (body instanceof CodedError && body.code !== 'BODY_TOO_LARGE') return { kind: 'refuse', error: body };
    return { kind: 'pass', passage: { origin: ORIGIN, path: head.target, headers: head.headers } };
  };
  const session = client(t, (await listen(t, (await echoApp(t)).port, admit)).url);
  t.is((await ask(session, { head: post('/'), body: 'body' })).body.toString(), 'body');
  t.is((await ask(session, { head: get('/') })).status, 200);
  const long = 'long '.repeat(1_000);
  t.is((await ask(session, { head: post('/'), body: long })).body.toString(), long); // nothing that was read is lost
  t.deepEqual(bodies.splice(0), ['body', '', 'BODY_TOO_LARGE']);

  const app = await startGrpcApp(t);
  const grpc = grpcClient(t, (await listen(t, app.port, admit)).port);
  t.is((await call(grpc, 'Echo', Buffer.from('message'))).message?.toString(), 'message');
  const streamed = await new Promise<number>((resolve) => {
    const stream = grpc.makeClientStreamRequest('/shop.Points/Sum', bytes, bytes, new Metadata(), {}, () => undefined);
    stream.on('status', ({ code, details }) => {
      t.regex(details, /does not consist of one message/);
      resolve(code);
    });
    for (const part of ['a', 'b']) stream.write(Buffer.from(part));
    stream.end();
  });
  t.is(streamed, status.INVALID_ARGUMENT);
  t.deepEqual(bodies, ['message', 'BAD_REQUEST']);
  t.is(app.metadata.length, 1);
});

test('an answer of our own is what the client speaks: a body, or a message, a status', async (t) => {
  const json = Buffer.from('{"error":{"message":"fenced off"}}');
  const admit: Admit = ({ target }) => {
    const answer = (code: number, headers: readonly string[], body: Buffer) =>
      ({ kind: 'answer', answer: { status: code, headers, body } }) as const;
    if (target.endsWith('Echo')) return answer(202, ['content-type', 'application/json'], Buffer.from('{}'));
    if (target.endsWith('Hang')) {
      return answer(200, ['content-type', 'application/grpc', 'x-kept', '1', 'grpc-status', '0'], Buffer.from('kept'));
    }
    return answer(409, ['content-type', 'application/json', 'atomesh-barrier', 'fenced'], json);
  };
  const { port, url } = await listen(t, 1, admit);
  const grpc = grpcClient(t, port);
  const empty = await call(grpc, 'Echo', Buffer.from('x'));
  t.deepEqual([empty.code, empty.message?.byteLength], [status.OK, 0]);
  const kept = await call(grpc, 'Hang', Buffer.from('x'));
  t.deepEqual([kept.code, kept.message?.toString(), kept.headers?.get('x-kept')], [status.OK, 'kept', ['1']]);
  const fenced = await call(grpc, 'Fail', Buffer.from('x'));
  t.deepEqual([fenced.code, fenced.details], [status.ABORTED, 'fenced off']);
  t.deepEqual(fenced.trailers?.get('atomesh-barrier'), ['fenced']);
  const plain = await ask(client(t, url), { head: post('/'), body: 'x' });
  t.deepEqual([plain.status, plain.body.toString(), plain.ended], [409, json.toString(), true]);
});

test('a gate that keeps bodies sees them: of gRPC the message, the trailers beside the headers, the status they stand for', async (t) => {
  const seen: HeldAnswer[] = [];
  const gate = {
    keeps: 1_000,
    answered: (answer: HeldAnswer) => {
      seen.push(answer);
      return Promise.resolve({ kind: 'pass', headers: ['x-verdict', 'yes'] } as const);
    },
    failed: () => Promise.resolve([]),
    clientLeft: () => undefined,
  };
  const admit: Admit = ({ target, headers }) => ({
    kind: 'pass',
    passage: { origin: ORIGIN, path: target, headers, gate },
  });
  const session = client(t, (await listen(t, (await echoApp(t)).port, admit)).url);
  const small = await ask(session, { head: post('/'), body: 'small' });
  t.deepEqual([small.body.toString(), valueOf(small.head, 'x-verdict')], ['small', 'yes']);
  const long = 'long '.repeat(10_000);
  t.is((await ask(session, { head: post('/'), body: long })).body.toString(), long);
  t.deepEqual(
    seen.splice(0).map(({ status: code, body }) => [code, body?.toString()]),
    [
      [200, 'small'],
      [200, undefined],
    ],
  );
  const grpc = grpcClient(t, (await listen(t, (await startGrpcApp(t)).port, admit)).port);
  const ok = await call(grpc, 'Echo', Buffer.from('message'));
  t.deepEqual([ok.code, ok.message?.toString(), ok.headers?.get('x-verdict')], [status.OK, 'message', ['yes']]);
  t.is((await call(grpc, 'Fail', Buffer.from('10'))).code, status.ABORTED);
  t.deepEqual(
    seen.map(({ status: code, body, headers }) => [code, body?.toString(), valueOf(headers, 'grpc-status')]),
    [
      [200, 'message', '0'],
      [409, '', '10'],
    ],
  );
});

test('a route may set a limit, and a number of tries, each of which is a request of its own', async (t) => {
  let asked = 0;
  const app = await startHttp2App(t, (stream, head) => {
    asked += 1;
    if (valueOf(head, ':path') === '/silent') return;
    stream.respond({ ':status': asked < 3 ? 503 : 200 }, { endStream: true });
  });
  const admit: Admit = (head) => ({
    kind: 'pass',
    passage: {
      origin: ORIGIN,
      path: head.target,
      headers: head.headers,
      timeoutMs: 100,
      retry: { attempts: head.target === '/silent' ? 2 : 5, intervalMs: 1 },
    },
  });
  const session = client(t, (await listen(t, app.port, admit)).url);
  t.is((await ask(session, { head: get('/') })).status, 200);
  t.is(asked, 3);
  t.is((await ask(session, { head: get('/silent') })).status, 504);
  t.is(asked, 5);
  await until(() => app.streams.size === 0, 'the silent streams to be cancelled');
});
