/** What a client or an origin could do to the sidecar, through the lane and through node's server. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { openLane } from '../../proxy/http1/lane/lane.ts';
import type { Listener, RequestHandler } from '../../proxy/http/listener.ts';
import { openListener } from '../../proxy/http/open-listener.ts';
import { openHttpMetrics } from '../../proxy/http/metrics.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';
import { inboundTo, RawClient, startApp, until } from '../proxy-http/support.ts';

const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
/** An empty line in front of a request is not for the lane. */
const WAYS = [
  ['the lane', ''],
  ["node's server", '\r\n'],
] as const;

/** An origin that does `serve` with each piece that comes. */
async function originOf(t: ExecutionContext, serve: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', () => serve(socket));
    t.teardown(() => void socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

for (const [way, emptyLine] of WAYS) {
  test(`a hint that is not well formed is left out, and costs nothing, through ${way}`, async (t) => {
    const links = [`</a>${';a=a'.repeat(40)};"`, `</a>${' '.repeat(8_000)}"`, `</a>;${'='.repeat(8_000)}`];
    const hints = links.map((link) => `HTTP/1.1 103 Early Hints\r\nLink: ${link}\r\n\r\n`).join('');
    const last = `HTTP/1.1 103 Early Hints\r\nLink: </b>; rel="x"; as=y ; nopush${';a=a'.repeat(2_000)}\r\n\r\n`;
    const port = await originOf(t, (socket) => void socket.write(hints + last + OK));
    const client = await RawClient.open(t, (await inboundTo(t, port)).port);
    client.send(emptyLine + GET);
    const received = await client.until(/ok$/);
    t.false(received.includes('</a>'));
    t.true(received.startsWith(last));
  });

  test(`hints without end are left out while the client does not read, through ${way}`, async (t) => {
    const hint = `HTTP/1.1 103 Early Hints\r\nLink: </${'a'.repeat(8_000)}>\r\n\r\n`;
    const piece = Buffer.from(hint.repeat(100));
    const all = Promise.withResolvers<void>();
    const port = await originOf(t, (socket) => {
      for (let count = 1; count < 50; count += 1) socket.write(piece);
      socket.write(OK, () => all.resolve());
    });
    const client = await RawClient.open(t, (await inboundTo(t, port)).port);
    client.socket.pause();
    client.send(emptyLine + GET);
    await all.promise;
    client.socket.resume();
    const received = await client.until(/ok$/);
    t.true(received.length < 25_000_000, `${received.length} bytes`);
  });

  test(`closing lets a slow client read the answers that it was given, through ${way}`, async (t) => {
    const body = `<${'x'.repeat(15_000)}>`;
    const app = await startApp(t, (_request, response) => response.end(body));
    const inbound = await inboundTo(t, app.port);
    let slowestMs = 0;
    /** Sends requests, each when the one before has been served, as long as they are, and says how many were. */
    const served = async (client: RawClient, path: string, atMost: number): Promise<number> => {
      client.socket.pause();
      const seen = (): number => app.seen.filter(({ url }) => url === path).length;
      for (let count = 0; count < atMost; count += 1) {
        client.send(`${emptyLine}${GET.replace('/', path)}`);
        const begun = performance.now();
        const end = begun + 300 + 20 * slowestMs;
        while (seen() === count && performance.now() < end) await new Promise((next) => setImmediate(next));
        if (seen() === count) return count;
        slowestMs = Math.max(slowestMs, performance.now() - begun);
      }
      return atMost;
    };
    const first = await RawClient.open(t, inbound.port);
    const most = await served(first, '/first', 2_000);
    t.true(most < 2_000, 'who does not read its answers gets no further ones');
    first.socket.destroy();
    // So many are not all in the hands of the operating system, and no request waits behind them.
    const client = await RawClient.open(t, inbound.port);
    const count = await served(client, '/second', most - 2);
    await until(async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()), 'rest');
    const closing = inbound.close(20_000);
    // A part of the close happens at once, and a part with its first look at what is idle.
    await new Promise((resolve) => setTimeout(resolve, 60));
    client.socket.resume();
    await closing;
    const received = await client.closed();
    t.true(received.split('<').length - 1 >= count);
    t.true(received.endsWith('>'), received.slice(-40));
  });

  test(`a client that was refused cannot keep its connection, through ${way}`, async (t) => {
    const inbound = await inboundTo(t, 1, {}, { headMs: 300 });
    const client = connect({ port: inbound.port, host: '127.0.0.1', allowHalfOpen: true });
    t.teardown(() => void client.destroy());
    client.on('error', () => undefined);
    client.write(`${emptyLine}GET / HTTP/1.1\r\nHost`);
    let received = '';
    client.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    await once(client, 'end');
    t.regex(received, /^HTTP\/1.1 400 /);
    // Only what it sends tells a client whose end is open that the other side has gone.
    await until(() => (client.write('x'), client.destroyed), 'the connection to be gone');
    t.pass();
  });

  test(`a request that cannot be served because of a defect is counted out, and its connection does not stay, through ${way}`, async (t) => {
    const registry = openMetrics(false);
    const log = openLog('test', 'silent');
    const onRequest: RequestHandler = (request, response) => {
      listener.admit(response);
      if (request.url === '/begun') response.writeHead(200, ['content-length', '9']);
      throw new Error('a defect');
    };
    const limits = { header: 16_384 };
    const nothing = (): void => undefined;
    const listener: Listener = openListener({
      direction: 'inbound',
      metrics: openHttpMetrics(registry),
      log,
      limits,
      onRequest,
      onUpgrade: (_request, socket) => void socket.destroy(),
      http1: openLane(limits, log, onRequest),
      http2: { accept: nothing, drain: nothing, cut: nothing },
    });
    const listening = await listener.listen({ host: '127.0.0.1', port: 0 }, () => Promise.resolve());
    t.teardown(() => listening.close(0));
    const part = await RawClient.open(t, listening.port);
    part.send(`${emptyLine}POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\npart`);
    t.regex(await part.closed(), /^HTTP\/1.1 500 [^]*connection: close/i);
    const begun = await RawClient.open(t, listening.port);
    begun.send(emptyLine + GET.replace('/', '/begun'));
    await begun.closed();
    const whole = await RawClient.open(t, listening.port);
    whole.send(emptyLine + GET);
    t.regex(await whole.until(/\}$/), /^HTTP\/1.1 500 /);
    t.regex(await registry.metrics(), /in_flight\{direction="inbound"\} 0/);
  });
}

test('a client that closes its end inside a later head is told so too', async (t) => {
  const inbound = await inboundTo(t, await originOf(t, (socket) => void socket.write(OK)));
  const client = await RawClient.open(t, inbound.port);
  client.send(GET);
  await client.until(/ok$/);
  client.received = '';
  client.socket.end('GET / HTTP/1.1\r\nHos');
  t.regex(await client.closed(), /^HTTP\/1.1 400 [^]*HPE_INVALID_EOF_STATE/);
});
