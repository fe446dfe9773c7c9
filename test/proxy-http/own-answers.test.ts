import test, { type ExecutionContext } from 'ava';
import type { Gate } from '../../proxy/http/admission.ts';
import { inboundTo, RawClient, startApp, until } from './support.ts';
import { client, outcomeOf, post, valueOf } from '../http2/support.ts';

/** What an answer in place of the application's may say of its own framing, and does not know. */
const LIES: Readonly<Record<string, readonly string[]>> = {
  nothing: [],
  'too short a length': ['Content-Length', '2'],
  'too long a length': ['content-length', '500'],
  'two lengths': ['content-length', '5', 'content-length', '6'],
  chunks: ['transfer-encoding', 'chunked', 'trailer', 'x-end'],
};

/** A listener whose every operation is answered with `own`. */
function answering(t: ExecutionContext, status: number, headers: readonly string[], body: string) {
  const gate: Gate = {
    answered: () => Promise.resolve({ kind: 'answer', answer: { status, headers, body: Buffer.from(body) } }),
    failed: () => Promise.resolve([]),
    clientLeft: () => undefined,
  };
  const desk = {
    admit: (_operation: unknown, pass: (ending: { gate: Gate }) => never) => Promise.resolve(pass({ gate })),
  };
  return startApp(t, (_request, response) => response.end('abc')).then((app) =>
    inboundTo(t, app.port, { protocol: 'http1' }, {}, desk),
  );
}

const OPERATION = ['atomesh-gid', 'g', 'atomesh-branch', '01', 'atomesh-op', 'try'];
const LINES = 'atomesh-gid: g\r\natomesh-branch: 01\r\natomesh-op: try\r\n';

for (const [name, said] of Object.entries(LIES)) {
  test(`an answer of the sidecar's own has the length of its body, whatever it was told: ${name}`, async (t) => {
    const { port, url } = await answering(t, 409, [...said, 'x-own', '1'], 'other');
    const raw = await RawClient.open(t, port);
    // Two at once: what the first one's length leaves over would be the beginning of the second.
    raw.send(`GET / HTTP/1.1\r\nHost: h\r\n${LINES}\r\nGET / HTTP/1.1\r\nHost: h\r\n${LINES}\r\n`);
    await until(() => raw.received.split('other').length === 3, 'both answers');
    const [one = '', two = ''] = raw.received.split('other');
    for (const head of [one, two]) {
      t.regex(head, /^HTTP\/1.1 409 [^]*x-own: 1\r\n/);
      t.deepEqual(head.match(/^(?:content-length|transfer-encoding|trailer):.*$/gim), ['content-length: 5']);
    }
    const outcome = await outcomeOf(client(t, url).request([...post('/', ...OPERATION)], { endStream: true }));
    t.is(`${outcome.status} ${outcome.body.toString()} ${outcome.ended}`, '409 other true');
    t.is(valueOf(outcome.head, 'content-length'), '5');
  });
}

test("an answer of the sidecar's own that has no body says no length", async (t) => {
  for (const status of [204, 304]) {
    const { port, url } = await answering(t, status, ['content-length', '5'], '');
    const raw = await RawClient.open(t, port);
    raw.send(`GET / HTTP/1.1\r\nHost: h\r\n${LINES}\r\n`);
    t.notRegex(await raw.until(/\r\n\r\n$/), /content-length|transfer-encoding/i);
    const outcome = await outcomeOf(client(t, url).request([...post('/', ...OPERATION)], { endStream: true }));
    t.is(valueOf(outcome.head, 'content-length'), undefined);
  }
});
