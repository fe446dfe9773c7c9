import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import test from 'ava';
import fc from 'fast-check';
import { inboundTo, RawClient, startApp, until } from '../proxy-http/support.ts';

const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n';

/** Answers with what came. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () =>
    response.end(`<${request.method} ${request.url} ${Buffer.concat(chunks).toString('latin1')}>`),
  );
}

/** Requests for the lane, with and without bodies, and requests for node's server; and what the application says to each. */
const KINDS: readonly ((n: number) => readonly [text: string, answer: string])[] = [
  (n) => [`GET /${n} HTTP/1.1\r\nHost: h\r\n\r\n`, `<GET /${n} >`],
  (n) => [`POST /${n} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody`, `<POST /${n} body>`],
  (n) => [
    `PUT /${n} HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n`,
    `<PUT /${n} GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n>`,
  ],
  (n) => [
    `POST /${n} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n`,
    `<POST /${n} one>`,
  ],
  (n) => [`\r\nGET /${n} HTTP/1.1\r\nHost: h\r\n\r\n`, `<GET /${n} >`],
  (n) => [`DELETE /${n} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nno`, `<DELETE /${n} no>`],
];

test('however requests follow each other and are cut, each is served once, and they are answered in their order', async (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  const app = await startApp(t, echo);
  const inbound = await inboundTo(t, app.port);
  const script = fc.record({
    kinds: fc.array(fc.nat({ max: KINDS.length - 1 }), { minLength: 1, maxLength: 6 }),
    cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
    waits: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ kinds, cuts, waits }) => {
      const before = app.seen.length;
      const requests = kinds.map((kind, n) => KINDS[kind]?.(n) ?? ['', '']);
      const text = requests.map(([request]) => request).join('');
      const places = [0, ...cuts.map((cut) => Math.floor(cut * text.length)).sort((a, b) => a - b), text.length];
      const client = await RawClient.open(t, inbound.port);
      for (const [index, place] of places.slice(0, -1).entries()) {
        client.send(text.slice(place, places[index + 1]));
        // Half of the scripts give the sidecar time to read each piece by itself.
        if (waits) await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const answered = (): string[] =>
        [...client.received.matchAll(/\r\n(?:[0-9a-f]+\r\n)?(<[^]*?>)(?:\r\n0\r\n\r\n)?(?=HTTP\/1\.1 |$)/g)].map(
          ([, body]) => body ?? '',
        );
      await until(() => answered().length === kinds.length, `${kinds.length} answers to ${JSON.stringify(text)}`);
      t.deepEqual(
        answered(),
        requests.map(([, answer]) => answer),
      );
      t.is(app.seen.length - before, kinds.length);
      client.socket.destroy();
    }),
    { seed, numRuns: 120 },
  );
});

