import test, { type ExecutionContext } from 'ava';
import type { Gate, HeldAnswer, Verdict } from '../../proxy/http/admission.ts';
import type { CodedError } from '../../src/contract/errors.ts';
import { ask, inboundTo, RawClient, startApp, until, type App } from './support.ts';

interface Asked {
  readonly held: HeldAnswer[];
  readonly failures: CodedError[];
  left: number;
}

type Serve = Parameters<typeof startApp>[1];

/** An application behind a gate that keeps 10 bytes and says `verdict`; the operation is only the way to get a gate in. */
async function gated(
  t: ExecutionContext,
  serve: Serve,
  verdict: (held: HeldAnswer) => Verdict | Promise<Verdict> = () => ({ kind: 'pass', headers: ['x-gate', 'passed'] }),
): Promise<{ readonly app: App; readonly asked: Asked; readonly port: number }> {
  const asked: Asked = { held: [], failures: [], left: 0 };
  const gate: Gate = {
    keeps: 10,
    answered: (held) => {
      asked.held.push(held);
      return Promise.resolve(verdict(held));
    },
    failed: (error) => {
      asked.failures.push(error);
      return Promise.resolve(['x-gate', 'failed']);
    },
    clientLeft: () => void (asked.left += 1),
  };
  const app = await startApp(t, serve);
  const desk = {
    admit: (_operation: unknown, pass: (ending: { gate: Gate }) => never) => Promise.resolve(pass({ gate })),
  };
  const inbound = await inboundTo(t, app.port, {}, {}, desk);
  return { app, asked, port: inbound.port };
}

const OPERATION = { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'try' };

const BODIES: Readonly<
  Record<string, { readonly serve: Serve; readonly kept: string | undefined; readonly body: string }>
> = {
  'a known length that fits': {
    serve: (_r, s) => s.setHeader('content-length', 4).end('abcd'),
    kept: 'abcd',
    body: 'abcd',
  },
  'chunks that fit': {
    serve: (_r, s) => {
      s.write('abcde');
      setTimeout(() => s.end('fghij'), 20);
    },
    kept: 'abcdefghij',
    body: 'abcdefghij',
  },
  nothing: { serve: (_r, s) => s.end(), kept: '', body: '' },
  'no content': { serve: (_r, s) => s.writeHead(204).end(), kept: '', body: '' },
  'a known length that does not fit': {
    serve: (_r, s) => s.setHeader('content-length', 11).end('x'.repeat(11)),
    kept: undefined,
    body: 'x'.repeat(11),
  },
  'chunks that do not fit': {
    serve: (_r, s) => {
      s.write('abcdefgh');
      setTimeout(() => {
        s.write('i'.repeat(200_000));
        s.end('j');
      }, 20);
    },
    kept: undefined,
    body: `abcdefgh${'i'.repeat(200_000)}j`,
  },
  'an event stream': {
    serve: (_r, s) => s.setHeader('content-type', 'text/event-stream').end('a'),
    kept: undefined,
    body: 'a',
  },
};

for (const [name, { serve, kept, body }] of Object.entries(BODIES)) {
  test(`a gate that keeps bodies sees ${kept === undefined ? 'none of' : 'the whole of'} this one, and it goes on whole: ${name}`, async (t) => {
    const { asked, port } = await gated(t, serve);
    const answer = await ask(port, { headers: OPERATION });
    t.is(asked.held.length, 1);
    t.is(asked.held[0]?.body?.toString(), kept);
    t.is(answer.body, body);
    t.is(answer.headers['x-gate'], 'passed');
  });
}

test('trailers go on behind a body that was kept', async (t) => {
  const { port } = await gated(t, (_request, response) => {
    response.writeHead(200, { trailer: 'x-end' });
    response.write('abc');
    response.addTrailers({ 'x-end': '1' });
    response.end();
  });
  const { message, body } = await ask(port, { headers: OPERATION });
  t.is(body, 'abc');
  t.is(message.trailers['x-end'], '1');
});

test('nothing of the answer goes out before the verdict, and another answer may take its place', async (t) => {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const own = { status: 409, headers: ['x-own', '1'], body: Buffer.from('other') };
  const { asked, port } = await gated(
    t,
    (_request, response) => response.end('abc'),
    async () => {
      await opened;
      return { kind: 'answer', answer: own };
    },
  );
  const client = await RawClient.open(t, port);
  const head = Object.entries(OPERATION).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(`GET / HTTP/1.1\r\nHost: h\r\n${head.join('')}\r\n`);
  await until(() => asked.held.length === 1, 'the gate');
  t.is(client.received, '');
  open();
  const received = await client.until(/other$/);
  t.regex(received, /^HTTP\/1.1 409 /);
  t.regex(received, /x-own: 1\r\n/);
  t.notRegex(received, /abc/);
  client.send(`GET / HTTP/1.1\r\nHost: h\r\n\r\n`);
  await client.until(/abc$/);
});

test('an answer that breaks off inside a kept body is no answer', async (t) => {
  const { asked, port } = await gated(t, (_request, response) => {
    response.setHeader('content-length', 9);
    response.write('abc');
    setTimeout(() => response.destroy(), 20);
  });
  const answer = await ask(port, { headers: OPERATION });
  t.is(answer.status, 502);
  t.is(answer.headers['x-gate'], 'failed');
  t.is(asked.held.length, 0);
  t.is(asked.failures.length, 1);
});

test('when the caller of an operation leaves while a body is kept, the gate judges without it, and the application’s connection ends', async (t) => {
  const { app, asked, port } = await gated(t, (_request, response) => void response.write('abc'));
  const client = await RawClient.open(t, port);
  const head = Object.entries(OPERATION).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(`GET / HTTP/1.1\r\nHost: h\r\n${head.join('')}\r\n`);
  await until(() => app.seen.length === 1, 'the application');
  client.socket.destroy();
  await until(() => asked.held.length === 1, 'the gate to be asked');
  await until(async () => (await app.connections()) === 0, 'the connection to end');
  t.is(asked.held[0]?.body, undefined);
  t.is(asked.left, 0);
});
