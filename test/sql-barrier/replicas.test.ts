/** Two sidecars on one database, as replicas of a service have: an operation that both get takes effect once, and is whole. */
import test from 'ava';
import pg from 'pg';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import { codeOf, markOf, run, startWorld, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
  await world.owner.query("INSERT INTO account VALUES ('a', 100)");
});
test.after.always(() => world[Symbol.asyncDispose]());

for (const protocol of ['simple', 'extended'] as const) {
  test.serial(
    `the same operation at both, ${protocol}: one takes effect, and the other is no half of it`,
    async (t) => {
      await using replica = await world.replica();
      const operation = { gid: `both-${protocol}` as Gid, branch: '01' as BranchId, task: 'action' } as const;
      const clients = [await world.client(), new pg.Client({ ...world.through, port: replica.port })] as const;
      clients[1].on('error', () => undefined);
      await clients[1].connect();
      const answered = [world.shop, replica].map((database) => database.operations?.rows.serve(operation));
      for (const { operations } of [world.shop, replica]) t.is(await operations?.barrier.arrive(operation), 'open');
      const change = `UPDATE account SET amount = amount - 30 /*atomesh_gid='${markOf(operation)}'*/`;
      const before = await world.amount('a');
      const codes = await Promise.all(clients.map((client) => codeOf(run(client, protocol, change))));
      t.true(codes.includes('25000') && codes.includes(undefined), String(codes));
      t.is(await world.amount('a'), before - 30);
      for (const { operations } of [world.shop, replica]) {
        t.is(await operations?.barrier.arrive(operation), 'done');
        t.is(await operations?.barrier.complete(operation), 'done');
      }
      for (const done of answered) done?.();
      await clients[1].end();
    },
  );
}

test.serial(
  'two calls of one operation at one sidecar are no halves of each other, and a second change of one call is',
  async (t) => {
    const operation = { gid: 'calls' as Gid, branch: '01' as BranchId, task: 'action' } as const;
    const rows = world.shop.operations?.rows;
    const change = `UPDATE account SET amount = amount - 1 /*atomesh_gid='${markOf(operation)}'*/`;
    const client = await world.client();
    const answered = [rows?.serve(operation), rows?.serve(operation)];
    t.is(await codeOf(client.query(change)), undefined);
    t.is(await codeOf(client.query(change)), '25000');
    t.is(await world.barrier.arrive(operation), 'done');
    answered[0]?.();
    t.is(await codeOf(client.query(change)), '25000');
    t.is(await world.barrier.arrive(operation), 'half');
    answered[1]?.();
    await client.end();
  },
);

test.serial('a local transaction that was rolled back is no half of the next', async (t) => {
  const operation = { gid: 'again' as Gid, branch: '01' as BranchId, task: 'action' } as const;
  const answered = world.shop.operations?.rows.serve(operation);
  const client = await world.client();
  for (const end of ['ROLLBACK', 'COMMIT']) {
    await client.query(`BEGIN /*atomesh_gid='${markOf(operation)}'*/`);
    for (const _ of [1, 2]) await client.query('UPDATE account SET amount = amount - 1');
    await client.query(end);
  }
  t.is(await world.barrier.complete(operation), 'done');
  answered?.();
  await client.end();
});
