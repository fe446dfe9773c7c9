import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { PREFACE } from '../../bench/http2/frames.ts';
import { ask as askHttp1, inboundTo, outbound, RawClient, startApp, until } from '../proxy-http/support.ts';
import { RawHttp2Client } from './raw-client.ts';
import { ask, client, get, startHttp2App, valueOf } from './support.ts';

const ALERT = '\x15\x03\x03\x00\x02\x02\x28';

/** The socket of a CONNECT to `authority`, answered. */
async function tunnel(t: ExecutionContext, port: number, authority: string): Promise<Socket> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  t.teardown(() => void socket.destroy());
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  t.regex(answer.toString(), /^HTTP\/1.1 200 /);
  return socket;
}

test('one port serves HTTP/1 and HTTP/2, however the first bytes are cut', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const old = await startApp(t, (_request, response) => response.end('one'));
  const one = await inboundTo(t, old.port);
  t.is((await askHttp1(one.port)).body, 'one');
  for (const text of [
    'GET / HTTP/1.1\r\nHost: h\r\n\r\n',
    'PATCH / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n',
  ]) {
    const raw = await RawClient.open(t, one.port);
    for (const byte of text) raw.send(byte);
    await raw.until(/one$/);
    raw.send(text);
    await raw.until(/one[^]*one$/);
  }
  const two = await inboundTo(t, app.port);
  t.is((await ask(client(t, two.url), { head: get('/') })).status, 200);
  for (const cut of [1, 3, 4, 14, 23]) {
    const raw = await RawHttp2Client.open(t, two.port, PREFACE.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    raw.send(PREFACE.subarray(cut), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    await until(() => raw.frames.length >= 2, `SETTINGS and their acknowledgement after a cut at ${cut}`);
  }
});

test('an upgrade to h2c by header is ignored: the request is served as the HTTP/1 that it is', async (t) => {
  const app = await startApp(t, (request, response) => response.end(String(request.headers.upgrade)));
  const inbound = await inboundTo(t, app.port);
  const headers = {
    connection: 'Upgrade, HTTP2-Settings',
    upgrade: 'h2c',
    'http2-settings': 'AAMAAABkAAQAoAAAAAIAAAAA',
  };
  t.is((await askHttp1(inbound.port, { headers })).body, 'undefined');
  t.is(app.seen[0]?.headers['http2-settings'], undefined);
});

test('TLS is refused with an alert, on both listeners', async (t) => {
  for (const { port } of [await inboundTo(t, 1), await outbound(t)]) {
    const raw = await RawClient.open(t, port);
    raw.send('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03');
    t.is(await raw.closed(), ALERT);
  }
});

test('probes that connect and close, and clients that connect and wait, leave nothing behind', async (t) => {
  const inbound = await inboundTo(t, 1, {}, { headMs: 150 });
  const probes = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(t, inbound.port)));
  probes.forEach(({ socket }, index) => (index % 2 === 0 ? socket.end() : socket.resetAndDestroy()));
  const silent = await RawClient.open(t, inbound.port);
  const slow = await RawClient.open(t, inbound.port);
  slow.send('PRI *');
  for (const raw of [...probes, silent, slow]) t.is(await raw.closed(), '');
});

test('a connection that has said nothing does not hold up the end of the listener', async (t) => {
  const inbound = await inboundTo(t, 1);
  const silent = await RawClient.open(t, inbound.port);
  await askHttp1(inbound.port); // so that the silent one has been accepted
  const before = performance.now();
  await inbound.close(10_000);
  t.true(performance.now() - before < 5_000);
  await silent.closed();
});

test('HTTP/2 inside CONNECT is served, gid included, and goes where the tunnel leads', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const calls = await outbound(t);
  const socket = await tunnel(t, calls.port, `127.0.0.1:${app.port}`);
  const session = client(t, 'http://shop.example', socket);
  const answer = await ask(session, { head: get('/x', 'atomesh-gid', 'g-1') });
  t.is(answer.status, 200);
  const [head = []] = app.heads;
  t.is(valueOf(head, ':authority'), 'shop.example');
  t.is(valueOf(head, 'tracestate'), 'atomesh=g:g-1');
});

test('outbound finds the destination by authority, by name, or by path; its own address is none', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const url = `http://127.0.0.1:${app.port}`;
  const calls = await outbound(t, { points: { url: `${url}/base` } });
  const session = client(t, calls.url);
  const to = (authority: string, path: string): readonly string[] => [
    ':method',
    'GET',
    ':path',
    path,
    ':authority',
    authority,
  ];
  for (const head of [
    to(`127.0.0.1:${app.port}`, '/shop'),
    to('points', '/shop'),
    to(`localhost:${calls.port}`, '/points/shop'),
    to(`127.0.0.1:${calls.port}`, '/points/shop'),
  ]) {
    t.is((await ask(session, { head })).status, 200, head.join(' '));
  }
  t.deepEqual(
    app.heads.map((head) => [valueOf(head, ':authority'), valueOf(head, ':path')]),
    [
      [`127.0.0.1:${app.port}`, '/shop'],
      [`127.0.0.1:${app.port}`, '/base/shop'],
      [`127.0.0.1:${app.port}`, '/base/shop'],
      [`127.0.0.1:${app.port}`, '/base/shop'],
    ],
  );
  t.is((await ask(session, { head: to('169.254.169.254', '/') })).status, 400);
});
