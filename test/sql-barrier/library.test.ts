/** Rows that the sidecar writes and rows that the client library writes mean the same to both. */
import test from 'ava';
import pg from 'pg';
import type { OperationOf } from '../../proxy/branch/barrier.ts';
import { postgresBarrier } from '../../src/client/barrier/postgres.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import { codeOf, markOf, startWorld, type World } from './world.ts';

let world: World;
let pool: pg.Pool;
test.before(async () => {
  world = await startWorld();
  pool = new pg.Pool({ connectionString: world.server.url('shop') });
});
test.after.always(async () => {
  await pool.end();
  await world[Symbol.asyncDispose]();
});

const TABLE = 'atomesh.barrier';
const MODES = [
  { forward: 'try', backward: 'cancel', transType: 'tcc' },
  { forward: 'action', backward: 'compensate', transType: 'saga' },
] as const;

for (const { forward, backward, transType } of MODES) {
  const branchId = '01' as BranchId;
  const of = (gid: Gid, task: OperationOf['task']): OperationOf => ({ gid, branch: branchId, task });
  const change = async (gid: Gid, by: string): Promise<void> => {
    const client = await world.client();
    await client.query(
      `UPDATE account SET amount = amount ${by} WHERE id = '${gid}' /*atomesh_gid='${gid}/01/${by === '- 30' ? forward : backward}'*/`,
    );
    await client.end();
  };
  const account = async (name: string): Promise<Gid> => {
    await world.owner.query('INSERT INTO account VALUES ($1, 100)', [`${transType}-${name}`]);
    return `${transType}-${name}` as Gid;
  };

  test.serial(`${forward} through the sidecar, ${backward} through the library`, async (t) => {
    const barrier = postgresBarrier(pool, { table: TABLE });
    const gid = await account('out');
    await change(gid, '- 30');
    const undo = () =>
      barrier.call({ gid, transType, branchId, op: backward }, (tx) =>
        tx.query('UPDATE account SET amount = amount + 30 WHERE id = $1', [gid]),
      );
    t.is((await undo()).kind, 'done');
    t.is((await undo()).kind, 'repeated');
    t.is(await world.amount(gid), 100);
    t.is(await world.barrier.arrive(of(gid, backward)), 'done');
    t.is(await codeOf(change(gid, '- 30')), '25000');

    const never = await account('never');
    t.is(
      (await barrier.call({ gid: never, transType, branchId, op: backward }, async () => undefined)).kind,
      'absorbed',
    );
    t.is(await world.barrier.arrive(of(never, forward)), 'fenced');
    t.is(await codeOf(change(never, '- 30')), '40000');
    t.is(await world.barrier.arrive(of(never, backward)), 'done');
    t.is(await world.amount(never), 100);
  });

  test.serial(`${forward} through the library, ${backward} through the sidecar`, async (t) => {
    const barrier = postgresBarrier(pool, { table: TABLE });
    const gid = await account('in');
    const apply = (whose: Gid) =>
      barrier.call({ gid: whose, transType, branchId, op: forward }, (tx) =>
        tx.query('UPDATE account SET amount = amount - 30 WHERE id = $1', [whose]),
      );
    t.is((await apply(gid)).kind, 'done');
    t.is(await world.barrier.arrive(of(gid, forward)), 'done');
    t.is(await world.barrier.arrive(of(gid, backward)), 'open');
    await change(gid, '+ 30');
    t.is(await world.barrier.complete(of(gid, backward)), 'done');
    t.is((await apply(gid)).kind, 'repeated');
    t.is(await world.amount(gid), 100);

    const never = await account('absorbed');
    t.is(await world.barrier.arrive(of(never, backward)), 'absorbed');
    t.is((await apply(never)).kind, 'fenced');
    t.is(await world.amount(never), 100);
  });

  test.serial(`both write the same rows of ${transType}`, async (t) => {
    const barrier = postgresBarrier(pool, { table: TABLE });
    const [ours, theirs] = [await account('ours'), await account('theirs')];
    await change(ours, '- 30');
    await change(ours, '+ 30').catch(() => undefined);
    t.is(await world.barrier.arrive(of(ours, backward)), 'done');
    for (const op of [forward, backward])
      await barrier.call({ gid: theirs, transType, branchId, op }, async () => undefined);
    t.deepEqual(await world.rows(ours), await world.rows(theirs));
    const [left, right] = [await account('left'), await account('right')];
    await world.barrier.arrive(of(left, backward));
    await barrier.call({ gid: right, transType, branchId, op: backward }, async () => undefined);
    t.deepEqual(await world.rows(left), await world.rows(right));
    t.is(markOf(of(left, backward)), `${left}/01/${backward}`);
  });
}

test.serial('a back-check of either side is believed by the other', async (t) => {
  const barrier = postgresBarrier(pool, { table: TABLE });
  const client = await world.client();
  const send = (gid: string) => client.query(`INSERT INTO note (said) VALUES ('x') /*atomesh_gid='${gid}/00/msg'*/`);
  await send('m1');
  t.is(await barrier.queryPrepared('m1' as Gid), 'committed');
  t.is(await barrier.queryPrepared('m2' as Gid), 'rolled-back');
  t.is(await codeOf(send('m2')), '40000');
  t.is(await world.barrier.backCheck('m2' as Gid), 'rolled-back');
  await barrier.call({ gid: 'm3' as Gid, transType: 'msg', branchId: '00', op: 'msg' }, async () => undefined);
  t.is(await world.barrier.backCheck('m3' as Gid), 'committed');
});
