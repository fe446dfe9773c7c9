import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { inboundTo, outbound, RawClient, startApp, until } from './support.ts';

/** A server that switches protocols and echoes bytes. Its open sockets are in `sockets`. */
async function echo(
  t: ExecutionContext,
): Promise<{ port: number; sockets: Set<Socket>; heads: Record<string, unknown>[] }> {
  const sockets = new Set<Socket>();
  const heads: Record<string, unknown>[] = [];
  const server = createServer();
  server.on('upgrade', (request, socket: Socket, head) => {
    heads.push({ ...request.headers, url: request.url });
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-From: app\r\n\r\n',
    );
    if (head.length > 0) socket.write(head);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets, heads };
}

const handshake = (target: string, more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n${more}\r\n`;

test('a WebSocket goes through inbound, joins its gid, and bytes go both ways', async (t) => {
  const app = await echo(t);
  const inbound = await inboundTo(t, app.port, { transactions: [{ match: '* /**', begin: {} }] });
  const client = await RawClient.open(t, inbound.port);
  client.send(`${handshake('/chat?x=1', 'dtm-gid: g1\r\nCookie: a=1\r\n')}early`);
  t.regex(await client.until(/early$/), /^HTTP\/1.1 101 [^]*x-from: app/i);
  client.send('late');
  await client.until(/earlylate$/);
  const [head] = app.heads;
  t.is(head?.['url'], '/chat?x=1');
  t.is(head?.['host'], 'h');
  t.is(head?.['sec-websocket-key'], 'k');
  t.is(head?.['cookie'], 'a=1');
  t.is(head?.['tracestate'], 'atomesh=g:g1');
  t.deepEqual(inbound.coordinator.calls, []);
});

test('either side of a WebSocket ends the other', async (t) => {
  const app = await echo(t);
  const inbound = await inboundTo(t, app.port);
  const first = await RawClient.open(t, inbound.port);
  first.send(handshake('/'));
  await first.until(/101/);
  first.socket.resetAndDestroy();
  await until(() => app.sockets.size === 0, 'the application’s side to close');
  const second = await RawClient.open(t, inbound.port);
  second.send(handshake('/'));
  await second.until(/101/);
  for (const socket of app.sockets) socket.destroy();
  await second.closed();
  await until(async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()), 'rest');
  t.pass();
});

test('a handshake that is refused, or finds nobody, is answered', async (t) => {
  const app = await startApp(t, (_request, response) => response.writeHead(403).end('no'));
  const refused = await RawClient.open(t, (await inboundTo(t, app.port)).port);
  refused.send(handshake('/'));
  t.regex(await refused.closed(), /^HTTP\/1.1 403 [^]*no/);
  const nobody = await RawClient.open(t, (await inboundTo(t, 1)).port);
  nobody.send(handshake('/'));
  t.regex(await nobody.closed(), /^HTTP\/1.1 502 [^]*atomesh-error-source: sidecar[^]*UPSTREAM_UNREACHABLE/);
});

/** A server that answers each connection's first bytes with `text` and ends it. */
async function answering(t: ExecutionContext, text: string): Promise<number> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(text));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const HOPS =
  'Connection: keep-alive, x-hop\r\nConnection: x-other\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-Other: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n';
const REFUSALS: Readonly<Record<string, readonly [answer: string, body: RegExp]>> = {
  'a length': [`HTTP/1.1 426 No\r\n${HOPS}Upgrade: websocket\r\nContent-Length: 2\r\n\r\nno`, /\r\n\r\nno$/],
  chunks: [
    `HTTP/1.1 403 No\r\n${HOPS}Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n2\r\nno\r\n0\r\n\r\n`,
    /\r\n\r\n2\r\nno\r\n0\r\n\r\n$/,
  ],
};

for (const [name, [text, body]] of Object.entries(REFUSALS)) {
  test(`of a refused handshake only what is meant for the client goes on: ${name}`, async (t) => {
    const client = await RawClient.open(t, (await inboundTo(t, await answering(t, text))).port);
    client.send(handshake('/'));
    const received = await client.closed();
    t.regex(received, body);
    t.deepEqual(received.match(/^connection: .*$/gim), ['connection: close']);
    t.is(received.match(/^set-cookie: /gim)?.length, 2);
    t.notRegex(received, /^(?:keep-alive|x-hop|x-other|upgrade|trailer):/im);
  });
}

test('a refusal that is cut does not keep the client waiting', async (t) => {
  const port = await answering(t, 'HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno');
  const client = await RawClient.open(t, (await inboundTo(t, port)).port);
  client.send(handshake('/'));
  t.notRegex(await client.closed(), /no.{7}$/);
});

test('a WebSocket goes through outbound, by name and as through a proxy', async (t) => {
  const app = await echo(t);
  const listener = await outbound(t, { chat: { url: `http://127.0.0.1:${app.port}/base` } });
  for (const [target, url] of [
    ['/chat/x', '/base/x'],
    [`http://127.0.0.1:${app.port}/y`, '/y'],
  ] as const) {
    const client = await RawClient.open(t, listener.port);
    client.send(`${handshake(target)}hello`);
    await client.until(/hello$/);
    t.is(app.heads.at(-1)?.['url'], url);
    t.is(app.heads.at(-1)?.['host'], `127.0.0.1:${app.port}`);
  }
  const loop = await RawClient.open(t, listener.port);
  loop.send(handshake(`http://localhost:${listener.port}/`));
  t.regex(await loop.closed(), /^HTTP\/1.1 400 [^]*listener itself/);
});

