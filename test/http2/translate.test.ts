import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { ask as askHttp1, inboundTo, RawClient, startApp, until } from '../proxy-http/support.ts';
import { call, grpcClient } from './grpc-service.ts';
import { ask, client, get, outcomeOf, post, startHttp2App, valueOf, valuesOf } from './support.ts';

const HTTP1 = { protocol: 'http1' };
const H2C = { protocol: 'h2c' };

test('an HTTP/1 application serves HTTP/2 clients: heads, cookies, bodies, trailers of the answer', async (t) => {
  const app = await startApp(t, (request, response) => {
    response.writeHead(201, ['X-A', '1', 'Set-Cookie', 'a=1', 'x-a', '2', 'Set-Cookie', 'b=2', 'Trailer', 'X-Sum']);
    request.on('end', () => {
      response.addTrailers({ 'X-Sum': '7' });
      response.end();
    });
    request.pipe(response, { end: false });
  });
  const inbound = await inboundTo(t, app.port, HTTP1);
  const session = client(t, inbound.url);
  const body = Buffer.alloc(300_000, 'body ');
  const answer = await ask(session, { head: post('/a?b', 'cookie', 'a=1', 'cookie', 'b=2', 'x-b', '3'), body });
  t.is(answer.status, 201);
  t.true(answer.body.equals(body));
  t.deepEqual(answer.trailers, ['x-sum', '7']);
  t.deepEqual(
    [valuesOf(answer.head, 'x-a'), valuesOf(answer.head, 'set-cookie')],
    [
      ['1', '2'],
      ['a=1', 'b=2'],
    ],
  );
  t.deepEqual(
    ['connection', 'transfer-encoding'].map((name) => valueOf(answer.head, name)),
    [undefined, undefined],
  );
  const [seen] = app.seen;
  t.deepEqual([seen?.url, seen?.headers.host, seen?.headers.cookie], ['/a?b', 'shop.example', 'a=1; b=2']);
  t.is(seen?.headers['x-b'], '3');
});

test('an HTTP/1 application: HEAD and 304 have no body, a cut answer is a reset, nobody there an error', async (t) => {
  const app = await startApp(t, (request, response) => {
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': '5' }).end();
    if (request.url === '/same') return void response.writeHead(304).end();
    response.writeHead(200, { 'content-length': '100' });
    response.write('part', () => request.socket.destroy());
  });
  const inbound = await inboundTo(t, app.port, HTTP1);
  const session = client(t, inbound.url);
  const head = await ask(session, { head: [':method', 'HEAD', ':path', '/'] });
  t.deepEqual([head.status, valueOf(head.head, 'content-length'), head.ended], [200, '5', true]);
  t.is((await ask(session, { head: get('/same') })).status, 304);
  const cut = await ask(session, { head: get('/') });
  t.deepEqual([cut.status, cut.ended], [200, false]);
  const dead = await inboundTo(t, 1, HTTP1);
  t.is((await ask(client(t, dead.url), { head: get('/') })).status, 502);
});

test('an HTTP/1 application gets no gRPC, and no request that announces trailers', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, HTTP1);
  const reply = await call(grpcClient(t, inbound.port), 'Echo', Buffer.from('x'));
  t.is(reply.code, status.UNIMPLEMENTED);
  t.regex(reply.details, /speaks HTTP\/1.*inbound\.protocol/);
  const refused = await ask(client(t, inbound.url), { head: post('/', 'trailer', 'x-sum'), body: 'x' });
  t.is(refused.status, 400);
  t.is(app.seen.length, 0);
});

test('a client that gives up is seen by an HTTP/1 application, and the other way round', async (t) => {
  let left = 0;
  const old = await startApp(t, (request) => void request.on('close', () => (left += 1)));
  const http2 = client(t, (await inboundTo(t, old.port, HTTP1)).url);
  const stream = http2.request([...post('/')], { endStream: false });
  stream.on('error', () => undefined).write('half');
  await until(() => old.seen.length === 1, 'the request to arrive');
  stream.close(8);
  await until(() => left === 1, 'the HTTP/1 application to see it');

  const app = await startHttp2App(t, () => undefined);
  const raw = await RawClient.open(t, (await inboundTo(t, app.port, H2C)).port);
  raw.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf');
  await until(() => app.streams.size === 1, 'the request to arrive');
  raw.socket.destroy();
  await until(() => app.streams.size === 0, 'the HTTP/2 application to see it');
  t.is(left, 1);
});

