import test from 'ava';
import { call } from '../../examples/support/http.ts';
import { until } from '../../examples/support/until.ts';
import { preparedName } from '../../proxy/postgres/xa/names.ts';
import type { TransactionView } from '../../src/contract/messages.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { newId } from '../../src/platform/random.ts';
import { NOTHING_LEFT, startMesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';
import { preparedNames } from './prove.ts';

const SCHEMA = 'CREATE TABLE acc (id int PRIMARY KEY, v int); INSERT INTO acc VALUES (1, 100), (2, 200);';

/** Calls the operation of the only branch as docs/operations.md says, and answers the status. */
async function endByHand({ gid, branches }: TransactionView, operation: 'commit' | 'rollback'): Promise<number> {
  const [branch] = branches;
  const [url = ''] = branch?.operations[operation] ?? [];
  const headers = { 'atomesh-gid': gid, 'atomesh-branch': branch?.branchId ?? '', 'atomesh-op': operation };
  return (await call('POST', url, { headers, body: {} })).status;
}

test.serial(
  'a commit that an operator stops is never forgotten nor rolled back where it was prepared, and a person can end it',
  async (t) => {
    await using mesh = await startMesh({
      major: 18,
      schema: SCHEMA,
      tables: ['acc'],
      database: { mode: 'xa', xa: { recover: '1s' } },
      settings: { max_prepared_transactions: '10' },
      retention: '1s',
    });
    const { gid: stopped } = await mesh.coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 60_000 });
    const [client, busy] = [await mesh.client(), await mesh.client()];
    await client.query(commented('UPDATE acc SET v = 50 WHERE id = 2', stopped));
    // A local transaction that is open keeps the second phase from ending the branch.
    await busy.query(commented('BEGIN', stopped));
    await busy.query('INSERT INTO acc VALUES (3, 0)');
    await mesh.coordinator.submit(stopped);
    // A call that is under way would still commit it.
    await until('the second phase is told to come again', async () => {
      const view = await mesh.coordinator.read(stopped);
      return (view?.branches[0]?.attempts ?? 0) > 0 ? true : undefined;
    });
    await call('POST', `http://127.0.0.1:${mesh.line.port}/api/dtmsvr/forceStop`, { body: { gid: stopped } });
    await busy.query('ROLLBACK').catch(() => undefined);
    t.is((await mesh.over(stopped)).status, 'failed');
    const left = await preparedNames(mesh);
    t.is(left.length, 1);
    const forgotten = await mesh.begin();
    await mesh.coordinator.abort(forgotten, {});
    await until('one that ended later is forgotten', async () =>
      (await mesh.coordinator.read(forgotten)) === undefined ? true : undefined,
    );
    // One that the coordinator does not know is prepared later, and rolled back: so all have been looked after.
    const unknown = preparedName({ gid: 'unknown' as Gid, resource: 'orders/shop' }, newId());
    await mesh.owner.query(`BEGIN; INSERT INTO acc VALUES (4, 0); PREPARE TRANSACTION '${unknown}'`);
    await until('the unknown one is rolled back', async () =>
      (await preparedNames(mesh)).includes(unknown) ? undefined : true,
    );
    t.deepEqual(await preparedNames(mesh), left);
    t.is(await endByHand(await mesh.over(stopped), 'commit'), 200);
    t.deepEqual(await preparedNames(mesh), []);
    t.deepEqual((await mesh.dump())['acc'], ['(1,100)', '(2,50)']);
  },
);

test.serial('what a stopped transaction has left in undo mode a person ends by calling its branch', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['acc'], lockTimeoutMs: 300 });
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query(commented('UPDATE acc SET v = 50 WHERE id = 2', gid));
  await call('POST', `http://127.0.0.1:${mesh.line.port}/api/dtmsvr/forceStop`, { body: { gid } });
  const stopped = await mesh.over(gid);
  const other = await mesh.begin();
  const change = commented('UPDATE acc SET v = v + 1 WHERE id = 2', other);
  t.is((await t.throwsAsync<Error & { code: string }>(client.query(change)))?.code, '55P03');
  t.is(await endByHand(stopped, 'rollback'), 200);
  await client.query(change);
  await mesh.end(other, 'commit');
  t.deepEqual((await mesh.dump())['acc'], ['(1,100)', '(2,201)']);
  t.is(await mesh.leftovers(), NOTHING_LEFT);
});
