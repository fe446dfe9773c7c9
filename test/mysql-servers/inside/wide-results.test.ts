/** Sessions whose results come in a character set with several bytes for each letter: what the sidecar reads itself it reads all the same. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table t (id int primary key, name varchar(20) not null, n int not null);
insert into t values (1, 'one', 1), (2, 'two', 2);`;

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  for (const charset of ['utf16', 'ucs2', 'utf32']) {
    test.serial(`${name}: with character_set_results = ${charset} changes are captured`, async (t) => {
      const before = await mesh.lines('select * from shop.t order by id');
      const gid = await mesh.begin();
      const [through, plain] = [await mesh.client(), await mesh.plain()];
      const both = async (sql: string): Promise<readonly [unknown, unknown]> => {
        const [[own], [other]] = await Promise.all([through.query(sql), plain.query(sql)]);
        return [own, other];
      };
      await both(`set character_set_results = ${charset}`);
      await through.query(`begin /*atomesh_gid='${gid}'*/`);
      await plain.query('begin');
      for (const sql of [
        "update t set name = 'eins' where id = 1",
        "update t set n = n + 1 where name like 't%'",
        "insert ignore into t values (1, 'again', 0)",
        "insert into t values (3, 'drei', 3)",
        'delete from t where id = 2',
      ]) {
        const [own, other] = (await both(sql)) as readonly mysql.ResultSetHeader[];
        t.is(own?.affectedRows, other?.affectedRows, sql);
        t.deepEqual(...(await both('show errors')));
        t.deepEqual(...(await both('show warnings')));
      }
      await through.query('commit');
      t.deepEqual(await mesh.lines('select * from shop.t order by id'), ['1 eins 1', '3 drei 3']);
      await plain.query('rollback');
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await mesh.lines('select * from shop.t order by id'), before);
      through.destroy();
      plain.destroy();
    });

    if (name === 'MariaDB') {
      test.serial(
        `${name}: with character_set_results = ${charset} a prepared RETURNING is refused before it runs`,
        async (t) => {
          const before = await mesh.lines('select * from shop.t order by id');
          const gid = await mesh.begin();
          const client = await mesh.client();
          await client.query(`set character_set_results = ${charset}`);
          await client.query(`set @atomesh_gid = '${gid}'`);
          await t.throwsAsync(client.execute('delete from t where id = ? returning id, n', [1]), {
            message: /UTF-16, UCS-2 or UTF-32/,
          });
          t.deepEqual(await mesh.lines('select * from shop.t order by id'), before);
          await mesh.end(gid, 'rollback');
          client.destroy();
        },
      );
    }

    test.serial(
      `${name}: with character_set_results = ${charset} the changes of an operation take effect once`,
      async (t) => {
        const gid = await mesh.begin();
        const client = await mesh.client();
        const mark = `/*atomesh_gid='${gid}/01/try'*/`;
        await client.query(`set character_set_results = ${charset}`);
        await client.query(`begin ${mark}`);
        await client.query('update t set n = n + 1 where id = 1');
        await client.query('commit');
        await client.query(`begin ${mark}`);
        await t.throwsAsync(client.query('update t set n = n + 1 where id = 1'), {
          message: /carried out this operation/,
        });
        client.destroy();
        await mesh.end(gid, 'rollback');
        await mesh.owner.query('update shop.t set n = 1 where id = 1');
      },
    );
  }
}
