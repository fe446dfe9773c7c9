import test from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

/** The second phase may restore rows in `shop`, and in no other database. */
const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 10);
create user if not exists second@'%';
grant references on *.* to second@'%';
grant select, insert, update, delete, execute on atomesh.* to second@'%';
grant select, insert, update, delete, trigger on shop.* to second@'%';`;

for (const [name, start] of SERVERS) {
  const recover = name === 'MySQL' ? "grant xa_recover_admin on *.* to second@'%';" : '';
  const meshes = new Map<string, Mesh>();
  test.before(async () => {
    for (const escalate of ['off', 'xa']) {
      const database = { escalate, credentials: { user: 'second' } };
      meshes.set(escalate, await startMesh({ start, schema: SCHEMA + recover, database }));
    }
  });
  test.after.always(async () => {
    for (const mesh of meshes.values()) await mesh[Symbol.asyncDispose]();
  });

  const changed = async (mesh: Mesh, table: string): Promise<string> => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    const failure = await client.query(`update ${table} set v = 11 where id = 1 /*atomesh_gid='${gid}'*/`).then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    const [seen] = await mesh.lines(`select v from ${table}`);
    await mesh.end(gid, 'rollback');
    return failure ?? `${seen} and then ${String(await mesh.lines(`select v from ${table}`))}`;
  };

  test(`${name}: rows that the second phase may not restore are refused, with what is to be granted`, async (t) => {
    const mesh = meshes.get('off') as Mesh;
    t.is(await changed(mesh, 'shop.item'), '11 and then 10');
    t.regex(
      await changed(mesh, 'plain.item'),
      /may not restore rows of the table plain\.item: it lacks .* on plain\.\*\. .*GRANT/,
    );
  });

  test(`${name}: where the server can prepare, they are prepared`, async (t) => {
    t.is(await changed(meshes.get('xa') as Mesh, 'plain.item'), '10 and then 10');
  });
}
