import { once } from 'node:events';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { INITIATOR, type CallResult } from '../../src/contract/transaction.ts';
import { Secret } from '../../src/platform/option-types.ts';
import { resultOfDtmAnswer } from '../../src/transport/dtm-answers.ts';
import { type BranchAnswer, startTestBranch } from '../coordinator/started.ts';
import { base64, callOf, open, patient } from './calls.ts';
import { AUTHORITY, CERTIFICATE, KEY } from './certificates.ts';

test('a call with a payload is a POST of it, with the identity of the operation in the query', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  const { result } = await transports.call(
    callOf(`${branch.url}/pay?x=1`, { payload: base64('{"amount":30}') }),
    patient,
  );
  t.is(result, 'success');
  t.like(branch.requests[0], {
    method: 'POST',
    path: '/pay?x=1&branch_id=01&gid=a%3A%7Bb%7D&op=action&trans_type=saga',
    body: '{"amount":30}',
  });
  t.is(branch.requests[0]?.headers['content-type'], 'application/json');
});

test('without a payload it is a GET, except for xa and for the callback of a workflow', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  await transports.call(callOf(`${branch.url}/a`), patient);
  await transports.call(callOf(`${branch.url}/b`, { mode: 'xa', operation: 'commit' }), patient);
  const callback = { mode: 'workflow', operation: 'workflow', branch: INITIATOR, name: 'book a trip' } as const;
  await transports.call(callOf(`${branch.url}/c`, callback), patient);
  await transports.call(callOf(`${branch.url}/d`, { mode: 'msg', operation: 'msg', branch: INITIATOR }), patient);
  t.deepEqual(
    branch.requests.map(({ method, path }) => `${method} ${path}`),
    [
      'GET /a?branch_id=01&gid=a%3A%7Bb%7D&op=action&trans_type=saga',
      'POST /b?branch_id=01&gid=a%3A%7Bb%7D&op=commit&trans_type=xa',
      'POST /c?branch_id=00&gid=a%3A%7Bb%7D&op=book+a+trip&trans_type=workflow',
      'GET /d?branch_id=00&gid=a%3A%7Bb%7D&op=msg&trans_type=msg',
    ],
  );
  t.true(branch.requests.every(({ body }) => body === ''));
});

test('a payload goes out byte for byte', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  const text = '{"a": 12345678901234567890, "b": "ü\\u0000"}\n';
  await transports.call(callOf(branch.url, { payload: base64(text) }), patient);
  t.is(branch.requests[0]?.body, text);
});

const ANSWERS: readonly (readonly [BranchAnswer, CallResult, string?])[] = [
  [{ status: 200, body: '{"dtm_result":"SUCCESS"}' }, 'success'],
  [{ status: 200, body: '' }, 'success'],
  [{ status: 200, body: '{"dtm_result":"FAILURE"}' }, 'failure', '{"dtm_result":"FAILURE"}'],
  [{ status: 200, body: '{"dtm_result":"ONGOING"}' }, 'ongoing', '{"dtm_result":"ONGOING"}'],
  [{ status: 200, body: `${' '.repeat(50_000)}FAILURE` }, 'failure'],
  [{ status: 409, body: '{"error":"no money"}' }, 'failure', '{"error":"no money"}'],
  [{ status: 409, body: '' }, 'failure', 'HTTP 409'],
  [{ status: 409, body: 'ONGOING' }, 'ongoing'],
  [{ status: 425, body: 'later' }, 'ongoing', 'later'],
  [{ status: 425, body: 'no FAILURE' }, 'ongoing'],
  [{ status: 201, body: '{}' }, 'unknown', '{}'],
  [{ status: 204, body: '' }, 'unknown', 'HTTP 204'],
  [{ status: 404, body: 'FAILURE' }, 'unknown', 'FAILURE'],
  [{ status: 500, body: 'FAILURE: the log is full' }, 'unknown', 'FAILURE: the log is full'],
  [{ status: 503, body: 'ONGOING' }, 'unknown'],
];

for (const [answer, expected, detail] of ANSWERS) {
  test(`status ${answer.status} with body ${JSON.stringify(answer.body?.trim())} is ${expected}`, async (t) => {
    await using branch = await startTestBranch(() => answer);
    await using transports = open();
    const found = await transports.call(callOf(branch.url), patient);
    t.is(found.result, expected);
    if (detail !== undefined) t.is(found.detail, detail);
    if (expected === 'success') t.is(found.detail, undefined);
  });
}

test('no answer but 409, or 200 with the word, is ever a failure', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 999 }),
      fc.constantFrom('', 'FAILURE', 'ONGOING', 'x FAILURE y'),
      (status, body) => {
        if (resultOfDtmAnswer(status, body) !== 'failure') return true;
        return status === 409 || (status === 200 && body.includes('FAILURE'));
      },
    ),
  );
  t.pass();
});

