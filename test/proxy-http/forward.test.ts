import { randomBytes } from 'node:crypto';
import { createHash } from 'node:crypto';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { ask, codeOf, inboundTo, RawClient, startApp, until } from './support.ts';

/** An origin that answers each connection's first bytes with `answer`, and then does `after`. */
async function rawOrigin(
  t: ExecutionContext,
  answer: string,
  after: 'keep' | 'end' | 'reset' = 'keep',
): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      socket.write(answer, 'latin1', () => {
        if (after === 'end') socket.end();
        if (after === 'reset') socket.resetAndDestroy();
      });
    });
    t.teardown(() => void socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test('method, path, query, headers and body arrive as they were sent', async (t) => {
  const app = await startApp(t, (request, response) => request.pipe(response));
  const inbound = await inboundTo(t, app.port);
  const path = '/a%2Fb//c/../d?x=1&y=%20';
  const headers = { 'X-Mixed-Case': 'v', accept: ['a', 'b'], host: 'orders.example' };
  const answer = await ask(inbound.port, { method: 'POST', path, headers, body: 'hello' });
  t.is(answer.body, 'hello');
  const [seen] = app.seen;
  t.is(seen?.url, path);
  t.is(seen?.headers.host, 'orders.example');
  t.true(seen?.rawHeaders.includes('X-Mixed-Case'));
  t.is(seen?.headers['atomesh-gid'], undefined);
  t.is(seen?.headers['traceparent'], undefined);
});

test('repeated answer headers stay apart, and the reason and unusual status codes are kept', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.writeHead(299, 'Quite Fine', ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Case', 'y']);
    response.end('x');
  });
  const inbound = await inboundTo(t, app.port);
  const { message } = await ask(inbound.port);
  t.is(message.statusCode, 299);
  t.is(message.statusMessage, 'Quite Fine');
  t.deepEqual(message.headers['set-cookie'], ['a=1', 'b=2']);
  t.true(message.rawHeaders.includes('X-Case'));
});

test('hop-by-hop headers, those that Connection names among them, end at the sidecar on both ways', async (t) => {
  const port = await rawOrigin(
    t,
    'HTTP/1.1 200 OK\r\nConnection: close, X-Answer-Hop\r\nX-Answer-Hop: 1\r\nKeep-Alive: timeout=1\r\n' +
      'Proxy-Authenticate: x\r\nUpgrade: h2c\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok',
  );
  const inbound = await inboundTo(t, port);
  const answer = await ask(inbound.port);
  t.is(answer.body, 'ok');
  t.is(answer.headers['x-end'], '1');
  for (const name of ['x-answer-hop', 'proxy-authenticate', 'upgrade']) t.is(answer.headers[name], undefined, name);

  const app = await startApp(t, (_request, response) => response.end());
  const second = await inboundTo(t, app.port);
  const client = await RawClient.open(t, second.port);
  client.send(
    'GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop, Host, Content-Length\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\n' +
      'Proxy-Connection: x\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX-End: 1\r\n\r\n',
  );
  await client.until(/HTTP\/1.1 200/);
  const seen = app.seen[0]?.headers ?? {};
  t.is(seen['x-end'], '1');
  t.is(seen.host, 'h');
  t.is(seen['te'], 'trailers');
  for (const name of ['x-hop', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'upgrade', 'http2-settings']) {
    t.is(seen[name], undefined, name);
  }
});

test('several Connection headers of an answer name what ends at the sidecar together', async (t) => {
  const lines =
    'Connection: x-one\r\nConnection: close\r\nConnection: x-two, x-three\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n';
  const port = await rawOrigin(t, `HTTP/1.1 200 OK\r\n${lines}X-Kept: 1\r\nContent-Length: 0\r\n\r\n`, 'end');
  const { headers } = await ask((await inboundTo(t, port)).port);
  t.deepEqual(
    [headers['x-one'], headers['x-two'], headers['x-three'], headers['x-kept']],
    [undefined, undefined, undefined, '1'],
  );
});

test('trailers go through both ways', async (t) => {
  const app = await startApp(t, (request, response) => {
    request.resume();
    request.on('end', () => {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write(`got ${String(request.trailers['x-in'])}`);
      response.addTrailers({ 'x-sum': '42', 'x-sum-2': '43' });
      response.end();
    });
  });
  const inbound = await inboundTo(t, app.port);
  const outgoing = httpRequest({ port: inbound.port, method: 'POST', headers: { trailer: 'x-in' }, agent: false });
  outgoing.write('body');
  outgoing.addTrailers({ 'x-in': '7' });
  outgoing.end();
  const [answer] = await once(outgoing, 'response');
  const chunks = await answer.toArray();
  t.is(Buffer.concat(chunks).toString(), 'got 7');
  t.deepEqual({ ...answer.trailers }, { 'x-sum': '42', 'x-sum-2': '43' });
});

