import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table author (id int primary key, name varchar(20));
insert into author values (1, 'ann'), (2, 'bob'), (3, 'cy'), (4, 'di');
create table book (id int primary key, author int, foreign key (author) references author (id));
insert into book values (1, 1);
create table word (id int primary key, w varchar(20) unique);
insert into word values (1, 'a');`;

const failureOf = (work: Promise<unknown>): Promise<{ errno: number; message: string } | undefined> =>
  work.then(
    () => undefined,
    (error: unknown) => error as { errno: number; message: string },
  );

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** What becomes of a change in a session with a setting of its own; undone in any case. */
  const tried = async (setting: string, sql: string): Promise<string> => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(setting);
    const failure = await failureOf(client.query(`${sql} /*atomesh_gid='${gid}'*/`));
    await mesh.end(gid, 'rollback');
    client.destroy();
    return failure === undefined ? 'done' : `${failure.errno} ${failure.message}`;
  };

  test.serial(
    `${name}: without foreign_key_checks tables with foreign keys are not changed, and others are`,
    async (t) => {
      const off = 'set foreign_key_checks = 0';
      t.regex(await tried(off, 'update book set author = 99 where id = 1'), /^1235 .*while foreign_key_checks is off/);
      t.regex(await tried(off, 'delete from author where id = 1'), /^1235 .*while foreign_key_checks is off/);
      t.is(await tried(off, "update word set w = 'b' where id = 1"), 'done');
      t.is(await tried('set foreign_key_checks = 1', "update author set name = 'x' where id = 1"), 'done');
    },
  );

  test.serial(`${name}: without unique_checks no unique value is taken`, async (t) => {
    t.regex(
      await tried('set unique_checks = 0', "insert into word values (7, 'c')"),
      /^1235 .*while unique_checks is off/,
    );
    t.is(await tried('set unique_checks = 0', 'delete from word where id = 1'), 'done');
    t.is(await tried('set unique_checks = 0', "update author set name = 'x' where id = 1"), 'done');
  });

  test.serial(
    `${name}: settings under which rows are read otherwise than they are changed keep changes from being captured`,
    async (t) => {
      for (const setting of ['sql_select_limit = 1', 'sql_auto_is_null = 1', 'sql_safe_updates = 1']) {
        const failure = await tried(`set ${setting}`, "update author set name = 'x'");
        t.regex(failure, new RegExp(`^1235 .*while ${setting.split(' ')[0]} is set`));
      }
      t.regex(await tried('set sql_select_limit = 1', 'select * from author for update'), /^1235 /);
    },
  );

  const upsert = "insert into word values (1, 'z'), (9, 'n') on duplicate key update w = values(w)";

  /** Whether a capture goes by what only REPEATABLE READ promises: rows of which some exist are refused below it. */
  const isCertain = async (client: mysql.Connection, gid: string): Promise<boolean> => {
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    const failure = await failureOf(client.query(upsert));
    await client.query('rollback');
    return failure === undefined;
  };

  test.serial(
    `${name}: the level of the next local transaction counts, whoever has set it and in which words`,
    async (t) => {
      const variable = name === 'MySQL' ? 'transaction_isolation' : 'tx_isolation';
      const gid = await mesh.begin();
      const client = await mesh.client({ flags: ['FOUND_ROWS'] });
      t.true(await isCertain(client, gid));
      for (const sql of [
        'SET TRANSACTION ISOLATION LEVEL READ COMMITTED',
        '/* x */ set /* y */ transaction isolation level read committed',
        `set @@${variable} = 'READ-COMMITTED'`,
        `set transaction isolation level read committed /*atomesh_gid='${gid}'*/`,
      ]) {
        await client.query(sql);
        t.false(await isCertain(client, gid), sql);
        t.true(await isCertain(client, gid), `behind ${sql}`);
      }
      const session = await mesh.client({ flags: ['FOUND_ROWS'] });
      await session.query('set session transaction isolation level repeatable read');
      t.true(await isCertain(session, gid));
      await session.execute('set transaction isolation level read committed');
      t.false(await isCertain(session, gid));
      await mesh.end(gid, 'rollback');
    },
  );

  test.serial(
    `${name}: the client's level is that of the next local transaction still, when it is one of ours`,
    async (t) => {
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query('set transaction read only');
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      t.is((await failureOf(client.query("update author set name = 'x' where id = 2")))?.errno, 1792);
      await client.query('rollback');
      await client.query(`update author set name = 'x' where id = 2 /*atomesh_gid='${gid}'*/`);
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.lines('select name from shop.author where id = 2'), ['bob']);
    },
  );
}
