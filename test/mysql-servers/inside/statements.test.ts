import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table account (id int primary key, owner varchar(40) collate utf8mb4_general_ci, balance decimal(12,2) not null, note text);
insert into account values (1, 'ann', 100, null), (2, 'bob', 50.5, 'x'), (3, 'cy', 0, 'y''y');
create table entry (id bigint unsigned auto_increment primary key, account int not null, amount decimal(12,2), foreign key (account) references account (id));
insert into entry (account, amount) values (1, 5), (2, 6);
create table setting (name varchar(20) primary key, value varchar(100), unique (value));
insert into setting values ('a', '1'), ('b', '2');`;

const TABLES = ['account', 'entry', 'setting'];

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  const dump = async (): Promise<readonly string[]> => {
    const all = await Promise.all(
      TABLES.map((table) => mesh.lines(`select '${table}', x.* from shop.${table} x order by 2`)),
    );
    return all.flat();
  };
  const told = (result: unknown): unknown => {
    const { affectedRows, insertId, info, warningStatus } = result as mysql.ResultSetHeader;
    return { affectedRows, insertId, info, warningStatus };
  };

  /** Runs statements in a local transaction through the sidecar and in the twin, compares the answers, and undoes the global transaction. */
  const undone = test.macro(
    async (t, statements: readonly (readonly [sql: string, values?: (string | number | null)[]])[]) => {
      const before = await dump();
      const gid = await mesh.begin();
      const [through, plain] = [await mesh.client(), await mesh.plain()];
      await plain.query('begin');
      await through.query(`begin /*atomesh_gid='${gid}'*/`);
      for (const [sql, values] of statements) {
        const run = async (connection: mysql.Connection): Promise<unknown> =>
          values === undefined ? connection.query(sql) : connection.execute(sql, values);
        const [[own], [other]] = (await Promise.all([run(through), run(plain)])) as [[unknown], [unknown]];
        t.deepEqual(Array.isArray(own) ? own : told(own), Array.isArray(other) ? other : told(other), sql);
      }
      await through.query('commit');
      t.notDeepEqual(await dump(), before);
      await plain.query('rollback');
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await dump(), before);
      t.is(await mesh.leftovers(), '0 records, 0 locks');
      through.destroy();
      plain.destroy();
    },
  );

  test.serial(`${name}: UPDATE`, undone, [
    ["update account set balance = balance - 10, note = 'changed' where id in (1, 2)"],
  ]);
  test.serial(`${name}: a prepared UPDATE`, undone, [
    ['update account set balance = balance - ? where owner = ?', [10.25, 'ann']],
  ]);
  test.serial(`${name}: DELETE and INSERT`, undone, [
    ['delete from entry where account = 2'],
    ['insert into entry (account, amount) values (?, ?), (3, 7)', [1, 2]],
    ["insert into setting values ('c', '3') on duplicate key update value = 'z'"],
    ["insert into setting values ('a', '3') on duplicate key update value = 'z'"],
    ["replace into setting values ('b', '9')"],
    ["insert ignore into setting values ('b', '10'), ('d', '11')"],
  ]);
  test.serial(`${name}: several changes of one row`, undone, [
    ['update account set balance = 1 where id = 3'],
    ['savepoint one'],
    ['update account set balance = 2 where id = 3'],
    ['rollback to savepoint one'],
    ['update account set balance = 3, note = null where id = 3'],
    ['select balance from account where id = 3'],
    ['select id, balance from account where id = 3 for update'],
  ]);
  test.serial(`${name}: a change may ask about the statement before it`, undone, [
    ['update account set balance = balance + 1 where id < 3'],
    ["insert into setting values ('n', row_count() + 10)"],
    ['update account set note = concat(row_count(), @@warning_count) where id = 2'],
    ['update account set balance = row_count() + ? where id = 3', [5]],
    ["select value from setting where name = 'n' union all select note from account where id = 2"],
    ['select balance from account where id = 3'],
  ]);
  test.serial(`${name}: what a client asks about its last statement`, undone, [
    ["update account set balance = balance + 1, note = 'n' where id < 3"],
    ['select row_count() as n, last_insert_id() > 0 as x'],
    ['update account set balance = 1 where id < 3'],
    ['select row_count()'],
    ['insert ignore into setting values (null, 1)'],
    ['show warnings'],
    ['show count(*) warnings'],
    ['insert into entry (account, amount) values (3, 8)'],
    ['select last_insert_id() = (select max(id) from entry) as same, row_count()'],
  ]);
}
