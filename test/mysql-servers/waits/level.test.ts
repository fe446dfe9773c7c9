/** SET TRANSACTION gives the next local transaction an isolation level, which it keeps when another global transaction is in the way. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0);`;

const LEVELS = ['READ COMMITTED', 'SERIALIZABLE'] as const;
const TALKS: Readonly<Record<string, readonly string[]>> = {
  begin: ['begin {gid}', 'update item set v = v + 1 where id in (1, 2)'],
  'by itself': ['update item set v = v + 1 where id in (1, 2) {gid}'],
  'upsert by itself': ['insert into item values (1, 0), (2, 0) on duplicate key update v = item.v + 1 {gid}'],
  'without autocommit': ['update item set v = v + 1 where id in (1, 2) {gid}'],
};

for (const [name, start] of SERVERS) {
  for (const escalate of ['off', 'xa'] as const) {
    let mesh: Mesh;
    test.before(async () => {
      const database = { escalate, xa: { recover: '1s' } };
      mesh = await startMesh({ start, schema: SCHEMA, lockTimeoutMs: 10_000, database });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());

    for (const level of LEVELS) {
      for (const [what, talk] of Object.entries(TALKS)) {
        test.serial(`${name}, escalate ${escalate}: ${level} holds through a wait: ${what}`, async (t) => {
          await mesh.owner.query('update shop.item set v = 0');
          const [first, second] = [await mesh.begin(), await mesh.begin()];
          const [one, two, blocker] = [
            await mesh.client(),
            await mesh.client(),
            await mesh.plain({ database: 'shop' }),
          ];
          t.teardown(() => [one, two, blocker].forEach((each) => each.destroy()));
          await one.query(`update item set v = 10 where id = 1 /*atomesh_gid='${first}'*/`);
          const [[row]] = (await two.query('select connection_id() as id')) as unknown as [[{ id: number }]];
          if (what === 'without autocommit') await two.query('set autocommit = 0');
          await two.query(`set transaction isolation level ${level}`);
          const texts = talk.map((text) => text.replace('{gid}', `/*atomesh_gid='${second}'*/`));
          for (const text of texts.slice(0, -1)) await two.query(text);
          let isOver = false;
          const waiting = told(two, texts.at(-1) ?? '').finally(() => (isOver = true));
          const seen = new Set<string>();
          const look = async (ms: number): Promise<void> => {
            for (const end = Date.now() + ms; Date.now() < end;) {
              // MariaDB looks anew only when nobody has asked for a tenth of a second.
              await sleep(120);
              const found = await mesh.lines(
                `select trx_isolation_level from information_schema.innodb_trx where trx_mysql_thread_id = ${row.id}`,
              );
              for (const line of found) seen.add(line);
            }
          };
          await look(500);
          t.false(isOver, 'it waits');
          // Whoever lets go of its rows, and begins anew, is seen while it waits for this one.
          await blocker.query('set innodb_lock_wait_timeout = 3');
          await blocker.query('start transaction');
          const holding = told(blocker, 'select * from item where id = 2 for update');
          await sleep(50);
          await mesh.end(first, 'commit');
          await look(500);
          await holding;
          await blocker.query('rollback');
          const answer = await waiting;
          await look(150);
          t.regex(answer, /^\d rows, |^1213 /);
          t.deepEqual([...seen], [level], answer);
          await told(two, 'commit');
          t.is(await mesh.end(second, 'rollback'), 'failed');
          t.deepEqual(await mesh.lines('select v from shop.item order by id'), ['10', '0', '0']);
        });
      }
    }
  }
}
