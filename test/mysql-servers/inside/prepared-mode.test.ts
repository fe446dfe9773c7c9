import test from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0);
create procedure raise(in which int) update item set v = v + 1 where id = which;`;

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  const value = async (id: number): Promise<string | undefined> =>
    (await mesh.lines(`select v from shop.item where id = ${id}`))[0];

  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, database: { mode: 'xa', escalate: 'xa' } });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  test(`${name}: mode xa prepares what changes rows, and commits what only reads`, async (t) => {
    for (const outcome of ['rollback', 'commit'] as const) {
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`set @atomesh_gid = '${gid}'`);
      await client.query('start transaction read only');
      await client.query('select * from item');
      await client.query('commit');
      await client.query('begin');
      await client.query('savepoint one');
      await client.query('update item set v = 5 where id = 1');
      await client.query('rollback to savepoint one');
      await client.query('call raise(1)');
      await client.query('commit');
      t.is(await value(1), '0');
      await mesh.end(gid, outcome);
      t.is(await value(1), outcome === 'commit' ? '1' : '0');
    }
  });

  test(`${name}: mode xa rolls back what the client rolls back`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`set @atomesh_gid = '${gid}'`);
    await client.query('begin');
    await client.query('update item set v = 5 where id = 2');
    await client.query('rollback');
    t.is(await value(2), '0');
    await client.query('begin');
    await client.query('update item set v = 6 where id = 2');
    client.destroy();
    await mesh.end(gid, 'commit');
    t.is(await value(2), '0');
  });
}
