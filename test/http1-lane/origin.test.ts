import { once } from 'node:events';
import { createServer, Socket, type AddressInfo, type LookupFunction } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { openLaneOrigin, type LaneOrigin, type LaneOriginOptions } from '../../proxy/http1/lane/lane-origin.ts';
import type { LaneOriginRequest } from '../../proxy/http1/lane/request-text.ts';
import { LaneBody } from '../../proxy/http1/lane/request.ts';
import { codeOf } from '../../proxy/http/errors.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { until } from '../proxy-http/support.ts';

interface Server {
  readonly port: number;
  /** All connections that there have been. */
  readonly sockets: Socket[];
}

/** A server that does `serve` with each piece that comes, and what number of connection it came by, from 1. */
async function serverOf(
  t: ExecutionContext,
  serve: (socket: Socket, piece: string, connection: number) => void,
): Promise<Server> {
  const sockets: Socket[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    const number = sockets.push(socket);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => serve(socket, chunk.toString('latin1'), number));
    t.teardown(() => void socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return { port: (server.address() as AddressInfo).port, sockets };
}

function originTo(t: ExecutionContext, port: number, options: Partial<LaneOriginOptions> = {}): LaneOrigin {
  const origin = openLaneOrigin({
    url: `http://127.0.0.1:${port}`,
    timeoutMs: 10_000,
    connectTimeoutMs: 10_000,
    keepAliveMs: 10_000,
    headBytesMax: 65_536,
    ...options,
  });
  t.teardown(() => origin.destroy());
  return origin;
}

/** What a handler was told, in one piece. */
interface Told {
  readonly interim: number[];
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[] | null;
  readonly error: Error | undefined;
}

const GET: LaneOriginRequest = { method: 'GET', path: '/', headers: [], body: null };

/** Sends `request`; `reads` says of each piece, the head first, whether more is wanted at once. Resolves when all is told. */
function ask(
  origin: LaneOrigin,
  request: LaneOriginRequest = GET,
  reads: () => boolean = () => true,
  connected: (abort: (reason?: Error) => void) => void = () => undefined,
): Promise<Told> {
  return new Promise((resolve) => {
    const interim: number[] = [];
    const told = { interim, status: 0, statusText: '', headers: [] as readonly string[], body: '' };
    let goOn = (): void => undefined;
    const wanted = (): boolean => {
      const isWanted = reads();
      if (!isWanted) setImmediate(() => goOn());
      return isWanted;
    };
    origin.dispatch(request, {
      onConnect: connected,
      onHeaders(status, head, resume, statusText) {
        if (status < 200) return interim.push(status) > 0;
        Object.assign(told, { status, statusText, headers: head.map(String) });
        goOn = resume;
        return wanted();
      },
      onData(chunk) {
        told.body += chunk.toString('latin1');
        return wanted();
      },
      onComplete: (trailers) => resolve({ ...told, trailers: trailers?.map(String) ?? null, error: undefined }),
      onError: (error) => resolve({ ...told, trailers: null, error }),
    });
  });
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

const text = (alphabet: string, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...alphabet.split('')), maxLength });
const field = fc.tuple(
  text('abcXYZ-_', 8).map((name) => `x${name}`),
  text('abc =;,"é\t', 12).map((value) => value.trim()),
);
const answer = fc.record({
  framing: fc.constantFrom('length', 'chunked', 'close'),
  fields: fc.array(field, { maxLength: 4 }),
  trailers: fc.array(field, { maxLength: 2 }),
  pieces: fc.array(text('ab\r\n0', 30), { maxLength: 5 }),
  hints: fc.boolean(),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 }),
  waits: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
});

