import test from 'ava';
import type mysql from 'mysql2/promise';
import { until } from '../../../examples/support/until.ts';
import { openPreparedTransactions } from '../../../proxy/mysql/xa/prepared.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';
import { startGate, type Gate, type Moment } from '../xa-crash/gate.ts';

/** Without a key there are no images: whatever changes it is prepared. */
const SCHEMA = `create table bare (id int, v int); insert into bare values ${Array.from({ length: 60 }, (_, id) => `(${id}, 0)`).join(', ')};
create index bare_id on bare (id)`;

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  let gate: Gate;
  let watch: (moment: Moment) => 'pass' | Promise<'pass'> = () => 'pass';

  test.before(async () => {
    mesh = await startMesh({
      start: async () => {
        const server = await start();
        gate = await startGate(server.port, (moment) => watch(moment));
        return server;
      },
      schema: SCHEMA,
      get database() {
        return { escalate: 'xa', upstream: `mysql://127.0.0.1:${gate.port}/shop`, xa: { recover: '1s' } };
      },
    });
    await mesh.owner.query('set innodb_lock_wait_timeout = 1');
  });
  test.after.always(async () => {
    await mesh?.[Symbol.asyncDispose]();
    await gate?.[Symbol.asyncDispose]();
  });
  test.afterEach.always(() => {
    watch = () => 'pass';
  });

  /** Changes a row in a local transaction that is prepared. */
  async function prepare(gid: Gid, id: number): Promise<mysql.Connection> {
    const client = await mesh.client();
    await client.query(`update bare set v = v + 1 where id = ${id} /*atomesh_gid='${gid}'*/`);
    return client;
  }
  /** Servers' connections that hold a prepared branch, which is what they are left for. */
  const parked = async (): Promise<readonly string[]> =>
    mesh.lines("select id from information_schema.processlist where db = 'shop' and id <> connection_id()");
  const listed = async (): Promise<number> => (await mesh.owner.query<mysql.RowDataPacket[]>('xa recover'))[0].length;
  const value = async (id: number): Promise<string | undefined> =>
    (await mesh.lines(`select v from shop.bare where id = ${id}`))[0];
  /** Nothing of it is left: the row can be changed at once. */
  const isFree = async (id: number): Promise<void> =>
    void (await mesh.owner.query(`update shop.bare set v = v where id = ${id}`));

  test.serial(`${name}: many branches are ended one behind the other, at once, and none is lost`, async (t) => {
    const ids = Array.from({ length: 40 }, (_, index) => index);
    const from = performance.now();
    for (const id of ids) {
      const gid = await mesh.begin();
      await prepare(gid, id);
      t.is(await mesh.end(gid, id % 2 === 0 ? 'commit' : 'rollback'), id % 2 === 0 ? 'succeed' : 'failed');
      t.is(await value(id), id % 2 === 0 ? '1' : '0');
      await isFree(id);
    }
    // Over another connection each would have waited for that which has prepared to be gone for good.
    t.true((performance.now() - from) / ids.length < 300);
    t.is(await listed(), 0);
    t.is(await mesh.leftovers(), '0 records, 0 locks');
  });

  test.serial(
    `${name}: behind XA PREPARE the client's connection is closed, and the server's is kept until the end`,
    async (t) => {
      const gid = await mesh.begin();
      const before = (await parked()).length;
      const client = await prepare(gid, 41);
      await t.throwsAsync(client.query('select 1'));
      t.is((await parked()).length, before + 1);
      await mesh.end(gid, 'commit');
      await until('it is closed', async () => ((await parked()).length === before ? true : undefined));
      t.is(await value(41), '1');
    },
  );

  test.serial(
    `${name}: a client that is gone while its branch is being prepared leaves one that ends as any other`,
    async (t) => {
      for (const outcome of ['commit', 'rollback'] as const) {
        const gid = await mesh.begin();
        const before = await value(42);
        const client = await mesh.client();
        const [reached, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        watch = async ({ when, command }): Promise<'pass'> => {
          if (when === 'after' && command === 'XA PREPARE') {
            reached.resolve();
            await gone.promise;
          }
          return 'pass';
        };
        const heard = client.query(`update bare set v = v + 1 where id = 42 /*atomesh_gid='${gid}'*/`).then(
          () => true,
          () => false,
        );
        await reached.promise;
        client.destroy();
        await mesh.coordinator[outcome === 'commit' ? 'submit' : 'abort'](gid, {});
        gone.resolve();
        t.is((await mesh.coordinator.read(gid, 10_000))?.status, outcome === 'commit' ? 'succeed' : 'failed');
        t.is(await value(42), String(Number(before) + (outcome === 'commit' ? 1 : 0)));
        t.is(await listed(), 0);
        await isFree(42);
        void heard;
      }
    },
  );

  test.serial(
    `${name}: a branch whose kept connection is killed is ended over another one, and is not lost`,
    async (t) => {
      for (const outcome of ['commit', 'rollback'] as const) {
        const [gid, before] = [await mesh.begin(), await value(43)];
        const others = new Set(await parked());
        await prepare(gid, 43);
        const own = (await parked()).filter((id) => !others.has(id));
        t.is(own.length, 1);
        await mesh.owner.query(`kill ${own[0] ?? ''}`);
        t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed');
        t.is(await value(43), String(Number(before) + (outcome === 'commit' ? 1 : 0)));
        t.is(await listed(), 0);
        await isFree(43);
      }
    },
  );

  test.serial(
    `${name}: of more than may be kept the oldest are closed, and all end as they were decided`,
    async (t) => {
      const ids = Array.from({ length: 55 }, (_, index) => index);
      const gid = await mesh.begin();
      const before = Number((await mesh.lines('select sum(v) from shop.bare'))[0]);
      for (const id of ids) await prepare(gid, id);
      t.true((await parked()).length <= 52);
      t.is(await mesh.end(gid, 'commit'), 'succeed');
      t.is(Number((await mesh.lines('select sum(v) from shop.bare'))[0]), before + ids.length);
      t.is(await listed(), 0);
      t.is(await mesh.leftovers(), '0 records, 0 locks');
    },
  );

  test.serial(`${name}: what is in the way of the end is waited for, and the branch is ended behind it`, async (t) => {
    const gid = await mesh.begin();
    await prepare(gid, 56);
    await mesh.owner.query('flush tables with read lock');
    await mesh.coordinator.submit(gid);
    t.is((await mesh.coordinator.read(gid, 1_500))?.status, 'submitted');
    await mesh.owner.query('unlock tables');
    t.is((await mesh.coordinator.read(gid, 10_000))?.status, 'succeed');
    t.is(await value(56), '1');
  });

  test.serial(
    `${name}: a sidecar that is stopped closes what it has kept, so that the next one can end it`,
    async (t) => {
      const before = await value(58);
      // The schema is there already, and the server stays.
      const nothing = (): Promise<void> => Promise.resolve();
      const other = await startMesh({
        start: () => Promise.resolve({ ...mesh.server, run: nothing, [Symbol.asyncDispose]: nothing }),
        schema: '',
        database: { escalate: 'xa' },
      });
      const gid = await other.begin();
      const client = await other.client();
      await client.query(`update bare set v = v + 1 where id = 58 /*atomesh_gid='${gid}'*/`);
      const { port, user } = mesh.server;
      const transactions = await openPreparedTransactions({
        database: 'orders/shop',
        connection: { host: '127.0.0.1', port, user },
      });
      const end = async (): Promise<string | undefined> => {
        const one = (await transactions.list()).find((each) => each.gid === gid);
        return one && (await transactions.end('ROLLBACK', one));
      };
      t.is(await end(), 'busy', 'its connection is kept');
      await other[Symbol.asyncDispose]();
      await until('it is ended', async () => ((await end()) === 'busy' ? undefined : true));
      await transactions.close();
      t.is(await listed(), 0);
      t.is(await value(58), before);
      await isFree(58);
    },
  );

  test.serial(`${name}: a read-only local transaction has nothing to prepare, and keeps its connection`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`start transaction read only /*atomesh_gid='${gid}'*/`);
    await t.throwsAsync(client.query('update bare set v = 9 where id = 57'));
    await client.query('commit');
    await client.query('select 1');
    await mesh.end(gid, 'commit');
    t.is(await value(57), '0');
  });
}