test('an HTTP/2 application serves HTTP/1 clients: heads, bodies, trailers both ways, 100-continue', async (t) => {
  let trailers: readonly string[] = [];
  const app = await startHttp2App(t, (stream, head) => {
    stream.on('trailers', (_headers, _flags, raw: string[]) => (trailers = raw));
    if (valueOf(head, 'expect') !== undefined) stream.additionalHeaders({ ':status': 100 });
    stream.respond([':status', '201', 'x-a', '1', 'x-a', '2'], { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7' }));
    stream.pipe(stream);
  });
  const inbound = await inboundTo(t, app.port, H2C);
  const answer = await askHttp1(inbound.port, { method: 'POST', path: '/a?b', headers: { 'X-B': '3' }, body: 'body' });
  t.deepEqual([answer.status, answer.body, answer.message.trailers], [201, 'body', { 'x-sum': '7' }]);
  t.is(answer.headers['x-a'], '1, 2');
  const [head = []] = app.heads;
  t.deepEqual([valueOf(head, ':path'), valueOf(head, 'x-b')], ['/a?b', '3']);
  t.is(valueOf(head, ':authority'), `127.0.0.1:${inbound.port}`);

  const options = { port: inbound.port, method: 'POST', headers: { expect: '100-continue', trailer: 'X-Check' } };
  const outgoing = httpRequest(options);
  const answering = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  outgoing.flushHeaders();
  await once(outgoing, 'continue');
  outgoing.write('late');
  outgoing.addTrailers({ 'X-Check': 'yes' });
  outgoing.end();
  const [response] = await answering;
  response.resume();
  t.is(response.statusCode, 201);
  await until(() => trailers.length > 0, 'the trailers to arrive');
  t.deepEqual(trailers, ['x-check', 'yes']);
});

test('an HTTP/2 application: a reset before the answer is an error for HTTP/1 clients, one inside it a cut answer', async (t) => {
  const app = await startHttp2App(t, (stream, head) => {
    if (valueOf(head, ':path') === '/now') return stream.close(2);
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.write('part', () => stream.close(2));
  });
  const inbound = await inboundTo(t, app.port, H2C);
  t.is((await askHttp1(inbound.port, { path: '/now' })).status, 502);
  await t.throwsAsync(askHttp1(inbound.port, { path: '/part' }));
  const session = client(t, inbound.url); // HTTP/2 goes on as ever
  t.is((await outcomeOf(session.request([...get('/now')], { endStream: true }))).rstCode, 2);
});

/** Hop-by-hop of a request (RFC 9110 §7.6.1, §11.7.2), as far as HTTP/2 lets a client say it; `x-named` is what a Connection names. */
const OF_REQUESTS = ['proxy-authorization', 'http2-settings', 'te', 'connection', 'x-named', 'keep-alive'];
const OF_ANSWERS = ['proxy-authenticate', 'connection', 'x-named', 'keep-alive', 'proxy-connection', 'upgrade'];

test('hop-by-hop fields end at the sidecar on both ways, whichever versions of HTTP meet there', async (t) => {
  const old = await startApp(t, (request, response) => {
    request.resume();
    response.writeHead(200, ['Connection', 'x-named', 'X-Named', '1', 'Keep-Alive', 'timeout=5']);
    response.end('old');
  });
  const young = await startHttp2App(t, (stream) => {
    stream.resume();
    stream.respond([':status', '200', 'proxy-authenticate', 'Basic'], { endStream: true });
  });
  const toOld = await inboundTo(t, old.port, HTTP1);
  const toYoung = await inboundTo(t, young.port, { protocol: 'auto' });
  const fromOld = await inboundTo(t, young.port, H2C);
  const said = ['proxy-authorization', 'Basic x'];
  for (const { url } of [toOld, toYoung]) {
    const { status: answered, head } = await ask(client(t, url), { head: post('/', ...said), body: 'x' });
    t.is(answered, 200);
    for (const name of OF_ANSWERS) t.is(valueOf(head, name), undefined, name);
  }
  const headers = {
    'proxy-authorization': 'Basic x',
    connection: 'x-named, http2-settings',
    'x-named': '1',
    'http2-settings': 'AA',
    'keep-alive': 'timeout=5',
  };
  const answer = await askHttp1(fromOld.port, { method: 'POST', headers, body: 'x' });
  t.is(answer.status, 200);
  t.is(answer.headers['proxy-authenticate'], undefined);
  for (const name of OF_REQUESTS) {
    // The connection between the sidecar and an application of HTTP/1 has fields of its own.
    if (name !== 'connection') t.is(old.seen[0]?.headers[name], undefined, name);
    for (const head of young.heads) t.is(valueOf(head, name), undefined, name);
  }
  t.is(young.heads.length, 2);
});
