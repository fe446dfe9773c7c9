/** Without autocommit the first reading begins the local transaction: it can be prepared, like one that BEGIN has begun. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0);
create table log (id int auto_increment primary key, what varchar(40));
create trigger noted after insert on log for each row update item set v = v + 100 where id = 3;`;

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
  });
  test.after.always(() => mesh?.[Symbol.asyncDispose]());

  const values = async (): Promise<readonly string[]> => mesh.lines('select v from item order by id');

  /** Without autocommit, and for a gid. */
  async function clientFor(gid: string): Promise<mysql.Connection> {
    const client = await mesh.client();
    await client.query('set autocommit = 0');
    await client.query(`set @atomesh_gid = '${gid}'`);
    return client;
  }

  test.serial(`${name}: what has no images is prepared behind a reading`, async (t) => {
    for (const read of [
      'select v from item',
      'select v from item for update',
      '(select v from item) union select 1',
      'with w as (select 1 x) select * from item, w',
    ]) {
      const gid = await mesh.begin();
      const client = await clientFor(gid);
      await client.query(read);
      await client.query('update item set v = 4 where id = 1');
      await client.query("insert into log (what) values ('read')");
      await client.query('commit');
      t.deepEqual(await values(), ['0', '0', '0'], 'it is prepared');
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await values(), ['0', '0', '0']);
    }
  });

  test.serial(`${name}: what reads no table begins nothing, and autocommit may be set behind it`, async (t) => {
    const gid = await mesh.begin();
    const client = await clientFor(gid);
    for (const text of ['select @@version', "select 'none', 1 + 1"]) {
      await client.query(text);
      await client.query('set autocommit = 0');
    }
    await client.query('set autocommit = 1');
    await client.query('update item set v = 7 where id = 2');
    t.deepEqual(await values(), ['0', '7', '0']);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await values(), ['0', '0', '0']);
  });

  test.serial(
    `${name}: what has only read ends like any other, and what is captured behind a reading commits at once`,
    async (t) => {
      for (const end of ['commit', 'rollback']) {
        const gid = await mesh.begin();
        const client = await clientFor(gid);
        const [[row]] = await client.execute<mysql.RowDataPacket[]>('select v from item where id = ?', [1]);
        t.deepEqual({ ...row }, { v: 0 });
        await client.query(end);
        await client.query('select v from item');
        await client.query('update item set v = 5 where id = 2');
        await client.query(end);
        await client.query('set autocommit = 1');
        t.deepEqual(await values(), ['0', end === 'commit' ? '5' : '0', '0']);
        t.is(await mesh.end(gid, 'rollback'), 'failed');
        t.deepEqual(await values(), ['0', '0', '0']);
      }
    },
  );
}
