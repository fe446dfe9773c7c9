import { request as httpRequest } from 'node:http';
import test from 'ava';
import { inboundTo, RawClient, startApp, until } from './support.ts';

test('a thousand clients that leave, at any point, leave nothing open behind the sidecar', async (t) => {
  let aborted = 0;
  const app = await startApp(t, (request, response) => {
    request.resume();
    response.once('close', () => (aborted += response.writableFinished ? 0 : 1));
    if (request.url === '/head') response.writeHead(200).flushHeaders();
    if (request.url === '/body') response.write('x');
  });
  const inbound = await inboundTo(t, app.port);
  const paths = ['/silent', '/head', '/body', '/upload'];
  for (let round = 0; round < 10; round += 1) {
    const before = app.seen.length;
    const clients = Array.from({ length: 100 }, (_, index) => {
      const path = paths[index % paths.length] ?? '/';
      const client = httpRequest({
        port: inbound.port,
        path,
        method: path === '/upload' ? 'POST' : 'GET',
        agent: false,
      });
      client.on('error', () => {});
      if (path === '/upload') client.write('part of a body');
      else client.end();
      return client;
    });
    await until(() => app.seen.length === before + 100, 'the application to see the requests');
    for (const client of clients) client.destroy();
  }
  await until(() => aborted === 1000, 'the application to be told of every abort');
  await until(async () => (await app.connections()) === 0, 'every connection to be closed');
  const metrics = await inbound.registry.metrics();
  t.regex(metrics, /atomesh_http_requests_in_flight\{direction="inbound"\} 0/);
});

test('clients that leave while the application is being connected to are never delivered late', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n');
  client.socket.resetAndDestroy();
  await until(async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()), 'rest');
  t.true(app.seen.every((request) => !request.complete));
});

test('pipelined requests behind one that is being answered are given up with their connection', async (t) => {
  let aborted = 0;
  const app = await startApp(t, (_request, response) => {
    response.once('close', () => (aborted += 1));
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('GET / HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(5));
  await until(() => app.seen.length === 5, 'all five');
  client.socket.destroy();
  await until(() => aborted === 5, 'five aborts');
  t.pass();
});

test('an upload that the client breaks off is broken off at the application too', async (t) => {
  const app = await startApp(t, (request) => void request.resume());
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n');
  await until(() => app.seen.length === 1, 'the request');
  const [request] = app.seen;
  client.socket.destroy();
  await until(() => request?.destroyed === true, 'the abort');
  t.false(request?.complete);
});
