import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import { startAdmin } from '../../proxy/http/admin.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startSidecar } from '../../proxy/proxy.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';
import { ask, codeOf, inboundTo, outbound, RawClient, startApp, until } from './support.ts';

test('closing waits for running requests, tells keep-alive clients, and takes no new ones', async (t) => {
  const finish = Promise.withResolvers<void>();
  const app = await startApp(t, (_request, response) => void finish.promise.then(() => response.end('done')));
  const inbound = await inboundTo(t, app.port);
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const outgoing = httpRequest({ port: inbound.port, agent });
  outgoing.end();
  await until(() => app.seen.length === 1, 'the request');
  let isClosed = false;
  const closing = inbound.close(10_000).then(() => {
    isClosed = true;
  });
  await t.throwsAsync(ask(inbound.port), { code: 'ECONNREFUSED' });
  t.false(isClosed);
  finish.resolve();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  t.is(answer.headers.connection, 'close');
  t.is(Buffer.concat(await answer.toArray()).toString(), 'done');
  await closing;
});

test('closing ends a keep-alive connection whose answer had begun before', async (t) => {
  const finish = Promise.withResolvers<void>();
  const app = await startApp(t, (_request, response) => {
    response.write('begun');
    void finish.promise.then(() => response.end());
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  await client.until(/begun/);
  const closing = inbound.close(10_000);
  finish.resolve();
  await closing;
  t.regex(await client.closed(), /0\r\n\r\n$/);
});

test('a head, or a body, that does not arrive is cut off; one that moves is not', async (t) => {
  const app = await startApp(t, (request, response) => {
    request.resume();
    request.on('end', () => response.end('whole'));
  });
  const inbound = await inboundTo(t, app.port, {}, { headMs: 3000, bodyIdleMs: 3000 });
  const head = await RawClient.open(t, inbound.port);
  head.send('GET / HTTP/1.1\r\nHost: h\r\n');
  const body = await RawClient.open(t, inbound.port);
  body.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1');
  const moving = await RawClient.open(t, inbound.port);
  moving.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n');
  for (let index = 0; index < 20; index += 1) {
    // Longer than that in all, and never as long at once, on a busy machine neither.
    await new Promise((resolve) => setTimeout(resolve, 175));
    moving.send('x');
  }
  t.regex(await moving.until(/whole/), /^HTTP\/1.1 200 /);
  t.regex(await head.closed(), /^HTTP\/1.1 408 |^$|did not arrive in time/);
  await body.closed();
  await until(() => app.seen.filter(({ complete }) => !complete).every(({ destroyed }) => destroyed), 'the abort');
});

test('closing cuts off what is left when the grace is over, WebSockets and held answers too', async (t) => {
  const app = await startApp(t, () => {});
  const inbound = await inboundTo(t, app.port, { transactions: [{ match: 'POST /orders', begin: {} }] });
  const client = await RawClient.open(t, inbound.port);
  client.send('POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n');
  const plain = await RawClient.open(t, inbound.port);
  plain.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => app.seen.length === 2, 'the requests');
  await inbound.close(100);
  await client.closed();
  await plain.closed();
  t.is(inbound.coordinator.single().status, 'failed');
  await until(async () => (await app.connections()) === 0, 'the application to be rid of them');
});

test('closing does not wait for ever for a tunnel in which nobody has spoken, nor for a refused one', async (t) => {
  const app = await startApp(t, (_request, response) => void response.end());
  const listener = await outbound(t);
  const silent = await RawClient.open(t, listener.port);
  silent.send(`CONNECT 127.0.0.1:${app.port} HTTP/1.1\r\nHost: h\r\n\r\n`);
  await silent.until(/^HTTP\/1.1 200 /);
  const refused = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
  t.teardown(() => void refused.destroy());
  refused.write('CONNECT nowhere HTTP/1.1\r\nHost: h\r\n\r\n');
  await once(refused.resume(), 'end');
  const served = await RawClient.open(t, listener.port);
  served.send(`CONNECT 127.0.0.1:${app.port} HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n`);
  await served.until(/Established[^]*HTTP\/1.1 200 /);
  await listener.close(100);
  await silent.closed();
  await served.closed();
  t.pass();
});

test('the grace of a sidecar is one for all of it: what hangs in each part is cut off at the same time', async (t) => {
  const graceMs = 1_500;
  const app = await startApp(t, () => {});
  const options = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: 'http://127.0.0.1:9', timeout: '1s' },
    control: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
    inbound: { listen: '127.0.0.1:0', target: `http://127.0.0.1:${app.port}` },
    outbound: { listen: '127.0.0.1:0', upstreams: { app: { url: `http://127.0.0.1:${app.port}` } } },
  });
  // A machine that is busy with something else is not so each time.
  let tookMs = Infinity;
  for (let tries = 1; tries <= 3 && tookMs >= 1.8 * graceMs; tries += 1) {
    const sidecar = await startSidecar(options, openLog('test', 'silent'));
    const running = [sidecar.ports.inbound, sidecar.ports.outbound].map((port) => ask(port ?? 0, { path: '/app/x' }));
    await until(() => app.seen.length === 2 * tries, 'both requests');
    const startedAt = performance.now();
    await Promise.all([sidecar.close(graceMs), ...running.map((one) => t.throwsAsync(one))]);
    tookMs = performance.now() - startedAt;
    t.true(tookMs >= graceMs - 50, `${tookMs} ms`);
  }
  t.true(tookMs < 1.8 * graceMs, `${tookMs} ms`);
});

