import test from 'ava';
import { startTestCoordinator } from '../coordinator/started.ts';

const BRANCH = {
  kind: 'undo',
  resource: 'a/a',
  operations: { commit: 'http://127.0.0.1:1/c', rollback: 'http://127.0.0.1:1/r' },
};

/** Requests that are refused, with the code and what the message must name. */
const REFUSED: readonly (readonly [title: string, path: string, body: unknown, code: string, names: RegExp])[] = [
  ['no JSON', '/v1/transactions', '{"gid":', 'BAD_REQUEST', /^body: not JSON/],
  ['no object', '/v1/transactions', '[]', 'BAD_REQUEST', /^body: expected a JSON object/],
  ['null', '/v1/transactions', 'null', 'BAD_REQUEST', /^body: expected a JSON object/],
  ['an unknown field', '/v1/transactions', { gdi: 'x' }, 'BAD_REQUEST', /"gdi": unknown field, known are gid, mode/],
  ['__proto__', '/v1/transactions', '{"__proto__":{"gid":"x"}}', 'BAD_REQUEST', /"__proto__": unknown field/],
  ['a bad gid', '/v1/transactions', { gid: 'a b' }, 'BAD_GID', /^gid: expected 1 to 128 characters/],
  ['a long gid', '/v1/transactions', { gid: 'a'.repeat(129) }, 'BAD_GID', /^gid/],
  ['an unknown mode', '/v1/transactions', { mode: 'saga' }, 'BAD_REQUEST', /^mode: expected one of mesh, found "saga"/],
  ['a timeout of 0', '/v1/transactions', { timeoutMs: 0 }, 'BAD_REQUEST', /^timeoutMs: expected an integer from 1 to/],
  ['31 days', '/v1/transactions', { timeoutMs: 31 * 86_400_000 }, 'BAD_REQUEST', /^timeoutMs/],
  ['a fraction', '/v1/transactions', { retryIntervalMs: 1.5 }, 'BAD_REQUEST', /^retryIntervalMs/],
  ['a long initiator', '/v1/transactions', { initiator: 'x'.repeat(201) }, 'BAD_REQUEST', /^initiator/],
  [
    'lists in lists',
    '/v1/transactions',
    `{"timeoutMs":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    'BAD_REQUEST',
    /^timeoutMs: expected an integer .*, found a list$/,
  ],
  [
    'objects for a word',
    '/v1/transactions',
    { mode: { a: 1 } },
    'BAD_REQUEST',
    /^mode: expected one of mesh, found an object$/,
  ],
  ['two faults', '/v1/transactions', { timeoutMs: 'x', mode: 1 }, 'BAD_REQUEST', /^timeoutMs: .*; mode: /],
  ['a bad gid in the path', '/v1/transactions/a%20b/submit', {}, 'BAD_GID', /^gid in the path/],
  ['broken encoding', '/v1/transactions/a%2/submit', {}, 'BAD_GID', /^gid in the path/],
  [
    'a field in submit',
    '/v1/transactions/g/submit',
    { now: true },
    'BAD_REQUEST',
    /"now": unknown field, known are run/,
  ],
  ['a long reason', '/v1/transactions/g/abort', { reason: 'x'.repeat(1001) }, 'BAD_REQUEST', /^reason/],
  ['no kind', '/v1/transactions/g/branches', { ...BRANCH, kind: undefined }, 'BAD_REQUEST', /^kind: missing/],
  ['no resource', '/v1/transactions/g/branches', { ...BRANCH, resource: '' }, 'BAD_REQUEST', /^resource/],
  [
    'no operations',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: undefined },
    'BAD_REQUEST',
    /^operations: missing/,
  ],
  [
    'operations null',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: null },
    'BAD_REQUEST',
    /^operations: expected/,
  ],
  [
    'no way back',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: { commit: 'http://127.0.0.1:1/' } },
    'BAD_REQUEST',
    /^operations.rollback: missing/,
  ],
  [
    'an unknown operation',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: { ...BRANCH.operations, undo: 'http://127.0.0.1:1/' } },
    'BAD_REQUEST',
    /operations."undo": unknown field/,
  ],
  [
    'a metadata address',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: { ...BRANCH.operations, commit: 'http://169.254.169.254/latest' } },
    'BAD_REQUEST',
    /^operations.commit: .*link-local/,
  ],
  [
    'another scheme',
    '/v1/transactions/g/branches',
    { ...BRANCH, operations: { ...BRANCH.operations, commit: 'file:///etc/passwd' } },
    'BAD_REQUEST',
    /^operations.commit: expected an absolute http or https URL/,
  ],
];

test('every fault of a body is 400 and named with its path, and nothing takes effect', async (t) => {
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g' });
  const before = await coordinator.ask('GET', '/v1/transactions');
  for (const [title, path, body, code, names] of REFUSED) {
    const answer = await coordinator.ask('POST', path, body);
    t.is(answer.status, 400, title);
    t.is(answer.body.error.code, code, title);
    t.regex(answer.body.error.message, names, title);
    t.truthy(answer.body.error.hint, title);
    t.is(answer.body.error.retry, 'never', title);
    t.is(answer.headers.get('atomesh-error-source'), 'coordinator', title);
  }
  t.deepEqual((await coordinator.ask('GET', '/v1/transactions')).body, before.body);
});

test('many faults are cut, so that an answer stays small', async (t) => {
  await using coordinator = await startTestCoordinator();
  const body = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`field${index}`, 1]));
  const answer = await coordinator.ask('POST', '/v1/transactions', body);
  t.is(answer.status, 400);
  t.regex(answer.body.error.message, /and 4980 more$/);
});

test('bad parameters are 400 and named', async (t) => {
  await using coordinator = await startTestCoordinator();
  const faults: readonly (readonly [string, RegExp])[] = [
    ['/v1/transactions?status=done', /^status: expected one of prepared/],
    ['/v1/transactions?limit=0', /^limit: expected an integer from 1 to 1000/],
    ['/v1/transactions?limit=many', /^limit: .*"many"/],
    ['/v1/transactions?after=a%20b', /^after/],
    ['/v1/transactions?page=2', /"page": unknown parameter, known are status, limit, after/],
    ['/v1/transactions?limit=1&limit=2', /^limit: given more than once/],
    ['/v1/transactions/g?wait=30', /^wait: expected a duration/],
    ['/v1/transactions/g?watch=30s', /"watch": unknown parameter/],
  ];
  for (const [path, names] of faults) {
    const answer = await coordinator.ask('GET', path);
    t.is(answer.status, 400, path);
    t.regex(answer.body.error.message, names, path);
  }
});

test('what is not there is 404 with a list of what is, and a wrong method 405 with Allow', async (t) => {
  await using coordinator = await startTestCoordinator();
  const nothing = await coordinator.ask('GET', '/v1/transaction');
  t.deepEqual([nothing.status, nothing.body.error.code], [404, 'NOT_FOUND']);
  t.regex(nothing.body.error.hint, /POST \/v1\/transactions, GET \/v1\/transactions.*\/readyz/);
  t.is((await coordinator.ask('GET', '/v1/transactions/')).status, 404);
  t.is((await coordinator.ask('POST', '/', 'x'.repeat(100_000))).status, 404);

  const wrong = await coordinator.ask('DELETE', '/v1/transactions/g');
  t.deepEqual([wrong.status, wrong.body.error.code, wrong.headers.get('allow')], [405, 'METHOD_NOT_ALLOWED', 'GET']);
  t.is((await coordinator.ask('PUT', '/v1/transactions', {})).headers.get('allow'), 'POST, GET');
  for (const verb of ['submit', 'abort', 'retry', 'branches', 'runs']) {
    const answer = await coordinator.ask('GET', `/v1/transactions/g/${verb}`);
    t.deepEqual([answer.status, answer.headers.get('allow')], [405, 'POST'], 'no GET changes state');
  }
});

test('with a token configured, everything but the probes asks for it', async (t) => {
  await using coordinator = await startTestCoordinator({ token: 'sesame' });
  for (const headers of [
    {},
    { authorization: 'Bearer wrong' },
    { authorization: 'sesame' },
    { authorization: 'Bearer sesame2' },
  ]) {
    for (const path of ['/v1/transactions', '/metrics', '/nothing']) {
      const answer = await coordinator.ask('GET', path, undefined, headers);
      t.deepEqual([answer.status, answer.body.error.code], [401, 'UNAUTHORIZED']);
      t.is(answer.headers.get('www-authenticate'), 'Bearer');
    }
  }
  const right = { authorization: 'Bearer sesame' };
  // RFC 9110 §11.1: the name of a scheme is the same in any case.
  t.is((await coordinator.ask('GET', '/v1/transactions', undefined, { authorization: 'bearer sesame' })).status, 200);
  t.is((await coordinator.ask('GET', '/v1/transactions', undefined, { authorization: 'Bearer SESAME' })).status, 401);
  t.is((await coordinator.ask('GET', '/v1/transactions', undefined, right)).status, 200);
  t.is((await coordinator.ask('GET', '/livez')).status, 200);
  t.is((await coordinator.ask('GET', '/readyz')).status, 200);
});
