import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { openLog } from '../../src/platform/log.ts';
import { healthRoutes } from '../../src/http/health.ts';
import { listenHttp } from '../../src/http/server.ts';
import type { Call, Route } from '../../src/http/routes.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { startTestCoordinator, until } from '../coordinator/started.ts';

const LIMIT = 1000;

interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly drain: () => void;
  readonly close: (graceMs: number) => Promise<void>;
}

async function listen(handle: Route['handle'], readMs?: number): Promise<TestServer> {
  const routes: readonly Route[] = [
    { method: 'POST', path: '/echo', handle },
    { method: 'GET', path: '/poll', handle },
  ];
  const options = {
    listen: { host: '127.0.0.1', port: 0 },
    token: undefined,
    bodyBytesMax: LIMIT,
    ...(readMs === undefined ? {} : { readMs }),
  };
  const server = await listenHttp(options, routes, openLog('test', 'silent'));
  return { ...server, [Symbol.asyncDispose]: () => server.close(0) };
}

const echo = ({ body }: Call): { status: number; text: string } => ({ status: 200, text: JSON.stringify({ body }) });

/** A bare connection: `received` grows, `ended` resolves when the server has closed. */
async function open(port: number): Promise<{ socket: Socket; received: () => string; ended: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  const ended = new Promise((resolve, reject) => {
    socket.on('end', resolve);
    socket.on('error', reject);
  });
  ended.catch(() => undefined);
  await once(socket, 'connect');
  return { socket, received: () => text, ended };
}

const post = (headers: string, body = ''): string => `POST /echo HTTP/1.1\r\nhost: x\r\n${headers}\r\n\r\n${body}`;

test('a body in pieces of any size comes through whole, and the connection serves the next request', async (t) => {
  await using server = await listen(echo);
  const { socket, received } = await open(server.port);
  const request = post('transfer-encoding: chunked', '4\r\na€\r\n2\r\nbc\r\n0\r\n\r\n');
  for (const byte of Buffer.from(request)) {
    socket.write(Buffer.of(byte));
  }
  await until('the first answer', () => received().includes('{"body":"a€bc"}'));
  socket.write(post('content-length: 2', 'hi'));
  await until('the second answer', () => received().includes('{"body":"hi"}'));
  t.is(received().match(/HTTP\/1.1 200 /g)?.length, 2);
  socket.destroy();
});

test('a body over the limit is 413, read by the client although it sends the body to the end', async (t) => {
  await using server = await listen(echo);
  for (const [title, head, body] of [
    ['by its stated length', `content-length: 5000000`, 'x'.repeat(5_000_000)],
    ['by its chunks', 'transfer-encoding: chunked', `100000\r\n${'x'.repeat(0x100000)}\r\n`.repeat(4) + '0\r\n\r\n'],
  ] as const) {
    const { socket, received, ended } = await open(server.port);
    socket.write(post(head, body));
    await ended;
    t.regex(received(), /^HTTP\/1.1 413 /, title);
    t.regex(received(), /connection: close/i, title);
    t.regex(received(), /atomesh-error-source: coordinator/, title);
    t.regex(received(), /"code":"BODY_TOO_LARGE"/, title);
    socket.destroy();
  }
  const { socket, received } = await open(server.port);
  socket.write(post(`content-length: ${LIMIT}`, 'x'.repeat(LIMIT)));
  await until('the largest body is taken', () => received().startsWith('HTTP/1.1 200 '));
  socket.destroy();
});

test('Expect: 100-continue is answered before the body, and with 413 alone when it would be too large', async (t) => {
  await using server = await listen(echo);
  const small = await open(server.port);
  small.socket.write(post('content-length: 2\r\nexpect: 100-continue'));
  await until('the go-ahead', () => small.received().startsWith('HTTP/1.1 100 Continue'));
  small.socket.write('hi');
  await until('the answer', () => small.received().includes('{"body":"hi"}'));
  small.socket.destroy();

  const large = await open(server.port);
  large.socket.write(post('content-length: 9999\r\nexpect: 100-continue'));
  await large.ended;
  t.regex(large.received(), /^HTTP\/1.1 413 /);
  large.socket.destroy();
});

