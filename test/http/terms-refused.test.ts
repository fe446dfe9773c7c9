import test from 'ava';
import { startTestCoordinator } from '../coordinator/started.ts';

const BRANCH = {
  kind: 'undo',
  resource: 'a/a',
  operations: { commit: 'http://127.0.0.1:1/c', rollback: 'http://127.0.0.1:1/r' },
};
const CALLBACK = { operation: 'msg', url: 'http://127.0.0.1:1/', afterMs: 1 };
const request = (action: unknown, url = 'http://127.0.0.1:1/'): object => ({
  kind: 'msg',
  resource: 'm',
  operations: { action: url },
  requests: { action },
});

/** Requests about callbacks, runs, and branches on terms of their own that are refused, with what the message must name. */
const REFUSED: readonly (readonly [title: string, path: string, body: unknown, code: string, names: RegExp])[] = [
  [
    'a callback of another kind',
    '/v1/transactions',
    { callback: { ...CALLBACK, operation: 'saga' } },
    'BAD_REQUEST',
    /^callback.operation: expected one of msg, workflow/,
  ],
  [
    'a callback to nowhere',
    '/v1/transactions',
    { callback: { ...CALLBACK, url: 'x' } },
    'BAD_REQUEST',
    /^callback.url: expected an absolute/,
  ],
  [
    'a callback to a metadata address',
    '/v1/transactions',
    { callback: { ...CALLBACK, url: 'grpc://169.254.169.254:1/a.B/C' } },
    'BAD_REQUEST',
    /^callback.url: .*link-local/,
  ],
  [
    'a callback never',
    '/v1/transactions',
    { callback: { operation: 'msg', url: CALLBACK.url } },
    'BAD_REQUEST',
    /^callback.afterMs: missing/,
  ],
  [
    'a callback as a text',
    '/v1/transactions',
    { callback: 'http://127.0.0.1:1/' },
    'BAD_REQUEST',
    /^callback: expected a JSON object/,
  ],
  [
    'a payload that is no base64',
    '/v1/transactions',
    { callback: { ...CALLBACK, payload: 'a' } },
    'BAD_REQUEST',
    /^callback.payload: expected bytes in base64/,
  ],
  [
    'a message with a deadline',
    '/v1/transactions',
    { callback: CALLBACK, timeoutMs: 1000 },
    'BAD_REQUEST',
    /^timeoutMs: a message has no deadline/,
  ],
  ['a step without a run', '/v1/transactions/g/steps', { step: 'a', data: '' }, 'BAD_REQUEST', /^run: missing/],
  [
    'a run 0',
    '/v1/transactions/g/steps',
    { run: 0, step: 'a', data: '' },
    'BAD_REQUEST',
    /^run: expected an integer from 1/,
  ],
  [
    'a step without a name',
    '/v1/transactions/g/steps',
    { run: 1, step: '', data: '' },
    'BAD_REQUEST',
    /^step: expected a text of 1 to 300/,
  ],
  [
    'a step that is no base64',
    '/v1/transactions/g/steps',
    { run: 1, step: 'a', data: 'ä===' },
    'BAD_REQUEST',
    /^data: expected bytes in base64/,
  ],
  ['a field in runs', '/v1/transactions/g/runs', { run: 1 }, 'BAD_REQUEST', /"run": unknown field, known are none/],
  ['a run as a text', '/v1/transactions/g/submit', { run: '1' }, 'BAD_REQUEST', /^run: expected an integer/],
  [
    'requests as a list',
    '/v1/transactions/g/branches',
    { ...BRANCH, requests: [] },
    'BAD_REQUEST',
    /^requests: expected a JSON object/,
  ],
  [
    'a request for no operation',
    '/v1/transactions/g/branches',
    { ...BRANCH, requests: { cancel: {} } },
    'BAD_REQUEST',
    /^requests.cancel: operations.cancel is missing/,
  ],
  [
    'a request for a strange one',
    '/v1/transactions/g/branches',
    { ...BRANCH, requests: { try: {} } },
    'BAD_REQUEST',
    /requests."try": unknown field/,
  ],
  [
    'a strange method',
    '/v1/transactions/g/branches',
    request({ method: 'CONNECT' }),
    'BAD_REQUEST',
    /^requests.action.method: expected one of GET, POST/,
  ],
  [
    'a body that is no base64',
    '/v1/transactions/g/branches',
    request({ body: '{}' }),
    'BAD_REQUEST',
    /^requests.action.body: expected bytes in base64/,
  ],
  [
    'headers as a list',
    '/v1/transactions/g/branches',
    request({ headers: ['a'] }),
    'BAD_REQUEST',
    /^requests.action.headers: expected a JSON object/,
  ],
  [
    'a header that is no text',
    '/v1/transactions/g/branches',
    request({ headers: { a: 1 } }),
    'BAD_REQUEST',
    /^requests.action.headers: expected texts/,
  ],
  [
    'a header in capitals',
    '/v1/transactions/g/branches',
    request({ headers: { 'X-A': '' } }),
    'BAD_REQUEST',
    /"X-A" is not in lower case/,
  ],
  [
    'a header of the connection',
    '/v1/transactions/g/branches',
    request({ headers: { 'transfer-encoding': 'chunked' } }),
    'BAD_REQUEST',
    /"transfer-encoding" belongs to the connection/,
  ],
  [
    'the gid as a header',
    '/v1/transactions/g/branches',
    request({ headers: { 'atomesh-gid': 'other' } }),
    'BAD_REQUEST',
    /"atomesh-gid" is the coordinator's own/,
  ],
  [
    'a header that splits the request',
    '/v1/transactions/g/branches',
    request({ headers: { a: 'b\r\nc: d' } }),
    'BAD_REQUEST',
    /the value of "a" holds control characters/,
  ],
  [
    'a header beyond bytes',
    '/v1/transactions/g/branches',
    request({ headers: { a: '€' } }),
    'BAD_REQUEST',
    /the value of "a" has characters beyond one byte/,
  ],
  [
    'a header that gRPC cannot carry',
    '/v1/transactions/g/branches',
    request({ headers: { a: 'ü' } }, 'grpc://127.0.0.1:1/a.B/C'),
    'BAD_REQUEST',
    /not printable ASCII, which gRPC wants/,
  ],
  [
    'headers without end',
    '/v1/transactions/g/branches',
    request({ headers: { a: 'b'.repeat(65_536) } }),
    'BAD_REQUEST',
    /more than 65536 bytes in all/,
  ],
  [
    'a gRPC URL without a method',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: { ...BRANCH.operations, commit: 'grpc://a:1' } },
    'BAD_REQUEST',
    /^operations.commit: expected host:port/,
  ],
  [
    'results without ongoing',
    '/v1/transactions/g/branches',
    { ...BRANCH, results: { success: [], failure: [] } },
    'BAD_REQUEST',
    /^results.ongoing: missing/,
  ],
  [
    'a range backwards',
    '/v1/transactions/g/branches',
    { ...BRANCH, results: { success: [[299, 200]], failure: [], ongoing: [] } },
    'BAD_REQUEST',
    /^results.success: expected a list of at most 20 ranges/,
  ],
  [
    'a status that is none',
    '/v1/transactions/g/branches',
    { ...BRANCH, results: { success: [[200, 600]], failure: [], ongoing: [] } },
    'BAD_REQUEST',
    /^results.success/,
  ],
  [
    'no tries',
    '/v1/transactions/g/branches',
    { ...BRANCH, attemptsMax: 0 },
    'BAD_REQUEST',
    /^attemptsMax: expected an integer from 1/,
  ],
  [
    'tries of a branch that must end',
    '/v1/transactions/g/branches',
    { ...BRANCH, attemptsMax: 1 },
    'BAD_REQUEST',
    /of kind undo, which is neither delayed nor given up/,
  ],
  ['a negative delay', '/v1/transactions/g/branches', { ...BRANCH, delayMs: -1 }, 'BAD_REQUEST', /^delayMs/],
];

test('every fault of a callback, a run or the terms of a branch is 400 and named with its path, and nothing takes effect', async (t) => {
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  const before = await coordinator.ask('GET', '/v1/transactions');
  for (const [title, path, body, code, names] of REFUSED) {
    const answer = await coordinator.ask('POST', path, body);
    t.deepEqual([answer.status, answer.body.error.code], [400, code], title);
    t.regex(answer.body.error.message, names, title);
    t.truthy(answer.body.error.hint, title);
  }
  t.deepEqual((await coordinator.ask('GET', '/v1/transactions')).body, before.body);
});