test('HEAD, 204 and 304 have no body, keep their headers, and leave the connection usable', async (t) => {
  const app = await startApp(t, (request, response) => {
    const status = Number(request.url?.slice(1));
    response.writeHead(status, status === 204 ? {} : { 'content-length': '10', etag: '"1"' });
    response.end(request.method === 'HEAD' || status !== 200 ? undefined : '0123456789');
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('HEAD /200 HTTP/1.1\r\nHost: h\r\n\r\n');
  t.regex(await client.until(/\r\n\r\n$/), /^HTTP\/1.1 200 [^]*content-length: 10\r\n/i);
  client.received = '';
  client.send('GET /304 HTTP/1.1\r\nHost: h\r\n\r\n');
  t.regex(await client.until(/\r\n\r\n$/), /^HTTP\/1.1 304 [^]*etag: "1"\r\n/i);
  client.received = '';
  client.send('DELETE /204 HTTP/1.1\r\nHost: h\r\n\r\n');
  t.regex(await client.until(/\r\n\r\n$/), /^HTTP\/1.1 204 /);
  client.received = '';
  client.send('GET /200 HTTP/1.1\r\nHost: h\r\n\r\n');
  t.regex(await client.until(/0123456789$/), /^HTTP\/1.1 200 /);
});

test('a chunked request arrives chunked, and each chunk of an answer goes on before the next is there', async (t) => {
  const app = await startApp(t, (request, response) => {
    response.writeHead(200, { 'x-framing': String(request.headers['transfer-encoding']) });
    response.flushHeaders();
    request.on('data', (chunk) => response.write(chunk));
    request.on('end', () => response.end('!'));
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n');
  await client.until(/x-framing: chunked[^]*\r\n3\r\none\r\n$/i);
  client.send('3\r\ntwo\r\n');
  await client.until(/3\r\ntwo\r\n$/);
  client.send('0\r\n\r\n');
  await client.until(/1\r\n!\r\n0\r\n\r\n$/);
  t.pass();
});

test('the head of a streamed answer goes out before its first byte', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  t.regex(await client.until(/\r\n\r\n$/), /text\/event-stream/);
});

test('connections to the application are used again', async (t) => {
  const ports = new Set<number | undefined>();
  const app = await startApp(t, (request, response) => {
    ports.add(request.socket.remotePort);
    response.end('x');
  });
  const inbound = await inboundTo(t, app.port);
  for (let index = 0; index < 20; index += 1) await ask(inbound.port, { method: index % 2 ? 'POST' : 'GET' });
  t.is(ports.size, 1);
});

test('Expect: 100-continue is the application’s to grant or to refuse', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  app.server.on('checkContinue', (request, response) => {
    if (request.url === '/refused') return void response.writeHead(417).end();
    response.writeContinue();
    request.pipe(response);
  });
  const inbound = await inboundTo(t, app.port);
  const head = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`;
  const granted = await RawClient.open(t, inbound.port);
  granted.send(head('/granted'));
  await granted.until(/^HTTP\/1.1 100 Continue\r\n\r\n$/);
  granted.send('body');
  t.regex(await granted.until(/body/), /HTTP\/1.1 200/);
  const refused = await RawClient.open(t, inbound.port);
  refused.send(head('/refused'));
  t.regex(await refused.closed(), /^HTTP\/1.1 417/);
});

test('a client that sends its body without the 100 that it asked for reaches an application that never gives one', async (t) => {
  const app = await startApp(t, () => {});
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => void request.pipe(response));
  const inbound = await inboundTo(t, app.port, { timeout: '2s' });
  const client = await RawClient.open(t, inbound.port);
  client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\nim');
  client.send('patient');
  t.regex(await client.until(/0\r\n\r\n$/), /^HTTP\/1.1 200 [^]*im[^]*patient/);
});

test('a body of 100 MiB goes through whole while the sidecar holds little of it', async (t) => {
  const chunk = randomBytes(256 * 1024);
  const count = 400;
  const digest = createHash('sha256');
  for (let index = 0; index < count; index += 1) digest.update(chunk);
  let sent = 0;
  const app = await startApp(t, (_request, response) => {
    const more = (): void => {
      while (sent < count) {
        sent += 1;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  });
  const inbound = await inboundTo(t, app.port);
  const outgoing = httpRequest({ port: inbound.port, agent: false });
  outgoing.end();
  const [answer] = await once(outgoing, 'response');
  let most = 0;
  let bytes = 0;
  const received = createHash('sha256');
  for await (const piece of answer as AsyncIterable<Buffer>) {
    received.update(piece);
    bytes += piece.byteLength;
    if (bytes % (8 * 1024 * 1024) < piece.byteLength) await new Promise((resolve) => setTimeout(resolve, 5));
    most = Math.max(most, sent * chunk.byteLength - bytes);
  }
  t.is(received.digest('hex'), digest.digest('hex'));
  t.true(most < 24 * 1024 * 1024, `${most} bytes were on their way at once`);
});

test('a client that does not read stops the application, not the memory', async (t) => {
  let written = 0;
  const app = await startApp(t, (_request, response) => {
    const chunk = Buffer.alloc(64 * 1024);
    const more = (): void => {
      do written += chunk.byteLength;
      while (response.write(chunk));
      response.once('drain', more);
    };
    more();
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.socket.pause();
  client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  let before = -1;
  await until(async () => {
    const stands = written > 0 && written === before;
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return stands;
  }, 'the application to be held back');
  t.true(written < 32 * 1024 * 1024, `${written} bytes were taken`);
  client.socket.destroy();
  await until(async () => (await app.connections()) === 0, 'the application to be rid of the request');
});

test('an application that dies in the middle of its answer breaks the client’s connection', async (t) => {
  const dying = {
    'with a length': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart',
    chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n',
  };
  for (const [name, answer] of Object.entries(dying)) {
    for (const after of ['end', 'reset'] as const) {
      const inbound = await inboundTo(t, await rawOrigin(t, answer, after));
      await t.throwsAsync(ask(inbound.port), { code: 'ECONNRESET' }, `${name}, ${after}`);
      const old = await RawClient.open(t, inbound.port);
      old.send('GET / HTTP/1.0\r\nHost: h\r\n\r\n');
      await old.closed();
      t.true(
        old.hadError || /content-length: 100/i.test(old.received),
        `${name}, ${after}: an HTTP/1.0 client sees an error`,
      );
    }
  }
});

test('errors of the sidecar are marked as such, and say whether the request may have taken effect', async (t) => {
  const closed = await rawOrigin(t, '', 'end');
  const broken = await ask((await inboundTo(t, closed)).port, { method: 'POST' });
  t.is(broken.status, 502);
  t.is(codeOf(broken), 'UPSTREAM_UNREACHABLE');
  t.is(broken.headers['atomesh-error-source'], 'sidecar');
  t.is((JSON.parse(broken.body) as { error: { retry: string } }).error.retry, 'ask');

  const absent = await ask((await inboundTo(t, 1)).port, { method: 'POST', body: 'x'.repeat(100_000) });
  t.is(absent.status, 502);
  t.is((JSON.parse(absent.body) as { error: { retry: string } }).error.retry, 'safe');

  const silent = await inboundTo(t, await rawOrigin(t, ''), { timeout: '1s' });
  const late = await ask(silent.port);
  t.is(late.status, 504);
  t.is(codeOf(late), 'UPSTREAM_TIMEOUT');
});

test('an answer that would lose its transfer coding, or whose head is invalid, is a 502', async (t) => {
  for (const head of ['Transfer-Encoding: gzip, chunked', 'Content-Length: 1\r\nContent-Length: 2', 'Bad Name: x']) {
    const port = await rawOrigin(t, `HTTP/1.1 200 OK\r\n${head}\r\n\r\n0\r\n\r\n`);
    const answer = await ask((await inboundTo(t, port)).port, { method: 'POST' });
    t.is(answer.status, 502, head);
  }
});

test('a safe request that meets a connection just closed is sent once more, another one is not', async (t) => {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    const isFirst = connections % 2 === 1;
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      if (isFirst) socket.destroy();
      else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  const inbound = await inboundTo(t, (server.address() as AddressInfo).port);
  t.is((await ask(inbound.port)).status, 200);
  t.is(connections, 2);
  t.is((await ask(inbound.port, { method: 'POST' })).status, 502);
  t.is(connections, 3);
});

test('an answer before the end of the request reaches the client', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.writeHead(413, { connection: 'close' }).end('too large');
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\npart');
  t.regex(await client.closed(), /^HTTP\/1.1 413[^]*connection: close[^]*too large\r\n/i);
});

test('early hints reach the client', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' }, () => response.end('x'));
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  t.regex(await client.until(/HTTP\/1.1 200/), /^HTTP\/1.1 103 Early Hints\r\nLink: <\/a.css>; rel=preload\r\n\r\n/i);
});

test('a target in absolute form and OPTIONS * are served', async (t) => {
  const app = await startApp(t, (request, response) => response.end(request.url));
  const inbound = await inboundTo(t, app.port);
  const table: Readonly<Record<string, string>> = {
    'GET http://other/x?y': '/x?y',
    'GET http://other': '/',
    'GET http://other?y': '/?y',
    'OPTIONS *': '*',
  };
  for (const [line, seen] of Object.entries(table)) {
    const client = await RawClient.open(t, inbound.port);
    client.send(`${line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    t.true((await client.closed()).includes(`\r\n${seen}`), line);
  }
});
