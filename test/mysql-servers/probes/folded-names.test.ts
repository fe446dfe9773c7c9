/** Servers that store the names of tables in small letters: one table has many names. */
import test from 'ava';
import { startMariadb } from '../../../examples/support/mariadb-server.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { hasMysql, startMysql } from '../mysql-server.ts';
import { told } from './side-by-side.ts';

const FOLDING = '--lower-case-table-names=1';
const FOLDERS = [
  ['MariaDB', () => startMariadb([FOLDING])],
  ...(hasMysql ? [['MySQL', () => startMysql([FOLDING])] as const] : []),
] as const;

const SCHEMA = `
create table Item (Id int primary key, V int, name varchar(20));
insert into Item values (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c');
create table \`Kind\` (id int auto_increment primary key, Item int not null, n int, unique (n), constraint Of_Item foreign key (Item) references ITEM (ID));
insert into kind (item, n) values (1, 1), (1, 2), (2, 3);
create table Log (id int auto_increment primary key, what int);
create trigger Noted after insert on LOG for each row update ITEM set v = v + 100 where id = 3;
create table Tree (id int primary key, Parent int, foreign key (parent) references TREE (id) on delete cascade);
insert into tree values (1, null), (2, 1);
create view Items as select * from iTEM where id < 3;`;

/** What is said, in one local transaction. `SHOP` is the name of the database. */
const TALKS: readonly (readonly string[])[] = [
  ['update ITEM set v = v + 1 where id = 1', 'update item set V = v + 1 where ID = 1', 'update Item set v = v + 1'],
  ['update SHOP.ITEM set v = 5 where id = 2', 'update `Shop`.`iTeM` set `V` = 6 where `iD` = 2'],
  ['update Item as I set i.v = 5 where I.ID = 2', 'update ITEM i set I.V = 7 where i.id < 3'],
  [
    'update Item set item.v = 5 where ITEM.id = 2',
    'update Item set ITEM.v = 6 where item.Id = 3 order by iTEM.id limit 1',
  ],
  ['update Item set SHOP.item.v = 5 where shop.ITEM.id = 2'],
  ['update ITEM I join KIND K on k.Item = i.ID set I.v = 9, k.N = K.n + 10 where K.n < 3'],
  ['delete k from Kind K where K.n = 1', 'delete K from KIND k where k.n = 2', 'delete from kind where KIND.n = 3'],
  ['delete KIND from Kind where kind.n = 1', 'delete from k using KIND as K where K.n = 2'],
  ['delete from SHOP.kind where n = 3', 'delete Shop.KIND from shop.Kind where N = 1'],
  [
    "insert into ITEM values (7, 0, 'x')",
    "insert into Shop.item (ID, Name) values (8, 'y')",
    'delete from Item where id = 7',
  ],
  [
    "insert into ITEM values (1, 5, 'x') on duplicate key update V = values(V) + item.v",
    "replace into iTEM values (2, 8, 'z')",
  ],
  [
    'insert into ITEM (id) select id + 10 from KIND where n = 1',
    "insert ignore into ITEM values (1, 2, 'q'), (9, 9, 'r')",
  ],
  [
    'insert into KIND (ITEM, N) values (3, 30)',
    'update kind set item = 2 where N = 30',
    'delete from Kind where n = 30',
  ],
  ['delete from item where id = 3', 'delete from ITEM where id = 2'],
  ['update KIND set item = 99 where n = 1'],
  ['insert into LOG (what) values (1)', 'insert into log (WHAT) values (2)'],
  ['delete from TREE where id = 1', 'delete from tree where ID = 2'],
  ['update ITEMS set v = 4 where ID = 1', 'delete from items where id = 9'],
  ['select v from ITEM where ID = 1 for update', 'select I.v from Item i where i.id = 2 lock in share mode'],
  ["update Item a, ITEM b set a.v = 1, B.name = 'zz' where A.id = 1 and b.id = 2"],
  ['update Nowhere set v = 1', 'update nowhere.ITEM set v = 1'],
  ['update ITEM set v = (select count(*) from KIND) where id in (select Item from kind)'],
  ['update item, ITEM set v = 1'],
];

const TEMPORARY = [
  'update TEMP set n = n + 1',
  'update Temp set N = n + 1 where TEMP.n > 0',
  'delete from `tEMP` where id = 1',
  'update HIDDEN set v = 8',
  'update Hidden set v = v + 1 where id = 1',
  'delete from hidden',
];

