import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table item (id int primary key, v int, name varchar(20));
insert into item values (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c');
create procedure hide_items() create temporary table item (id int primary key, v int, other int) select 1 as id, 0 as v, 0 as other;`;

const HIDDEN = 'create temporary table item (id int primary key, v int, other int) select 1 as id, 1 as v, 1 as other';
const ITEMS = ['1 10 a', '2 20 b', '3 30 c'];

for (const [name, start] of SERVERS) {
  for (const mode of ['undo', 'xa']) {
    let mesh: Mesh;
    test.before(async () => {
      mesh = await startMesh({ start, schema: SCHEMA, database: { mode, escalate: 'xa' } });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());

    const items = (): Promise<readonly string[]> => mesh.lines('select * from shop.item order by id');
    const rowsOf = async (client: mysql.Connection, sql: string): Promise<unknown> =>
      (await client.query({ sql, rowsAsArray: true }))[0];

    test.serial(
      `${name}, mode ${mode}: changes of temporary tables are no affair of the global transaction`,
      async (t) => {
        const gid = await mesh.begin();
        const client = await mesh.client();
        await client.query(HIDDEN);
        await client.query('create temporary table draft (id int, what varchar(20)) engine = myisam');
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        await client.query("insert into draft values (1, 'x'), (2, 'y')");
        await client.query('update item set v = v + 1, other = 7 where id = 1');
        await client.execute('insert into item (id, v, other) values (?, ?, ?)', [5, 5, 5]);
        t.deepEqual(await rowsOf(client, 'select row_count()'), [[1]]);
        t.deepEqual(await rowsOf(client, 'select v, other from item where id = 1 for update'), [[2, 7]]);
        await client.query('delete from draft where id = 2');
        await client.query('commit');
        t.deepEqual(await rowsOf(client, 'select * from item'), [
          [1, 2, 7],
          [5, 5, 5],
        ]);
        t.deepEqual(await rowsOf(client, 'select * from draft'), [[1, 'x']]);
        t.is(await mesh.leftovers(), '0 records, 0 locks');
        await mesh.end(gid, 'rollback');
        t.deepEqual(await items(), ITEMS);
      },
    );

    test.serial(
      `${name}, mode ${mode}: a table that was hidden and is not any more is captured, in one statement as in a local transaction`,
      async (t) => {
        const gid = await mesh.begin();
        const client = await mesh.client();
        await client.query(HIDDEN);
        await client.query(`update item set v = 99 where id = 1 /*atomesh_gid='${gid}'*/`);
        await client.query('drop temporary table item');
        await client.query(`update item set v = 98 where id = 2 /*atomesh_gid='${gid}'*/`);
        t.is((await items())[1], mode === 'xa' ? '2 20 b' : '2 98 b');
        await mesh.end(gid, 'rollback');
        t.deepEqual(await items(), ITEMS);
      },
    );

    test.serial(
      `${name}, mode ${mode}: behind what makes a temporary table unseen the names are asked anew`,
      async (t) => {
        const gid = await mesh.begin();
        const client = await mesh.client();
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        await client.query("update item set name = 'z' where id = 3");
        await client.query('call hide_items()');
        await client.query('update item set v = v + 5 where id = 1');
        t.deepEqual(await rowsOf(client, 'select v from item'), [[5]]);
        await client.query('rollback');
        await mesh.end(gid, 'rollback');
        t.deepEqual(await items(), ITEMS);
      },
    );

    test.serial(`${name}, mode ${mode}: temporary tables and others are not changed by one statement`, async (t) => {
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query('create temporary table draft (id int primary key, w int) select 1 as id, 5 as w');
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.query('update item set v = (select w from draft where draft.id = item.id) where id = 1');
      await client.query('insert into draft select id + 10, v from item');
      await client.query('commit');
      await mesh.end(gid, 'commit');
      t.is((await items())[0], '1 5 a');
      await mesh.owner.query('update shop.item set v = 10 where id = 1');
    });
  }
}
