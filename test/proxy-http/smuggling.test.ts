import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { inboundTo, outbound, RawClient, startApp, until, type App } from './support.ts';

/** Sends `text` over a fresh connection, waits for the end of it, and answers what came back and what the application saw. */
async function probe(
  t: ExecutionContext,
  text: string,
  ends: boolean,
): Promise<{ status: string; seen: App['seen']; received: string }> {
  const app = await startApp(t, (request, response) => {
    request.resume();
    request.on('end', () => response.end('seen'));
  });
  const inbound = await inboundTo(t, app.port, { transactions: [{ match: 'POST /orders', begin: {} }] });
  const client = await RawClient.open(t, inbound.port);
  client.send(text);
  if (ends) client.socket.end();
  const received = await client.closed();
  return { status: received.slice(9, 12), seen: app.seen, received };
}

const H = 'Host: h\r\n';
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';

const REFUSED: Readonly<Record<string, string>> = {
  'CL.TE': `POST / HTTP/1.1\r\n${H}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG`,
  'TE.CL': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n`,
  'two lengths that differ': `POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  'the same length twice': `POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`,
  'a list of lengths': `POST / HTTP/1.1\r\n${H}Content-Length: 1, 1\r\n\r\na`,
  'a signed length': `POST / HTTP/1.1\r\n${H}Content-Length: +1\r\n\r\na`,
  'a negative length': `POST / HTTP/1.1\r\n${H}Content-Length: -1\r\n\r\na`,
  'a hexadecimal length': `POST / HTTP/1.1\r\n${H}Content-Length: 0x1\r\n\r\na`,
  'an empty length': `POST / HTTP/1.1\r\n${H}Content-Length: \r\n\r\n${SMUGGLED}`,
  'a length beyond all numbers': `POST / HTTP/1.1\r\n${H}Content-Length: 99999999999999999999999\r\n\r\na`,
  'chunked, then identity': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  'chunked twice': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'gzip, then chunked': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  'an unknown coding': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: xchunked\r\n\r\n${SMUGGLED}`,
  identity: `POST / HTTP/1.1\r\n${H}Transfer-Encoding: identity\r\n\r\n${SMUGGLED}`,
  'a vertical tab before chunked': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
  'a space before the colon': `POST / HTTP/1.1\r\n${H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
  'a tab before the colon': `POST / HTTP/1.1\r\n${H}Content-Length\t: 1\r\n\r\na`,
  'chunked in HTTP/1.0': `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'two hosts': `GET / HTTP/1.1\r\n${H}Host: other\r\n\r\n`,
  'no host': 'GET / HTTP/1.1\r\n\r\n',
  'a name that is no token': `GET / HTTP/1.1\r\n${H}X(Y): 1\r\n\r\n`,
  'an empty name': `GET / HTTP/1.1\r\n${H}: 1\r\n\r\n`,
  'a space in a name': `GET / HTTP/1.1\r\n${H}X Y: 1\r\n\r\n`,
  'a leading space on the first header': `GET / HTTP/1.1\r\n X: 1\r\n${H}\r\n`,
  'a line without a colon': `GET / HTTP/1.1\r\n${H}rubbish\r\n\r\n`,
  'a NUL in a value': `GET / HTTP/1.1\r\n${H}X: a\x00b\r\n\r\n`,
  'a control character in a value': `GET / HTTP/1.1\r\n${H}X: a\x01b\r\n\r\n`,
  'a bare CR in a value': `GET / HTTP/1.1\r\n${H}X: a\rb\r\n\r\n`,
  'a bare CR as end of line': `GET / HTTP/1.1\r\n${H}X: a\rY: b\r\n\r\n`,
  'bare LFs as ends of lines': `GET / HTTP/1.1\nHost: h\nX: 1\n\n`,
  'a bare LF before a header': `GET / HTTP/1.1\r\n${H}X: a\nContent-Length: 5\r\n\r\n`,
  'a chunk size that is no number': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nzz\r\na\r\n0\r\n\r\n`,
  'a chunk size with a sign': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n`,
  'a chunk size beyond 64 bits': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n${'f'.repeat(17)}\r\na\r\n0\r\n\r\n`,
  'a chunk that is longer than it says': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n`,
  'a bare LF after a chunk size': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n`,
  'a bare LF in a chunk extension': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n1;x\n\r\na\r\n0\r\n\r\n`,
  'a space after a chunk size': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n`,
  'a space in the target': `GET /a b HTTP/1.1\r\n${H}\r\n`,
  'a control character in the target': `GET /a\x01 HTTP/1.1\r\n${H}\r\n`,
  'a fragment in the target': `POST /orders#x HTTP/1.1\r\n${H}\r\n`,
  'a backslash in the path': `POST /x\\..\\orders HTTP/1.1\r\n${H}\r\n`,
  'a target that is no path': `GET orders HTTP/1.1\r\n${H}\r\n`,
  'an authority as target of GET': `GET h:80 HTTP/1.1\r\n${H}\r\n`,
  'a user in an absolute target': `GET http://u@h/ HTTP/1.1\r\n${H}\r\n`,
  'an unknown method': `SMUGGLE / HTTP/1.1\r\n${H}\r\n`,
  'a lower-case method': `get / HTTP/1.1\r\n${H}\r\n`,
  'an unknown version': `GET / HTTP/3.0\r\n${H}\r\n`,
  'a lower-case version': `GET / http/1.1\r\n${H}\r\n`,
  'a folded header': `GET / HTTP/1.1\r\n${H}X-Fold: a\r\n b\r\n\r\n`,
  'a header folded with a tab': `GET / HTTP/1.1\r\n${H}X-Fold: a\r\n\tb\r\n\r\n`,
  'a folded coding': `POST / HTTP/1.1\r\n${H}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  'a folded length': `POST / HTTP/1.1\r\n${H}Content-Length:\r\n 1\r\n\r\na`,
  'a length folded after its first digit': `POST / HTTP/1.1\r\n${H}Content-Length: 1\r\n 2\r\n\r\na`,
  'a folded gid': `GET / HTTP/1.1\r\n${H}atomesh-gid: g1\r\n 2\r\n\r\n`,
  'no version': `GET /\r\n${H}\r\n`,
};

for (const [name, text] of Object.entries(REFUSED)) {
  test(`refused, and never forwarded whole: ${name}`, async (t) => {
    const { status, seen, received } = await probe(t, text, true);
    t.regex(status, /^4[0-9][0-9]$/, received);
    t.regex(received, /\r\natomesh-error-source: sidecar\r\n/i);
    t.is((received.match(/HTTP\/1\.1 [0-9]/g) ?? []).length, 1, 'exactly one answer');
    // A body that turns out to be broken may have begun on its way; the application must not have been told that it is whole.
    t.true(
      seen.every((request) => !request.complete && request.url !== '/smuggled'),
      seen.map(({ url }) => url).join(' '),
    );
  });
}

const FORWARDED: Readonly<Record<string, { readonly text: string; readonly body: string }>> = {
  'a length': {
    text: `POST / HTTP/1.1\r\n${H}Content-Length: 35\r\nConnection: close\r\n\r\n${SMUGGLED}`,
    body: 'seen',
  },
  chunks: {
    text: `POST / HTTP/1.1\r\n${H}Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n23;x=y\r\n${SMUGGLED}\r\n0\r\nX: 1\r\n\r\n`,
    body: 'seen',
  },
  'a body on GET': {
    text: `GET / HTTP/1.1\r\n${H}Content-Length: 35\r\nConnection: close\r\n\r\n${SMUGGLED}`,
    body: 'seen',
  },
  'a body on DELETE': {
    text: `DELETE / HTTP/1.1\r\n${H}Content-Length: 35\r\nConnection: close, content-length\r\n\r\n${SMUGGLED}`,
    body: 'seen',
  },
};

for (const [name, { text, body }] of Object.entries(FORWARDED)) {
  test(`a request inside a body is a body: ${name}`, async (t) => {
    const { status, seen, received } = await probe(t, text, false);
    t.is(status, '200', received);
    t.true(received.includes(body));
    t.deepEqual(
      seen.map(({ url }) => url),
      ['/'],
    );
  });
}

const LATER: Readonly<Record<string, string>> = {
  'a WebSocket': `GET /ws HTTP/1.1\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n${SMUGGLED}`,
  'a tunnel': `CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n${SMUGGLED}`,
};

for (const [name, later] of Object.entries(LATER)) {
  for (const line of ['POST /orders', 'GET /plain']) {
    test(`${name} behind a request that is not answered yet ends the connection: ${line}`, async (t) => {
      const upgraded: string[] = [];
      const app = await startApp(t, () => {});
      app.server.on('upgrade', ({ url }: IncomingMessage, socket: Duplex) => {
        upgraded.push(String(url));
        socket.destroy();
      });
      const inbound = await inboundTo(t, app.port, { transactions: [{ match: 'POST /orders', begin: {} }] });
      const calls = await outbound(t, { app: { url: `http://127.0.0.1:${app.port}` } });
      const [method = '', path = ''] = line.split(' ');
      for (const [port, base] of [
        [inbound.port, ''],
        [calls.port, '/app'],
      ] as const) {
        for (const isAtOnce of [true, false]) {
          const first = `${method} ${base}${path} HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`;
          const second = later.replace('GET /ws', `GET ${base}/ws`);
          const before = app.seen.length;
          const client = await RawClient.open(t, port);
          client.send(isAtOnce ? first + second : first);
          if (!isAtOnce) {
            await until(() => app.seen.length > before, 'the first request');
            client.send(second);
          }
          t.is(await client.closed(), '');
        }
      }
      t.deepEqual(upgraded, []);
      t.true(app.seen.every(({ url }) => url === path));
      for (const { status } of inbound.coordinator.transactions.values()) t.not(status, 'submitted');
    });
  }
}

test('pipelined requests are answered in their order', async (t) => {
  const app = await startApp(t, (request, response) => {
    setTimeout(() => response.end(`<${request.url}>`), request.url === '/1' ? 50 : 0);
  });
  const inbound = await inboundTo(t, app.port);
  const client = await RawClient.open(t, inbound.port);
  client.send(`GET /1 HTTP/1.1\r\n${H}\r\nGET /2 HTTP/1.1\r\n${H}\r\nGET /3 HTTP/1.1\r\n${H}Connection: close\r\n\r\n`);
  t.deepEqual((await client.closed()).match(/<.*>/g), ['</1>', '</2>', '</3>']);
});

test('heads beyond the limits are refused, not cut', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, {}, { header: 16_384 });
  for (const head of [`X: ${'x'.repeat(17_000)}\r\n`, 'X: 1\r\n'.repeat(300)]) {
    const client = await RawClient.open(t, inbound.port);
    client.send(`GET / HTTP/1.1\r\n${H}${head}Connection: close\r\n\r\n`);
    t.regex(await client.closed(), /^HTTP\/1.1 431 /);
  }
  t.is(app.seen.length, 0);
});
