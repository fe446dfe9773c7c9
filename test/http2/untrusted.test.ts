import { Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import type { OperationDesk } from '../../proxy/http/admission.ts';
import { inboundTo } from '../proxy-http/support.ts';
import { call, grpcClient, startGrpcApp } from './grpc-service.ts';
import { ask, client, post, startHttp2App, valueOf } from './support.ts';

/** What a client outside may say to get into somebody's transaction, or to have a branch confirmed or cancelled. */
const FORGED: readonly (readonly (readonly [name: string, value: string])[])[] = [
  [
    ['atomesh-gid', 'g'],
    ['atomesh-branch', '01'],
    ['atomesh-op', 'cancel'],
  ],
  [
    ['dtm-gid', 'g'],
    ['tx_xid', 'g'],
    ['atomesh-branch', '01'],
    ['atomesh-op', 'confirm'],
  ],
  [
    ['tracestate', 'atomesh=g:g/01/try,a=1'],
    ['atomesh-op', 'try'],
  ],
  [
    ['baggage', 'atomesh.gid=g%2F01%2Ftry,a=1'],
    ['atomesh-branch', '01'],
  ],
  [
    ['atomesh-gid', 'g1'],
    ['dtm-gid', 'g2'],
  ],
];
const OURS = ['atomesh-gid', 'dtm-gid', 'tx_xid', 'atomesh-branch', 'atomesh-op'];

function desk(): { readonly operations: OperationDesk; readonly asked: unknown[] } {
  const asked: unknown[] = [];
  const operations: OperationDesk = {
    admit: (operation, pass) => {
      asked.push(operation);
      return Promise.resolve(pass({}));
    },
  };
  return { operations, asked };
}

for (const forged of FORGED) {
  const said = forged.map(([name, value]) => `${name}: ${value}`).join(', ');
  test(`over HTTP/2 and gRPC, where gids are not trusted, nothing of this gets in: ${said}`, async (t) => {
    const app = await startHttp2App(t, (stream) => {
      stream.resume();
      stream.respond([':status', '200'], { endStream: true });
    });
    const plain = desk();
    const inbound = await inboundTo(t, app.port, { trustGid: false }, {}, plain.operations);
    const { status: answered } = await ask(client(t, inbound.url), { head: post('/', ...forged.flat()), body: 'x' });
    t.is(answered, 200);
    for (const name of OURS) t.is(valueOf(app.heads[0] ?? [], name), undefined, name);
    for (const name of ['tracestate', 'baggage']) t.is(valueOf(app.heads[0] ?? [], name) ?? 'a=1', 'a=1');

    const grpcApp = await startGrpcApp(t);
    const grpc = desk();
    const grpcInbound = await inboundTo(t, grpcApp.port, { trustGid: false }, {}, grpc.operations);
    const metadata = new Metadata();
    for (const [name, value] of forged) metadata.set(name, value);
    const reply = await call(grpcClient(t, grpcInbound.port), 'Echo', Buffer.from('x'), metadata);
    t.is(reply.code, status.OK, reply.details);
    for (const name of OURS) t.deepEqual(grpcApp.metadata[0]?.get(name), [], name);
    t.deepEqual([...plain.asked, ...grpc.asked], []);
  });
}

test('over HTTP/2 and gRPC, two gids, or an operation of no transaction, are refused before the application is called', async (t) => {
  const app = await startGrpcApp(t);
  const inbound = await inboundTo(t, app.port);
  const session = client(t, inbound.url);
  for (const headers of [
    ['atomesh-gid', 'a', 'tx_xid', 'b'],
    ['atomesh-gid', 'no gid'],
    ['atomesh-branch', '01', 'atomesh-op', 'try'],
    ['atomesh-gid', 'g', 'atomesh-branch', '00', 'atomesh-op', 'run2'],
  ]) {
    t.is((await ask(session, { head: post('/', ...headers), body: 'x' })).status, 400, headers.join());
    const metadata = new Metadata();
    for (let index = 0; index + 1 < headers.length; index += 2)
      metadata.set(headers[index] ?? '', headers[index + 1] ?? '');
    const reply = await call(grpcClient(t, inbound.port), 'Echo', Buffer.from('x'), metadata);
    t.is(reply.code, status.INVALID_ARGUMENT, headers.join());
  }
  t.is(app.metadata.length, 0);
});
