/** Texts of several statements, of which one names the gid: in front of it, or at its end. */
import test from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const SCHEMA = 'create table t (id int primary key, n int not null); insert into t values (1, 0), (2, 0)';
const ROWS = 'select id, n from shop.t order by id';

/** Each with the rows that it leaves. */
const TEXTS: readonly (readonly [text: (mark: string) => string, rows: readonly string[]])[] = [
  [(mark) => `BEGIN ${mark}; UPDATE t SET n = 1 WHERE id = 1; COMMIT`, ['1 1', '2 0']],
  [(mark) => `BEGIN; ${mark} UPDATE t SET n = 1 WHERE id = 1; DELETE FROM t WHERE id = 2; COMMIT`, ['1 1']],
  [(mark) => `UPDATE t SET n = 1 WHERE id = 1 ${mark}; UPDATE t SET n = 2 WHERE id = 2`, ['1 1', '2 2']],
  [
    (mark) => `BEGIN ${mark}; UPDATE t SET n = 1 WHERE id = 1; COMMIT; INSERT INTO t VALUES (3, 3)`,
    ['1 1', '2 0', '3 3'],
  ],
];

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  for (const [text, rows] of TEXTS) {
    test.serial(`${name}: ${text('/*gid*/')} belongs to the gid as a whole`, async (t) => {
      const before = await mesh.lines(ROWS);
      const gid = await mesh.begin();
      const client = await mesh.client({ multipleStatements: true });
      await client.query(text(`/*atomesh_gid='${gid}'*/`));
      t.deepEqual(await mesh.lines(ROWS), rows);
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await mesh.lines(ROWS), before);
      client.destroy();
    });
  }

  test.serial(`${name}: a text that names two gids is refused as a whole`, async (t) => {
    const [one, other] = [await mesh.begin(), await mesh.begin()];
    const client = await mesh.client({ multipleStatements: true });
    const text = `UPDATE t SET n = 9 /*atomesh_gid='${one}'*/; UPDATE t SET n = 8 /*atomesh_gid='${other}'*/; COMMIT`;
    await t.throwsAsync(client.query(text), { message: /name different global transactions/ });
    t.deepEqual(await mesh.lines(ROWS), ['1 0', '2 0']);
    await Promise.all([mesh.end(one, 'rollback'), mesh.end(other, 'rollback')]);
    client.destroy();
  });
}
