import { request as httpRequest, type IncomingMessage } from 'node:http';
import test from 'ava';
import type { Instant } from '../../src/contract/transaction.ts';
import { ask, inboundTo, RawClient, startApp, until } from './support.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = { traceparent: `00-${TRACE}-00f067aa0ba902b7-00`, tracestate: 'vendor=1' };

function traceOf(request: IncomingMessage | undefined): string | undefined {
  return String(request?.headers['traceparent']).split('-')[1];
}

for (const trustGid of [true, false]) {
  for (const order of ['begin', 'plain'] as const) {
    test(`a plain request in the outside trace of one that begins is in no transaction: trustGid ${trustGid}, first ${order}`, async (t) => {
      const finish = Promise.withResolvers<void>();
      const app = await startApp(t, (_request, response) => void finish.promise.then(() => response.end()));
      const transactions = [{ match: 'POST /orders', begin: {} }];
      const inbound = await inboundTo(t, app.port, { trustGid, transactions });
      const begin = { method: 'POST', path: '/orders', headers: PARENT };
      const plain = { path: '/plain', headers: PARENT };
      const first = ask(inbound.port, order === 'begin' ? begin : plain);
      await until(() => app.seen.length === 1, 'the first request');
      const second = ask(inbound.port, order === 'begin' ? plain : begin);
      await until(() => app.seen.length === 2, 'the second request');
      const now = Date.now() as Instant;
      const [begun, other] = order === 'begin' ? app.seen : app.seen.toReversed();
      const { gid } = inbound.coordinator.single();
      t.deepEqual(inbound.activeRequests.markOf(traceOf(begun) ?? '', now), { gid });
      t.is(inbound.activeRequests.markOf(traceOf(other) ?? '', now), undefined);
      t.is(other?.headers['traceparent'], PARENT.traceparent);
      t.is(begun?.headers['tracestate'], `atomesh=g:${gid};o:${TRACE}-00f067aa0ba902b7`);
      t.regex(String(begun?.headers['traceparent']), /-00$/); // whether it is sampled stays decided
      finish.resolve();
      await Promise.all([first, second]);
      t.is(inbound.activeRequests.size, 0);
    });
  }
}

test('a request without a gid in a trace that is being served under one goes on in a trace of its own', async (t) => {
  const finish = Promise.withResolvers<void>();
  const app = await startApp(t, (_request, response) => void finish.promise.then(() => response.end()));
  const inbound = await inboundTo(t, app.port);
  const joined = ask(inbound.port, { headers: { ...PARENT, 'atomesh-gid': 'g1' } });
  await until(() => app.seen.length === 1, 'the request that joins');
  const plain = ask(inbound.port, { headers: PARENT });
  await until(() => app.seen.length === 2, 'the request that does not');
  t.is(traceOf(app.seen[0]), TRACE, 'the caller’s trace of a gid goes on');
  t.not(traceOf(app.seen[1]), TRACE);
  t.is(app.seen[1]?.headers['tracestate'], `atomesh=o:${TRACE}-00f067aa0ba902b7`);
  finish.resolve();
  await Promise.all([joined, plain]);
});

test('a WebSocket handshake joins a gid, names no operation, and keeps out of the trace of others', async (t) => {
  const app = await startApp(t, () => {});
  const upgrades: IncomingMessage[] = [];
  app.server.on('upgrade', (request: IncomingMessage, socket) => {
    upgrades.push(request);
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  });
  const inbound = await inboundTo(t, app.port);
  const handshake = async (headers: Readonly<Record<string, string>>): Promise<string> => {
    const client = await RawClient.open(t, inbound.port);
    const lines = Object.entries({ connection: 'Upgrade', upgrade: 'websocket', ...headers });
    client.send(`GET / HTTP/1.1\r\nHost: h\r\n${lines.map((line) => `${line.join(': ')}\r\n`).join('')}\r\n`);
    return await client.until(/\r\n\r\n/);
  };
  for (const names of [
    { 'atomesh-branch': '01', 'atomesh-op': 'try' },
    { 'atomesh-branch': '01' },
    { 'atomesh-op': 'x' },
  ]) {
    t.regex(await handshake({ 'atomesh-gid': 'g1', ...names }), /^HTTP\/1.1 400 /);
    t.regex(await handshake(names), /^HTTP\/1.1 400 /);
  }
  t.is(upgrades.length, 0);
  const running = httpRequest({ port: inbound.port, headers: { ...PARENT, 'atomesh-gid': 'g1' }, agent: false }).end();
  running.on('error', () => undefined);
  t.teardown(() => running.destroy());
  await until(() => app.seen.length === 1, 'the request that is served');
  t.regex(await handshake({ 'atomesh-gid': 'g2' }), /^HTTP\/1.1 101 /);
  t.regex(await handshake(PARENT), /^HTTP\/1.1 101 /);
  t.is(upgrades[0]?.headers['atomesh-gid'], 'g2');
  t.not(traceOf(upgrades[1]), TRACE);
});
