import { status } from '@grpc/grpc-js';
import test from 'ava';
import type { ResultRules } from '../../src/contract/messages.ts';
import type { CallResult } from '../../src/contract/transaction.ts';
import { Secret } from '../../src/platform/option-types.ts';
import type { BranchCall } from '../../src/runner/ports.ts';
import { startTestBranch } from '../coordinator/started.ts';
import { base64, callOf, type GrpcAnswer, open, patient, startGrpcBranch } from './calls.ts';

const METHOD = 'busi.Busi/TransIn';

/** A call in the native way. */
function nativeTo(url: string, parts: Partial<BranchCall> = {}): BranchCall {
  const { protocol: _, ...call } = callOf(url, { mode: 'mesh', ...parts });
  return call;
}

for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
  test(`${method} with a body is sent as it was enlisted, and the token stays here`, async (t) => {
    await using branch = await startTestBranch();
    await using transports = open({ token: new Secret('sesame') });
    const headers = { 'content-type': 'application/xml', 'x-a': 'b', cookie: 'c=d' };
    const request = { method, headers, body: base64('<x/>') };
    t.deepEqual(await transports.call(nativeTo(`${branch.url}/a?b=c`, { request }), patient), { result: 'success' });
    t.like(branch.requests[0], { method, path: '/a?b=c', body: '<x/>' });
    t.like(branch.requests[0]?.headers, {
      ...headers,
      'atomesh-gid': 'a:{b}',
      'atomesh-branch': '01',
      'atomesh-op': 'action',
    });
    t.is(branch.requests[0]?.headers.authorization, undefined);
  });
}

test('a request that says nothing is a POST without a body, and one may bring an authorization of its own', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open({ token: new Secret('sesame') });
  await transports.call(nativeTo(branch.url, { request: {} }), patient);
  t.like(branch.requests[0], { method: 'POST', body: '' });
  t.is(branch.requests[0]?.headers['content-type'], undefined);
  await transports.call(nativeTo(branch.url, { request: { headers: { authorization: 'Basic eA==' } } }), patient);
  t.is(branch.requests[1]?.headers.authorization, 'Basic eA==');
});

test('what belongs to the connection or says which operation it is cannot be taken over by headers', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  const headers = {
    'atomesh-gid': 'other',
    'Atomesh-Op': 'other',
    host: 'other',
    connection: 'close, x-a',
    'transfer-encoding': 'chunked',
    'content-length': '100',
    upgrade: 'h2c',
  };
  t.deepEqual(await transports.call(nativeTo(branch.url, { request: { headers, body: base64('x') } }), patient), {
    result: 'success',
  });
  const [found] = branch.requests;
  t.is(found?.headers['atomesh-gid'], 'a:{b}');
  t.is(found?.headers['atomesh-op'], 'action');
  t.is(`http://${found?.headers.host}`, branch.url);
  t.is(found?.headers['content-length'], '1');
  t.is(found?.headers['transfer-encoding'], undefined);
  t.is(found?.headers.upgrade, undefined);
  t.is(found?.body, 'x');
});

test('a header or method that cannot be sent is unknown, with its reason, and nothing is called', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  for (const request of [{ headers: { a: 'b\r\nc: d' } }, { headers: { 'a b': 'c' } }, { method: 'CONNECT' }]) {
    const { result, detail } = await transports.call(nativeTo(branch.url, { request }), patient);
    t.is(result, 'unknown');
    t.truthy(detail);
  }
  t.is(branch.requests.length, 0);
});

const RULES: ResultRules = {
  success: [
    [200, 201],
    [404, 404],
  ],
  failure: [
    [400, 403],
    [409, 409],
  ],
  ongoing: [[202, 202]],
};
const STATUSES: readonly (readonly [number, CallResult])[] = [
  [200, 'success'],
  [201, 'success'],
  [404, 'success'],
  [204, 'unknown'],
  [400, 'failure'],
  [403, 'failure'],
  [409, 'failure'],
  [202, 'ongoing'],
  [425, 'unknown'],
  [500, 'unknown'],
  [302, 'unknown'],
];

test('with rules of its own, an answer means what they say and nothing else', async (t) => {
  let next = 0;
  await using branch = await startTestBranch(() => ({ status: next, body: next === 204 ? '' : 'x' }));
  await using transports = open();
  for (const [answered, expected] of STATUSES) {
    next = answered;
    const { result } = await transports.call(nativeTo(branch.url, { results: RULES }), patient);
    t.is(result, expected, String(answered));
  }
});

test('a refusal by rule that says that it is dirty is dirty', async (t) => {
  const body = '{"error":{"code":"BRANCH_DIRTY"}}';
  await using branch = await startTestBranch(() => ({ status: 409, body }));
  await using transports = open();
  t.is((await transports.call(nativeTo(branch.url, { results: RULES }), patient)).result, 'dirty');
});

test('over gRPC the message is the body, the headers are metadata, and the identity is ours', async (t) => {
  await using branch = await startGrpcBranch();
  await using transports = open({ token: new Secret('sesame') });
  const request = {
    headers: { 'x-tenant': 't1', 'x-id-bin': 'AAH/', 'atomesh-gid': 'other', te: 'x', 'grpc-timeout': '1n' },
    body: Buffer.from([0x0a, 0x01, 0xff]).toString('base64'),
  };
  const call = nativeTo(`grpc://${branch.address}/${METHOD}`, { operation: 'confirm', payload: 'YQ==', request });
  t.deepEqual(await transports.call(call, patient), { result: 'success' });
  const [found] = branch.requests;
  t.deepEqual([...(found?.message ?? [])], [0x0a, 0x01, 0xff]);
  t.like(found?.metadata.getMap(), {
    'atomesh-gid': 'a:{b}',
    'atomesh-branch': '01',
    'atomesh-op': 'confirm',
    'x-tenant': 't1',
  });
  t.deepEqual(found?.metadata.get('x-id-bin'), [Buffer.from([0, 1, 255])]);
  for (const name of ['dtm-gid', 'authorization', 'te']) t.deepEqual(found?.metadata.get(name), [], name);
});

test('over gRPC a branch without a request of its own gets the empty message', async (t) => {
  await using branch = await startGrpcBranch();
  await using transports = open();
  await transports.call(nativeTo(`grpc://${branch.address}/${METHOD}`, { payload: 'YQ==' }), patient);
  t.is(branch.requests[0]?.message.length, 0);
});

const GRPC_ANSWERS: readonly (readonly [GrpcAnswer, CallResult])[] = [
  [{ code: status.OK }, 'success'],
  [{ code: status.ABORTED, details: 'no' }, 'failure'],
  [{ code: status.FAILED_PRECONDITION }, 'ongoing'],
  [{ code: status.INTERNAL }, 'unknown'],
  [{ code: status.UNIMPLEMENTED }, 'unknown'],
];

for (const [answer, expected] of GRPC_ANSWERS) {
  test(`gRPC status ${status[answer.code]} of a native branch is ${expected}`, async (t) => {
    await using branch = await startGrpcBranch(() => answer);
    await using transports = open();
    t.is((await transports.call(nativeTo(`grpc://${branch.address}/${METHOD}`), patient)).result, expected);
  });
}