test('a head that drips is read, by whomever, and one that stops is refused in time', async (t) => {
  const app = await startApp(t, echo);
  const patient = await inboundTo(t, app.port);
  const dripping = await RawClient.open(t, patient.port);
  for (const byte of GET) {
    dripping.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await dripping.until(/<GET \/ >/);
  const inbound = await inboundTo(t, app.port, {}, { headMs: 1_500 });
  const stopping = ['', GET].map(async (before) => {
    const client = await RawClient.open(t, inbound.port);
    client.send(before);
    if (before !== '') await client.until(/<GET \/ >/);
    client.received = '';
    client.send('GET / HTTP/1.1\r\nHost');
    t.regex(await client.closed(), /^HTTP\/1.1 400 [^]*did not arrive in time/);
  });
  await Promise.all(stopping);
  t.is(app.seen.length, 2);
});

test('a client that closes its end inside a head or a body is told so, and nothing of it goes on as whole', async (t) => {
  const app = await startApp(t, echo);
  const inbound = await inboundTo(t, app.port);
  for (const part of ['GET / HTTP/1.1\r\nHos', 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n12']) {
    const client = await RawClient.open(t, inbound.port);
    client.send(part);
    client.socket.end();
    t.regex(await client.closed(), /^HTTP\/1.1 400 [^]*HPE_INVALID_EOF_STATE/);
  }
  t.true(app.seen.every(({ complete }) => !complete));
});

test('an application that does not read a body stops the client that sends it', async (t) => {
  const open = Promise.withResolvers<void>();
  const app = await startApp(t, (request, response) => {
    void open.promise.then(() => request.resume());
    request.on('end', () => response.end('all of it'));
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  const length = 40 * 1024 * 1024;
  client.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n\r\n`);
  const piece = Buffer.alloc(1024 * 1024);
  let written = 0;
  const more = (): void => {
    while (written < length) {
      written += piece.byteLength;
      if (!client.socket.write(piece)) return void client.socket.once('drain', more);
    }
  };
  more();
  let before = -1;
  await until(async () => {
    const stands = written === before;
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return stands;
  }, 'the client to be held back');
  t.true(written < 30 * 1024 * 1024, `${written} bytes were taken`);
  open.resolve();
  await client.until(/all of it/);
});

test('a long body arrives whole, and the connection that it went over is used again', async (t) => {
  const ports = new Set<number | undefined>();
  const app = await startApp(t, (request, response) => {
    ports.add(request.socket.remotePort);
    const digest = createHash('sha256');
    request.on('data', (chunk: Buffer) => digest.update(chunk));
    request.on('end', () => response.end(digest.digest('hex')));
  });
  const inbound = await inboundTo(t, app.port);
  const body = randomBytes(8 * 1024 * 1024);
  const client = await RawClient.open(t, inbound.port);
  for (let time = 0; time < 3; time += 1) {
    client.received = '';
    client.send(`PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.byteLength}\r\n\r\n`);
    client.socket.write(body);
    const received = await client.until(/\r\n\r\n[^]*[0-9a-f]{64}/);
    t.true(received.includes(createHash('sha256').update(body).digest('hex')));
  }
  t.is(ports.size, 1);
});

test('a body that its client breaks off is broken off at the application, and nothing stays open', async (t) => {
  const app = await startApp(t, (request) => void request.resume());
  const inbound = await inboundTo(t, app.port);
  for (const leave of ['destroy', 'resetAndDestroy'] as const) {
    const before = app.seen.length;
    const client = await RawClient.open(t, inbound.port);
    client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\npart');
    await until(() => app.seen.length > before, 'the request');
    client.socket[leave]();
    await until(() => app.seen[before]?.destroyed === true, 'the abort');
    t.false(app.seen[before]?.complete);
  }
  await until(async () => (await app.connections()) === 0, 'every connection to be closed');
  await until(async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()), 'rest');
});

test('an answer that comes before the body is whole is the last one, on both connections', async (t) => {
  const app = await startApp(t, (_request, response) => void response.writeHead(413).end('too large'));
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\npart');
  t.regex(await client.closed(), /^HTTP\/1.1 413 [^]*connection: close\r\n[^]*too large/i);
  await until(async () => (await app.connections()) === 0, 'the application’s connection to end');
});

test('behind an answer that ends the connection nothing is served', async (t) => {
  const finish = Promise.withResolvers<void>();
  const app = await startApp(t, (_request, response) => void finish.promise.then(() => response.end('last')));
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send(GET);
  await until(() => app.seen.length === 1, 'the first request');
  const closing = inbound.close(10_000);
  client.send('POST /never HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n');
  finish.resolve();
  t.regex(await client.closed(), /connection: close\r\n[^]*last/i);
  await closing;
  t.is(app.seen.length, 1);
});

test('closing ends connections that wait, before and after a request, and inside a head', async (t) => {
  const app = await startApp(t, echo);
  const inbound = await inboundTo(t, app.port);
  const clients = await Promise.all([0, 1, 2].map(() => RawClient.open(t, inbound.port)));
  for (const [index, client] of clients.entries()) {
    if (index > 0) client.send(GET);
    if (index > 0) await client.until(/<GET \/ >/);
    if (index > 1) client.send('GET / HT');
  }
  await inbound.close(10_000);
  await Promise.all(clients.map((client) => client.closed()));
  t.pass();
});

test('requests that wait behind one are no more than a little: a client that sends on is not read', async (t) => {
  const finish = Promise.withResolvers<void>();
  const app = await startApp(t, (_request, response) => void finish.promise.then(() => response.end('.')));
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send(GET);
  await until(() => app.seen.length === 1, 'the first request');
  let written = 0;
  const flood = Buffer.from(GET.repeat(1_000));
  while (client.socket.write(flood)) written += 1;
  let before = -1;
  await until(async () => {
    while (!client.socket.writableNeedDrain && written < 10_000) {
      client.socket.write(flood);
      written += 1;
    }
    const stands =
      client.socket.writableLength > 0 && client.socket.bytesWritten - client.socket.writableLength === before;
    before = client.socket.bytesWritten - client.socket.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return stands;
  }, 'the client to be held back');
  t.is(app.seen.length, 1);
  client.socket.destroy();
  finish.resolve();
  await until(async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()), 'rest');
});
