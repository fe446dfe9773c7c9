/** A statement waits for a row that its own global transaction has prepared: that wait has no end before the decision. */
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (9, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 1 where id = 9;`;

for (const [name, start] of SERVERS) {
  for (const mode of ['undo', 'xa'] as const) {
    test(`${name}, mode ${mode}: it says that trying again does not help, and what does`, async (t) => {
      await using mesh = await startMesh({
        start,
        schema: SCHEMA,
        database: { mode, escalate: 'xa', xa: { recover: '1m' } },
      });
      const [gid, other] = [await mesh.begin(), await mesh.begin()];
      const [one, two, three] = [await mesh.client(), await mesh.client(), await mesh.client()];
      for (const each of [two, three]) await each.query('set innodb_lock_wait_timeout = 1');
      await one.query(`insert into log (what) values (1) /*atomesh_gid='${gid}'*/`);
      const texts = [
        'update item set v = v + 1 where id = 9',
        'select * from item where id = 9 for update',
        'insert into log (what) values (1)',
        'insert into item values (9, 1) on duplicate key update v = 3',
      ];
      await two.query(`begin /*atomesh_gid='${gid}'*/`);
      await two.query('update item set v = 1 where id = 1');
      for (const text of texts)
        t.regex(await told(two, text), /^1205 atomesh: .*is prepared .*one local transaction/, text);
      // It goes on as behind any error.
      t.is(await told(two, 'update item set v = v + 1 where id = 1'), '1 rows, 3');
      await two.query('commit');
      for (const text of texts.slice(0, 1))
        t.regex(await told(three, `${text} /*atomesh_gid='${gid}'*/`), /^1205 atomesh: /, text);
      // Whoever waits for somebody else's hears what the server says.
      t.regex(await told(three, `${texts[0]} /*atomesh_gid='${other}'*/`), /^1205 Lock wait timeout exceeded/);
      t.is(await mesh.end(other, 'rollback'), 'failed');
      t.is(await mesh.end(gid, 'commit'), 'succeed');
      t.deepEqual(await mesh.lines('select v from shop.item order by id'), ['2', '0', '1']);
    });
  }
}
