import http2, { constants, type ServerHttp2Stream } from 'node:http2';
import test from 'ava';
import { inboundTo, startApp, until } from '../proxy-http/support.ts';
import { ask, client, get, outcomeOf, post, startHttp2App, valueOf, valuesOf } from './support.ts';

const END_STREAM = constants.NGHTTP2_FLAG_END_STREAM;

function answerOk(stream: ServerHttp2Stream, text = 'ok'): void {
  stream.respond([':status', '200', 'content-length', String(text.length)]);
  stream.end(text);
}

test('a request arrives as it was sent: authority, repeated headers, cookie crumbs, their order', async (t) => {
  const app = await startHttp2App(t, (stream) => answerOk(stream));
  const inbound = await inboundTo(t, app.port);
  const headers = [
    'x-b',
    '2',
    'x-a',
    '1',
    'x-b',
    '3',
    'cookie',
    'a=1',
    'cookie',
    'b=2',
    'te',
    'trailers',
    'accept',
    '',
  ];
  const answer = await ask(client(t, inbound.url), { head: get('/a/../b?c=%20d', ...headers) });
  t.is(answer.status, 200);
  const [head = []] = app.heads;
  t.is(valueOf(head, ':path'), '/a/../b?c=%20d');
  t.is(valueOf(head, ':authority'), 'shop.example');
  t.is(valueOf(head, ':method'), 'GET');
  t.deepEqual(head.slice(8), headers);
});

test('an answer arrives as it was sent: no date is made up, no header is joined or lost', async (t) => {
  const sent = ['x-b', '2', 'set-cookie', 'a=1', 'x-a', '1', 'set-cookie', 'b=2', 'x-b', '3', 'server', 'mine'];
  const app = await startHttp2App(t, (stream) => {
    const options = { endStream: false, sendDate: false };
    stream.respond([':status', '201', ...sent], options);
    stream.end('made');
  });
  const inbound = await inboundTo(t, app.port);
  const answer = await ask(client(t, inbound.url), { head: post('/'), body: 'x' });
  t.deepEqual(answer.head, [':status', '201', ...sent]);
  t.is(answer.body.toString(), 'made');
  t.is(answer.trailers, undefined);
});

