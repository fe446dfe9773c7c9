import { status } from '@grpc/grpc-js';
import test from 'ava';
import { freePort } from '../../examples/support/free-port.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { startTestCoordinator, type TestCoordinator } from '../coordinator/started.ts';
import { askAt } from './served.ts';

test('the largest request over gRPC reaches the transaction whichever coordinator holds it', async (t) => {
  await using server = await startPostgres();
  const start = async (): Promise<TestCoordinator> =>
    startTestCoordinator({
      listen: `127.0.0.1:${await freePort()}`,
      store: { postgres: { url: server.url('postgres') } },
      lease: '60s',
    });
  await using holder = await start();
  await using other = await start();
  using first = askAt(holder.grpcUrl?.slice('grpc://'.length) ?? '');
  using second = askAt(other.grpcUrl?.slice('grpc://'.length) ?? '');
  const workflow = { Gid: 'w', TransType: 'workflow', CustomedData: '{"name":"n","data":""}' };
  t.is((await first.ask('PrepareWorkflow', workflow)).code, status.OK);
  const step = {
    Gid: 'w',
    TransType: 'workflow',
    BranchID: '01',
    Op: 'action',
    Data: { status: 'succeed' },
    BusiPayload: Buffer.alloc(4 * 1024 * 1024 - 1000, 1).toString('base64'),
  };
  const { code, details } = await second.ask('RegisterBranch', step);
  t.is(code, status.OK, details);
});