test('bytes that are no request are answered with 400, headers without end with 431, and the server goes on', async (t) => {
  await using server = await listen(echo);
  for (const [bytes, status] of [
    ['\u0016\u0003\u0001\u0000 hello\r\n\r\n', 400],
    ['GET /poll HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n', 400],
    [`GET /poll HTTP/1.1\r\nhost: x\r\nlong: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n', 400],
  ] as const) {
    const { socket, received, ended } = await open(server.port);
    socket.write(bytes);
    await ended;
    t.regex(received(), new RegExp(`^HTTP/1.1 ${status} `), JSON.stringify(bytes.slice(0, 60)));
    t.regex(received(), /atomesh-error-source: coordinator[^]*"code":"BAD_REQUEST"/);
    socket.destroy();
  }
  const { socket, received } = await open(server.port);
  socket.write(post('content-length: 2', 'hi'));
  await until('an answer', () => received().includes('{"body":"hi"}'));
  socket.destroy();
});

test('a client that does not read a long answer is cut off, and one that reads gets it whole', async (t) => {
  const text = JSON.stringify('x'.repeat(20_000_000));
  await using server = await listen(() => ({ status: 200, text }), 1500);
  const slow = connect(server.port, '127.0.0.1');
  slow.on('error', () => undefined);
  slow.write(post('content-length: 2', 'hi'));
  const bytes = (await (await fetch(`http://127.0.0.1:${server.port}/poll`)).text()).length;
  t.is(bytes, text.length);
  await once(slow, 'readable');
  const start = performance.now();
  await server.close(20_000);
  t.true(performance.now() - start < 15_000, 'nobody waits for who does not read');
  // What the system had taken is still to be read; after it comes the end, long before the end of the text.
  slow.resume();
  await once(slow, 'close');
  t.true(slow.bytesRead < text.length, `${slow.bytesRead} bytes`);
});

test('a page of another site cannot use the browser of somebody who reaches the coordinator', async (t) => {
  await using coordinator = await startTestCoordinator();
  const from = (site: string): Record<string, string> => ({ 'sec-fetch-site': site, 'content-type': 'text/plain' });
  const refused = await coordinator.ask('POST', '/v1/transactions', { gid: 'g' }, from('cross-site'));
  t.deepEqual([refused.status, refused.body.error.code], [401, 'UNAUTHORIZED']);
  t.regex(refused.body.error.message, /web page of another site/);
  for (const path of ['/api/dtmsvr/subscribe?topic=t&url=http://h/', '/api/dtmsvr/query?gid=g', '/metrics']) {
    t.is((await coordinator.ask('GET', path, undefined, from('cross-site'))).status, 401, path);
  }
  t.is((await coordinator.ask('GET', '/livez', undefined, from('cross-site'))).status, 200);
  for (const site of ['none', 'same-origin', 'same-site']) {
    t.is((await coordinator.ask('GET', '/v1/transactions/g', undefined, from(site))).status, 404, site);
  }
});

test('a client that goes away ends its long poll, in the middle of a body it costs nothing', async (t) => {
  let signal: AbortSignal | undefined;
  await using server = await listen((call) => {
    signal = call.signal();
    return new Promise(() => undefined);
  });
  const poll = await open(server.port);
  poll.socket.write('GET /poll HTTP/1.1\r\nhost: x\r\n\r\n');
  await until('the poll has begun', () => signal !== undefined);
  t.false(signal?.aborted);
  poll.socket.destroy();
  await until('the poll has ended', () => signal?.aborted === true);

  const half = await open(server.port);
  half.socket.write(post('content-length: 100', 'half'));
  half.socket.destroy();
});

test('a defect in a handler is 500 INTERNAL and ends nothing', async (t) => {
  await using server = await listen(() => {
    throw new Error('secret details');
  });
  const answer = await fetch(`http://127.0.0.1:${server.port}/poll`);
  t.is(answer.status, 500);
  const text = await answer.text();
  t.regex(text, /"code":"INTERNAL"/);
  t.notRegex(text, /secret details/);
  t.is((await fetch(`http://127.0.0.1:${server.port}/poll`)).status, 500);
});

test('while draining, long polls end, each connection closes with its answer, and nobody new gets in', async (t) => {
  let polls = 0;
  await using server = await listen(async (call) => {
    polls += 1;
    await once(call.signal(), 'abort');
    return { status: 200, text: '{}' };
  });
  const { socket, received, ended } = await open(server.port);
  socket.write('GET /poll HTTP/1.1\r\nhost: x\r\n\r\n');
  await until('the poll has begun', () => polls === 1);
  server.drain();
  await ended;
  t.regex(received(), /^HTTP\/1.1 200 [^]*connection: close/i);
  await t.throwsAsync(open(server.port), { code: 'ECONNREFUSED' });
  socket.destroy();
});

test('the probes tell whether the coordinator lives and is ready, the metrics what it did', async (t) => {
  await using coordinator = await startTestCoordinator();
  t.deepEqual(
    [(await coordinator.ask('GET', '/livez')).status, (await coordinator.ask('GET', '/readyz')).status],
    [200, 200],
  );
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  await coordinator.ask('POST', '/v1/transactions/g/submit', {});
  await coordinator.ask('GET', '/v1/transactions/g?wait=5s');
  const { body, headers } = await coordinator.ask('GET', '/metrics');
  t.regex(headers.get('content-type') ?? '', /^text\/plain; version=0.0.4/);
  t.regex(body, /atomesh_transaction_duration_seconds_count\{outcome="succeed"\} 1/);
  for (const name of [
    'atomesh_transactions_driven',
    'atomesh_branch_calls_in_flight',
    'nodejs_eventloop_lag_p99_seconds',
  ]) {
    t.regex(body, new RegExp(`^${name} `, 'm'));
  }
});

test('a coordinator whose store does not answer, or that is stopping, lives but is not ready', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-health-'));
  const store = await openSqliteStore(join(folder, 'store.db'));
  let isDraining = false;
  const options = { listen: { host: '127.0.0.1', port: 0 }, token: undefined, bodyBytesMax: LIMIT };
  const server = await listenHttp(
    options,
    healthRoutes(store, () => isDraining),
    openLog('test', 'silent'),
  );
  const ask = async (path: string): Promise<readonly [number, string]> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return [answer.status, await answer.text()];
  };
  t.deepEqual(await ask('/readyz'), [200, 'ok\n']);
  isDraining = true;
  t.regex((await ask('/readyz')).join(' '), /^503 .*SHUTTING_DOWN/);
  isDraining = false;
  await store.close();
  const failed = (await ask('/readyz')).join(' ');
  t.regex(failed, /^503 .*STORE_FAILED.*log/);
  t.false(failed.includes('closed'), 'who asks without a token is not told what the store said');
  t.deepEqual(await ask('/livez'), [200, 'ok\n']);
  await server.close(0);
  await rm(folder, { recursive: true, force: true });
});

test('closing waits for the requests that came in and cuts nobody who is answered in time', async (t) => {
  const finish = Promise.withResolvers<void>();
  let begun = 0;
  await using server = await listen(async (call) => {
    begun += 1;
    await finish.promise;
    return echo(call);
  });
  const clients = await Promise.all(Array.from({ length: 5 }, () => open(server.port)));
  const late = await open(server.port);
  for (const { socket } of clients) socket.write(post('content-length: 2', 'hi'));
  late.socket.write(post('content-length: 2', 'h'));
  await until('the requests', () => begun === clients.length);
  server.drain();
  const closing = server.close(10_000);
  late.socket.write('i');
  await until('the last request', () => begun === clients.length + 1);
  finish.resolve();
  await closing;
  for (const { received, ended } of [...clients, late]) {
    await ended;
    t.regex(received(), /^HTTP\/1.1 200 [^]*connection: close[^]*\{"body":"hi"\}$/i);
  }
});

test('closing cuts a request that is not answered when the grace is over', async (t) => {
  let isBegun = false;
  await using server = await listen(() => {
    isBegun = true;
    return new Promise(() => undefined);
  });
  const { socket, received, ended } = await open(server.port);
  socket.write(post('content-length: 2', 'hi'));
  await until('the request', () => isBegun);
  await server.close(50);
  await ended.catch(() => undefined);
  t.is(received(), '');
});
