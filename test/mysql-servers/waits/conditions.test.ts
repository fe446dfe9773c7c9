/** A condition that finds rows which a DELETE by the same condition leaves: texts that are no time, without strict mode. */
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';

const TYPES = ['time', 'date', 'datetime', 'timestamp', 'year', 'time(3)'];
const VALUES = ['00:00:00', '12:00:00', '2020-01-01', '0000-00-00', '2020-01-01 12:00:00', '0', '2020'];
const CONDITIONS = [
  "= 'no time'",
  "= ''",
  "in ('no time', 'b')",
  "< 'no time'",
  "between 'a' and 'b'",
  "= '12:00:00x'",
  "= 'no time' and v = 1",
  "= 'no time' or k in ('2020-01-01', '12:00:00')",
  "<> 'x'",
];
const SCHEMA = TYPES.map(
  (type, at) => `create table k${at} (k ${type} primary key, v int);
  insert ignore into k${at} values ${VALUES.map((value) => `('${value}', 1)`).join(', ')};`,
).join('\n');

for (const [name, start] of SERVERS) {
  test(`${name}: what a DELETE leaves it leaves inside a global transaction too, and what it deletes comes back`, async (t) => {
    await using mesh = await startMesh({ start, schema: SCHEMA });
    const [client, plain] = [await mesh.client(), await mesh.plain()];
    for (const each of [client, plain]) await each.query("set sql_mode = ''");
    for (const at of TYPES.keys()) {
      const rows = `select k, v from shop.k${at} order by k`;
      const before = await mesh.lines(rows);
      for (const condition of CONDITIONS) {
        for (const verb of [`delete from k${at}`, `update k${at} set v = v + 1`]) {
          const text = `${verb} where k ${condition}`;
          const gid = await mesh.begin();
          await plain.query('begin');
          await client.query(`begin /*atomesh_gid='${gid}'*/`);
          t.is(await told(client, text), await told(plain, text), `${TYPES[at]}: ${text}`);
          t.is(await told(client, 'select row_count() as n'), await told(plain, 'select row_count() as n'), text);
          await client.query('commit');
          t.deepEqual(
            await told(client, `select k, v from k${at} order by k`),
            await told(plain, `select k, v from k${at} order by k`),
            text,
          );
          await plain.query('rollback');
          await mesh.end(gid, 'rollback');
          t.deepEqual(await mesh.lines(rows), before, text);
        }
      }
    }
    t.is(await mesh.leftovers(), '0 records, 0 locks');
  });
}
