/** `docs/client.md`: what it shows is what the examples and this file run. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import type pg from 'pg';
import {
  branchListener,
  connectDtm,
  createWorkflows,
  FailureError,
  newGid,
  postgresBarrier,
  serveBehindBarrier,
  submitSaga,
} from '../../src/client/index.ts';
import { startBankServer, startWorld } from './support.ts';

const ROOT = new URL('../../', import.meta.url);

async function addressOf(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('the snippets of the guide that are in no example do what they say', async (t) => {
  await using bankServer = await startBankServer();
  await using bank = await bankServer.open();
  await using world = await startWorld();
  const { url } = world.coordinator;
  const { pool } = bank;

  const dtm = connectDtm({ url }); // http://coordinator:36789

  const barrier = postgresBarrier(pool); // a pool of `pg`; its database needs the barrier's table

  const withdraw = branchListener((request) =>
    serveBehindBarrier(request, barrier, async (tx: pg.PoolClient, branch, body) => {
      const { name, amount } = body as { name: string; amount: number };
      const text = 'update account set amount = amount - $2 where name = $1 and amount >= $2';
      const { rowCount } = await tx.query(text, [name, amount]);
      if (rowCount === 0) throw new FailureError(`${branch.gid}: not enough money`);
    }),
  );
  const server = createServer((request, response) => void withdraw(request, response));

  const action = await addressOf(server);
  await submitSaga(dtm, { steps: [{ action, payload: { name: 'a', amount: 30 } }], waitResult: true });
  t.is(await bank.amountOf('a'), 70);
  const greedy = submitSaga(dtm, { steps: [{ action, payload: { name: 'a', amount: 300 } }], waitResult: true });
  await t.throwsAsync(greedy, { instanceOf: FailureError, message: /not enough money/ });

  const callback = 'http://127.0.0.1:1/workflows';
  const input = 20;
  const workflows = createWorkflows(dtm, { callback }); // where the coordinator finds this service
  const doubled = workflows.register('doubled', async (workflow, amount: number) =>
    workflow.newBranch().do(() => Promise.resolve(2 * amount)),
  );
  const callbackListener = branchListener((request) => workflows.serve(request)); // answers `callback`
  const result = await doubled.execute(newGid(), input);
  t.is(result, 40);
  t.is(typeof callbackListener, 'function');
  server.close();
});

/** White space and the commas that a formatter puts before it do not count. */
function compact(code: string): string {
  return code.replaceAll(/\s+/g, '').replaceAll(/,(?=[)\]}])/g, '');
}

test('every piece of code in the guide stands in a file that is run', async (t) => {
  const guide = await readFile(new URL('docs/client.md', ROOT), 'utf8');
  const pieces = [...guide.matchAll(/^```ts(.*)\n([^]*?)^```$/gm)];
  t.true(pieces.length >= 10);
  for (const [, path = '', code = ''] of pieces) {
    const file = await readFile(new URL(path.trim(), ROOT), 'utf8');
    t.true(compact(file).includes(compact(code).replace(/,$/, '')), `${path}:\n${code}`);
  }
});

test('every name that the guide writes as code is exported, or a member of what is', async (t) => {
  const guide = await readFile(new URL('docs/client.md', ROOT), 'utf8');
  const exported = new Set(Object.keys(await import('../../src/client/index.ts')));
  const called = [...guide.matchAll(/`([a-z]\w+)\(/g)].map(([, name = '']) => name);
  const members = new Set(['newBranch']);
  t.deepEqual(
    called.filter((name) => !exported.has(name) && !members.has(name)),
    [],
  );
});