test('requests are counted by listener, method and class of status, and nothing else becomes a label', async (t) => {
  const app = await startApp(t, (request, response) => void response.writeHead(Number(request.url?.slice(1, 4))).end());
  const inbound = await inboundTo(t, app.port, { transactions: [{ match: 'POST /**', begin: {} }] });
  const asks: readonly (readonly [string, string])[] = [
    ['GET', '/200?secret'],
    ['GET', '/204'],
    ['POST', '/200'],
    ['POST', '/500'],
    ['PURGE', '/404'],
  ];
  for (const [method, path] of asks) await ask(inbound.port, { method, path });
  const text = await inbound.registry.metrics();
  const lines = text.split('\n');
  const has = (line: string): void => {
    t.true(lines.includes(line), `${line}\n${text}`);
  };
  has('atomesh_http_requests_total{direction="inbound",method="GET",status="2xx"} 2');
  has('atomesh_http_requests_total{direction="inbound",method="POST",status="2xx"} 1');
  has('atomesh_http_requests_total{direction="inbound",method="POST",status="5xx"} 1');
  has('atomesh_http_requests_total{direction="inbound",method="other",status="4xx"} 1');
  has('atomesh_http_request_duration_seconds_count{direction="inbound",method="GET",status="2xx"} 2');
  has('atomesh_http_request_duration_seconds_bucket{le="+Inf",direction="inbound",method="GET",status="2xx"} 2');
  has('atomesh_http_requests_in_flight{direction="inbound"} 0');
  has('atomesh_inbound_transactions_total{event="begun"} 2');
  has('atomesh_inbound_transactions_total{event="committed"} 1');
  has('atomesh_inbound_transactions_total{event="rolled-back"} 1');
  t.false(text.includes('secret'));
});

test('the admin listener says whether it lives, whether it is ready, and what it counted', async (t) => {
  const state = { isReady: true, isDraining: false, fails: false };
  const admin = await startAdmin({
    address: { host: '127.0.0.1', port: 0 },
    checks: () =>
      state.fails
        ? Promise.reject(new Error('no check'))
        : Promise.resolve({ ok: state.isReady, detail: { coordinator: state.isReady ? 'ok' : 'unreachable' } }),
    registry: openMetrics(true),
    locks: async () => ({ locks: [] }),
    ending: () => (state.isDraining ? 'sidecar' : undefined),
  });
  t.teardown(() => admin.close(0));
  t.is((await ask(admin.port, { path: '/livez' })).status, 200);
  t.is((await ask(admin.port, { path: '/readyz' })).status, 200);
  t.regex((await ask(admin.port, { path: '/metrics' })).body, /process_cpu_seconds_total/);
  state.isReady = false;
  const unready = await ask(admin.port, { path: '/readyz' });
  t.is(unready.status, 503);
  t.deepEqual(JSON.parse(unready.body), { status: 'unavailable', detail: { coordinator: 'unreachable' } });
  state.fails = true;
  t.is((await ask(admin.port, { path: '/readyz' })).status, 503);
  Object.assign(state, { isReady: true, fails: false, isDraining: true });
  t.is((await ask(admin.port, { path: '/readyz' })).status, 503);
  t.is((await ask(admin.port, { path: '/livez' })).status, 200);
  t.is(codeOf(await ask(admin.port, { path: '/readyz', method: 'POST' })), 'METHOD_NOT_ALLOWED');
  t.is((await ask(admin.port, { path: '/readyz', method: 'HEAD' })).body, '');
  t.is(codeOf(await ask(admin.port, { path: '/' })), 'NOT_FOUND');
});

test('a readiness check that hangs is a failed one', async (t) => {
  const admin = await startAdmin({
    address: { host: '127.0.0.1', port: 0 },
    checks: () => new Promise(() => {}),
    registry: openMetrics(false),
    locks: async () => ({ locks: [] }),
    ending: () => undefined,
  });
  t.teardown(() => admin.close(0));
  const answer = await ask(admin.port, { path: '/readyz' });
  t.is(answer.status, 503);
  t.regex(answer.body, /no result within/);
});
