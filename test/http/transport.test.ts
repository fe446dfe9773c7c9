import { once } from 'node:events';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import test from 'ava';
import type { BranchId, Gid, Operation } from '../../src/contract/transaction.ts';
import { Secret } from '../../src/platform/option-types.ts';
import type { BranchCall } from '../../src/runner/ports.ts';
import { createHttpTransport, type HttpTransportOptions } from '../../src/transport/http.ts';
import { guarded } from '../../src/transport/guarded-lookup.ts';
import { type BranchAnswer, startTestBranch } from '../coordinator/started.ts';

const call = (url: string, timeoutMs = 5000): BranchCall => ({
  gid: 'a:{b}' as Gid,
  mode: 'mesh',
  branch: '01' as BranchId,
  operation: 'rollback' satisfies Operation,
  url,
  timeoutMs,
});
const patient = new AbortController().signal;

function open(options: HttpTransportOptions = {}): ReturnType<typeof createHttpTransport> & AsyncDisposable {
  const transport = createHttpTransport(options);
  return { ...transport, [Symbol.asyncDispose]: () => transport.close() };
}

test('the status decides, and only a 409 with the code BRANCH_DIRTY is dirty', async (t) => {
  const answers: readonly (readonly [BranchAnswer, string])[] = [
    [{ status: 200 }, 'success'],
    [{ status: 204, body: '' }, 'success'],
    [{ status: 409, body: 'no' }, 'failure'],
    [{ status: 409, body: '{"error":{"code":"BAD_REQUEST"}}' }, 'failure'],
    [{ status: 409, body: '{"error":{"code":"BRANCH_DIRTY","message":"m"}}' }, 'dirty'],
    [{ status: 409, body: '{ "error" : { "message" : "m", "code" : "BRANCH_DIRTY" } }' }, 'dirty'],
    [{ status: 409, body: JSON.stringify({ said: '"code":"BRANCH_DIRTY"' }) }, 'failure'],
    [{ status: 500, body: '{"error":{"code":"BRANCH_DIRTY"}}' }, 'unknown'],
    [{ status: 425 }, 'ongoing'],
    [{ status: 404 }, 'unknown'],
    [{ status: 503 }, 'unknown'],
  ];
  let next: BranchAnswer = { status: 200 };
  await using branch = await startTestBranch(() => next);
  await using transport = open();
  for (const [answer, expected] of answers) {
    next = answer;
    const { result, detail } = await transport.call(call(`${branch.url}/b?x=1`), patient);
    t.is(result, expected as typeof result, JSON.stringify(answer));
    if (expected !== 'success') t.true(detail?.startsWith(`HTTP ${answer.status}`), detail);
  }
  t.is(branch.requests[0]?.path, '/b?x=1');
});

test('a call is a POST of {} with the identity of the operation and the token', async (t) => {
  await using branch = await startTestBranch();
  await using transport = open({ token: new Secret('sesame') });
  await transport.call(call(`${branch.url}/commit`), patient);
  t.like(branch.requests[0], { method: 'POST', path: '/commit', body: '{}' });
  t.like(branch.requests[0]?.headers, {
    'atomesh-gid': 'a:{b}',
    'atomesh-branch': '01',
    'atomesh-op': 'rollback',
    'content-type': 'application/json',
    authorization: 'Bearer sesame',
  });
});

test('redirects are not followed: they are unknown', async (t) => {
  await using elsewhere = await startTestBranch();
  await using branch = await startTestBranch(() => ({ status: 307, headers: { location: `${elsewhere.url}/` } }));
  await using transport = open();
  t.is((await transport.call(call(branch.url), patient)).result, 'unknown');
  t.is(elsewhere.requests.length, 0);
});

test('of an answer without end 4 KiB are read, and little of it is kept', async (t) => {
  await using branch = await startTestBranch(() => ({ status: 500, body: 'x'.repeat(50_000_000) }));
  await using transport = open();
  const { result, detail = '' } = await transport.call(call(branch.url), patient);
  t.is(result, 'unknown');
  t.true(detail.length < 600);
});

test('silence until the time is over is unknown, and so is a stop of the caller', async (t) => {
  await using branch = await startTestBranch(() => undefined);
  await using transport = open();
  const start = performance.now();
  const { result, detail } = await transport.call(call(branch.url, 150), patient);
  t.is(result, 'unknown');
  t.is(detail, 'no answer within 150 ms');
  t.true(performance.now() - start < 2000);

  const stop = new AbortController();
  const pending = transport.call(call(branch.url), stop.signal);
  stop.abort();
  t.is((await pending).result, 'unknown');
  t.is((await transport.call(call(branch.url), AbortSignal.abort())).result, 'unknown');
});

test('an answer whose body breaks off counts by its status, but a 409 might have been dirty and is unknown', async (t) => {
  for (const [status, expected] of [
    [200, 'success'],
    [425, 'ongoing'],
    [409, 'unknown'],
  ] as const) {
    const server = createTcpServer((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 ${status} X\r\ncontent-length: 100\r\n\r\n{"err`);
        setImmediate(() => socket.destroy());
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await using transport = open();
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    t.is((await transport.call(call(url, 1000), patient)).result, expected, String(status));
    server.close();
  }
});

test('what cannot be reached, or must not be called, is unknown with its reason and never an exception', async (t) => {
  await using transport = open();
  for (const [url, reason] of [
    ['http://127.0.0.1:1/', /ECONNREFUSED/],
    ['http://169.254.169.254/latest', /not called: .*link-local/],
    ['http://[::ffff:a9fe:a9fe]/', /not called: .*link-local/],
    ['ftp://x/', /not called: .*http or https/],
    ['nonsense', /not called/],
  ] as const) {
    const { result, detail } = await transport.call(call(url), patient);
    t.is(result, 'unknown', url);
    t.regex(detail ?? '', reason);
  }
});

test('with an allowlist, only its origins are called', async (t) => {
  await using branch = await startTestBranch();
  await using other = await startTestBranch();
  await using transport = open({ allow: [branch.url] });
  t.is((await transport.call(call(`${branch.url}/x`), patient)).result, 'success');
  const refused = await transport.call(call(`${other.url}/x`), patient);
  t.is(refused.result, 'unknown');
  t.regex(refused.detail ?? '', /not among the allowed origins/);
  t.is(other.requests.length, 0);
});

test('a name that leads to a metadata address leads nowhere, others lead where they did', (t) => {
  t.plan(3);
  const first = guarded((_host, _options, done) => done(null, '169.254.169.254', 4));
  first('metadata.example', {}, (error) => t.regex(error?.message ?? '', /metadata.example leads to a link-local/));
  const mixed = [
    { address: '10.0.0.1', family: 4 },
    { address: 'fe80::1', family: 6 },
  ];
  const all = guarded((_host, _options, done) => done(null, mixed));
  all('mixed.example', { all: true }, (error) => t.regex(error?.message ?? '', /link-local/));
  const fine = guarded((_host, _options, done) => done(null, '10.0.0.1', 4));
  fine('orders', {}, (error, address, family) => t.deepEqual([error, address, family], [null, '10.0.0.1', 4]));
});