test('an answer is told as it was meant, however it is framed and cut, and whenever the reader pauses', async (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  let bytes = '';
  let cuts: readonly number[] = [];
  let ends = false;
  const server = await serverOf(t, (socket) => {
    const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).sort((a, b) => a - b), bytes.length];
    const send = (index: number): void => {
      if (index + 1 === places.length) return void (ends && socket.end());
      socket.write(bytes.slice(places[index], places[index + 1]), 'latin1', () => setImmediate(() => send(index + 1)));
    };
    send(0);
  });
  const origin = originTo(t, server.port);
  // All connections read into the same memory: what is still to be read must not be overwritten by what comes for others.
  const noise = 'N'.repeat(60_000);
  const noisy = await serverOf(
    t,
    (socket) => void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n${noise}`),
  );
  const others = originTo(t, noisy.port);
  await fc.assert(
    fc.asyncProperty(answer, async ({ framing, fields, trailers, pieces, hints, cuts: places, waits }) => {
      const body = pieces.join('');
      const framed = {
        length: [['Content-Length', String(body.length)]],
        chunked: [['Transfer-Encoding', 'Chunked']],
        close: [],
      };
      const lines = (some: readonly (readonly string[])[]): string => some.map(([n, v]) => `${n}: ${v}\r\n`).join('');
      const headers = [...fields, ...(framed[framing] ?? [])];
      const chunks = pieces
        .filter((piece) => piece !== '')
        .map((piece) => `${piece.length.toString(16)};x="1"\r\n${piece}\r\n`);
      const sent = framing === 'chunked' ? `${chunks.join('')}0\r\n${lines(trailers)}\r\n` : body;
      bytes = `${hints ? 'HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n' : ''}HTTP/1.1 299 Quite Fine\r\n${lines(headers)}\r\n${sent}`;
      cuts = places;
      ends = framing === 'close';
      let turn = 0;
      const [told, other] = await Promise.all([
        ask(origin, GET, () => waits[(turn += 1) % waits.length] ?? true),
        ask(others),
      ]);
      t.is(other.body, noise);
      t.deepEqual(told, {
        interim: hints ? [103] : [],
        status: 299,
        statusText: 'Quite Fine',
        headers: headers.flat(),
        body,
        trailers: framing === 'chunked' ? trailers.flat() : null,
        error: undefined,
      });
    }),
    { seed, numRuns: 300 },
  );
});

/** Answers that are none: nothing of their bodies may be taken for whole. */
const FAULTY: Readonly<Record<string, string>> = {
  'no version': 'OK\r\n\r\n',
  'another protocol': 'SSH-2.0-x\r\n\r\n',
  'HTTP/2': 'HTTP/2.0 200 OK\r\n\r\n',
  'a status of two digits': 'HTTP/1.1 20 OK\r\n\r\n',
  'a bare LF': 'HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP/1.1 200 OK\r\n\r\n',
  'a bare CR in a value': 'HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n',
  'a NUL in a value': 'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n',
  'a name that is no token': 'HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n',
  'a folded line': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n',
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na',
  'a length that is no number': 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na',
  'two framings': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'another coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  'chunked twice': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'a protocol that nobody asked for': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n',
  'a head beyond the limit': `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}`,
  'a size that is no number': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'a size with a sign': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n',
  'a size beyond all numbers': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'f'.repeat(17)}\r\na\r\n0\r\n\r\n`,
  'a chunk that is longer than it says': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n',
  'a bare LF after a size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n',
  'a bare LF in an extension': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\rb\r\na\r\n0\r\n\r\n',
  'a size line without an end': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(5_000)}`,
  'a trailer that is no line': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nrubbish\r\n\r\n',
  'trailers that end with bare LFs': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\n',
  'trailers beyond the limit': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'X: 1\r\n'.repeat(12_000)}`,
};

for (const [what, bytes] of Object.entries(FAULTY)) {
  test(`an answer that is none is an error, and its connection ends: ${what}`, async (t) => {
    const server = await serverOf(t, (socket) => void socket.write(bytes, 'latin1'));
    const { error } = await ask(originTo(t, server.port));
    t.is(error === undefined ? undefined : codeOf(error), 'UPSTREAM_UNREACHABLE');
    await until(() => server.sockets.every(({ destroyed }) => destroyed), 'the connection to end');
  });
}

/** Cut answers: whoever reads them must not take them for whole. */
const CUT = [
  'HTTP/1.1 200 OK\r\nContent-',
  'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n',
];

test('an answer that is cut is an error with a code that says so', async (t) => {
  for (const bytes of CUT) {
    for (const end of ['end', 'resetAndDestroy'] as const) {
      const server = await serverOf(t, (socket) => void socket.write(bytes, () => socket[end]()));
      const { error } = await ask(originTo(t, server.port));
      t.regex(error === undefined ? '' : codeOf(error), /^(?:UND_ERR_SOCKET|ECONNRESET)$/, `${bytes}, ${end}`);
    }
  }
});

