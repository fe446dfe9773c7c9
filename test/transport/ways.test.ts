import { once } from 'node:events';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import test from 'ava';
import type { Protocol } from '../../src/contract/transaction.ts';
import { Secret } from '../../src/platform/option-types.ts';
import { type Way, wayOf } from '../../src/transport/transports.ts';
import { startTestBranch } from '../coordinator/started.ts';
import { callOf, open, patient, startGrpcBranch } from './calls.ts';
import { AUTHORITY, CERTIFICATE, KEY } from './certificates.ts';

const CASES: readonly (readonly [protocol: Protocol | undefined, url: string, Way])[] = [
  [undefined, 'http://a/b', 'native'],
  [undefined, 'grpc://a:1/p.S/M', 'native-grpc'],
  [undefined, 'GRPCS://a:1/p.S/M', 'native-grpc'],
  ['http', '', 'none'],
  ['http', 'http://a/b', 'http'],
  ['http', 'HTTPS://a/b', 'http'],
  ['http', 'a:1/p.S/M', 'http'],
  ['grpc', 'https://a/b', 'http'],
  ['grpc', 'a:1/p.S/M', 'grpc'],
  ['grpc', 'http:1/p.S/M', 'grpc'],
  ['json-rpc', 'http://a/b?method=m', 'json-rpc'],
  ['json-rpc', 'http://a/b', 'http'],
  ['json-rpc', 'a:1/p.S/M', 'grpc'],
  ['http', 'grpc://a:1/p.S/M', 'grpc'],
  ['json-rpc', 'grpcs://a:1/p.S/method', 'grpc'],
];

for (const [protocol, url, way] of CASES) {
  test(`a branch of protocol ${protocol ?? '(none)'} at "${url}" is called by: ${way}`, (t) => {
    t.is(wayOf({ url, ...(protocol === undefined ? {} : { protocol }) }), way);
  });
}

test('an empty URL has nothing to call and succeeds', async (t) => {
  await using transports = open();
  t.deepEqual(await transports.call(callOf(''), patient), { result: 'success' });
});

test('a call without a protocol is a native one', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  const { protocol: _, ...call } = callOf(branch.url);
  await transports.call(call, patient);
  t.like(branch.requests[0], { method: 'POST', path: '/', body: '{}' });
  t.is(branch.requests[0]?.headers['atomesh-op'], 'action');
});

test('a host that says nothing holds no other one up', async (t) => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  await using branch = await startTestBranch();
  await using grpcBranch = await startGrpcBranch();
  await using transports = open();
  const stop = new AbortController();
  const stuck = Array.from({ length: 200 }, (_, index) => {
    const url = index % 2 === 0 ? `http://127.0.0.1:${port}/` : `grpc://127.0.0.1:${port}/busi.Busi/TransIn`;
    return transports.call(callOf(url, { timeoutMs: 60_000 }), stop.signal);
  });
  const urls = [branch.url, `grpc://${grpcBranch.address}/busi.Busi/TransIn`];
  const answers = await Promise.all(urls.map((url) => transports.call(callOf(url, { timeoutMs: 3000 }), patient)));
  t.deepEqual(
    answers.map(({ result }) => result),
    ['success', 'success'],
  );
  stop.abort();
  t.true((await Promise.all(stuck)).every(({ result }) => result === 'unknown'));
  for (const socket of sockets) socket.destroy();
  silent.close();
});

test('a branch that asks for a certificate over TLS is shown the one that is given', async (t) => {
  const own = { requestCert: true, rejectUnauthorized: true, ca: AUTHORITY, cert: CERTIFICATE, key: KEY };
  const server = createTlsServer(own, (_request, response) => response.end('{}'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await using grpcBranch = await startGrpcBranch(undefined, { isSecure: true, asksForCertificate: true });
  await using known = open({ tls: { ca: AUTHORITY, certificate: CERTIFICATE, key: new Secret(KEY) } });
  await using stranger = open({ tls: { ca: AUTHORITY } });
  const urls = [
    `https://localhost:${(server.address() as AddressInfo).port}/`,
    `grpcs://localhost:${grpcBranch.port}/busi.Busi/TransIn`,
  ];
  for (const url of urls) {
    t.is((await known.call(callOf(url, { timeoutMs: 3000 }), patient)).result, 'success', url);
    t.is((await stranger.call(callOf(url, { timeoutMs: 3000 }), patient)).result, 'unknown', url);
  }
  server.closeAllConnections();
  server.close();
});
