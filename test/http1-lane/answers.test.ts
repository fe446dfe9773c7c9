import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { inboundTo, outbound, RawClient, startApp } from '../proxy-http/support.ts';

type Serve = (request: IncomingMessage, response: ServerResponse) => void;

/** What an application may answer; each is asked for through the lane and through node's server. */
const ANSWERS: Readonly<Record<string, { readonly method?: string; readonly serve: Serve }>> = {
  'a body of known length': { serve: (_, response) => response.writeHead(200, { 'content-length': 2 }).end('ok') },
  'a body in chunks': {
    serve: (_, response) => {
      response.write('one');
      setImmediate(() => response.end('three'));
    },
  },
  'no body': { serve: (_, response) => response.end() },
  'a long body of known length': {
    serve: (_, response) => response.writeHead(200, { 'content-length': 200_000 }).end('x'.repeat(200_000)),
  },
  'a reason of its own': { serve: (_, response) => response.writeHead(299, 'Quite Fine').end('x') },
  'a status that nobody knows': { serve: (_, response) => response.writeHead(599).end() },
  'repeated headers in mixed case': {
    serve: (_, response) => response.writeHead(200, ['Set-Cookie', 'a=1', 'X-Odd', 'ü', 'Set-Cookie', 'b=2']).end('x'),
  },
  'a Date of its own': { serve: (_, response) => response.writeHead(200, { date: 'today' }).end('x') },
  'no Date': {
    serve: (_, response) => {
      response.sendDate = false;
      response.end('x');
    },
  },
  trailers: {
    serve: (_, response) => {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write('body');
      response.addTrailers({ 'x-sum': '1' });
      response.end();
    },
  },
  '204': { method: 'DELETE', serve: (_, response) => response.writeHead(204).end() },
  '304 with a length': { serve: (_, response) => response.writeHead(304, { 'content-length': 9, etag: '"1"' }).end() },
  'HEAD with a length': {
    method: 'HEAD',
    serve: (_, response) => response.writeHead(200, { 'content-length': 9 }).end(),
  },
  'HEAD without one': { method: 'HEAD', serve: (_, response) => response.writeHead(200).end() },
  'hop-by-hop headers': {
    serve: (_, response) =>
      response.writeHead(200, { connection: 'close, x-hop', 'x-hop': '1', 'x-end': '1' }).end('x'),
  },
  'early hints': {
    serve: (_, response) => response.writeEarlyHints({ link: '</a.css>; rel=preload' }, () => response.end('x')),
  },
};

/** What comes back for `head` up to its end, which a second request behind it shows; without the time. */
async function answerTo(t: ExecutionContext, port: number, head: string): Promise<string> {
  const client = await RawClient.open(t, port);
  client.send(head);
  await client.until(/^(?:HTTP\/1.1 1[^]*?\r\n\r\n)?HTTP\/1.1 [2-5][^]*\r\n\r\n/);
  // Only a connection whose answer has come whole takes another request.
  client.send('\r\nGET /last HTTP/1.1\r\nHost: h\r\n\r\n');
  const received = await client.until(/x-last: 1[^]*\r\nlast$/);
  client.socket.destroy();
  return received.slice(0, received.lastIndexOf('HTTP/1.1 ')).replace(/^Date: .*GMT$/gm, 'Date: now');
}

for (const [what, { method = 'GET', serve }] of Object.entries(ANSWERS)) {
  test(`an answer through the lane is the one that node's server writes, byte for byte: ${what}`, async (t) => {
    const app = await startApp(t, (request, response) => {
      request.resume();
      if (request.url !== '/last') return serve(request, response);
      response.writeHead(200, { 'x-last': '1', 'content-length': 4 }).end('last');
    });
    const inbound = await inboundTo(t, app.port);
    const head = `${method} / HTTP/1.1\r\nHost: h\r\n\r\n`;
    const byLane = await answerTo(t, inbound.port, head);
    // An empty line in front of a request is not for the lane.
    const byNode = await answerTo(t, inbound.port, `\r\n${head}`);
    t.is(byLane, byNode);
    t.is(app.seen.length, 4);
  });
}

test("errors through the lane are those that node's server writes; of a request that was whole, they leave the connection open", async (t) => {
  const inbound = await inboundTo(t, 1, { transactions: [{ match: 'POST /orders', begin: {} }] });
  const table = ['GET / HTTP/1.1\r\nHost: h\r\n\r\n', 'GET / HTTP/1.1\r\nHost: h\r\natomesh-gid: a b\r\n\r\n'];
  for (const head of [...table, 'POST //orders/%2e HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx']) {
    const answers = ['', '\r\n'].map(async (before) => {
      const client = await RawClient.open(t, inbound.port);
      client.send(before + head);
      const received = await client.until(/\}$/);
      return received.replace(/^(?:Date|Connection|Keep-Alive): .*\r\n/gim, '');
    });
    const [byLane, byNode] = await Promise.all(answers);
    t.is(byLane, byNode);
    t.regex(byLane ?? '', /^HTTP\/1\.1 [45]/);
  }
});

/** An origin that keeps what it is sent, and answers each time it has been sent `whole`. */
async function recorder(
  t: ExecutionContext,
  whole: RegExp,
): Promise<{ readonly port: number; readonly sent: string[] }> {
  const sent: string[] = [];
  const server = createServer((socket) => {
    let received = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      if (!whole.test(received)) return;
      sent.push(received);
      received = '';
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
    t.teardown(() => void socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return { port: (server.address() as AddressInfo).port, sent };
}

test("a request goes out in the same bytes, whether its body came with its head, behind it, or through node's server", async (t) => {
  const body = 'x'.repeat(300);
  const lines =
    'Host: orders.example\r\nX-Mixed: a\r\ncookie: b\r\nX-Mixed: é\r\nConnection: keep-alive\r\nTE: trailers\r\n';
  const head = `POST /a?b=c HTTP/1.1\r\n${lines}Content-Length: 300\r\nX-Last: 1\r\n\r\n`;
  const { port, sent } = await recorder(t, /x{300}/);
  const inbound = await inboundTo(t, port);
  const calls = await outbound(t, { app: { url: `http://127.0.0.1:${port}/base` } });
  for (const [at, path] of [
    [inbound.port, '/a'],
    [calls.port, '/app/a'],
  ] as const) {
    sent.length = 0;
    const named = head.replace('/a?', `${path}?`);
    const whole = await RawClient.open(t, at);
    whole.send(named + body);
    await whole.until(/ok$/);
    const streamed = await RawClient.open(t, at);
    streamed.send(named);
    streamed.send('x');
    // The origin has the head before the body is whole.
    await new Promise((resolve) => setImmediate(resolve));
    streamed.send(body.slice(1));
    await streamed.until(/ok$/);
    const byNode = await RawClient.open(t, at);
    byNode.send(`\r\n${named}${body}`);
    await byNode.until(/ok$/);
    t.is(sent.length, 3);
    t.is(sent[0], sent[1]);
    t.is(sent[0], sent[2]);
  }
});
