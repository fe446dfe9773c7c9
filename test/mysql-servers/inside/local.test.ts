import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = `
create table item (id int primary key, v int, name varchar(20));
insert into item values (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c'), (4, 0, 'd'), (5, 0, 'e'), (6, 0, 'f'), (7, 0, 'g'), (8, 0, 'h'), (9, 0, 'i'), (10, 0, 'j'), (11, 0, 'k'), (12, 0, 'l'), (13, 0, 'm');
create table log (id int auto_increment primary key, what varchar(40));
create trigger noted after insert on log for each row update item set v = v + 100 where id = 9;`;

const errnoOf = (work: Promise<unknown>): Promise<number | undefined> =>
  work.then(
    () => undefined,
    (error: unknown) => (error as { errno: number }).errno,
  );

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  const value = async (id: number): Promise<string | undefined> =>
    (await mesh.lines(`select v from shop.item where id = ${id}`))[0];

  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, lockTimeoutMs: 3_000, database: { escalate: 'xa' } });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  const status = async (client: mysql.Connection, sql: string): Promise<number> =>
    ((await client.query(sql))[0] as mysql.ResultSetHeader).serverStatus;

  test(`${name}: a statement outside of a local transaction is captured in one of its own, and the client sees none`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    t.is((await status(client, `/*atomesh_gid='${gid}'*/ update item set v = 7 where id = 1`)) & 1, 0);
    await client.execute(`update item set v = v + ? where id = ? /*atomesh_gid='${gid}'*/`, [1, 1]);
    t.is(await value(1), '8');
    // It belongs to no global transaction any more.
    await client.query('update item set v = 1 where id = 2');
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual([await value(1), await value(2)], ['0', '1']);
  });

  test(`${name}: without autocommit a local transaction begins by itself, and ends with COMMIT`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query('set autocommit = 0');
    await client.query(`update item set v = 5 where id = 3 /*atomesh_gid='${gid}'*/`);
    t.is(await value(3), '0');
    await client.query('update item set v = 6 where id = 3');
    await client.query('commit');
    t.is(await value(3), '6');
    await mesh.end(gid, 'rollback');
    t.is(await value(3), '0');
  });

  test(`${name}: SET autocommit passes where it commits nothing, since drivers say it when they have connected`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`set @atomesh_gid = '${gid}'`);
    await client.query('SET AUTOCOMMIT = 0');
    await client.query('update item set v = 8 where id = 13');
    t.is(await value(13), '0');
    t.is(await errnoOf(client.query('set autocommit=1')), 1235);
    await client.query('commit');
    await client.query('set autocommit=1');
    await client.query('update item set v = v + 1 where id = 13');
    t.is(await value(13), '9');
    await mesh.end(gid, 'rollback');
    t.is(await value(13), '0');
  });

  test(`${name}: what has no images is prepared, and its global transaction decides`, async (t) => {
    for (const outcome of ['rollback', 'commit'] as const) {
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.query('update item set v = 4 where id = 4');
      await client.query("insert into log (what) values ('x')");
      await client.query('commit');
      t.is(await value(9), '0', 'it is prepared');
      t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed');
      t.deepEqual([await value(9), await value(4)], outcome === 'commit' ? ['100', '4'] : ['0', '0']);
    }
    const alone = await mesh.begin();
    const client = await mesh.client();
    await client.query(`insert into log (what) values ('y') /*atomesh_gid='${alone}'*/`);
    t.is(await value(9), '100');
    await mesh.end(alone, 'rollback');
    t.is(await value(9), '100');
  });

  test(`${name}: a row that another global transaction has changed is waited for`, async (t) => {
    const [first, second] = [await mesh.begin(), await mesh.begin()];
    const [one, two] = [await mesh.client(), await mesh.client()];
    await one.query(`update item set v = 50 where id = 5 /*atomesh_gid='${first}'*/`);
    t.is(await errnoOf(two.query(`update item set v = v + 1 where id = 5 /*atomesh_gid='${second}'*/`)), 1205);
    const waiting = two.query(`update item set v = v + 1 where id = 5 /*atomesh_gid='${second}'*/`);
    await mesh.end(first, 'commit');
    await waiting;
    t.is(await value(5), '51');
    await mesh.end(second, 'rollback');
    t.is(await value(5), '50');
  });

  test(`${name}: a local transaction in the way of a rollback gives way`, async (t) => {
    const [first, second] = [await mesh.begin(), await mesh.begin()];
    const [one, two] = [await mesh.client(), await mesh.client()];
    await one.query(`update item set v = 60 where id = 6 /*atomesh_gid='${first}'*/`);
    await two.query(`begin /*atomesh_gid='${second}'*/`);
    await two.query('update item set v = 1 where id = 11');
    const waiting = errnoOf(two.query('update item set v = v + 1 where id = 6'));
    await mesh.end(first, 'rollback');
    t.is(await waiting, 1213);
    t.is(await errnoOf(two.query('update item set v = v + 1 where id = 6')), 1213, 'it would run outside');
    await two.query('rollback');
    t.is(await value(6), '0');
    await mesh.end(second, 'rollback');
  });

  test(`${name}: one in which nothing was done yet waits for the rollback`, async (t) => {
    const [first, second] = [await mesh.begin(), await mesh.begin()];
    const [one, two] = [await mesh.client(), await mesh.client()];
    await one.query(`update item set v = 60 where id = 12 /*atomesh_gid='${first}'*/`);
    await two.query(`begin /*atomesh_gid='${second}'*/`);
    const waiting = two.query('update item set v = v + 1 where id = 12');
    // Its own row is free for the holder as long as it is undecided.
    await one.query(`update item set v = 61 where id = 12 /*atomesh_gid='${first}'*/`);
    await mesh.end(first, 'rollback');
    await waiting;
    await two.query('update item set v = v + 1 where id = 12');
    await two.query('commit');
    t.is(await value(12), '2');
    await mesh.end(second, 'rollback');
    t.is(await value(12), '0');
  });

  test(`${name}: a locking read waits, a plain one does not`, async (t) => {
    const [first, second] = [await mesh.begin(), await mesh.begin()];
    const [one, two] = [await mesh.client(), await mesh.client()];
    await one.query(`update item set v = 70 where id = 7 /*atomesh_gid='${first}'*/`);
    await two.query(`begin /*atomesh_gid='${second}'*/`);
    const [plain] = await two.query<mysql.RowDataPacket[]>('select v from item where id = 7');
    t.is(plain[0]?.['v'], 70);
    t.is(await errnoOf(two.query('select v from item where id = 7 for update nowait')), 3572);
    const waiting = two.execute<mysql.RowDataPacket[]>('select v from item where id = ? for update', [7]);
    await mesh.end(first, 'commit');
    t.is((await waiting)[0][0]?.['v'], 70);
    await two.query('commit');
    await mesh.end(second, 'commit');
  });

  test(`${name}: a global transaction that is rolled back takes open local transactions with it`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    await client.query('update item set v = 80 where id = 8');
    await mesh.end(gid, 'rollback');
    t.is(await value(8), '0');
    t.is(await errnoOf(client.query('update item set v = 81 where id = 8')), 1213);
    t.is(await errnoOf(client.query('select 1')), 1213);
    await client.query('rollback');
    await client.query('update item set v = 0 where id = 8');
    t.is(await value(8), '0');
  });

  test(`${name}: several statements in one text`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client({ multipleStatements: true });
    const [results] = await client.query(
      `/*atomesh_gid='${gid}'*/ begin; update item set name = 'z' where id = 10; select name from item where id = 10; commit`,
    );
    t.is((results as unknown[]).length, 4);
    t.deepEqual((results as unknown[])[2], [{ name: 'z' }]);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.lines('select name from shop.item where id = 10'), ['j']);
  });
}
