/** Global transactions in sessions whose login the sidecar manages, and in those of clients with TLS. */
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { makeCertificates } from '../../login/stage.ts';
import { startMesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';
import { open, told } from './stage.ts';

/** Without a key there are no images: whatever changes it is prepared. */
const SCHEMA = `create table t (id int primary key, n int not null); insert into t values (1, 0), (2, 0);
create table bare (id int, n int); insert into bare values (1, 0)`;
const ORDERS = { user: 'orders', password: 'customer' };

for (const [name, start] of SERVERS) {
  test.serial(
    `${name}: changes of a managed session are captured and rolled back, and those of another user behind it`,
    async (t) => {
      const clients = [ORDERS, { user: 'reports', password: 'of reports' }];
      const auth = { mode: 'managed', role: { user: 'atomesh' }, clients };
      await using mesh = await startMesh({ start, schema: SCHEMA, database: { auth, escalate: 'xa' } });
      const client = await mesh.client(ORDERS);
      const rows = 'select id, n from shop.t order by id';
      for (const outcome of ['rollback', 'commit'] as const) {
        const gid = await mesh.begin();
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        await client.query('update t set n = n + 1 where id = 1');
        await client.query('commit');
        await client.query(`set @atomesh_gid = '${gid}'`);
        await client.query('insert into t values (3, 0)');
        // What is open then is rolled back by the server; what was committed belongs to the global transaction.
        await client.query('begin');
        await client.query('update t set n = 100 where id = 2');
        await client.changeUser({ user: 'reports', password: 'of reports', database: 'shop' });
        await client.query(`delete from t where id = 2 /*atomesh_gid='${gid}'*/`);
        t.deepEqual(await mesh.lines(rows), ['1 1', '3 0']);
        t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed');
        t.deepEqual(await mesh.lines(rows), outcome === 'commit' ? ['1 1', '3 0'] : ['1 0', '2 0']);
        await client.changeUser({ ...ORDERS, database: 'shop' });
      }
      t.is(await mesh.leftovers(), '0 records, 0 locks');
    },
  );

  test.serial(`${name}: a client that names no database prepares its statements in that of upstream`, async (t) => {
    const auth = { mode: 'managed', role: { user: 'atomesh' }, clients: [ORDERS] };
    await using mesh = await startMesh({ start, schema: SCHEMA, database: { auth } });
    const client = await open(mesh.port, ORDERS);
    t.like(await told(client), { db: 'shop' });
    await client.execute('update t set n = n + ? where id = 1', [1]);
    const gid = await mesh.begin();
    await client.query(`set @atomesh_gid = '${gid}'`);
    await client.execute('update t set n = n + ? where id = 1', [5]);
    t.deepEqual(await mesh.lines('select n from shop.t order by id'), ['6', '0']);
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual(await mesh.lines('select n from shop.t order by id'), ['1', '0']);
    client.destroy();
  });

  for (const way of ['managed', 'passthrough'] as const) {
    test.serial(
      `${name}: the connection of a client with TLS that has prepared is kept until the end, ${way}`,
      async (t) => {
        await using certificates = await makeCertificates();
        const { server: certificate, serverKey: key } = certificates;
        const auth = way === 'managed' ? { mode: way, role: { user: 'atomesh' }, clients: [ORDERS] } : {};
        const database = { auth, escalate: 'xa', listenTls: { certificate, key }, xa: { recover: '1s' } };
        await using mesh = await startMesh({ start, schema: SCHEMA, database });
        for (const outcome of ['rollback', 'commit'] as const) {
          const gid = await mesh.begin();
          const login = way === 'managed' ? ORDERS : {};
          const client = await mesh.client({ ...login, ssl: { rejectUnauthorized: false } });
          await client.query(`update bare set n = n + 1 /*atomesh_gid='${gid}'*/`);
          await t.throwsAsync(client.query('select 1'));
          await until('the client’s connection is gone', async () =>
            (await mesh.metric('atomesh_sql_sessions')) === '0' ? true : undefined,
          );
          await until('it is kept', async () => ((await mesh.metric('atomesh_sql_parked')) === '1' ? true : undefined));
          const idle = "db = 'shop' and id <> connection_id() and command = 'Sleep'";
          await until('the server has it still', async () => {
            const [kept] = await mesh.lines(`select count(*) from information_schema.processlist where ${idle}`);
            return kept === '1' ? true : undefined;
          });
          t.is(await mesh.metric('atomesh_sql_parked'), '1', outcome);
          t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed');
          t.deepEqual(await mesh.lines('select n from shop.bare'), [outcome === 'commit' ? '1' : '0']);
        }
      },
    );
  }
}
