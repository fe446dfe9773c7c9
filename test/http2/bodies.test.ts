import { constants } from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import { END_STREAM, FRAME, frame } from '../../bench/http2/frames.ts';
import { openActiveRequests } from '../../proxy/binding/active-requests.ts';
import { openHttpMetrics } from '../../proxy/http/metrics.ts';
import { startInbound } from '../../proxy/inbound/inbound.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { openApplication } from '../../proxy/workflow/send.ts';
import { WorkflowDesk } from '../../proxy/workflow/desk.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';
import { service, world } from '../outbound/world.ts';
import { FakeCoordinator } from '../proxy-http/fake-coordinator.ts';
import { inboundTo, startApp, until } from '../proxy-http/support.ts';
import { RawHttp2Client } from './raw-client.ts';
import { ask, client, outcomeOf, post, startHttp2App, valueOf } from './support.ts';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;
const CODES = [NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL];
const HALF = frame(FRAME.DATA, 0, 1, Buffer.from('half'));

function reset(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(FRAME.RST_STREAM, 0, stream, payload);
}

/** A request to the outbound listener, as through a proxy. */
function call(url: string, ...headers: readonly string[]): readonly string[] {
  const { host, pathname } = new URL(url);
  return [':method', 'POST', ':path', pathname, ':scheme', 'http', ':authority', host, ...headers];
}

/** Sends half of a body and gives the request up, then a whole one on the same connection. */
async function cutThenWhole(
  t: ExecutionContext,
  port: number,
  request: readonly string[],
  { code, isAtOnce, length }: { readonly code: number; readonly isAtOnce: boolean; readonly length: readonly string[] },
): Promise<void> {
  const raw = await RawHttp2Client.open(t, port);
  raw.head(1, [...request, ...length]);
  raw.send(HALF);
  if (!isAtOnce) {
    raw.send(frame(FRAME.PING, 0, 0, Buffer.alloc(8)));
    await until(() => raw.of(FRAME.PING).length > 0, 'the half to have been read');
  }
  raw.send(reset(1, code));
  raw.head(3, request);
  raw.send(frame(FRAME.DATA, END_STREAM, 3, Buffer.from('whole')));
  await until(() => raw.of(FRAME.HEADERS, 3).length > 0, 'the answer to the whole one');
  raw.socket.destroy();
}

const WAYS = CODES.flatMap((code) =>
  [true, false].flatMap((isAtOnce) => [[], ['content-length', '8']].map((length) => ({ code, isAtOnce, length }))),
);

test('a body that is cut is never kept as a whole one: what outbound stores and enlists', async (t) => {
  const hotel = await service(t);
  const routes = [
    { match: `POST ${hotel.url}/mail`, message: {} },
    {
      match: `POST ${hotel.url}/try`,
      tcc: { confirm: `POST ${hotel.url}/confirm`, cancel: `POST ${hotel.url}/cancel` },
    },
  ];
  const mesh = await world(t, routes);
  for (const path of ['/mail', '/try']) {
    for (const way of WAYS) {
      const gid: Gid = await mesh.begin();
      await cutThenWhole(t, mesh.outbound.port, call(hotel.url + path, 'atomesh-gid', gid), way);
      t.is((await mesh.client.read(gid))?.branches.length, 1, `${path} ${JSON.stringify(way)}`);
    }
  }
});

