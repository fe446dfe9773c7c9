import { constants } from 'node:http2';
import test from 'ava';
import { END_HEADERS, END_STREAM, FRAME, frame, literals, PREFACE, windowUpdate } from '../../bench/http2/frames.ts';
import { inboundTo, until } from '../proxy-http/support.ts';
import { RawHttp2Client } from './raw-client.ts';
import { ask, client, get, outcomeOf, post, startHttp2App } from './support.ts';

const HEAD = [':method', 'POST', ':scheme', 'http', ':path', '/', ':authority', 'shop.example'];
const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR } = constants;

/** Heads that break the rules of RFC 9113 §8.2 and §8.3. */
const MALFORMED: Readonly<Record<string, readonly string[]>> = {
  'a name in capitals': [...HEAD, 'X-Big', '1'],
  'a pseudo-field after a field': [...HEAD.slice(0, 6), 'x-a', '1', ':authority', 'shop.example'],
  'a pseudo-field twice': [...HEAD, ':path', '/other'],
  'an unknown pseudo-field': [...HEAD, ':status', '200'],
  'no path': HEAD.filter((_, index) => index !== 4 && index !== 5),
  'an empty path': [':method', 'POST', ':scheme', 'http', ':path', '', ':authority', 'shop.example'],
  'no method': HEAD.slice(2),
  'an extended CONNECT, which nobody has announced': [':method', 'CONNECT', ':protocol', 'websocket', ...HEAD.slice(2)],
  'a connection header': [...HEAD, 'connection', 'close'],
  'a transfer coding': [...HEAD, 'transfer-encoding', 'chunked'],
  'an upgrade': [...HEAD, 'upgrade', 'websocket'],
  'a te that is not trailers': [...HEAD, 'te', 'gzip'],
  'two lengths': [...HEAD, 'content-length', '1', 'content-length', '2'],
  'a length that is no number': [...HEAD, 'content-length', '+1'],
};

for (const [what, head] of Object.entries(MALFORMED)) {
  test(`refused, and never forwarded: ${what}`, async (t) => {
    const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
    const inbound = await inboundTo(t, app.port);
    const raw = await RawHttp2Client.open(t, inbound.port);
    raw.head(1, head, END_STREAM);
    t.is(await raw.reset(1), NGHTTP2_PROTOCOL_ERROR);
    t.is(app.heads.length, 0);
    raw.head(3, HEAD, END_STREAM);
    await until(() => raw.of(FRAME.HEADERS, 3).length === 1, 'the connection to serve the next stream');
  });
}

test('a field with a line break, a NUL or a name that is no token never goes on, nor does what it hides', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const inbound = await inboundTo(t, app.port);
  const raw = await RawHttp2Client.open(t, inbound.port);
  const bad = ['x-a', '1\r\nx-b: 2', 'x-c', '1\u00002', 'x d', '1', 'x-e', ' 1'];
  raw.head(1, [...HEAD, ...bad, 'x-good', '1'], END_STREAM);
  await until(() => raw.of(FRAME.HEADERS, 1).length === 1, 'the answer');
  t.deepEqual(app.heads[0]?.slice(8), ['x-good', '1']); // nghttp2 drops such fields
});

test('a Host that is not the authority, and CONNECT, are refused with a status', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const other = await ask(session, { head: get('/', 'host', 'elsewhere.example') });
  t.is(other.status, 400);
  t.regex(other.body.toString(), /Host header other than its :authority/);
  const tunnel = await ask(session, { head: [':method', 'CONNECT', ':authority', 'shop.example:80'] });
  t.is(tunnel.status, 400);
  t.is(app.heads.length, 0);
});

test('a body of another length than was said is never whole for the application', async (t) => {
  let ended = 0;
  const app = await startHttp2App(t, (stream) => {
    stream.on('data', () => undefined).on('end', () => (ended += stream.rstCode === 0 ? 1 : 0));
  });
  const inbound = await inboundTo(t, app.port);
  const raw = await RawHttp2Client.open(t, inbound.port);
  raw.head(1, [...HEAD, 'content-length', '9']);
  raw.send(frame(FRAME.DATA, END_STREAM, 1, Buffer.from('12345')));
  t.is(await raw.reset(1), NGHTTP2_PROTOCOL_ERROR);
  raw.head(3, [...HEAD, 'content-length', '3']);
  raw.send(frame(FRAME.DATA, END_STREAM, 3, Buffer.from('12345')));
  t.true((await raw.ended()) > 0);
  await until(() => app.streams.size === 0, 'the streams to be reset at the application');
  t.is(ended, 0);
});

