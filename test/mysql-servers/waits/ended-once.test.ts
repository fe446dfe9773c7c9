/** A local transaction that has a name is ended once, and nothing of that is heard by the client. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { startMesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (9, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 1 where id = 9;`;

/** By itself, in a local transaction, and in a text of several. */
const TALKS = [
  ["insert into log (what) values ('x') {gid}"],
  ['insert into log (id, what) values (7, 1), (7, 2) {gid}'],
  ['update item set v = 5 where id = 1 {gid}'],
  ['insert into item values (1, 3) {gid}'],
  ['begin {gid}', 'update item set v = 3 where id = 2', "insert into log (what) values ('x')", 'rollback'],
  ['begin {gid}', 'update item set v = 4 where id = 2', 'commit'],
  ['set autocommit = 0', 'update item set v = 6 where id = 2 {gid}', 'insert into item values (1, 3)', 'commit'],
  ['begin {gid}; update item set v = 7 where id = 2; insert into item values (1, 3); commit', 'rollback'],
] as const;

for (const [name, start] of SERVERS) {
  for (const mode of ['undo', 'xa'] as const) {
    test(`${name}, mode ${mode}: no XA COMMIT and no XA ROLLBACK is said of what is over`, async (t) => {
      await using mesh = await startMesh({
        start,
        schema: SCHEMA,
        database: { mode, escalate: 'xa', xa: { recover: '1m' } },
      });
      await mesh.owner.query("set global log_output = 'TABLE'; set global general_log = 1");
      for (const talk of TALKS) {
        const client: mysql.Connection = await mesh.client({ multipleStatements: true });
        const gid = await mesh.begin();
        for (const text of talk) {
          const answer = await told(client, text.replace('{gid}', `/*atomesh_gid='${gid}'*/`));
          // Without a gid the server tells itself what it has to say of the last statement.
          const [shown] = await client.query<mysql.RowDataPacket[]>('show warnings').catch(() => [[]] as const);
          if (/^\d{4} /.test(answer) && !answer.startsWith('1213'))
            t.false(JSON.stringify(shown).includes('XAER'), text);
        }
        client.destroy();
        t.is(await mesh.end(gid, 'rollback'), 'failed');
      }
      await mesh.owner.query('set global general_log = 0');
      const said = await mesh.lines(
        "select convert(argument using utf8mb4) from mysql.general_log where argument like 'XA COMMIT%' or argument like 'XA ROLLBACK%'",
      );
      const ends = said.map((line) => line.replace(/^XA (?:COMMIT|ROLLBACK) /, '').replace(/ ONE PHASE$/, ''));
      t.true(ends.length > 5, 'local transactions had names');
      t.deepEqual(
        ends.filter((end, index) => ends.indexOf(end) !== index),
        [],
      );
    });
  }
}
