import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { ProxyAgent, request as undiciRequest } from 'undici';
import { isMetadataAddress } from '../../src/contract/branch-url.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { protocolOf, type Protocol } from '../../proxy/http/sniff.ts';
import { ask, codeOf, outbound, RawClient, startApp, until } from './support.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

async function rawServer(t: ExecutionContext, serve: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    t.teardown(() => void socket.destroy());
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test('a plain base URL names an upstream, whose base path and Host are used', async (t) => {
  const app = await startApp(t, (request, response) => response.end(`${request.headers.host} ${request.url}`));
  const listener = await outbound(t, { hotel: { url: `http://127.0.0.1:${app.port}/api` } });
  const host = `127.0.0.1:${app.port}`;
  t.is((await ask(listener.port, { path: '/hotel/rooms?x=1' })).body, `${host} /api/rooms?x=1`);
  t.is((await ask(listener.port, { path: '/hotel' })).body, `${host} /api/`);
  t.is((await ask(listener.port, { path: '/hotel?x' })).body, `${host} /api/?x`);
  t.is((await ask(listener.port, { path: '/hotel/../hotel//rooms' })).body, `${host} /api/rooms`);
});

test('an unknown upstream is 404 and lists those that there are', async (t) => {
  const listener = await outbound(t, { hotel: { url: 'http://h' }, points: { url: 'http://p' } });
  const answer = await ask(listener.port, { path: '/hotels/x' });
  t.is(answer.status, 404);
  t.is(codeOf(answer), 'ROUTE_UNKNOWN');
  t.regex(answer.body, /known are: hotel, points/);
});

test('an absolute target goes to its authority, which outranks Host', async (t) => {
  const app = await startApp(t, (request, response) => response.end(`${request.headers.host} ${request.url}`));
  const listener = await outbound(t);
  const path = `http://127.0.0.1:${app.port}/a//b?c`;
  const answer = await ask(listener.port, { path, headers: { host: 'elsewhere' } });
  t.is(answer.body, `127.0.0.1:${app.port} /a//b?c`);
});

test('a gid in one carrier leaves in all, and without one nothing is added', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const listener = await outbound(t, { app: { url: `http://127.0.0.1:${app.port}` } });
  await ask(listener.port, { path: '/app/x', headers: { baggage: 'atomesh.gid=g1', 'atomesh-branch': '01' } });
  const seen = app.seen[0]?.headers ?? {};
  t.is(seen['atomesh-gid'], 'g1');
  t.is(seen['tracestate'], 'atomesh=g:g1');
  t.is(seen['atomesh-branch'], '01');
  await ask(listener.port, { path: '/app/x', headers: { traceparent: PARENT } });
  for (const name of ['atomesh-gid', 'tracestate', 'baggage']) t.is(app.seen[1]?.headers[name], undefined, name);
  const fault = await ask(listener.port, {
    path: '/app/x',
    headers: { 'atomesh-gid': 'a', tracestate: 'atomesh=g:b' },
  });
  t.is(codeOf(fault), 'BAD_GID');
});

test('a call that carries only the trace of a request being served takes that request’s gid', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const listener = await outbound(t, { app: { url: `http://127.0.0.1:${app.port}` } });
  const release = listener.activeRequests.add(TRACE, { gid: 'g1' as Gid }, Date.now() as never);
  await ask(listener.port, { path: '/app/x', headers: { traceparent: PARENT } });
  t.is(app.seen[0]?.headers['atomesh-gid'], 'g1');
  release?.();
  await ask(listener.port, { path: '/app/x', headers: { traceparent: PARENT } });
  t.is(app.seen[1]?.headers['atomesh-gid'], undefined);
});

test('targets that cannot be reached are 502', async (t) => {
  const listener = await outbound(t, {
    gone: { url: 'http://127.0.0.1:1' },
    unknown: { url: 'http://does-not-exist.invalid' },
  });
  for (const path of ['/gone/x', '/unknown/x', 'http://127.0.0.1:1/']) {
    const answer = await ask(listener.port, { path });
    t.is(answer.status, 502, path);
    t.is(codeOf(answer), 'UPSTREAM_UNREACHABLE');
  }
});

