/** Views that call stored functions which change rows: what reads them inside a global transaction is prepared, or refused. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { until } from '../../../examples/support/until.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 10), (2, 20);
create table target (id int primary key, v int);
insert into target values (1, 0), (2, 0);
create table called (id int primary key, n int);
insert into called values (1, 0);
create function noted(a int) returns int modifies sql data begin update called set n = n + 1; return a; end`;

/** By themselves: a text of several statements is cut at semicolons. */
const VIEWS = [
  'create view direct as select id, noted(v) as v from item',
  'create view nested as select id, v from (select * from direct) as d',
  'create view `odd``näme` as with recursive c (n) as (select 1 union all select n + 1 from c where n < 2), d (m) as (select n from c) select m as id, (select max(v) from nested) as v from d',
  "create view harmless as select id, concat(v, '') + abs(v) as v from item where id in (select max(id) from item group by v)",
  'create view over_harmless as with d (id, v) as (select id, v from harmless) select * from d',
];

/** What reads a view that changes rows, in the database `shop`. */
const READERS = [
  'select * from direct',
  'select id from nested where id = 1',
  'select v from shop.`nested` as x',
  'select * from `odd``näme`',
  'select * from item, direct where item.id = direct.id',
  'select * from item left join (target join nested on nested.id = target.id) on item.id = target.id',
  'select (select max(v) from direct) as m from item',
  'select * from item where id in (select id from direct where v > 0)',
  'select * from (select * from nested) as d',
  'with c as (select * from direct) select * from c',
  'with direct as (select * from direct) select * from direct',
  'select 1 union select v from direct',
  'select id from item where v in (select v from direct) for update',
  'set @a = (select max(v) from direct)',
  'do (select max(v) from nested)',
  'insert into target select id + 10, v from direct',
  'insert into target (id, v) values (20, (select max(v) from direct))',
  'update target set v = (select max(v) from nested) where id = 1',
  'update target join direct using (id) set target.v = direct.v',
  'delete from target where id in (select id from direct)',
  'delete target from target join nested on nested.id = target.id',
];

/** What reads none. */
const OTHERS = [
  'select * from harmless',
  'select * from over_harmless, item as direct',
  'with direct as (select 1 as v) select * from direct',
  'select id as direct, v as nested from item',
  'show create view direct',
  'show columns from direct',
  'describe direct',
  'select count(*) from information_schema.tables',
];

