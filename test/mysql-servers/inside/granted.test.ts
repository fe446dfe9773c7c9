/** The sidecar's own texts of several statements let no client send any that has not asked for it: that would open what it is protected by against injected SQL. */
import test from 'ava';
import { makeCertificates } from '../../login/stage.ts';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = 'create table t (id int primary key, n int not null); insert into t values (1, 0), (2, 0)';
const ROWS = 'select id, n from shop.t order by id';
const TWO = 'select 1; update t set n = 99';

for (const [name, start] of SERVERS) {
  test.serial(
    `${name}: another user of a client with TLS, whose password is said anew, behind a captured change`,
    async (t) => {
      await using certificates = await makeCertificates();
      const listenTls = { certificate: certificates.server, key: certificates.serverKey };
      await using mesh = await startMesh({ start, schema: SCHEMA, database: { listenTls } });
      const gid = await mesh.begin();
      const client = await mesh.client({ multipleStatements: false, ssl: { rejectUnauthorized: false } });
      await client.query(`set @atomesh_gid = '${gid}'`);
      await client.query('update t set n = n + 1 where id = 1');
      await t.throwsAsync(client.changeUser({ user: 'nobody_at_all', password: 'wrong' }), {
        message: /Access denied/,
      });
      const other = await mesh.client({ multipleStatements: false, ssl: { rejectUnauthorized: false } });
      await other.query(`set @atomesh_gid = '${gid}'`);
      await other.query('update t set n = n + 1 where id = 2');
      await other.changeUser({});
      await t.throwsAsync(other.query(TWO), { message: /You have an error in your SQL syntax/ });
      await other.query('select 1');
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await mesh.lines(ROWS), ['1 0', '2 0']);
    },
  );

  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  for (const isPrepared of [false, true]) {
    test.serial(`${name}: ${isPrepared ? 'prepared' : 'text'}, behind a captured change`, async (t) => {
      const gid = await mesh.begin();
      const client = await mesh.client({ multipleStatements: false });
      const change = async (id: number): Promise<unknown> =>
        isPrepared
          ? client.execute('update t set n = n + 1 where id = ?', [id])
          : client.query(`update t set n = n + 1 where id = ${id}`);
      await client.query(`set @atomesh_gid = '${gid}'`);
      await change(1);
      await t.throwsAsync(client.query(TWO), { message: /several statements|You have an error in your SQL syntax/ });
      await change(2);
      await client.query('set @atomesh_gid = null');
      await t.throwsAsync(client.query(TWO), { message: /You have an error in your SQL syntax/ });
      await client.query(`set @atomesh_gid = '${gid}'`);
      await change(1);
      await client.query('select 1');
      await client.changeUser({});
      await t.throwsAsync(client.query(TWO), { message: /You have an error in your SQL syntax/ });
      t.deepEqual(await mesh.lines(ROWS), ['1 2', '2 1']);
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await mesh.lines(ROWS), ['1 0', '2 0']);
      client.destroy();
    });
  }
}
