/** What a prepared statement means is what it meant when it was prepared: whoever has selected a database or set how texts are read, in which words. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';

const SCHEMA = "create table t (id int primary key, v varchar(20)); insert into t values (1, 'a')";
const LONG = 'x'.repeat(400);

/** Texts that select the database `plain`. */
const MOVING: readonly string[] = [
  '-- x\nuse plain',
  '# x\nuse plain',
  '/*!40101 use plain */',
  '/*! */ use plain',
  'select 1; use plain',
  "select ';'; /* x */ use/**/plain",
  `/* ${LONG} */ use plain`,
  `-- ${LONG}\n use\`plain\``,
];

/** The same for MariaDB, which takes USE in dynamic SQL and in prepared statements. */
const MOVING_MARIADB: readonly string[] = [
  "execute immediate 'use plain'",
  "prepare s from 'use plain'; execute s",
  'set statement max_statement_time = 5 for use plain',
  "if 1 then execute immediate 'use plain'; end if",
];

/** Texts under which a prepared text reads otherwise. */
const SETTING: readonly string[] = [
  "set sql_mode = 'ANSI_QUOTES'",
  "/* x */ set @a = 1, @@session.sql_mode = 'PIPES_AS_CONCAT'",
  'set names latin1',
  "select 1; set character_set_client = 'latin1'",
  '/*!40101 set names latin1 */',
  "prepare s from 'set names latin1'; execute s",
];

/** Texts that leave things as they are. */
const HARMLESS: readonly string[] = [
  '/* use plain */ select 1 from t use index (primary)',
  "select 'use plain'; select 'set names latin1'",
  'set autocommit = 1',
  'set @names_of = 1; start transaction; commit;',
];

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** What the run of a prepared statement comes to inside a gid, behind something said without one; and the rows of both databases. */
  const behind = async (between: (client: mysql.Connection) => Promise<unknown>): Promise<readonly string[]> => {
    const client = await mesh.client({ multipleStatements: true });
    const statement = await client.prepare("update t set v = concat('b', ?) where id = 1");
    await between(client);
    const gid = await mesh.begin();
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    const failure = await statement.execute(['c']).then(
      () => 'done',
      (error: unknown) => (error as Error).message,
    );
    await client.query('commit');
    const rows = await mesh.lines('select (select v from shop.t), (select v from plain.t)');
    await mesh.end(gid, 'rollback');
    client.destroy();
    return [failure, ...rows, ...(await mesh.lines('select (select v from shop.t), (select v from plain.t)'))];
  };

  for (const sql of [...MOVING, ...(name === 'MariaDB' ? MOVING_MARIADB : [])]) {
    test.serial(
      `${name}: what was prepared before ${sql.slice(0, 50)} changes nothing of another database`,
      async (t) => {
        const [failure, ...rows] = await behind((client) => client.query(sql));
        t.deepEqual(rows, ['a a', 'a a']);
        t.regex(failure ?? '', /a prepared statement, since whose preparation the session .*Prepare it again/s);
      },
    );
  }

  for (const sql of SETTING) {
    test.serial(`${name}: what was prepared before ${sql} is not read by what is set now`, async (t) => {
      const [failure, ...rows] = await behind((client) => client.query(sql));
      t.deepEqual(rows, ['a a', 'a a']);
      t.regex(failure ?? '', /since whose preparation the session may have set .*Prepare it again/s);
    });
  }

  test.serial(`${name}: what a prepared statement sets counts when it runs, and not before`, async (t) => {
    t.deepEqual(await behind((client) => client.prepare('set names latin1')), ['done', 'bc a', 'a a']);
    const [failure] = await behind((client) => client.execute('set names latin1'));
    t.regex(failure ?? '', /may have set/);
    if (name !== 'MariaDB') return;
    const [moved, ...rows] = await behind((client) => client.execute('use plain'));
    t.deepEqual(rows, ['a a', 'a a']);
    t.regex(moved ?? '', /a prepared statement, since whose preparation/);
  });

  test.serial(`${name}: a prepared SET runs inside a gid`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    await client.execute('set names latin1');
    await client.execute("update t set v = 'd' where id = 1");
    await client.query('commit');
    t.deepEqual(await mesh.lines('select v from shop.t'), ['d']);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.lines('select v from shop.t'), ['a']);
    client.destroy();
  });

  for (const sql of HARMLESS) {
    test.serial(`${name}: what was prepared before ${sql} runs on`, async (t) => {
      t.deepEqual(await behind((client) => client.query(sql)), ['done', 'bc a', 'a a']);
    });
  }

  test.serial(`${name}: the level of the next local transaction counts in a text of several statements`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client({ flags: ['FOUND_ROWS'], multipleStatements: true });
    await client.query('select 1; set transaction isolation level read committed');
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    const upsert = client.query("insert into t values (1, 'z'), (9, 'n') on duplicate key update v = values(v)");
    await t.throwsAsync(upsert, { message: /atomesh: / });
    await client.query('rollback');
    await mesh.end(gid, 'rollback');
    client.destroy();
  });
}
