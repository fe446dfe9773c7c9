import test from 'ava';
import fc from 'fast-check';
import { readPlainRequest, type PlainRequest } from '../../proxy/http1/lane/plain-request.ts';
import { readByNode } from './node-reader.ts';

const HEAD_BYTES_MAX = 16_384;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'PURGE', 'get', 'TRACE', ''];
const TARGETS = [
  '/',
  '/a%2Fb//../c?x=1&y=[2]',
  'http://h:80/x',
  'http://1.2.3.4:99999/',
  'http://a.-b/',
  'http://h',
  'https://h/',
  '*',
  'h:80',
  '/a#b',
  '/a b',
  '/ü',
  '/"',
];
const VERSIONS = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'http/1.1', 'HTTP/1.1 '];
const NAMES =
  "Host|host|Content-Length|content-length|Transfer-Encoding|Connection|Expect|Upgrade|Trailer|TE|Cookie|X-A|x_b|Keep-Alive|X(Y)|X Y||!#$%&'*+-.^_`~".split(
    '|',
  );
const VALUES =
  'h||0|3|03|+3|3, 3|1000000|chunked|keep-alive|Keep-Alive|close|upgrade|websocket|100-continue| \t v \t |é\xff|a\x00b|a\rb|a\nb|a\x7fb|"q"|trailers|a\r\n b'.split(
    '|',
  );
const ENDS = ['\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n', ' \r\n'];
const NASTY = ['\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ',', '\x80', '\xff', 'A', '0', ';', '#', '\x0b'];

const oneOf = (...texts: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...texts);
const line = fc
  .tuple(oneOf(...NAMES), oneOf(':', ':', ': ', ': ', ' : ', '\t:'), oneOf(...VALUES), oneOf(...ENDS))
  .map((parts) => parts.join(''));
/** A head that is mostly in order, as most heads are, so that every rule meets requests that break it alone. */
const calmLine = fc
  .tuple(oneOf('X-A', 'Cookie', 'te', 'keep-alive', 'accept'), oneOf('a', '', 'x=1; y="2"', 'é', ' b\t'))
  .map(([name, value]) => `${name}: ${value}\r\n`);
const calmHead = fc
  .tuple(
    oneOf('GET', 'POST', 'PUT', 'DELETE', 'HEAD'),
    oneOf('/', '/a?b=c%20', 'http://h:80/x'),
    fc.array(calmLine, { maxLength: 4 }),
    oneOf('', '', 'Content-Length: 3\r\n', 'content-length:0\r\n', 'Connection: keep-alive\r\n'),
    fc.array(line, { maxLength: 1 }),
  )
  .map(
    ([method, target, calm, framing, odd]) =>
      `${method} ${target} HTTP/1.1\r\nHost: h\r\n${calm.join('')}${framing}${odd.join('')}\r\n`,
  );
const wildHead = fc
  .tuple(
    oneOf(...METHODS),
    oneOf(...TARGETS),
    oneOf(...VERSIONS),
    oneOf(...ENDS),
    fc.array(line, { maxLength: 5 }),
    oneOf(...ENDS),
  )
  .map(([method, target, version, end, lines, last]) => `${method} ${target} ${version}${end}${lines.join('')}${last}`);
const bytesOf = fc
  .tuple(
    fc.oneof({ weight: 3, arbitrary: calmHead }, { weight: 1, arbitrary: wildHead }),
    fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat({ max: 2 }), oneOf('', '', ...NASTY)), {
      maxLength: 2,
    }),
    oneOf('', 'abc', 'abc', 'abcdef', '3\r\nabc\r\n0\r\n\r\n'),
  )
  .map(([head, changes, body]) => {
    let text = head;
    for (const [where, removed, added] of changes) {
      const place = Math.floor(where * text.length);
      text = text.slice(0, place) + added + text.slice(place + removed);
    }
    return Buffer.from(text + body, 'latin1');
  });

function requestOf(read: PlainRequest, bytes: Buffer): object {
  const { method, target, headers, headBytes, length } = read;
  return { method, target, headers, body: bytes.toString('latin1', headBytes, headBytes + length) };
}

