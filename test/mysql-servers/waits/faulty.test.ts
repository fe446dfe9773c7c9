/** An upsert whose ON DUPLICATE KEY UPDATE the server would not take fails, also where nothing is met and it is never carried out. */
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int, g int as (v + 1) virtual, n int not null, s varchar(40));
insert into item (id, v, n) values (100, 1, 1);`;

const CLAUSES = [
  'g = 4',
  'g = default',
  'nothere = 4',
  'other.v = 3',
  'item.v = 3',
  'v = nothere',
  'v = item.v + 1',
  'v = values(nothere)',
  'v = other.v',
  'v = nofunc(3)',
  'v = (select x from nosuch)',
  'v = (select v from item as o where o.id = 100)',
  'v = sum(v)',
  'v = concat()',
  "s = concat('it''s \\\\ ', s, values(s))",
  "v = 3, s = 'a?b', n = n + values(n) * 2",
  'n = default(n)',
  'n = default',
  'v = -v',
  'v = null, n = null',
  '`V` = `N`',
  'v = v',
  'v = 1, v = 2',
  'v = if(v > 3, values(v), v)',
  'v = @x := 4',
  'v = n n',
  "s = concat('é', nothere)",
  "s = concat('é', s, 'ü')",
];

for (const [name, start] of SERVERS) {
  for (const escalate of ['off', 'xa'] as const) {
    test(`${name}, escalate ${escalate}: a clause that is never carried out is as right or wrong as it is to the server`, async (t) => {
      await using mesh = await startMesh({ start, schema: SCHEMA, database: { escalate, xa: { recover: '1s' } } });
      const [client, plain] = [await mesh.client(), await mesh.plain()];
      const gid = await mesh.begin();
      const inside = (text: string): string => `${text} /*atomesh_gid='${gid}'*/`;
      for (const isAlone of [true, false]) {
        if (!isAlone) {
          await client.query(inside('begin'));
          await plain.query('begin');
        }
        for (const [at, clause] of CLAUSES.entries()) {
          const id = at + (isAlone ? 200 : 300);
          const text = `insert into item (id, v, n, s) values (${id}, 1, 1, 'ö\\\\'), (${id + 200}, 2, 2, 'y') on duplicate key update ${clause}`;
          const [alone, got] = [await told(plain, text), await told(client, inside(text))];
          // Some are refused for what they may do when something is met.
          if (got.startsWith('1235 atomesh: ')) t.regex(clause, /default|nofunc|select|:=/, got);
          else t.is(got.replaceAll('shop', 'plain'), alone, clause);
          // Again, where they are met.
          const again = [await told(plain, text), await told(client, inside(text))];
          if (again[1]?.startsWith('1235 atomesh: ') !== true)
            t.is(again[1]?.replaceAll('shop', 'plain'), again[0], clause);
        }
        if (!isAlone) {
          await client.query('commit');
          await plain.query('commit');
        }
      }
      t.is(await mesh.end(gid, 'rollback'), 'failed');
      t.deepEqual(await mesh.lines('select id, v, n from shop.item'), ['100 1 1']);
    });
  }
}