test('a head that is too long, or has too many fields, is refused, before and after our settings are acknowledged', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const inbound = await inboundTo(t, app.port);
  const raw = await RawHttp2Client.open(t, inbound.port);
  const long = [...HEAD, 'x-long', 'a'.repeat(15_000), 'x-longer', 'b'.repeat(5_000)];
  const many = [...HEAD, ...Array.from({ length: 300 }, (_, index) => [`x-${index}`, '']).flat()];
  const send = (stream: number, head: readonly string[]): void => {
    const block = literals(head);
    raw.send(frame(FRAME.HEADERS, END_STREAM, stream, block.subarray(0, 16_000)));
    raw.send(frame(FRAME.CONTINUATION, END_HEADERS, stream, block.subarray(16_000)));
  };
  send(1, long);
  await until(() => raw.of(FRAME.HEADERS, 1).length === 1, 'an answer'); // the first request outruns the settings
  t.regex(
    Buffer.concat(raw.of(FRAME.DATA, 1).map(({ payload }) => payload)).toString(),
    /head of the request is too large/,
  );
  send(3, long);
  t.is(await raw.reset(3), NGHTTP2_ENHANCE_YOUR_CALM);
  send(5, many);
  t.is(await raw.reset(5), NGHTTP2_ENHANCE_YOUR_CALM);
  t.is(app.heads.length, 0);
  raw.head(7, HEAD, END_STREAM);
  await until(() => raw.of(FRAME.HEADERS, 7).length === 1, 'the connection to serve the next stream');
});

/** What ends the connection. */
const FLOODS: Readonly<Record<string, (raw: RawHttp2Client) => void>> = {
  'a head in endless CONTINUATION frames': (raw) => {
    raw.send(frame(FRAME.HEADERS, 0, 1, literals(HEAD)));
    for (let index = 0; index < 200; index += 1)
      raw.send(frame(FRAME.CONTINUATION, 0, 1, literals([`x-${index}`, 'y'])));
  },
  'streams that are reset as soon as they are opened': (raw) => {
    for (let index = 0; index < 3_000; index += 1) {
      raw.head(1 + 2 * index, HEAD);
      raw.send(frame(FRAME.RST_STREAM, 0, 1 + 2 * index, Buffer.from([0, 0, 0, 8])));
    }
  },
  'a window that grows beyond its limit': (raw) => {
    raw.send(windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 2 ** 31 - 1));
  },
  'an update of a window by nothing': (raw) => raw.send(windowUpdate(0, 0)),
  'more data than the window allows': (raw) => {
    raw.head(1, HEAD);
    for (let index = 0; index < 40; index += 1) raw.send(frame(FRAME.DATA, 0, 1, Buffer.alloc(16_384)));
  },
  'frames of a server': (raw) => raw.send(frame(FRAME.PUSH_PROMISE, END_HEADERS, 1, Buffer.alloc(4))),
  'data on a stream that was never opened': (raw) => raw.send(frame(FRAME.DATA, 0, 7, Buffer.from('x'))),
  'an even stream': (raw) => raw.head(2, HEAD),
  'a head compressed with a table that is not there': (raw) =>
    raw.send(frame(FRAME.HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0x7f]))),
  'a frame that is longer than was agreed': (raw) => raw.send(frame(FRAME.DATA, 0, 1, Buffer.alloc(20_000))),
};

for (const [what, attack] of Object.entries(FLOODS)) {
  test(`ends the connection and nothing else: ${what}`, async (t) => {
    const app = await startHttp2App(t, (stream, head) => {
      if (head.includes('GET')) stream.respond({ ':status': 200 }, { endStream: true });
    });
    const inbound = await inboundTo(t, app.port);
    const friend = client(t, inbound.url);
    const raw = await RawHttp2Client.open(t, inbound.port);
    await until(() => raw.of(FRAME.SETTINGS).length > 0, 'the connection to be served');
    attack(raw);
    await raw.ended();
    t.is((await ask(friend, { head: get('/') })).status, 200);
    await until(() => app.streams.size === 0, 'no stream of the attacker to be left');
  });
}

/** What comes instead of the preface and SETTINGS. */
const PREFACES: Readonly<Record<string, Buffer>> = {
  'half a preface': PREFACE.subarray(0, 10),
  'nothing after the preface': PREFACE,
  'no SETTINGS after the preface': Buffer.concat([PREFACE, frame(FRAME.PING, 0, 0, Buffer.alloc(8))]),
  'text after the preface': Buffer.concat([PREFACE, Buffer.from('GET / HTTP/1.1\r\n\r\n')]),
};

