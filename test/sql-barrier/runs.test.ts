/** Each run of a workflow has a branch of its own in a database: what one undoes is not the other's. */
import test from 'ava';
import type { Gid } from '../../src/contract/transaction.ts';
import { codeOf, run, startWorld, type Protocol, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world[Symbol.asyncDispose]());

const GET = "UPDATE account SET amount = amount - 10 WHERE id = 'a'";
const amounts = async (): Promise<number> => world.amount('a');

for (const protocol of ['simple', 'extended'] as const satisfies readonly Protocol[]) {
  test.serial(`runs are enlisted, undone and committed apart: ${protocol} protocol`, async (t) => {
    const gid = `flow-${protocol}` as Gid;
    const { shop, coordinator } = world;
    coordinator.enlisted.length = 0;
    coordinator.newestRun = 1;
    await world.owner.query("DELETE FROM account; INSERT INTO account VALUES ('a', 100), ('b', 100)");
    const first = await world.client();
    const second = await world.client();
    await run(first, protocol, `${GET} /*atomesh_gid='${gid}/00/run1'*/`);

    // A local transaction of run 1 that is still open when run 2 begins.
    await run(first, protocol, `BEGIN /*atomesh_gid='${gid}/00/run1'*/`);
    await run(first, protocol, "UPDATE account SET amount = 0 WHERE id = 'b'");
    coordinator.newestRun = 2;
    t.is(await shop.beforeFinish(gid, 'rollback', 1), 'go');
    t.is((await shop.finisher.rollback(gid, 'shop/shop#1')).result, 'success');
    shop.finished(gid, 1);
    t.is(await amounts(), 100);
    t.is(await codeOf(run(first, protocol, 'COMMIT')), '40000');
    await run(first, protocol, 'ROLLBACK');
    t.is(await world.amount('b'), 100);

    await run(second, protocol, `${GET} /*atomesh_gid='${gid}/00/run2'*/`);
    t.is(await amounts(), 90);
    // A change of run 1 that comes late, in a session that knows nothing of the end.
    t.is(
      await codeOf(
        run(first, protocol, `UPDATE account SET amount = 0 WHERE id = 'b' /*atomesh_gid='${gid}/00/run1'*/`),
      ),
      '40000',
    );
    t.is((await shop.finisher.rollback(gid, 'shop/shop#1')).result, 'success');
    t.is(await amounts(), 90);
    t.deepEqual(
      coordinator.enlisted.map(({ resource, run: number, operations }) => [resource, number, operations.rollback]),
      [
        ['shop/shop#1', 1, 'http://127.0.0.1:1/v1/services/shop/databases/shop/rollback?run=1'],
        ['shop/shop#2', 2, 'http://127.0.0.1:1/v1/services/shop/databases/shop/rollback?run=2'],
      ],
    );

    // An open local transaction of run 2 is not disturbed by what is undone of run 1.
    await run(second, protocol, `BEGIN /*atomesh_gid='${gid}/00/run2'*/`);
    await run(second, protocol, "UPDATE account SET amount = amount - 5 WHERE id = 'b'");
    t.is(await shop.beforeFinish(gid, 'rollback', 1), 'go');
    await run(second, protocol, 'COMMIT');
    t.is((await shop.finisher.commit(gid, shop.resource.concat('#2'))).result, 'success');
    t.deepEqual([await amounts(), await world.amount('b')], [90, 95]);
    t.is(
      (await world.owner.query('SELECT FROM atomesh.undo_record UNION ALL SELECT FROM atomesh.row_lock')).rowCount,
      0,
    );
    t.deepEqual(await world.rows(gid), []);
  });
}

test.serial('a run that a later one has superseded is told so', async (t) => {
  const client = await world.client();
  world.coordinator.newestRun = 3;
  await client.query("BEGIN /*atomesh_gid='flow-old/00/run2'*/");
  const refused = await t.throwsAsync(client.query("UPDATE account SET amount = 1 WHERE id = 'a'"));
  t.is((refused as { code?: string }).code, '40000');
  t.regex(refused?.message ?? '', /later run/);
  await client.query('ROLLBACK');
});

test.serial('what the service of a workflow does as a participant of it is not undone with the run', async (t) => {
  const { coordinator } = world;
  coordinator.newestRun = 1;
  coordinator.enlisted.length = 0;
  const client = await world.client();
  await client.query("UPDATE account SET amount = 1 WHERE id = 'a' /*atomesh_gid='flow-same'*/");
  t.like(coordinator.enlisted[0], { resource: 'shop/shop', run: undefined });
  t.false(coordinator.enlisted[0]?.operations.commit?.includes('?'));
  await client.query("UPDATE account SET amount = 2 WHERE id = 'b' /*atomesh_gid='flow-same/00/run1'*/");
  t.is((await world.shop.finisher.rollback('flow-same' as Gid, 'shop/shop#1')).result, 'success');
  t.is(await world.amount('a'), 1);
  t.is((await world.shop.finisher.rollback('flow-same' as Gid, 'shop/shop')).result, 'success');
});
