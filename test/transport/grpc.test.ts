import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import fc from 'fast-check';
import { parseGrpcUrl } from '../../src/contract/grpc-url.ts';
import { INITIATOR, type CallResult } from '../../src/contract/transaction.ts';
import { loadProto, methodOf, serviceOf } from '../../src/grpc/proto.ts';
import { Secret } from '../../src/platform/option-types.ts';
import { until } from '../coordinator/started.ts';
import { base64, callOf, type GrpcAnswer, open, patient, startGrpcBranch } from './calls.ts';
import { AUTHORITY } from './certificates.ts';

const METHOD = 'busi.Busi/TransIn';
const protocol = 'grpc';

test('a call carries the payload as it is and the identity of the operation as metadata', async (t) => {
  await using branch = await startGrpcBranch();
  await using transports = open({ token: new Secret('sesame') });
  const payload = Buffer.from([0x0a, 0xff, 0x00]).toString('base64');
  const call = callOf(`${branch.address}/${METHOD}`, {
    protocol,
    payload,
    headers: { 'X-Tenant': 't1', 'x-bin': 'ü' },
  });
  const before = Date.now();
  t.deepEqual(await transports.call(call, patient), { result: 'success' });
  const [request] = branch.requests;
  t.deepEqual([...(request?.message ?? [])], [0x0a, 0xff, 0x00]);
  t.like(request?.metadata.getMap(), {
    'dtm-gid': 'a:{b}',
    'dtm-trans_type': 'saga',
    'dtm-branch_id': '01',
    'dtm-op': 'action',
    'dtm-dtm': '',
    'x-tenant': 't1',
  });
  t.deepEqual(request?.metadata.get('x-bin'), [Buffer.from('ü')]);
  t.deepEqual(request?.metadata.get('authorization'), []);
  t.true((request?.deadline ?? 0) <= before + 6000, 'the time limit travels along');
});

const ANSWERS: readonly (readonly [GrpcAnswer, CallResult, string?])[] = [
  [{ code: status.OK }, 'success'],
  [{ code: status.ABORTED, details: 'no money' }, 'failure', 'no money'],
  [{ code: status.ABORTED, details: 'FAILURE' }, 'failure', 'FAILURE'],
  [{ code: status.ABORTED, details: 'ONGOING' }, 'ongoing', 'ONGOING'],
  [{ code: status.ABORTED, details: 'is ONGOING' }, 'failure'],
  [{ code: status.FAILED_PRECONDITION, details: 'FAILURE' }, 'ongoing'],
  [{ code: status.UNKNOWN, details: 'FAILURE' }, 'unknown', 'FAILURE'],
  [{ code: status.INTERNAL }, 'unknown', 'gRPC INTERNAL'],
  [{ code: status.UNAVAILABLE, details: 'busy' }, 'unknown', 'busy'],
  [{ code: status.ALREADY_EXISTS, details: 'x' }, 'unknown'],
];

for (const [answer, expected, detail] of ANSWERS) {
  test(`status ${status[answer.code]} with "${answer.details ?? ''}" is ${expected}`, async (t) => {
    await using branch = await startGrpcBranch(() => answer);
    await using transports = open();
    const found = await transports.call(callOf(`${branch.address}/${METHOD}`, { protocol }), patient);
    t.is(found.result, expected);
    if (detail !== undefined) t.is(found.detail, detail);
  });
}

test('the callback of a workflow carries its name as operation and its data in the message that DTM defines', async (t) => {
  await using branch = await startGrpcBranch();
  await using transports = open();
  const execute = methodOf(serviceOf(loadProto('workflow.proto'), 'workflow.Workflow'), 'Execute');
  for (const data of ['', 'x', 'y'.repeat(127), 'z'.repeat(128), 'ü'.repeat(20_000)]) {
    const parts = { protocol, mode: 'workflow', operation: 'workflow', branch: INITIATOR, name: 'trip' } as const;
    const url = `grpc://${branch.address}/workflow.Workflow/Execute`;
    t.is((await transports.call(callOf(url, { ...parts, payload: base64(data) }), patient)).result, 'success');
    const request = branch.requests.at(-1);
    t.deepEqual(execute.requestDeserialize(request?.message ?? Buffer.alloc(0)), { Data: base64(data) });
    t.deepEqual(request?.metadata.get('dtm-op'), ['trip']);
  }
});

test('grpcs:// is TLS, trusted by the authority that is given and by no other', async (t) => {
  await using branch = await startGrpcBranch(undefined, { isSecure: true });
  await using trusting = open({ tls: { ca: AUTHORITY } });
  await using doubting = open();
  for (const host of ['127.0.0.1', 'localhost']) {
    const call = callOf(`grpcs://${host}:${branch.port}/${METHOD}`, { protocol, timeoutMs: 3000 });
    t.is((await trusting.call(call, patient)).result, 'success', host);
    t.is((await doubting.call(call, patient)).result, 'unknown', host);
  }
  t.is((await trusting.call(callOf(`${branch.address}/${METHOD}`, { protocol }), patient)).result, 'unknown');
  t.is(branch.requests.length, 2);
});

