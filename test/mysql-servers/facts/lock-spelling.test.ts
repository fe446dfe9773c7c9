/** Keys that are texts can be read in the list of row locks: by a spelling that their collation takes for the same. */
import test from 'ava';
import { lockPage } from '../../../proxy/branch/lock-view.ts';
import { createLockList } from '../../../proxy/mysql/locks/list.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS, silent } from '../second-phase/world.ts';

/** Each with what is shown for the key 'Ann-7 o''clock', without its quotes; undefined where that are weights. */
const COLLATIONS: readonly (readonly [charset: string, collation: string, shown: string | undefined])[] = [
  ['utf8mb4', 'utf8mb4_general_ci', "ann-7 o'clock"],
  ['utf8mb4', 'utf8mb4_bin', "Ann-7 o'clock"],
  ['utf8mb4', 'utf8mb4_unicode_ci', "ann-7 o'clock"],
  ['latin1', 'latin1_swedish_ci', "ann-7 o'clock"],
  ['latin1', 'latin1_general_cs', "Ann-7 o'clock"],
  ['utf16', 'utf16_general_ci', "ann-7 o'clock"],
];
const OWN: Readonly<Record<string, typeof COLLATIONS>> = {
  MySQL: [
    ['utf8mb4', 'utf8mb4_0900_ai_ci', "ann-7 o'clock"],
    // With several levels one character does not stand behind the other.
    ['utf8mb4', 'utf8mb4_0900_as_cs', undefined],
  ],
  MariaDB: [['utf8mb4', 'utf8mb4_nopad_bin', "Ann-7 o'clock"]],
};

for (const [name, start] of SERVERS) {
  const collations = [...COLLATIONS, ...(OWN[name] ?? [])];
  const schema = collations.map(
    ([
      charset,
      collation,
    ]) => `create table ${collation} (k varchar(20) character set ${charset} collate ${collation}, n int, v int, primary key (k, n));
      insert into ${collation} values ('Ann-7 o''clock', 1, 0), ('tschüß', 2, 0), ('', 3, 0);`,
  );
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: schema.join('\n') });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  for (const [, collation, shown] of collations) {
    test.serial(`${name}: a key in ${collation} is shown as ${shown ?? 'its weights'}`, async (t) => {
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.query(`update ${collation} set v = v + 1`);
      await client.query('commit');
      const list = createLockList({ host: '127.0.0.1', port: mesh.server.port, user: mesh.server.user }, silent);
      t.teardown(async () => {
        await list.close();
        client.destroy();
        await mesh.end(gid, 'rollback');
      });
      const { locks } = await lockPage([{ name: 'shop', locks: (query) => list.read(query), waiting: () => [] }], '');
      const of = (number: number): string | undefined =>
        locks.find(({ values }) => values[1] === String(number))?.values[0];
      t.deepEqual(new Set(locks.map(({ columns }) => columns.join())), new Set(['k,n']));
      if (shown === undefined) return void t.regex(of(1) ?? '', /^[0-9A-F]{20,}$/);
      t.is(of(1), shown);
      // What has other letters is shown by its weights, unless the collation takes them for these.
      t.regex(of(2) ?? '', /^(?:[0-9A-F]{12,}|tsch(?:uss|us))$/);
      t.is(of(3), '');
    });
  }
}
