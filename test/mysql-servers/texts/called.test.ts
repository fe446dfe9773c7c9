/** A procedure may select a database for its caller (MariaDB), or set the level of the next local transaction: nobody but the server sees it. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table t (id int primary key, v varchar(20)); insert into t values (1, 'a');
create procedure harmless() begin end;
create procedure leaves_level() begin set transaction isolation level read committed; end;
create procedure selects() begin prepare s from 'use plain'; execute s; end;
create procedure selects_back() begin prepare s from 'use shop'; execute s; end;
create procedure reads_otherwise() begin set names latin1; set sql_mode = 'ANSI_QUOTES'; set character_set_client = latin1; end;`;

/** Texts by which MariaDB runs a procedure that selects the database `plain`. */
const CALLING: readonly string[] = [
  'call selects()',
  '/* x */ CALL shop.selects',
  'select 1; call selects()',
  '/*!40101 call selects() */',
  '/*M! call selects() */',
  "prepare c from 'call selects()'; execute c",
  "execute immediate 'call selects()'",
  'begin not atomic call selects(); end',
  'if 1 then call selects(); end if',
  'set statement max_statement_time = 5 for call selects()',
];

/** The same in its mode ORACLE. */
const CALLING_ORACLE: readonly string[] = ['begin selects; end', 'declare n int; begin selects(); end'];