test('a WebSocket inside CONNECT is relayed like any other, gid included', async (t) => {
  const app = await echo(t);
  const listener = await outbound(t);
  const client = await RawClient.open(t, listener.port);
  client.send(`CONNECT 127.0.0.1:${app.port} HTTP/1.1\r\nHost: h\r\n\r\n`);
  await client.until(/^HTTP\/1.1 200 Connection Established\r\n\r\n$/);
  client.send(`${handshake('/in?x=1', 'dtm-gid: g1\r\n')}early`);
  t.regex(await client.until(/early$/), /HTTP\/1.1 101 [^]*x-from: app/i);
  client.send('late');
  await client.until(/earlylate$/);
  const [head] = app.heads;
  t.deepEqual([head?.['url'], head?.['host'], head?.['tracestate']], ['/in?x=1', 'h', 'atomesh=g:g1']);
  client.socket.resetAndDestroy();
  await until(() => app.sockets.size === 0, 'the other side to be closed');
});

test('where gids are not trusted, a handshake brings none in, and no operation', async (t) => {
  const app = await echo(t);
  const inbound = await inboundTo(t, app.port, { trustGid: false });
  const forged =
    'atomesh-gid: g/01/try\r\nTX_XID: g\r\nAtomesh-Branch: 01\r\natomesh-op: try\r\nbaggage: atomesh.gid=g,a=1\r\n';
  const client = await RawClient.open(t, inbound.port);
  client.send(`${handshake('/', forged)}hello`);
  await client.until(/hello$/);
  const [head = {}] = app.heads;
  for (const name of ['atomesh-gid', 'tx_xid', 'atomesh-branch', 'atomesh-op']) t.false(name in head, name);
  t.is(head['baggage'], 'a=1');
});

test('a handshake that names an operation, or an operation of no transaction, is refused', async (t) => {
  const app = await echo(t);
  const inbound = await inboundTo(t, app.port);
  for (const gid of ['atomesh-gid: g\r\n', '']) {
    const client = await RawClient.open(t, inbound.port);
    client.send(handshake('/', `${gid}atomesh-branch: 01\r\natomesh-op: cancel\r\n`));
    t.regex(await client.closed(), /^HTTP\/1.1 400 [^]*BAD_REQUEST/);
  }
  t.is(app.heads.length, 0);
});

test('CONNECT at inbound ends the connection: nothing that it says reaches anybody', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send(
    `CONNECT 127.0.0.1:${app.port} HTTP/1.1\r\nHost: h\r\natomesh-gid: g\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n`,
  );
  t.is(await client.closed(), '');
  t.is(app.seen.length, 0);
});

test('a request that merely offers another protocol is served as it is', async (t) => {
  const app = await startApp(t, (request, response) => response.end(String(request.headers.upgrade)));
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send(
    'GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n',
  );
  t.regex(await client.until(/undefined/), /^HTTP\/1.1 200 /);
});
