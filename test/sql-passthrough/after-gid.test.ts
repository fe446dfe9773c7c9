import test from 'ava';
import pg from 'pg';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { startListening } from './support/listening.ts';

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
  await initialiseDatabase({ connectionString: server.url('postgres') });
});
test.after.always(() => server[Symbol.asyncDispose]());

for (const discard of ['discard all', 'deallocate all', 'DISCARD ALL; ', 'deallocate all -- everything']) {
  for (const form of ['named', 'unnamed', 'simple'] as const) {
    test(`after "${discard}" nothing is taken for prepared that is not: ${form} statements`, async (t) => {
      await using sidecar = await startListening({ to: server.port });
      const table = `account_${form}_${Buffer.from(discard).toString('hex')}`;
      await server.run(
        'postgres',
        `create table ${table} (id int primary key, n int); insert into ${table} values (1, 0)`,
      );
      const client = new pg.Client({ host: '127.0.0.1', port: sidecar.port, user: 'postgres', database: 'postgres' });
      await client.connect();
      const add = async (name: string): Promise<number | null> => {
        const text = `update ${table} set n = n + ${form === 'simple' ? '1' : '$1'} where id = 1`;
        const values = form === 'simple' ? [] : [1];
        return (await client.query({ text, values, ...(form === 'named' ? { name } : {}) })).rowCount;
      };
      for (const round of [1, 2]) {
        for (const gid of ['a', 'b']) {
          await client.query('begin');
          await client.query(`set local atomesh.gid = '${table}-${gid}-${round}'`);
          t.is(await add(`add ${round}`), 1);
          t.is(await add(`add ${round}`), 1);
          await client.query('rollback');
          t.is(await add(`add ${round}`), 1);
        }
        await client.query(discard);
      }
      const { rows } = await client.query<{ n: number }>(`select n from ${table}`);
      t.deepEqual(rows, [{ n: 4 }]);
      await client.end();
    });
  }
}

test('a gid does not outlive its local transaction, however that ends', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  await server.run('postgres', 'create table plain (id int)');
  const client = new pg.Client({ host: '127.0.0.1', port: sidecar.port, user: 'postgres', database: 'postgres' });
  await client.connect();
  for (const end of ['commit', 'rollback', 'abort', 'end']) {
    await client.query('begin');
    await client.query("set local atomesh.gid = 'some-gid'");
    // A table without a key cannot be captured: inside the gid this is refused.
    await t.throwsAsync(client.query('insert into plain values (1)'));
    await client.query(end);
    await t.notThrowsAsync(client.query('insert into plain values (1)'), end);
  }
  await client.end();
});