test('a detail is cut to 1,000 characters', async (t) => {
  await using branch = await startTestBranch(() => ({ status: 409, body: '💥'.repeat(5000) }));
  await using transports = open();
  const { detail = '' } = await transports.call(callOf(branch.url), patient);
  t.true(detail.length <= 1000 && detail.isWellFormed());
});

test('of an answer without end 1 MiB is read; what it means is then unknown, unless its status says ongoing', async (t) => {
  await using branch = await startTestBranch(({ path }) => ({
    status: Number(path?.slice(1, 4)),
    body: `FAILURE${'x'.repeat(3_000_000)}`,
  }));
  await using transports = open();
  const results = await Promise.all(
    [200, 409, 425].map(async (status) => (await transports.call(callOf(`${branch.url}/${status}`), patient)).result),
  );
  t.deepEqual(results, ['unknown', 'unknown', 'ongoing']);
});

test('an answer whose body breaks off is unknown: the word that decides may be in the rest', async (t) => {
  for (const [status, expected] of [
    [200, 'unknown'],
    [409, 'unknown'],
    [425, 'ongoing'],
  ] as const) {
    const server = createTcpServer((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 ${status} X\r\ncontent-length: 100\r\n\r\nFAIL`);
        setImmediate(() => socket.destroy());
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await using transports = open();
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    t.is((await transports.call(callOf(url, { timeoutMs: 1000 }), patient)).result, expected, String(status));
    server.close();
  }
});

test("the transaction's headers go along, but none that belong to the connection, and never the coordinator's token", async (t) => {
  await using branch = await startTestBranch();
  await using transports = open({ token: new Secret('sesame') });
  const headers = {
    Authorization: 'Basic x',
    'X-Tenant': 't1',
    Host: 'elsewhere',
    'Content-Length': '3',
    Connection: 'close',
  };
  await transports.call(callOf(branch.url, { headers }), patient);
  await transports.call(
    callOf(branch.url, { headers: { 'Content-Type': 'text/plain' }, payload: base64('x') }),
    patient,
  );
  t.like(branch.requests[0]?.headers, { authorization: 'Basic x', 'x-tenant': 't1', host: new URL(branch.url).host });
  t.is(branch.requests[1]?.headers['content-type'], 'text/plain');
  t.is(branch.requests[1]?.headers.authorization, undefined);
});

test('headers that cannot be sent make the call unknown, not an exception', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  const bad = [{ 'bad name': 'x' }, { good: 'bad\r\nvalue: x' }, { '': 'x' }];
  for (const headers of bad as readonly Record<string, string>[]) {
    t.is((await transports.call(callOf(branch.url, { headers }), patient)).result, 'unknown', JSON.stringify(headers));
  }
  t.is(branch.requests.length, 0);
});

test('redirects are not followed, metadata addresses and what the allowlist leaves out are not called', async (t) => {
  await using elsewhere = await startTestBranch();
  await using branch = await startTestBranch(() => ({ status: 302, headers: { location: elsewhere.url } }));
  await using transports = open();
  t.is((await transports.call(callOf(branch.url), patient)).result, 'unknown');
  const metadata = await transports.call(callOf('http://169.254.169.254/latest'), patient);
  t.regex(metadata.detail ?? '', /not called: .*link-local/);
  await using strict = open({ allow: [branch.url] });
  t.regex((await strict.call(callOf(elsewhere.url), patient)).detail ?? '', /not among the allowed origins/);
  t.is(elsewhere.requests.length, 0);
});

test('a branch over https is trusted by the authority that is given, and by no other', async (t) => {
  const server = createServer({ cert: CERTIFICATE, key: KEY }, (_request, response) => response.end('{}'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
  await using trusting = open({ tls: { ca: AUTHORITY } });
  await using doubting = open();
  t.is((await trusting.call(callOf(url), patient)).result, 'success');
  t.is((await doubting.call(callOf(url), patient)).result, 'unknown');
  server.closeAllConnections();
  server.close();
});

test('silence until the time is over is unknown, and a stop of the coordinator ends the wait', async (t) => {
  await using branch = await startTestBranch(() => undefined);
  await using transports = open();
  t.deepEqual(await transports.call(callOf(branch.url, { timeoutMs: 100 }), patient), {
    result: 'unknown',
    detail: 'no answer within 100 ms',
  });
  const stop = new AbortController();
  const pending = transports.call(callOf(branch.url), stop.signal);
  stop.abort();
  t.is((await pending).result, 'unknown');
});