test('what the lane takes, node takes with the same method, target, headers and body, and nothing of it is refused', async (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(bytesOf, async (bytes) => {
      const read = readPlainRequest(bytes, HEAD_BYTES_MAX);
      if (typeof read === 'string' || bytes.byteLength < read.headBytes + read.length) return;
      taken += 1;
      const whole = bytes.subarray(0, read.headBytes + read.length);
      t.deepEqual(await readByNode(whole), { requests: [requestOf(read, bytes)], isRefused: false } as never);
    }),
    { seed, numRuns: 6_000 },
  );
  t.true(taken > 600, `only ${taken} of the requests were taken`);
});

test('how the bytes are cut changes nothing: each beginning of a plain head may become one, and what follows it does not matter', (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  fc.assert(
    fc.property(bytesOf, bytesOf, (bytes, behind) => {
      const read = readPlainRequest(bytes, HEAD_BYTES_MAX);
      if (typeof read === 'string') return;
      for (let end = 1; end < read.headBytes; end += 1) {
        t.is(readPlainRequest(bytes.subarray(0, end), HEAD_BYTES_MAX), 'more');
      }
      const head = bytes.subarray(0, read.headBytes);
      t.deepEqual(readPlainRequest(Buffer.concat([head, behind]), HEAD_BYTES_MAX), read);
    }),
    { seed, numRuns: 1_000 },
  );
});

const H = 'Host: h\r\n';
/** Each breaks one rule, of which the property above may not think. */
const RARE: Readonly<Record<string, string>> = {
  'no host': 'GET / HTTP/1.1\r\n\r\n',
  'two hosts': `GET / HTTP/1.1\r\n${H}${H}\r\n`,
  'two lengths': `POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`,
  'a length with a zero in front': `POST / HTTP/1.1\r\n${H}Content-Length: 01\r\n\r\na`,
  'a length that is no safe number': `POST / HTTP/1.1\r\n${H}Content-Length: 9007199254740993\r\n\r\n`,
  chunks: `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`,
  'an expectation': `POST / HTTP/1.1\r\n${H}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n`,
  'an upgrade': `GET / HTTP/1.1\r\n${H}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`,
  'an upgrade that Connection does not name': `GET / HTTP/1.1\r\n${H}Upgrade: websocket\r\n\r\n`,
  trailers: `POST / HTTP/1.1\r\n${H}Trailer: x\r\nContent-Length: 1\r\n\r\na`,
  'an end of the connection': `GET / HTTP/1.1\r\n${H}Connection: close\r\n\r\n`,
  'two Connection headers of which one ends it': `GET / HTTP/1.1\r\n${H}Connection: close\r\nConnection: keep-alive\r\n\r\n`,
  'a body on GET': `GET / HTTP/1.1\r\n${H}Content-Length: 1\r\n\r\na`,
  'a folded line': `GET / HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`,
  'a bare LF': `GET / HTTP/1.1\r\n${H}X: a\nY: b\r\n\r\n`,
  'only bare LFs': 'GET / HTTP/1.1\nHost: h\n\n',
  'an empty line in front': `\r\nGET / HTTP/1.1\r\n${H}\r\n`,
  'a fragment': `GET /a#b HTTP/1.1\r\n${H}\r\n`,
  'an asterisk': `OPTIONS * HTTP/1.1\r\n${H}\r\n`,
  'a tunnel': `CONNECT h:80 HTTP/1.1\r\n${H}\r\n`,
  'HTTP/1.0': `GET / HTTP/1.0\r\n${H}\r\n`,
  'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'more lines than the limit': `GET / HTTP/1.1\r\n${H}${'X: 1\r\n'.repeat(200)}\r\n`,
  'a head beyond the limit': `GET / HTTP/1.1\r\n${H}X: ${'x'.repeat(HEAD_BYTES_MAX)}\r\n\r\n`,
  'a head beyond the limit that has no end': `GET / HTTP/1.1\r\n${H}X: ${'x'.repeat(HEAD_BYTES_MAX)}`,
};

for (const [what, text] of Object.entries(RARE)) {
  test(`left to node's reader: ${what}`, (t) => {
    t.is(readPlainRequest(Buffer.from(text, 'latin1'), HEAD_BYTES_MAX), 'rare');
  });
}