test('the listener is never its own target, under whatever name', async (t) => {
  const listener = await outbound(t);
  const hosts = [
    '127.0.0.1',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f.1',
    '0.0.0.0',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::1]',
    '[::]',
  ];
  for (const host of hosts) {
    const answer = await ask(listener.port, { path: `http://${host}:${listener.port}/x` });
    t.is(answer.status, 400, host);
    t.regex(answer.body, /is the outbound listener itself/, host);
    const tunnel = await RawClient.open(t, listener.port);
    tunnel.send(`CONNECT ${host}:${listener.port} HTTP/1.1\r\nHost: h\r\n\r\n`);
    if (host === 'localhost') tunnel.send('x\r\n');
    t.notRegex(await tunnel.closed(), /^HTTP\/1.1 200[^]*HTTP/, host);
  }
});

test('metadata addresses are refused, however they are written', async (t) => {
  const listener = await outbound(t);
  const hosts = [
    '169.254.169.254',
    '169.254.1.1',
    '2852039166',
    '0xa9fea9fe',
    '0251.0376.0251.0376',
    '169.254.43518',
    '[::ffff:169.254.169.254]',
    '[::ffff:a9fe:a9fe]',
    '[fe80::1]',
    '[fd00:ec2::254]',
  ];
  for (const host of hosts) {
    const answer = await ask(listener.port, { path: `http://${host}/latest/meta-data` });
    t.is(answer.status, 400, host);
    t.regex(answer.body, /metadata/, host);
    const tunnel = await RawClient.open(t, listener.port);
    tunnel.send(`CONNECT ${host}:80 HTTP/1.1\r\nHost: h\r\n\r\n`);
    t.regex(await tunnel.closed(), /^HTTP\/1.1 400 /, host);
  }
  t.true(isMetadataAddress('169.254.169.254'));
});

test('targets that are no URL are refused', async (t) => {
  const listener = await outbound(t);
  for (const path of [
    'http://',
    'http://u:p@127.0.0.1/',
    'ftp://127.0.0.1/',
    'http://127.0.0.1:99999/',
    'http://a b/',
    'gopher',
  ]) {
    const client = await RawClient.open(t, listener.port);
    client.send(`GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    t.regex(await client.closed(), /^HTTP\/1.1 400 /, path);
  }
  for (const authority of ['127.0.0.1', '127.0.0.1:', 'a/b:80', ':80', '127.0.0.1:80:80']) {
    const client = await RawClient.open(t, listener.port);
    client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: h\r\n\r\n`);
    t.regex(await client.closed(), /^HTTP\/1.1 400 /, authority);
  }
});

test('HTTP/1 inside CONNECT is served like any other request, one after the other', async (t) => {
  const app = await startApp(t, (request, response) => response.end(`${request.headers.host} ${request.url}`));
  const listener = await outbound(t);
  const client = await RawClient.open(t, listener.port);
  client.send(`CONNECT 127.0.0.1:${app.port} HTTP/1.1\r\nHost: h\r\n\r\n`);
  await client.until(/^HTTP\/1.1 200 Connection Established\r\n\r\n$/);
  client.send('G');
  client.send('ET /1 HTTP/1.1\r\nHost: hotel\r\ndtm-gid: g1\r\n\r\n');
  await client.until(/hotel \/1/);
  client.send('GET /2 HTTP/1.1\r\nHost: hotel\r\nConnection: close\r\n\r\n');
  t.regex(await client.closed(), /hotel \/2/);
  t.is(app.seen[0]?.headers['tracestate'], 'atomesh=g:g1');
  t.is(app.seen[1]?.headers['atomesh-gid'], undefined);
});