test('a body that is cut is never kept as a whole one: what a workflow stores', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const log = openLog('test', 'silent');
  const metrics = openHttpMetrics(openMetrics(false));
  const coordinator = new FakeCoordinator();
  const options = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: 'http://127.0.0.1:9' },
    inbound: {
      listen: '127.0.0.1:0',
      target: `http://127.0.0.1:${app.port}`,
      protocol: 'http1',
      transactions: [{ match: 'POST /orders', begin: { workflow: true } }],
    },
  });
  if (options.inbound === undefined) throw new Error('inbound is configured');
  const origin = `http://127.0.0.1:${app.port}`;
  const workflow = new WorkflowDesk({
    service: 'orders',
    coordinator,
    runUrl: 'http://127.0.0.1:9/run',
    bodyBytesMax: 1_000,
    application: openApplication({ origin, basePath: '', timeoutMs: 1_000, bodyBytesMax: 1_000 }),
    undo: () => Promise.resolve([]),
    bind: () => undefined,
    metrics,
    log,
  });
  const inbound = await startInbound({
    options: options.inbound,
    propagation: options.propagation,
    limits: { header: 16_384 },
    service: 'orders',
    coordinator,
    activeRequests: openActiveRequests(),
    workflow,
    metrics,
    log,
  });
  t.teardown(() => inbound.close(0));
  for (const way of WAYS) await cutThenWhole(t, inbound.port, post('/orders'), way);
  t.is(coordinator.transactions.size, WAYS.length);
  for (const { begun } of coordinator.transactions.values()) {
    t.regex(Buffer.from(String(begun.callback?.payload), 'base64').toString(), /"body":\{"text":"whole"\}/);
  }
});

test('a body that is cut while it streams is never whole to the application, over either version of HTTP', async (t) => {
  let wholes = 0;
  const app = await startHttp2App(t, (stream) => {
    stream.resume().on('end', () => (wholes += stream.aborted || stream.rstCode !== 0 ? 0 : 1));
  });
  const old = await startApp(t, (request) => void request.resume().on('end', () => (wholes += 1)));
  for (const inbound of [await inboundTo(t, app.port), await inboundTo(t, old.port, { protocol: 'http1' })]) {
    for (const code of CODES) {
      const before = app.heads.length + old.seen.length;
      const raw = await RawHttp2Client.open(t, inbound.port);
      raw.head(1, post('/'));
      raw.send(HALF);
      await until(() => app.heads.length + old.seen.length > before, 'the request to arrive');
      raw.send(reset(1, code));
      await until(() => app.streams.size === 0, 'the stream to end');
    }
  }
  await until(() => old.seen.every(({ destroyed }) => destroyed), 'the requests to end');
  t.is(wholes, 0);
});

test('who expects a 100 gets it from whoever reads the body: a route that keeps it, or an application that speaks HTTP/1', async (t) => {
  const hotel = await service(t);
  const routes = [{ match: `POST ${hotel.url}/mail`, message: {} }];
  const mesh = await world(t, routes);
  const gid = await mesh.begin();
  const kept = client(t, mesh.outbound.url).request(
    [...call(`${hotel.url}/mail`, 'atomesh-gid', gid, 'expect', '100-continue')],
    { endStream: false },
  );
  kept.once('continue', () => kept.end('letter'));
  t.is((await outcomeOf(kept)).status, 202);
  const old = await startApp(t, (request, response) => void request.pipe(response));
  const inbound = await inboundTo(t, old.port, { protocol: 'http1' });
  const streamed = client(t, inbound.url).request([...post('/', 'expect', '100-continue')], { endStream: false });
  streamed.once('continue', () => streamed.end('late'));
  t.is((await outcomeOf(streamed)).body.toString(), 'late');
});

test('an expectation is met once, and goes on only while the body is still to come', async (t) => {
  const heads: (string | undefined)[] = [];
  const app = await startHttp2App(t, (stream, head) => {
    heads.push(valueOf(head, 'expect'));
    if (valueOf(head, 'expect') !== undefined) stream.additionalHeaders({ ':status': 100 });
    stream.on('data', () => undefined).on('end', () => stream.respond({ ':status': 204 }, { endStream: true }));
  });
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  const stream = session.request([...post('/', 'expect', '100-continue')], { endStream: false });
  stream.once('continue', () => stream.end('x'));
  t.deepEqual((await outcomeOf(stream)).interim, [100]);
  t.deepEqual((await ask(session, { head: post('/', 'expect', '100-continue') })).interim, []);
  t.deepEqual(heads, ['100-continue', undefined]);
});