test('trailers go along in both directions, repeated ones too', async (t) => {
  let seen: readonly string[] = [];
  const app = await startHttp2App(t, (stream) => {
    stream.on('trailers', (_headers, _flags, raw: string[]) => (seen = raw));
    stream.respond([':status', '200'], { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': ['1', '2'], 'x-end': 'yes' }));
    stream.pipe(stream);
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const answer = await ask(session, { head: post('/'), body: 'body', trailers: { 'x-check': ['a', 'b'] } });
  t.is(answer.body.toString(), 'body');
  t.deepEqual(answer.trailers, ['x-sum', '1', 'x-sum', '2', 'x-end', 'yes']);
  t.deepEqual(seen, ['x-check', 'a', 'x-check', 'b']);
  const bodyless = await ask(session, { head: post('/'), trailers: { 'x-check': 'c' } });
  t.deepEqual(bodyless.trailers, ['x-sum', '1', 'x-sum', '2', 'x-end', 'yes']);
  t.deepEqual(seen, ['x-check', 'c']);
});

test('what ends with its head ends with its head: requests, trailers-only answers, 204, 304, HEAD', async (t) => {
  const flagsSeen: number[] = [];
  const app = await startHttp2App(t, (stream, head, flags) => {
    flagsSeen.push(flags);
    const status = (valueOf(head, ':path') ?? '').slice(1);
    const isBare = status === '200';
    stream.respond([':status', status, 'content-type', 'application/grpc', 'grpc-status', '0'], { endStream: isBare });
    if (!isBare) stream.end();
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  for (const [method, status] of [
    ['GET', '200'],
    ['GET', '204'],
    ['GET', '304'],
    ['HEAD', '201'],
  ]) {
    const stream = session.request([':method', method ?? '', ':path', `/${status}`], { endStream: true });
    let flags = 0;
    stream.on('response', (_headers, responseFlags) => (flags = responseFlags));
    const answer = await outcomeOf(stream);
    t.is(answer.status, Number(status));
    t.is(flags & END_STREAM, END_STREAM, `${method} ${status}`);
    t.is(answer.trailers, undefined);
  }
  t.true(flagsSeen.every((flags) => (flags & END_STREAM) === END_STREAM));
});

test('interim answers pass: 103 with its links, and 100 to whoever expects it, before the body is sent', async (t) => {
  const app = await startHttp2App(t, (stream, head) => {
    stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
    if (valueOf(head, 'expect') !== undefined) stream.additionalHeaders({ ':status': 100 });
    stream.on('data', () => undefined).on('end', () => answerOk(stream));
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  t.deepEqual((await ask(session, { head: get('/') })).interim, [103]);
  const stream = session.request([...post('/', 'expect', '100-continue')], { endStream: false });
  stream.once('continue', () => stream.end('late'));
  const answer = await outcomeOf(stream);
  t.deepEqual([answer.status, answer.interim], [200, [103, 100]]);
});

test('a header that may be in no compression table stays one', async (t) => {
  let names: unknown;
  const app = await startHttp2App(t, (stream) => answerOk(stream));
  app.server.on('stream', (_stream, headers) => (names = Reflect.get(headers, http2.sensitiveHeaders)));
  const inbound = await inboundTo(t, app.port);
  const head = Object.assign([...get('/', 'authorization', 'secret')], { [http2.sensitiveHeaders]: ['authorization'] });
  const stream = client(t, inbound.url).request(head, { endStream: true });
  t.is((await outcomeOf(stream)).status, 200);
  t.deepEqual(names, ['authorization']);
});

test('long bodies stream both ways at once, byte for byte', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond([':status', '200']);
    stream.pipe(stream);
  });
  const inbound = await inboundTo(t, app.port);
  const body = Buffer.alloc(8 * 1024 * 1024);
  for (let index = 0; index < body.byteLength; index += 4) body.writeUInt32LE(index, index);
  const answer = await ask(client(t, inbound.url), { head: post('/'), body });
  t.true(answer.body.equals(body));
});

test('whoever does not read holds up whoever writes, in both directions', async (t) => {
  let sent = 0;
  const app = await startHttp2App(t, (stream, head) => {
    stream.respond([':status', '200']);
    if (valueOf(head, ':method') === 'POST') return; // never reads
    const more = (): void => {
      while (!stream.destroyed && sent < 64 * 1024 * 1024) {
        sent += 65_536;
        if (!stream.write(Buffer.alloc(65_536))) return void stream.once('drain', more);
      }
    };
    more();
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const reading = session.request([...get('/')], { endStream: true });
  const writing = session.request([...post('/')], { endStream: false });
  let written = 0;
  const isStuck = async (): Promise<boolean> => {
    const before = sent + written;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return sent > 0 && written > 0 && sent + written === before;
  };
  const more = (): void => {
    while (written < 64 * 1024 * 1024) {
      written += 65_536;
      if (!writing.write(Buffer.alloc(65_536))) return void writing.once('drain', more);
    }
  };
  more();
  await until(isStuck, 'both to stand still');
  t.true(sent < 4 * 1024 * 1024, String(sent));
  t.true(written < 4 * 1024 * 1024, String(written));
  for (const stream of [reading, writing]) stream.close(constants.NGHTTP2_CANCEL);
  await until(() => app.streams.size === 0, 'the streams to end');
});

test('a reset has the same code on the other side, whoever sends it and whenever', async (t) => {
  const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_INTERNAL_ERROR } = constants;
  const codes: number[] = [];
  const app = await startHttp2App(t, (stream, head) => {
    stream.on('close', () => codes.push(stream.rstCode));
    const path = valueOf(head, ':path');
    if (path === '/later') {
      // Without `waitForTrailers`, node sends the end of the body before the reset.
      stream.respond([':status', '200'], { waitForTrailers: true });
      stream.write('part');
    }
    if (path === '/now') stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
    if (path === '/later') stream.on('data', () => stream.close(NGHTTP2_INTERNAL_ERROR));
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const now = await ask(session, { head: post('/now'), body: 'x' });
  t.deepEqual([now.rstCode, now.status, now.ended], [NGHTTP2_ENHANCE_YOUR_CALM, undefined, false]);
  const stream = session.request([...post('/later')], { endStream: false });
  stream.once('data', () => stream.write('go'));
  const later = await outcomeOf(stream);
  t.deepEqual([later.rstCode, later.status, later.ended], [NGHTTP2_INTERNAL_ERROR, 200, false]);
  codes.length = 0;
  const cancelled = session.request([...post('/wait')], { endStream: false });
  await until(() => app.streams.size === 1, 'the request to arrive');
  cancelled.close(NGHTTP2_CANCEL);
  await until(() => codes.length === 1, 'the reset to arrive');
  t.deepEqual(codes, [NGHTTP2_CANCEL]);
});

test('a body that the client breaks off is never taken for a whole one', async (t) => {
  let ended = 0;
  let closed = 0;
  const app = await startHttp2App(t, (stream) => {
    stream.on('data', () => undefined).on('end', () => (ended += stream.rstCode === 0 ? 1 : 0));
    stream.on('close', () => (closed += 1));
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  for (const type of ['application/grpc', 'text/plain']) {
    const options = { endStream: false, waitForTrailers: true };
    const stream = session.request([...post('/', 'content-type', type)], options);
    stream.on('error', () => undefined).write('half');
    await until(() => app.streams.size === 1, 'the request to arrive');
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    await until(() => app.streams.size === 0, 'the request to be reset');
  }
  t.deepEqual([ended, closed], [0, 2]);
});

test('an answer that is cut off is never taken for a whole one', async (t) => {
  const app = await startHttp2App(t, (stream, head) => {
    stream.respond([':status', '200', ...(valueOf(head, ':path') === '/long' ? ['content-length', '100'] : [])]);
    stream.write('part');
    if (valueOf(head, ':path') === '/long') stream.close(constants.NGHTTP2_NO_ERROR);
    else stream.once('data', () => stream.session?.socket.destroy());
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const stream = session.request([...post('/')], { endStream: false });
  stream.once('data', () => stream.write('go'));
  const cut = await outcomeOf(stream);
  t.deepEqual([cut.status, cut.body.toString(), cut.ended], [200, 'part', false]);
  t.false((await ask(session, { head: get('/long') })).ended);
});

test('an application that nobody can reach, or that speaks HTTP/1 only, is an error that says so', async (t) => {
  const dead = await inboundTo(t, 1);
  const answer = await ask(client(t, dead.url), { head: get('/') });
  t.is(answer.status, 502);
  t.is(valueOf(answer.head, 'atomesh-error-source'), 'sidecar');
  t.regex(answer.body.toString(), /UPSTREAM_UNREACHABLE.*ECONNREFUSED/);
  const old = await startApp(t, (_request, response) => response.end('old'));
  const inbound = await inboundTo(t, old.port);
  const second = await ask(client(t, inbound.url), { head: get('/') });
  t.is(second.status, 502);
  t.regex(second.body.toString(), /does not speak HTTP\/2/);
});

test('an application that is silent is given up after the timeout, and hears of it', async (t) => {
  const app = await startHttp2App(t, (stream) => void stream.resume());
  const inbound = await inboundTo(t, app.port, { timeout: '100ms' });
  const answer = await ask(client(t, inbound.url), { head: post('/'), body: 'x' });
  t.is(answer.status, 504);
  t.regex(answer.body.toString(), /UPSTREAM_TIMEOUT/);
  await until(() => app.streams.size === 0, 'the upstream stream to be cancelled');
});

test('a gid in any carrier reaches the application in every carrier, and two different ones are refused', async (t) => {
  const app = await startHttp2App(t, (stream) => answerOk(stream));
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  await ask(session, { head: get('/', 'dtm-gid', 'g-7') });
  const [head = []] = app.heads;
  t.is(valueOf(head, 'atomesh-gid'), 'g-7');
  t.is(valueOf(head, 'tracestate'), 'atomesh=g:g-7');
  t.is(valueOf(head, 'baggage'), 'atomesh.gid=g-7');
  const refused = await ask(session, { head: get('/', 'dtm-gid', 'g-7', 'atomesh-gid', 'g-8') });
  t.is(refused.status, 400);
  t.is(app.heads.length, 1);
  t.deepEqual(valuesOf(refused.head, 'content-type'), ['application/json']);
});