test('connections are used again, the last used first', async (t) => {
  const server = await serverOf(t, (socket) => void socket.write(OK));
  const origin = originTo(t, server.port);
  await Promise.all([ask(origin), ask(origin), ask(origin)]);
  for (let time = 0; time < 10; time += 1) {
    t.is((await ask(origin)).body, 'ok');
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.is(server.sockets.length, 3);
  const bytes = server.sockets.map(({ bytesRead }) => bytesRead).sort((a, b) => a - b);
  t.is(bytes[0], bytes[1], 'two of them have not been used again');
});

/** What makes a connection one that takes no further request. */
const LAST: Readonly<Record<string, { readonly answer: string; readonly method?: string }>> = {
  'Connection: close': { answer: 'HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n' },
  'HTTP/1.0': { answer: 'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n' },
  'a server that keeps it too short': {
    answer: 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n',
  },
  'bytes behind the answer': { answer: `${OK}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n` },
  'bytes behind the last chunk': { answer: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx' },
  '204 that says a length': { answer: 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n' },
  '204 that says chunks': { answer: 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n' },
  '304 that says chunks': { answer: 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n' },
  HEAD: { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n', method: 'HEAD' },
};

for (const [what, { answer: bytes, method = 'GET' }] of Object.entries(LAST)) {
  test(`a connection is not used again after ${what}`, async (t) => {
    const server = await serverOf(t, (socket) => void socket.write(bytes));
    const origin = originTo(t, server.port, { keepAliveMs: 60_000 });
    for (let time = 0; time < 2; time += 1) {
      t.is((await ask(origin, { ...GET, method })).error, undefined);
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.is(server.sockets.length, 2);
    await until(() => server.sockets.every(({ destroyed }) => destroyed), 'both to end');
  });
}

test('an unused connection ends when its time is over, or when the server says something on it', async (t) => {
  const server = await serverOf(t, (socket) => void socket.write(OK));
  const origin = originTo(t, server.port, { keepAliveMs: 300 });
  await ask(origin);
  await until(() => server.sockets[0]?.destroyed === true, 'the first to end');
  const kept = originTo(t, server.port);
  await ask(kept);
  server.sockets[1]?.write(OK);
  await until(() => server.sockets[1]?.destroyed === true, 'the second to end');
  t.is((await ask(kept)).body, 'ok');
});

test('a server that answers nothing, or whose name is not resolved, is given up in time', async (t) => {
  const silent = await serverOf(t, () => undefined);
  const late = await ask(originTo(t, silent.port, { timeoutMs: 300 }));
  t.is(late.error === undefined ? undefined : codeOf(late.error), 'UND_ERR_HEADERS_TIMEOUT');
  const lookup: LookupFunction = () => undefined;
  const unresolved = await ask(originTo(t, 9, { url: 'http://nowhere.example', lookup, connectTimeoutMs: 300 }));
  t.is(unresolved.error === undefined ? undefined : codeOf(unresolved.error), 'UND_ERR_CONNECT_TIMEOUT');
});

test('a client may be late with its body; the time of the server begins when it has all of it', async (t) => {
  const server = await serverOf(t, (socket, piece) => void (piece.endsWith('dy') && socket.write(OK)));
  const silent = await serverOf(t, () => undefined);
  const asked = [server, silent].map(async ({ port }) => {
    const body = new LaneBody(4, new Socket());
    const told = ask(originTo(t, port, { timeoutMs: 300 }), { ...GET, method: 'POST', body });
    body.receive(Buffer.from('bo'));
    await new Promise((resolve) => setTimeout(resolve, 900));
    body.receive(Buffer.from('dy'));
    return told;
  });
  const [answered, unanswered] = await Promise.all(asked);
  t.is(answered?.body, 'ok');
  t.is(unanswered?.error === undefined ? undefined : codeOf(unanswered.error), 'UND_ERR_HEADERS_TIMEOUT');
});

test('after its end, an origin connects no more, and says so', async (t) => {
  const server = await serverOf(t, (socket) => void socket.write(OK));
  const origin = originTo(t, server.port);
  origin.destroy();
  t.true((await ask(origin)).error instanceof CodedError && server.sockets.length === 0);
});

test('a body that stands still is waited for: it may be a stream of events', async (t) => {
  const server = await serverOf(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no');
    setTimeout(() => socket.write('k'), 900);
  });
  t.is((await ask(originTo(t, server.port, { timeoutMs: 300, keepAliveMs: 300 }))).body, 'ok');
});

test('a request that is given up before it is connected is never sent, and one that is given up later ends its connection', async (t) => {
  const pieces: string[] = [];
  const server = await serverOf(t, (_socket, piece) => void pieces.push(piece));
  const origin = originTo(t, server.port);
  const early = await ask(origin, { ...GET, method: 'POST', path: '/early' }, undefined, (abort) => abort());
  t.is(early.error?.message, 'aborted');
  let abortLate = (): void => undefined;
  const late = ask(origin, { ...GET, path: '/late' }, undefined, (abort) => (abortLate = abort));
  await until(() => pieces.length === 1, 'the request');
  abortLate();
  t.is((await late).error?.message, 'aborted');
  await until(() => server.sockets.every(({ destroyed }) => destroyed), 'the connections to end');
  t.is(pieces.length, 1);
  t.regex(pieces[0] ?? '', /^GET \/late /);
});

test('what an exchange does with a connection after its answer was whole does nothing to the next one', async (t) => {
  let held = 0;
  const server = await serverOf(t, (socket, piece) => {
    held += piece.startsWith('GET /held') ? 1 : 0;
    if (held > 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl');
    else socket.write(OK);
  });
  const origin = originTo(t, server.port);
  const late: ((reason?: Error) => void)[] = [];
  await ask(origin, GET, undefined, (abort) => late.push(abort));
  await new Promise((resolve) => setImmediate(resolve));
  const second = ask(origin, { ...GET, path: '/held' });
  await until(() => held === 1, 'the second request');
  for (const abort of late) abort();
  server.sockets[0]?.write('ow');
  t.is((await second).body, 'slow');
  t.is(server.sockets.length, 1);
});

test('a request goes out as one head, whatever is in its parts, or not at all', async (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  let received = '';
  const server = await serverOf(t, (socket, piece) => {
    received += piece;
    if (/\r\n\r\n(?:body)?$/.test(received)) socket.write(OK);
  });
  const origin = originTo(t, server.port);
  const part = text('ab-/: \t\r\n\0é\u{20ac}', 6);
  const request = fc.record({
    method: fc.oneof(fc.constantFrom('GET', 'POST', 'DELETE'), part),
    path: fc.oneof(fc.constant('a?b=c'), part).map((rest) => `/${rest}`),
    headers: fc.array(
      fc.tuple(
        fc.oneof(part, fc.constantFrom('host', 'Content-Length', 'x')),
        fc.oneof(fc.constantFrom('v', 'é'), part),
      ),
      { maxLength: 3 },
    ),
    body: fc.constantFrom(null, Buffer.from('body'), Buffer.alloc(0)),
  });
  let sent = 0;
  await fc.assert(
    fc.asyncProperty(request, async ({ headers, ...rest }) => {
      received = '';
      const { error } = await ask(origin, { ...rest, headers: headers.flat() });
      if (error !== undefined) return void t.is(received, '');
      sent += 1;
      const [head = '', ...others] = received.split('\r\n\r\n');
      t.deepEqual(others, [rest.body?.toString() ?? '']);
      const lines = head.split('\r\n');
      t.is(lines[0], `${rest.method} ${rest.path} HTTP/1.1`);
      const kept = headers.filter(([name]) => !/^(?:host|content-length)$/i.test(name));
      const own = kept.map(([name, value]) => `${name}: ${value}`);
      t.deepEqual(lines.slice(3, 3 + own.length), own);
      t.is(lines.filter((line) => /^(?:host|connection):/i.test(line)).length, 2);
      t.true(lines.slice(3 + own.length).every((line) => /^content-length: [04]$/.test(line)));
    }),
    { seed, numRuns: 400 },
  );
  t.true(sent > 40, `${sent} were sent`);
});