test('undici’s proxy agent, which tunnels plain HTTP, gets its gid passed on', async (t) => {
  const app = await startApp(t, (request, response) => request.pipe(response));
  const listener = await outbound(t);
  const agent = new ProxyAgent({ uri: listener.url, proxyTunnel: true });
  t.teardown(() => agent.close());
  const answer = await undiciRequest(`http://127.0.0.1:${app.port}/x`, {
    dispatcher: agent,
    method: 'POST',
    body: 'hello',
    headers: { 'atomesh-gid': 'g1' },
  });
  t.is(await answer.body.text(), 'hello');
  t.is(app.seen[0]?.headers['baggage'], 'atomesh.gid=g1');
});

test('TLS and other protocols inside CONNECT go through untouched, with half-closed ends', async (t) => {
  const listener = await outbound(t);
  for (const first of ['\x16\x03\x01\x00\xff', '*1\r\n$4\r\nPING\r\n', 'NICK me\r\n']) {
    let received = '';
    const port = await rawServer(t, (socket) => {
      socket.on('data', (chunk) => (received += chunk.toString('latin1')));
      socket.on('end', () => socket.end('bye'));
    });
    const client = await RawClient.open(t, listener.port);
    client.send(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: h\r\n\r\n`);
    await client.until(/^HTTP\/1.1 200/);
    client.send(first);
    await until(() => received === first, `${JSON.stringify(first)} to arrive`);
    client.send('more');
    client.socket.end();
    t.regex(await client.closed(), /\r\n\r\nbye$/);
    t.is(received, `${first}more`);
  }
});

test('a server that speaks first inside CONNECT is heard', async (t) => {
  const port = await rawServer(t, (socket) => void socket.write('220 ready\r\n'));
  const listener = await outbound(t);
  const client = await RawClient.open(t, listener.port);
  client.send(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: h\r\n\r\n`);
  t.regex(await client.until(/ready/), /220 ready\r\n$/);
});

test('a tunnel whose client leaves is closed on the other side, at every stage', async (t) => {
  let open = 0;
  const port = await rawServer(t, (socket) => {
    open += 1;
    socket.resume();
    socket.on('close', () => (open -= 1));
  });
  const listener = await outbound(t);
  const silent = await RawClient.open(t, listener.port);
  silent.send(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: h\r\n\r\n`);
  const blind = await RawClient.open(t, listener.port);
  blind.send(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: h\r\n\r\n\x16\x03\x01`);
  await until(() => open === 2, 'both to be connected');
  silent.socket.destroy();
  blind.socket.resetAndDestroy();
  await until(() => open === 0, 'both to be closed');
  t.pass();
});

test('the first bytes of a connection tell its protocol, however they are cut', (t) => {
  const whole: Readonly<Record<string, Protocol>> = {
    'GET / HTTP/1.1': 'http1',
    'M-SEARCH * HTTP/1.1': 'http1',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n': 'http2',
    'PRI * HTTP/1.1': 'other',
    '\x16\x03\x01': 'tls',
    'get / HTTP/1.1': 'other',
    '\x00\x00\x00\x08': 'other',
    ABCDEFGHIJKLMNOPQRSTUVWXYZ: 'other',
  };
  for (const [text, protocol] of Object.entries(whole)) {
    t.is(protocolOf(Buffer.from(text, 'latin1')), protocol, text);
    for (let cut = 0; cut < text.length; cut += 1) {
      t.true(['more', protocol].includes(protocolOf(Buffer.from(text.slice(0, cut), 'latin1'))), text.slice(0, cut));
    }
  }
});

test('a request over a proxy connection that node’s client keeps open uses it again', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('x'));
  const listener = await outbound(t);
  for (let index = 0; index < 3; index += 1) {
    const outgoing = httpRequest({ port: listener.port, path: `http://127.0.0.1:${app.port}/` });
    outgoing.end();
    const [answer] = await once(outgoing, 'response');
    t.is(Buffer.concat(await answer.toArray()).toString(), 'x');
  }
});

test('a tunnel leads where it says, also where an upstream has the name of its host', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('the upstream'));
  const listener = await outbound(t, { localhost: { url: `http://127.0.0.1:${app.port}` } });
  const client = await RawClient.open(t, listener.port);
  client.send('CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n');
  await client.until(/ 200 Connection Established/);
  client.send('GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  await client.closed();
  t.is(app.seen.length, 0);
});