test('what cannot be reached or must not be called is unknown with its reason', async (t) => {
  await using transports = open();
  for (const [url, reason] of [
    [`127.0.0.1:1/${METHOD}`, /ECONNREFUSED|refused|connection/i],
    [`169.254.169.254:80/${METHOD}`, /not called: .*link-local/],
    [`2852039166:80/${METHOD}`, /not called: .*link-local/],
    [`[fe80::1]:80/${METHOD}`, /not called: .*link-local/],
    [`etcd://orders/${METHOD}`, /not called: expected host:port/],
    ['127.0.0.1:1', /not called: expected host:port/],
    [`no-such-name.invalid:1/${METHOD}`, /ENOTFOUND|EAI_AGAIN/],
  ] as const) {
    const { result, detail } = await transports.call(callOf(url, { protocol, timeoutMs: 3000 }), patient);
    t.is(result, 'unknown', url);
    t.regex(detail ?? '', reason, url);
  }
});

test('with an allowlist, only its origins are called', async (t) => {
  await using branch = await startGrpcBranch();
  await using other = await startGrpcBranch();
  await using transports = open({ allow: [`grpc://${branch.address}`] });
  t.is((await transports.call(callOf(`${branch.address}/${METHOD}`, { protocol }), patient)).result, 'success');
  const refused = await transports.call(callOf(`${other.address}/${METHOD}`, { protocol }), patient);
  t.regex(refused.detail ?? '', /not among the allowed origins/);
  t.is(other.requests.length, 0);
});

test('headers that cannot be metadata make the call unknown, not an exception', async (t) => {
  await using branch = await startGrpcBranch();
  await using transports = open();
  for (const headers of [{ 'bad name': 'x' }, { good: 'bad\nvalue' }, { ':path': '/x' }, { '': 'x' }]) {
    const call = callOf(`${branch.address}/${METHOD}`, { protocol, headers });
    t.is((await transports.call(call, patient)).result, 'unknown', JSON.stringify(headers));
  }
  const dropped = { Connection: 'close', 'content-length': '7', TE: 'gzip', 'grpc-timeout': '1n', Host: 'x' };
  const call = callOf(`${branch.address}/${METHOD}`, { protocol, headers: dropped });
  t.is((await transports.call(call, patient)).result, 'success');
  t.is(branch.requests.length, 1);
});

test('silence until the time is over is unknown, and so is a stop of the caller or of the transport', async (t) => {
  await using branch = await startGrpcBranch(() => undefined);
  await using transports = open();
  const call = callOf(`${branch.address}/${METHOD}`, { protocol, timeoutMs: 150 });
  t.deepEqual(await transports.call(call, patient), { result: 'unknown', detail: 'no answer within 150 ms' });
  const stop = new AbortController();
  const stopped = transports.call({ ...call, timeoutMs: 60_000 }, stop.signal);
  stop.abort();
  t.is((await stopped).result, 'unknown');
  t.is((await transports.call({ ...call, timeoutMs: 60_000 }, AbortSignal.abort())).result, 'unknown');
  const cut = transports.call({ ...call, timeoutMs: 60_000 }, patient);
  await until('the branch is called', () => branch.requests.length >= 2);
  await transports.close();
  t.is((await cut).result, 'unknown');
});

test('a branch that comes back is reached at once, however long it was away', async (t) => {
  await using transports = open();
  const first = await startGrpcBranch();
  const call = callOf(`${first.address}/${METHOD}`, { protocol, timeoutMs: 2000 });
  t.is((await transports.call(call, patient)).result, 'success');
  await first[Symbol.asyncDispose]();
  for (let tries = 0; tries < 20; tries += 1) t.is((await transports.call(call, patient)).result, 'unknown');
  await using second = await startGrpcBranch(undefined, { port: first.port });
  const start = performance.now();
  t.is((await transports.call(call, patient)).result, 'success');
  t.true(performance.now() - start < 1000);
  t.is(second.requests.length, 1);
});

test('a connection that has died without a word is given up after one call in vain', async (t) => {
  await using branch = await startGrpcBranch();
  // Passes bytes on until it is told to swallow them; new connections are sound again.
  const old: Socket[] = [];
  let isSwallowing = false;
  const relay = createServer((client) => {
    const isOld = old.length === 0;
    if (isOld) old.push(client);
    const server = createConnection(branch.port);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('data', (chunk: Buffer) => void (isOld && isSwallowing ? undefined : to.write(chunk)));
      from.on('error', () => undefined);
      from.on('close', () => to.destroy());
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  await using transports = open();
  const url = `127.0.0.1:${(relay.address() as AddressInfo).port}/${METHOD}`;
  t.is((await transports.call(callOf(url, { protocol }), patient)).result, 'success');
  isSwallowing = true;
  t.is((await transports.call(callOf(url, { protocol, timeoutMs: 200 }), patient)).result, 'unknown');
  t.is((await transports.call(callOf(url, { protocol, timeoutMs: 2000 }), patient)).result, 'success');
  relay.close();
  for (const socket of old) socket.destroy();
});

test('a URL is either refused or has an origin, an address and a method that it was made of', (t) => {
  t.deepEqual(parseGrpcUrl('Orders_1:09000/a.b.C/D'), {
    origin: 'grpc://orders_1:9000',
    address: 'orders_1:9000',
    isSecure: false,
    method: '/a.b.C/D',
  });
  t.like(parseGrpcUrl('grpcs://[::1]:1/S/M'), { origin: 'grpcs://[::1]:1', address: '[::1]:1', isSecure: true });
  for (const text of [
    '',
    'a/S/M',
    'a:0/S/M',
    'a:65536/S/M',
    'a:1/S',
    'a:1/S/M/x',
    'a:1/S/M?x',
    'u@a:1/S/M',
    'x://a:1/S/M',
  ]) {
    t.true('fault' in parseGrpcUrl(text), text);
  }
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      const url = parseGrpcUrl(text);
      return 'fault' in url || url.origin.endsWith(url.address);
    }),
  );
});