for (const [what, first] of Object.entries(PREFACES)) {
  test(`a connection with ${what} is ended in time`, async (t) => {
    const inbound = await inboundTo(t, 1, {}, { headMs: 200 });
    const raw = await RawHttp2Client.open(t, inbound.port, first);
    await raw.ended();
    t.is(raw.of(FRAME.HEADERS).length, 0);
  });
}

test('no empty trailers frame is sent: an answer without trailers ends with data', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
  const inbound = await inboundTo(t, app.port);
  const raw = await RawHttp2Client.open(t, inbound.port);
  raw.head(1, HEAD, END_STREAM);
  await until(() => raw.frames.some(({ stream, flags }) => stream === 1 && (flags & END_STREAM) !== 0), 'the end');
  t.is(raw.of(FRAME.HEADERS, 1).length, 1);
  t.is(raw.of(FRAME.DATA, 1).at(-1)?.flags, END_STREAM);
});

test('an answer that was cut off has no end on the wire, only a reset', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('part', () => stream.session?.socket.destroy());
  });
  const inbound = await inboundTo(t, app.port);
  const raw = await RawHttp2Client.open(t, inbound.port);
  raw.head(1, HEAD, END_STREAM);
  await raw.reset(1);
  t.false(raw.frames.some(({ type, stream, flags }) => type === FRAME.DATA && stream === 1 && flags === END_STREAM));
});

test('clients that open no window hold no more than theirs, and are gone with their connection', async (t) => {
  let sent = 0;
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200 });
    const more = (): void => {
      while (!stream.destroyed && sent < 64 * 1024 * 1024) {
        sent += 65_536;
        if (!stream.write(Buffer.alloc(65_536))) return void stream.once('drain', more);
      }
    };
    more();
  });
  const inbound = await inboundTo(t, app.port);
  const zeroWindow = Buffer.from([0, 4, 0, 0, 0, 0]);
  const raw = await RawHttp2Client.open(
    t,
    inbound.port,
    Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, zeroWindow)]),
  );
  for (let index = 0; index < 8; index += 1) raw.head(1 + 2 * index, HEAD, END_STREAM);
  await until(() => raw.of(FRAME.HEADERS).length === 8, 'all heads');
  t.is(raw.of(FRAME.DATA).length, 0);
  t.true(sent < 16 * 1024 * 1024, String(sent));
  raw.socket.destroy();
  await until(() => app.streams.size === 0, 'the streams to end');
});

/** 32 MB in all: more than the two sockets hold for a client that does not read. */
const HINTS = 8_000;
const LINK_BYTES = 4_000;

test('a client that does not read is kept no hints for: of an endless row it hears the beginning, and the answer', async (t) => {
  let sent = 0;
  const app = await startHttp2App(t, (stream) => {
    const hint = (): void => {
      // No two are alike, so that each is as long on the wire as it looks.
      for (let turn = 0; turn < 50 && sent < HINTS; turn += 1, sent += 1) {
        stream.additionalHeaders({ ':status': 103, link: `<${String(sent).padEnd(LINK_BYTES, 'x')}>` });
      }
      if (sent < HINTS) setImmediate(hint);
      else stream.respond({ ':status': 200 }, { endStream: true });
    };
    hint();
  });
  const inbound = await inboundTo(t, app.port);
  const raw = await RawHttp2Client.open(t, inbound.port);
  await until(() => raw.of(FRAME.SETTINGS).length > 0, 'the connection to be served');
  raw.socket.pause();
  raw.head(1, get('/'), END_STREAM);
  await until(() => app.heads.length === 1 && app.streams.size === 0, 'the application to have said all of it');
  // Another client's turn comes after all that was read for the first one.
  t.is((await ask(client(t, inbound.url), { head: get('/elsewhere') })).status, 200);
  raw.socket.resume();
  await until(() => raw.of(FRAME.HEADERS, 1).some(({ flags }) => (flags & END_STREAM) !== 0), 'the answer');
  const heard = raw.of(FRAME.HEADERS, 1).length - 1;
  t.true(heard > 0 && heard < HINTS / 2, `${heard} of ${HINTS} hints`);
});

test('100 reaches whoever waits for it once, however often the application says it', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    for (let turn = 0; turn < 1_000; turn += 1) stream.additionalHeaders({ ':status': 100 });
    stream.on('data', () => undefined).on('end', () => stream.respond({ ':status': 204 }, { endStream: true }));
  });
  const inbound = await inboundTo(t, app.port);
  const stream = client(t, inbound.url).request([...post('/', 'expect', '100-continue')], { endStream: false });
  stream.once('continue', () => stream.end('x'));
  const { status, interim } = await outcomeOf(stream);
  t.deepEqual([status, interim], [204, [100]]);
});
