import { constants, type ServerHttp2Stream } from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import type { Gate, Passage } from '../../proxy/http/admission.ts';
import { grpcTimeoutMs } from '../../proxy/http2/grpc.ts';
import { inboundTo, RawClient, startApp, until } from '../proxy-http/support.ts';
import { ask, client, listen, outcomeOf, post, startHttp2App, valueOf } from './support.ts';

const GRPC = ['content-type', 'application/grpc', 'te', 'trailers'];
const MESSAGE = Buffer.from([0, 0, 0, 0, 1, 42]);
const HEAD = [':status', '200', 'content-type', 'application/grpc'];

type Kind = 'trailers-only' | 'whole';

function end(stream: ServerHttp2Stream, kind: Kind, status: readonly string[]): void {
  if (kind === 'trailers-only') return stream.respond([...HEAD, ...status], { endStream: true });
  stream.respond(HEAD, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers({ [status[0] ?? '']: status[1] ?? '' }));
  stream.end(MESSAGE);
}

const KEEPS: Gate = {
  keeps: 1_000,
  answered: () => Promise.resolve({ kind: 'pass', headers: [] }),
  failed: () => Promise.resolve([]),
  clientLeft: () => undefined,
};

/** How often the application is called by one call of a route with three tries, and what the caller gets. */
async function tried(
  t: ExecutionContext,
  answer: (stream: ServerHttp2Stream, time: number) => void,
  more: Pick<Passage, 'gate'>,
): Promise<readonly [calls: number, grpcStatus: string | undefined]> {
  const app = await startHttp2App(t, (stream) => {
    stream.resume();
    answer(stream, app.heads.length);
  });
  const { url } = await listen(t, app.port, async (head) => {
    await head.body(1_000);
    const passage = {
      origin: url,
      path: head.target,
      headers: head.headers,
      retry: { attempts: 3, intervalMs: 1 },
      ...more,
    };
    return { kind: 'pass', passage };
  });
  const outcome = await ask(client(t, url), { head: post('/s/M', ...GRPC), body: MESSAGE });
  const fields = [...outcome.head, ...(outcome.trailers ?? [])];
  return [app.heads.length, valueOf(fields, 'grpc-status')];
}

for (const [name, status, calls] of [
  ['UNAVAILABLE', ['grpc-status', '14'], 3],
  ['the word of a sidecar that an earlier try is being served', ['grpc-status', '9', 'atomesh-barrier', 'ongoing'], 3],
  ['FAILED_PRECONDITION of the service itself', ['grpc-status', '9'], 1],
  ['ABORTED', ['grpc-status', '10'], 1],
  ['OK', ['grpc-status', '0'], 1],
] as const) {
  test(`a gRPC call of a route with retries that ends with ${name} goes out ${calls} times`, async (t) => {
    t.deepEqual(await tried(t, (stream) => end(stream, 'trailers-only', status), {}), [calls, status[1]]);
    t.deepEqual(await tried(t, (stream) => end(stream, 'trailers-only', status), { gate: KEEPS }), [calls, status[1]]);
    if (status.length > 2) return;
    t.deepEqual(await tried(t, (stream) => end(stream, 'whole', status), { gate: KEEPS }), [calls, status[1]]);
  });
}

test('a later try of a gRPC call is the answer, with nothing of the earlier ones', async (t) => {
  for (const kind of ['trailers-only', 'whole'] as const) {
    const answer = (stream: ServerHttp2Stream, time: number): void =>
      end(stream, time < 3 ? kind : 'whole', ['grpc-status', time < 3 ? '14' : '0']);
    t.deepEqual(await tried(t, answer, { gate: KEEPS }), [3, '0'], kind);
  }
});

test('a grpc-timeout is read in all its units, and nothing else is one', (t) => {
  for (const [text, ms] of [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['99999999m', 99_999_999],
    ['1500u', 2],
    ['1n', 1],
    ['0m', 0],
  ] as const) {
    t.is(grpcTimeoutMs(text), ms, text);
  }
  for (const text of [undefined, '', '1', 'S', '1s', '-1S', '1.5S', '123456789S', '1S ', ' 1S']) {
    t.is(grpcTimeoutMs(text), undefined, text);
  }
});

test('a gRPC call is given the time that its caller gives it, less and more than the listener’s', async (t) => {
  const app = await startHttp2App(t, (stream, head) => {
    stream.resume();
    if (valueOf(head, ':path') === '/s/Never') return;
    setTimeout(() => !stream.destroyed && end(stream, 'whole', ['grpc-status', '0']), 600);
  });
  const session = client(t, (await inboundTo(t, app.port, { timeout: '200ms' })).url);
  const statusOf = async (path: string, ...more: readonly string[]): Promise<string | undefined> => {
    const { head, trailers = [] } = await ask(session, { head: post(path, ...GRPC, ...more), body: MESSAGE });
    return valueOf([...head, ...trailers], 'grpc-status');
  };
  t.is(await statusOf('/s/Late', 'grpc-timeout', '20S'), '0');
  t.is(await statusOf('/s/Late', 'grpc-timeout', 'soon'), '4');
  t.is(await statusOf('/s/Late'), '4');
  t.is(await statusOf('/s/Never', 'grpc-timeout', '50m'), '4');
  await until(() => app.streams.size === 0, 'the streams to be cancelled');
});

const REJECTING: Readonly<Record<string, Gate>> = {
  'its answer': { ...KEEPS, answered: () => Promise.reject(new Error('a defect')) },
  'its failure': { ...KEEPS, failed: () => Promise.reject(new Error('a defect')) },
};

for (const [name, gate] of Object.entries(REJECTING)) {
  test(`a gate that rejects over ${name} is an error for the client, and the process goes on`, async (t) => {
    const isFailure = name === 'its failure';
    const desk = {
      admit: (_operation: unknown, pass: (ending: { readonly gate: Gate }) => unknown) =>
        Promise.resolve(pass({ gate })),
    } as never;
    const OPERATION = ['atomesh-gid', 'g', 'atomesh-branch', '01', 'atomesh-op', 'try'];
    const app = await startHttp2App(t, (stream) => {
      stream.resume();
      if (isFailure) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else stream.respond({ ':status': 200 }, { endStream: true });
    });
    const second = await inboundTo(t, app.port, {}, {}, desk);
    const stream = client(t, second.url).request([...post('/', ...OPERATION)], { endStream: true });
    const answer = await outcomeOf(stream);
    t.is(answer.status, 500);
    t.regex(answer.body.toString(), /INTERNAL/);
    const old = await startApp(t, (request, response) => void (isFailure ? request.destroy() : response.end()));
    const first = await RawClient.open(t, (await inboundTo(t, old.port, {}, {}, desk)).port);
    first.send('GET / HTTP/1.1\r\nHost: h\r\natomesh-gid: g\r\natomesh-branch: 01\r\natomesh-op: try\r\n\r\n');
    t.regex(await first.until(/INTERNAL/), /^HTTP\/1.1 500 /);
  });
}
