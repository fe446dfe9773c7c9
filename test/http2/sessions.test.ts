import { once } from 'node:events';
import { constants, type ClientHttp2Stream } from 'node:http2';
import test from 'ava';
import { inboundTo, until } from '../proxy-http/support.ts';
import { ask, client, get, outcomeOf, post, startHttp2App, valueOf } from './support.ts';

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

test('an application that says GOAWAY finishes what runs; what comes next gets a connection of its own', async (t) => {
  const app = await startHttp2App(t, (stream, head) => {
    stream.respond({ ':status': 200 });
    if (valueOf(head, ':path') === '/long') stream.on('data', (chunk) => stream.end(chunk));
    else stream.end('short');
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const long = session.request([...post('/long')], { endStream: false });
  await until(() => app.streams.size === 1, 'the long request to arrive');
  const [first] = app.sessions;
  first?.close();
  t.is((await ask(session, { head: get('/') })).body.toString(), 'short');
  t.is(app.sessions.size, 2);
  long.end('bye');
  t.is((await outcomeOf(long)).body.toString(), 'bye');
  await until(() => app.sessions.size === 1, 'the first connection to end');
});

test('a stream that the application refuses is sent once more when it has no body, and the refusal passed on otherwise', async (t) => {
  let refusals = 0;
  const app = await startHttp2App(t, (stream, head) => {
    refusals += 1;
    if (refusals === 1 || valueOf(head, ':method') === 'POST') return stream.close(NGHTTP2_REFUSED_STREAM);
    stream.respond({ ':status': 200 }, { endStream: true });
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  t.is((await ask(session, { head: get('/') })).status, 200);
  t.is(app.heads.length, 2);
  t.is((await ask(session, { head: post('/'), body: 'x' })).rstCode, NGHTTP2_REFUSED_STREAM);
  t.is(app.heads.length, 3);
});

test('an application that takes few streams at once gets several connections, and never more streams than it takes', async (t) => {
  let most = 0;
  const app = await startHttp2App(
    t,
    (stream) => {
      most = Math.max(most, app.streams.size);
      setImmediate(() => stream.destroyed || stream.respond({ ':status': 200 }, { endStream: true }));
    },
    { maxConcurrentStreams: 2 },
  );
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  t.is((await ask(session, { head: get('/') })).status, 200);
  const answers = await Promise.all(Array.from({ length: 200 }, () => ask(session, { head: get('/') })));
  t.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  t.true(app.sessions.size > 1 && app.sessions.size <= 16, String(app.sessions.size));
  t.true(most <= 32, String(most));
});

test('a listener that closes says GOAWAY, finishes what runs, and ends its connections', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.on('data', (chunk) => stream.end(chunk));
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const codes: number[] = [];
  session.on('goaway', (code) => codes.push(code));
  const stream = session.request([...post('/')], { endStream: false });
  const answering = outcomeOf(stream);
  await until(() => app.streams.size === 1, 'the request to arrive');
  const closing = inbound.close(20_000);
  await until(() => codes.length > 0, 'GOAWAY');
  stream.end('last');
  t.is((await answering).body.toString(), 'last');
  await closing;
  t.true(codes.every((code) => code === NGHTTP2_NO_ERROR));
});

test('a listener whose grace is over cuts what still runs, and no client takes it for whole', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('part');
  });
  const inbound = await inboundTo(t, app.port);
  const stream = client(t, inbound.url).request([...get('/')], { endStream: true });
  const arrived = once(stream, 'response');
  const answering = outcomeOf(stream);
  await arrived;
  await inbound.close(50);
  const { status, ended, rstCode } = await answering;
  t.deepEqual([status, ended], [200, false]);
  t.not(rstCode, NGHTTP2_NO_ERROR);
  await until(() => app.streams.size === 0, 'the stream to the application to end');
});

test('2,000 clients that give up, at every stage, leave no stream open at the application', async (t) => {
  const app = await startHttp2App(t, (stream, head) => {
    const path = valueOf(head, ':path');
    if (path === '/silent') return;
    stream.respond({ ':status': 200 });
    stream.write('part');
  });
  const inbound = await inboundTo(t, app.port);
  for (let round = 0; round < 4; round += 1) {
    const session = client(t, inbound.url); // of its own: more than 1,000 resets in a burst end a connection
    const streams: ClientHttp2Stream[] = [];
    for (let index = 0; index < 500; index += 1) {
      const isSilent = index % 2 === 0;
      const stream = session.request([...post(isSilent ? '/silent' : '/part')], { endStream: index % 3 === 0 });
      stream.on('error', () => undefined).on('data', () => stream.close(NGHTTP2_CANCEL));
      if (isSilent && index % 4 === 0) stream.close(NGHTTP2_CANCEL);
      streams.push(stream);
    }
    await until(
      () => streams.every((stream, index) => index % 2 === 0 || stream.closed),
      'the answered to be cancelled',
    );
    if (round % 2 === 0) session.destroy();
    else for (const stream of streams) stream.close(NGHTTP2_CANCEL);
  }
  await until(() => app.streams.size === 0, 'all streams to end');
  await until(
    async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()),
    'no request left',
  );
  t.true(app.sessions.size <= 16);
});

test('clients that give up many streams cost nobody else the connection to the application', async (t) => {
  const resets = new Map<unknown, number>();
  const app = await startHttp2App(t, (stream, head) => {
    const { session } = stream;
    stream.on('close', () => {
      if (stream.rstCode === NGHTTP2_CANCEL) resets.set(session, (resets.get(session) ?? 0) + 1);
    });
    if (valueOf(head, ':path') !== '/long') return;
    stream.respond({ ':status': 200 });
    stream.on('data', (chunk) => stream.end(chunk));
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const long = session.request([...post('/long')], { endStream: false });
  await until(() => app.streams.size === 1, 'the long request to arrive');
  for (let wave = 0; wave < 9; wave += 1) {
    const streams = Array.from({ length: 90 }, () => session.request([...get('/')]));
    for (const stream of streams) stream.on('error', () => undefined);
    await until(() => app.streams.size === 91, 'the wave to arrive');
    for (const stream of streams) stream.close(NGHTTP2_CANCEL);
    await until(() => app.streams.size === 1, 'the wave to be gone');
  }
  // Servers end connections that reset 1,000 streams in a burst, some after 500.
  t.true(Math.max(...resets.values()) <= 500, String([...resets.values()]));
  t.is(
    [...resets.values()].reduce((sum, count) => sum + count),
    810,
  );
  long.end('still there');
  t.is((await outcomeOf(long)).body.toString(), 'still there');
  await until(() => app.sessions.size === 1, 'the connection that was left to end');
});