for (const [name, start] of SERVERS) {
  const meshes = new Map<string, Mesh>();
  test.before(`${name} is started`, async () => {
    for (const escalate of ['off', 'xa']) {
      const mesh = await startMesh({ start, schema: SCHEMA.replace(/;[^;]*begin.*$/s, ''), database: { escalate } });
      meshes.set(escalate, mesh);
      await mesh.owner.query('set global log_bin_trust_function_creators = 1');
      for (const database of ['shop', 'plain']) {
        await mesh.owner.query(`use ${database}; ${SCHEMA.slice(SCHEMA.indexOf('create function'))}`);
        for (const view of VIEWS) await mesh.owner.query(view);
      }
      await mesh.owner.query('create database elsewhere; use elsewhere');
      await mesh.owner.query('create view away as select * from shop.nested');
      await mesh.owner.query('use shop');
    }
  });
  test.after.always(`${name} is stopped`, async () => {
    for (const mesh of meshes.values()) await mesh[Symbol.asyncDispose]();
  });
  const meshOf = (escalate: 'off' | 'xa'): Mesh => meshes.get(escalate) as Mesh;
  const calls = async (mesh: Mesh): Promise<string | undefined> => (await mesh.lines('select n from shop.called'))[0];

  /** Undefined, or what the client hears. */
  const failure = async (answer: Promise<unknown>): Promise<string | undefined> =>
    answer.then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );

  test.serial(
    `${name}: what reads such a view is refused where nothing is prepared, and changes nothing`,
    async (t) => {
      const mesh = meshOf('off');
      let forViews = 0;
      for (const sql of READERS) {
        const gid = await mesh.begin();
        const client = await mesh.client();
        const refused = (await failure(client.query(`${sql} /*atomesh_gid='${gid}'*/`))) ?? 'it ran';
        t.regex(refused, /inside a global transaction/, sql);
        if (refused.includes('reads shop.direct, which calls noted() and may change rows,')) forViews += 1;
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        const statement = await failure(client.execute(sql));
        t.regex(statement ?? 'it ran', /inside a global transaction/, `prepared: ${sql}`);
        await client.query('rollback');
        client.destroy();
        await mesh.end(gid, 'rollback');
      }
      // The others have no images either way.
      t.is(forViews, READERS.length - 2);
      t.is(await calls(mesh), '0');
      t.deepEqual(await mesh.lines('select id, v from shop.target'), ['1 0', '2 0']);
    },
  );

  test.serial(
    `${name}: what reads such a view is prepared where that can be, and undone with its global transaction`,
    async (t) => {
      const mesh = meshOf('xa');
      for (const sql of READERS) {
        const gid = await mesh.begin();
        const client = await mesh.client();
        t.is(await failure(client.query(`${sql} /*atomesh_gid='${gid}'*/`)), undefined, sql);
        await mesh.end(gid, 'rollback');
        t.is(await calls(mesh), '0', sql);
        client.destroy();
      }
      t.deepEqual(await mesh.lines('select id, v from shop.target'), ['1 0', '2 0']);
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.execute('select v from direct where id = ?', [1]);
      await client.query('commit');
      t.is(await calls(mesh), '0');
      t.is(await mesh.end(gid, 'commit'), 'succeed');
      t.is(await calls(mesh), '1');
      await mesh.owner.query('update shop.called set n = 0');
    },
  );

  test.serial(
    `${name}: views without such functions are read as ever, and so are other things of their name`,
    async (t) => {
      const mesh = meshOf('off');
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      for (const sql of OTHERS) {
        t.is(await failure(client.query(sql)), undefined, sql);
        t.is(await failure(client.execute(sql)), undefined, `prepared: ${sql}`);
      }
      await client.query('update target set v = (select max(v) from harmless) where id = 1');
      await client.query('commit');
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.lines('select id, v from shop.target'), ['1 0', '2 0']);
      t.is(await calls(mesh), '0');
    },
  );

  test.serial(
    `${name}: a view of another database is found by its whole name, and one of a database that was selected`,
    async (t) => {
      const mesh = meshOf('off');
      const gid = await mesh.begin();
      const refused = /a statement that reads shop\.direct, which calls noted\(\)/;
      const client = await mesh.client({ database: 'elsewhere' });
      const prepared = await client.prepare('select * from away');
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      t.regex((await failure(client.query('select * from shop.direct'))) ?? '', refused);
      t.regex((await failure(client.query('select * from away'))) ?? '', refused);
      t.regex((await failure(client.query('select id from direct'))) ?? '', /doesn't exist/);
      await client.query('use shop');
      t.regex((await failure(client.query('select * from direct'))) ?? '', refused);
      t.is(await failure(client.query('select * from item')), undefined);
      // It was prepared where `away` is a view.
      t.regex((await failure(prepared.execute([]))) ?? '', refused);
      await client.query('rollback');
      await mesh.end(gid, 'rollback');
      t.is(await calls(mesh), '0');
    },
  );

  test.serial(`${name}: a view that is made, altered or dropped is noticed while it is read`, async (t) => {
    const mesh = meshOf('off');
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`set @atomesh_gid = '${gid}'`);
    const reads = async (): Promise<boolean> => (await failure(client.query('select id from later'))) === undefined;
    const eventually = (what: string, is: boolean): Promise<unknown> =>
      until(what, async () => ((await reads()) === is ? true : undefined));
    await mesh.owner.query('create view later as select id from item');
    t.true(await reads());
    await mesh.owner.query('create or replace view later as select noted(id) as id from item');
    await eventually('the view changes rows', false);
    await mesh.owner.query('create or replace view later as select id from harmless');
    await eventually('the view changes none', true);
    await mesh.owner.query('create or replace view harmless as select * from direct');
    await eventually('a view within it changes rows', false);
    await mesh.owner.query(`create or replace view harmless as select id, v from item`);
    await mesh.owner.query('drop view later; create table later (id int)');
    await eventually('it is a table', true);
    await mesh.owner.query('drop table later; update called set n = 0');
    await mesh.end(gid, 'rollback');
  });

  test.serial(`${name}: statements without a gid read every view`, async (t) => {
    const mesh = meshOf('off');
    const client: mysql.Connection = await mesh.client();
    await client.query('select * from direct');
    t.is(await calls(mesh), '2');
    await mesh.owner.query('update called set n = 0');
  });

  test.serial(`${name}: nothing else that a table computes calls a stored function`, async (t) => {
    const { owner } = meshOf('off');
    // MySQL 8.0.15 reads CHECK and forgets it.
    const checks = name === 'MariaDB' ? ['create table w (a int, check (noted(a) > 0))'] : [];
    for (const sql of [
      'create table w (a int, b int as (noted(a)))',
      'create table w (a int, b int as (noted(a)) stored)',
      'create table w (a int, b int default (noted(1)))',
      ...checks,
    ])
      t.regex((await failure(owner.query(sql))) ?? '', /`noted`/, sql);
  });
}