const UPDATE = "update t set v = concat('b', ?) where id = 1";

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** Runs a prepared change inside a gid and commits it. Answers 'done' or the error, and the rows of both databases before and after the rollback. */
  const undone = async (
    client: mysql.Connection,
    statement: mysql.PreparedStatementInfo,
  ): Promise<readonly string[]> => {
    const rows = (): Promise<readonly string[]> => mesh.lines('select (select v from shop.t), (select v from plain.t)');
    const gid = await mesh.begin();
    await client.query(`start transaction /*atomesh_gid='${gid}'*/`);
    const failure = await statement.execute(['c']).then(
      () => 'done',
      (error: unknown) => (error as Error).message,
    );
    await client.query('commit');
    const changed = await rows();
    await mesh.end(gid, 'rollback');
    return [failure, ...changed, ...(await rows())];
  };

  if (name === 'MariaDB') {
    for (const sql of [...CALLING, ...CALLING_ORACLE]) {
      test.serial(`${name}: what was prepared before ${sql} changes nothing of another database`, async (t) => {
        const client = await mesh.client({ multipleStatements: true });
        if (CALLING_ORACLE.includes(sql)) await client.query("set sql_mode = 'ORACLE'");
        const statement = await client.prepare(UPDATE);
        await client.query(sql);
        t.deepEqual((await client.query('select database() as d'))[0], [{ d: 'plain' }] as never);
        const [failure, ...rows] = await undone(client, statement);
        t.deepEqual(rows, ['a a', 'a a']);
        t.regex(failure ?? '', /a prepared statement, since whose preparation the session .*Prepare it again/s);
        client.destroy();
      });
    }

    test.serial(`${name}: a prepared call selects when it runs, unseen or inside a gid`, async (t) => {
      for (const isInside of [false, true]) {
        const client = await mesh.client();
        const statement = await client.prepare(UPDATE);
        const call = await client.prepare('call selects()');
        const gid = await mesh.begin();
        if (isInside) await client.query(`begin /*atomesh_gid='${gid}'*/`);
        // Inside, where nothing is prepared, it is refused.
        const failure = await call.execute([]).then(
          () => 'done',
          () => 'refused',
        );
        t.is(failure, isInside ? 'refused' : 'done');
        if (isInside) await client.query('rollback');
        await mesh.end(gid, 'rollback');
        const [outcome, ...rows] = await undone(client, statement);
        t.deepEqual(rows, isInside ? ['bc a', 'a a'] : ['a a', 'a a']);
        t.regex(outcome ?? '', isInside ? /^done$/ : /since whose preparation/);
        client.destroy();
      }
    });

    test.serial(`${name}: what was prepared in a database runs when that is selected again`, async (t) => {
      const client = await mesh.client();
      const statement = await client.prepare(UPDATE);
      await client.query('call selects()');
      // The driver keeps what it has prepared by its text.
      const elsewhere = await client.prepare(`${UPDATE} `);
      t.regex((await undone(client, statement))[0] ?? '', /since whose preparation/);
      t.deepEqual(await undone(client, elsewhere), ['done', 'a bc', 'a a']);
      await client.query('call selects_back()');
      t.deepEqual(await undone(client, statement), ['done', 'bc a', 'a a']);
      t.regex((await undone(client, elsewhere))[0] ?? '', /since whose preparation/);
      client.destroy();
    });

    test.serial(
      `${name}: behind a call that escalates, too, names mean what they meant when they were prepared`,
      async (t) => {
        await using escalating = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
        const client = await escalating.client();
        const statement = await client.prepare(UPDATE);
        const gid = await escalating.begin();
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        await client.query('call selects()');
        await statement.execute(['c']);
        await client.query("update t set v = 'text' where id = 1");
        await client.query('commit');
        await escalating.end(gid, 'commit');
        t.deepEqual(await escalating.lines('select (select v from shop.t), (select v from plain.t)'), ['bc text']);
      },
    );

    test.serial(`${name}: behind COM_CHANGE_USER it is another login`, async (t) => {
      const client = await mesh.client();
      await client.changeUser({ user: mesh.server.user, database: 'plain' });
      const statement = await client.prepare(UPDATE);
      await client.query('call selects_back()');
      const [failure, ...rows] = await undone(client, statement);
      t.deepEqual(rows, ['a a', 'a a']);
      t.regex(failure ?? '', /since whose preparation/);
      client.destroy();
    });

    test.serial(
      `${name}: where the server runs something at each login, the database is known behind a statement of a gid`,
      async (t) => {
        await mesh.owner.query("set global init_connect = 'set @a = 1'");
        for (const isAsked of [false, true]) {
          const client = await mesh.client();
          const statement = await client.prepare(UPDATE);
          if (isAsked) t.is((await undone(client, statement))[0], 'done');
          await client.query('call harmless()');
          t.regex((await undone(client, statement))[0] ?? '', isAsked ? /^done$/ : /since whose preparation/);
          client.destroy();
        }
        await mesh.owner.query("set global init_connect = ''");
      },
    );

    test.serial(`${name}: a database that nobody has told is not taken for the same`, async (t) => {
      const client = await mesh.client({ database: undefined as never });
      await client.query('use shop');
      const statement = await client.prepare(UPDATE);
      await client.query('call harmless()');
      const [failure, ...rows] = await undone(client, statement);
      t.deepEqual(rows, ['a a', 'a a']);
      t.regex(failure ?? '', /since whose preparation/);
      client.destroy();
    });
  }

  test.serial(`${name}: what was prepared before a call that selects nothing runs on`, async (t) => {
    const client = await mesh.client();
    const statement = await client.prepare(UPDATE);
    for (const sql of ['call harmless()', 'call reads_otherwise()', '/* x */ call harmless()']) {
      await client.query(sql);
      t.deepEqual(await undone(client, statement), ['done', 'bc a', 'a a'], sql);
    }
    await client.execute('call harmless()');
    t.deepEqual(await undone(client, statement), ['done', 'bc a', 'a a']);
    client.destroy();
  });

  test.serial(
    `${name}: the level of the next local transaction counts that a procedure has set, and for no other`,
    async (t) => {
      const client = await mesh.client({ flags: ['FOUND_ROWS'] });
      const gid = await mesh.begin();
      /** An upsert of rows of which some exist can be told under REPEATABLE READ only. */
      const upsert = async (): Promise<string> => {
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        const done = client.query("insert into t values (1, 'z'), (9, 'n') on duplicate key update v = values(v)");
        const outcome = await done.then(
          () => 'done',
          (error: unknown) => (error as Error).message,
        );
        await client.query('rollback');
        return outcome;
      };
      const call = await client.prepare('call leaves_level()');
      t.is(await upsert(), 'done');
      for (const run of [() => client.query('call leaves_level()'), () => call.execute([])]) {
        await run();
        t.regex(await upsert(), /atomesh: /);
        t.is(await upsert(), 'done');
      }
      await mesh.end(gid, 'rollback');
      client.destroy();
    },
  );
}