for (const [name, start] of FOLDERS) {
  for (const escalate of ['off', 'xa'] as const) {
    let mesh: Mesh;
    test.before(async () => {
      const schema = `${SCHEMA} create table hidden (id int primary key, v int); insert into hidden values (1, 1);`;
      mesh = await startMesh({ start, schema, database: { escalate } });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());
    const dump = async (database: string): Promise<readonly string[]> => {
      const lists = ['item', 'kind', 'log', 'tree', 'hidden'].map((table) =>
        mesh.lines(`select '${table}', x.* from ${database}.${table} x`),
      );
      return (await Promise.all(lists)).flat();
    };

    test.serial(
      `${name}, escalate ${escalate}: whatever a table is called, a rollback restores it and a commit keeps it`,
      async (t) => {
        let answered = 0;
        for (const texts of TALKS) {
          const before = await dump('shop');
          t.deepEqual(before, await dump('plain'), 'both begin alike');
          for (const outcome of ['rollback', 'commit'] as const) {
            const gid = await mesh.begin();
            const [client, plain] = [await mesh.client({ database: 'SHOP' }), await mesh.plain({ database: 'Plain' })];
            await client.query(`begin /*atomesh_gid='${gid}'*/`);
            await plain.query('begin');
            let isAlike = true;
            for (const text of texts) {
              const wanted = await told(plain, text.replaceAll(/\bshop\b/gi, 'PLAIN'));
              const inside = await told(client, text);
              if (inside.startsWith('1235 atomesh: ')) isAlike = false;
              else if (isAlike) {
                answered += 1;
                t.is(unnamed(inside), unnamed(wanted), text);
              }
            }
            await client.query('commit');
            await plain.query(outcome);
            for (const each of [client, plain]) each.destroy();
            t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', texts.join('; '));
            const wanted = outcome === 'rollback' ? before : isAlike ? await dump('plain') : undefined;
            if (wanted !== undefined) t.deepEqual(await dump('shop'), wanted, `${outcome}: ${texts.join('; ')}`);
          }
          await refill();
        }
        t.true(answered > 40, `${answered} answers`);
        t.is(await mesh.leftovers(), '0 records, 0 locks');
      },
    );

    async function refill(): Promise<void> {
      for (const database of ['shop', 'plain']) {
        await mesh.owner
          .query(`use ${database}; set foreign_key_checks = 0; delete from kind; delete from item; delete from log; delete from tree;
          insert into Item values (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c'); alter table kind auto_increment = 1; alter table log auto_increment = 1;
          insert into kind (item, n) values (1, 1), (1, 2), (2, 3); insert into tree values (1, null), (2, 1); set foreign_key_checks = 1`);
      }
    }

    test.serial(`${name}, escalate ${escalate}: a temporary table hides another one by any of its names`, async (t) => {
      const gid = await mesh.begin();
      const [client, plain] = [await mesh.client(), await mesh.plain()];
      const setup = [
        'create temporary table temp (id int primary key, n int)',
        'insert into TEMP values (1, 1), (2, 2)',
        'create temporary table HIDDEN (id int, v int)',
        'insert into hidden values (1, 5), (2, 6)',
      ];
      for (const text of setup) for (const each of [client, plain]) await each.query(text);
      await client.query(`set @atomesh_gid = '${gid}'`);
      for (const text of TEMPORARY) t.is(await told(client, text), await told(plain, text), text);
      t.is(await told(client, 'select * from temp'), await told(plain, 'select * from temp'));
      for (const each of [client, plain]) await each.query('drop temporary table Hidden').catch(() => undefined);
      client.destroy();
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.lines('select * from shop.hidden'), ['1 1']);
    });

    test.serial(`${name}, escalate ${escalate}: a row is held by whatever name it was changed`, async (t) => {
      const [one, two] = [await mesh.begin(), await mesh.begin()];
      const [holder, other] = [await mesh.client(), await mesh.client()];
      await holder.query(`update SHOP.ITEM set v = 1 where id = 1 /*atomesh_gid='${one}'*/`);
      t.regex(
        await told(other, `select v from \`Shop\`.item where id = 1 for update nowait /*atomesh_gid='${two}'*/`),
        /^3572 /,
      );
      const waiting = told(other, `update item set v = v + 1 where id = 1 /*atomesh_gid='${two}'*/`);
      await mesh.end(one, 'rollback');
      t.regex(await waiting, /^1 rows/);
      t.deepEqual(await mesh.lines('select v from shop.item where id = 1'), ['1']);
      await mesh.end(two, 'rollback');
      t.deepEqual(await mesh.lines('select v from shop.item where id = 1'), ['0']);
    });
  }
}

/** Errors name databases, and tables by the name that was said. */
function unnamed(answer: string): string {
  return answer.replaceAll(/\b(?:shop|plain)\b/gi, 'db').toLowerCase();
}
