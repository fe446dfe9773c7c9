import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

/** Without a key there are no images: whatever changes it is prepared. */
const SCHEMA =
  'create table bare (id int, v int); insert into bare values (1, 0), (2, 0); create index bare_id on bare (id)';

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  const counted = async (): Promise<unknown> =>
    Promise.all([
      mesh.metric('atomesh_sql_statements_total', ',event="escalated"'),
      mesh.metric('atomesh_sql_statements_total', ',event="prepared"'),
      mesh.metric('atomesh_sql_parked'),
    ]);

  test.serial(`${name}: what is prepared is counted, and so are the connections that are kept for it`, async (t) => {
    t.deepEqual(await counted(), [undefined, undefined, '0']);
    const [one, other] = [await mesh.begin(), await mesh.begin()];
    const client = await mesh.client();
    await client.query(`begin /*atomesh_gid='${one}'*/`);
    await client.query('update bare set v = v + 1 where id = 1');
    await client.query('update bare set v = v + 1 where id = 1');
    t.deepEqual(await counted(), ['2', undefined, '0']);
    await client.query('commit');
    t.deepEqual(await counted(), ['2', '1', '1']);
    const second = await mesh.client();
    await second.query(`update bare set v = 7 where id = 2 /*atomesh_gid='${other}'*/`);
    t.deepEqual(await counted(), ['3', '2', '2']);
    await mesh.end(one, 'commit');
    t.deepEqual(await counted(), ['3', '2', '1']);
    await mesh.end(other, 'rollback');
    await until('none is kept', async () => ((await mesh.metric('atomesh_sql_parked')) === '0' ? true : undefined));
    t.deepEqual(await counted(), ['3', '2', '0']);
  });

  test.serial(`${name}: a local transaction that is rolled back is not counted as prepared`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    await client.query('update bare set v = v + 1 where id = 1');
    await client.query('rollback');
    t.deepEqual(await counted(), ['4', '2', '0']);
    await mesh.end(gid, 'rollback');
    client.destroy();
  });
}
