import { Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import { inboundTo, until } from '../proxy-http/support.ts';
import { bytes, call, grpcClient, startGrpcApp } from './grpc-service.ts';
import { startHttp2App } from './support.ts';

const ROUTE = { transactions: [{ match: 'POST /shop.Points/*', begin: { timeout: '20s' } }] };

test('OK commits, and nothing of the answer goes out before the commit is durable', async (t) => {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port, ROUTE);
  const submit = Promise.withResolvers<void>();
  inbound.coordinator.gates.set('submit', submit.promise);
  let isAnswered = false;
  const calling = call(grpcClient(t, inbound.port), 'Echo', Buffer.from('order')).then((reply) => {
    isAnswered = true;
    return reply;
  });
  await until(() => inbound.coordinator.calls.includes('submit'), 'submit');
  t.false(isAnswered);
  submit.resolve();
  const reply = await calling;
  t.deepEqual([reply.code, reply.message?.toString()], [status.OK, 'order']);
  const { gid, status: kept } = inbound.coordinator.single();
  t.is(kept, 'submitted');
  t.deepEqual(reply.headers?.get('atomesh-outcome'), ['committed']);
  t.deepEqual(reply.headers?.get('atomesh-gid'), [gid]);
  t.deepEqual(app.metadata[0]?.get('atomesh-gid'), [gid]);
  t.is(inbound.activeRequests.size, 0);
});

test('any other status rolls back, though its HTTP status is 200, and is passed on with its trailers', async (t) => {
  for (const code of [status.ABORTED, status.FAILED_PRECONDITION, status.INTERNAL]) {
    const app = await startGrpcApp(t);
    const inbound = await inboundTo(t, app.port, ROUTE);
    const metadata = new Metadata();
    metadata.set('x-echo-bin', Buffer.from([7]));
    const reply = await call(grpcClient(t, inbound.port), 'Fail', Buffer.from(String(code)), metadata);
    t.deepEqual([reply.code, reply.details], [code, 'no, 100 % ünlucky']);
    t.is(inbound.coordinator.single().status, 'failed');
    const outcomes = [
      ...(reply.headers?.get('atomesh-outcome') ?? []),
      ...(reply.trailers?.get('atomesh-outcome') ?? []),
    ];
    t.deepEqual(outcomes, ['rolled-back']);
  }
});

test('a transaction that was rolled back meanwhile is ABORTED, and the message is not given', async (t) => {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port, ROUTE);
  const submit = Promise.withResolvers<void>();
  inbound.coordinator.gates.set('submit', submit.promise);
  const calling = call(grpcClient(t, inbound.port), 'Echo', Buffer.from('order'));
  await until(() => inbound.coordinator.calls.includes('submit'), 'submit');
  inbound.coordinator.expire();
  submit.resolve();
  const reply = await calling;
  t.deepEqual([reply.code, reply.message], [status.ABORTED, undefined]);
  t.regex(reply.details, /^TRANSACTION_ROLLED_BACK/);
});

test('an application that dies, and a client that leaves, roll back', async (t) => {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port, ROUTE);
  const client = grpcClient(t, inbound.port);
  const left = client.makeUnaryRequest('/shop.Points/Hang', bytes, bytes, Buffer.from('x'), () => undefined);
  await until(() => app.running.size === 1, 'the call to arrive');
  left.cancel();
  await until(() => inbound.coordinator.single().status === 'failed', 'the transaction to be rolled back');
  t.regex(inbound.coordinator.single().reason ?? '', /the client left/);
  inbound.coordinator.transactions.clear();
  const dying = call(client, 'Hang', Buffer.from('x'));
  await until(() => app.running.size === 1, 'the call to arrive');
  app.server.forceShutdown();
  t.not((await dying).code, status.OK);
  t.is(inbound.coordinator.single().status, 'failed');
});

test('when nobody can begin a transaction, the call is UNAVAILABLE and the application is not called', async (t) => {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port, ROUTE);
  inbound.coordinator.lose('begin', 'request', 1);
  const reply = await call(grpcClient(t, inbound.port), 'Echo', Buffer.from('x'));
  t.is(reply.code, status.UNAVAILABLE);
  t.regex(reply.details, /^COORDINATOR_UNREACHABLE/);
  t.is(app.metadata.length, 0);
});

test('an answer too long to be held is refused, and rolls back', async (t) => {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port, ROUTE);
  const reply = await call(grpcClient(t, inbound.port), 'Echo', Buffer.alloc(5 * 1024 * 1024));
  t.is(reply.code, status.RESOURCE_EXHAUSTED);
  t.is(inbound.coordinator.single().status, 'failed');
});

test('a 200 that is no gRPC, such as a page of a proxy, is a failure to its client, and rolls back', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.resume();
    stream.respond([':status', '200', 'content-type', 'text/html']);
    stream.end('<h1>Sign in</h1>');
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  const reply = await call(grpcClient(t, inbound.port), 'Echo', Buffer.from('order'));
  t.not(reply.code, status.OK);
  t.is(inbound.coordinator.single().status, 'failed');
});
