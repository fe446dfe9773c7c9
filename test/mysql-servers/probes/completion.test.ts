/** What follows on the end of a local transaction: CHAIN, RELEASE, `completion_type` and autocommit. */
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';
import { onEachWay } from './each-way.ts';
import { sideBySide, told } from './side-by-side.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0), (9, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 100 where id = 9;`;

const change = (id: number): string => `update item set v = v + ${id} where id = ${id}`;

/** What is said; the rows behind it are those of a server alone. */
const TALKS: readonly (readonly string[])[] = [
  ['set completion_type = 1', 'begin', change(1), 'commit', change(2), 'rollback', change(3), 'commit and no chain'],
  ["set session completion_type = 'CHAIN'", 'begin', change(1), 'rollback', change(2), 'rollback'],
  ['set completion_type = 1', change(2), 'commit', change(3), 'rollback'],
  ['set completion_type = 1', 'begin', change(1), 'commit and no chain', change(2), 'rollback and no chain'],
  ['set completion_type = 1', 'begin', change(1), 'begin', change(2), 'rollback and no chain'],
  ['set completion_type = 2', 'begin', change(1), 'commit', change(2)],
  ['set completion_type = 2', 'begin', change(1), 'commit no release', change(2)],
  ['set completion_type = 2', 'begin', change(1), 'rollback'],
  ['set completion_type = 2', 'begin', change(1), 'commit and chain', change(2)],
  ['begin', change(1), 'commit and chain', change(2), 'rollback', change(3)],
  ['begin', change(1), 'rollback and chain', change(2), 'commit and no chain', change(3)],
  ['begin', change(1), 'commit and chain', 'begin', change(2), 'commit and chain', 'commit'],
  ['begin', 'commit and chain', change(1), 'rollback'],
  ['start transaction read only', 'select v from item', 'commit and chain', change(2), 'commit'],
  ['start transaction read only', 'select v from item', 'commit and chain', 'commit and chain', change(2), 'commit'],
  ['start transaction read only', 'commit', change(2)],
  ['set autocommit = 0', change(1), 'commit and chain', change(2), 'rollback', change(3), 'rollback'],
  ['set autocommit = 0', 'savepoint a', change(1), 'rollback to a', change(2), 'release savepoint a', 'commit'],
  ['savepoint a', change(1), 'begin', 'savepoint b', change(2), 'savepoint `B`', change(3), 'rollback to b', 'commit'],
];

onEachWay({ schema: SCHEMA, lockTimeoutMs: 300 }, ({ name, escalate, mesh }) => {
  const rows = (database: string): Promise<readonly string[]> => mesh().lines(`select * from ${database}.item`);
  const clear = async (): Promise<void> => {
    for (const database of ['shop', 'plain']) await mesh().owner.query(`update ${database}.item set v = 0`);
  };

  test.serial(
    `${name}, escalate ${escalate}: what follows on COMMIT and ROLLBACK is what the server does`,
    async (t) => {
      for (const texts of TALKS) {
        for (const outcome of ['commit', 'rollback'] as const) {
          await clear();
          const gid = await mesh().begin();
          const { different } = await sideBySide(mesh(), [`set @atomesh_gid = '${gid}'`, ...texts], (text) => text);
          t.deepEqual(different, [], texts.join('; '));
          t.is(await mesh().end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', texts.join('; '));
          const wanted = outcome === 'commit' ? await rows('plain') : ['1 0', '2 0', '3 0', '9 0'];
          t.deepEqual(await rows('shop'), wanted, `${outcome}: ${texts.join('; ')}`);
        }
      }
      t.is(await mesh().leftovers(), '0 records, 0 locks');
    },
  );

  test.serial(
    `${name}, escalate ${escalate}: a local transaction that is chained belongs to no gid that was named for the one before`,
    async (t) => {
      for (const [index, texts] of TALKS.entries()) {
        await clear();
        const gid = await mesh().begin();
        const named = (text: string, at: number): string =>
          text === texts.find((each) => /^(?:begin|start)/.test(each)) && at === texts.indexOf(text)
            ? `${text} /*atomesh_gid='${gid}'*/`
            : text;
        const { different } = await sideBySide(mesh(), texts, named);
        t.deepEqual(different, [], `${index}: ${texts.join('; ')}`);
        t.deepEqual(await rows('shop'), await rows('plain'), `${index}: ${texts.join('; ')}`);
        t.is(await mesh().end(gid, 'commit'), 'succeed');
      }
      t.is(await mesh().leftovers(), '0 records, 0 locks');
    },
  );

  test.serial(
    `${name}, escalate ${escalate}: what would commit or end the session in the midst is refused, and nothing is lost`,
    async (t) => {
      const refused = [
        ['begin', 'set autocommit = 1'],
        ['begin', 'set autocommit = 0'],
        ['set autocommit = 0', 'set @@session.autocommit := on'],
        ['begin', 'commit release'],
        ['begin', 'rollback release'],
        ['begin', 'commit and no chain release'],
      ] as const;
      for (const [begin, end] of refused) {
        await clear();
        const gid = await mesh().begin();
        const client = await mesh().client();
        await client.query(`set @atomesh_gid = '${gid}'`);
        await client.query(begin);
        await client.query(change(1));
        await t.throwsAsync(client.query(end), { message: /^atomesh: / }, end);
        await client.query(change(2));
        await client.query('commit');
        t.deepEqual(await rows('shop'), ['1 1', '2 2', '3 0', '9 0'], end);
        await mesh().end(gid, 'rollback');
        t.deepEqual(await rows('shop'), ['1 0', '2 0', '3 0', '9 0'], end);
        client.destroy();
      }
    },
  );
});

for (const [name, start] of SERVERS) {
  test(`${name}: the level that was set for a local transaction is that of the one chained to it`, async (t) => {
    await using mesh = await startMesh({ start, schema: SCHEMA });
    const client = await mesh.client();
    const gid = await mesh.begin();
    await client.query(`set @atomesh_gid = '${gid}'`);
    const replace = 'replace into item values (1, 0), (5, 5)';
    for (const text of ['set transaction isolation level read committed', 'begin', 'commit and chain'])
      await client.query(text);
    // Under READ COMMITTED a row may have come between, so that what it did is not certain.
    await t.throwsAsync(client.query(replace), { message: /^atomesh: / });
    await client.query('commit');
    await client.query(replace);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.lines('select * from shop.item'), ['1 0', '2 0', '3 0', '9 0']);
  });

  test(`${name}: behind a commit that prepares the connection ends, whatever was to follow`, async (t) => {
    await using mesh = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
    const endings = [
      ['commit and chain'],
      ['set completion_type = 1', 'commit'],
      ['begin'],
      ['start transaction read only'],
      ['commit; select 1'],
      ['commit; begin; update item set v = 5 where id = 1; commit'],
    ];
    for (const texts of endings) {
      for (const outcome of ['commit', 'rollback'] as const) {
        const what = `${texts.join('; ')}: ${outcome}`;
        await mesh.owner.query('update shop.item set v = 0');
        const gid = await mesh.begin();
        const client = await mesh.client({ multipleStatements: true });
        for (const text of [`set @atomesh_gid = '${gid}'`, 'begin', 'insert into log (what) values (1)'])
          await client.query(text);
        const [text = '', ...more] = texts.toReversed();
        for (const each of more) await client.query(each);
        const answer = await told(client, text);
        if (answer !== 'gone') t.is(answer, '0 rows, 2', what);
        await t.throwsAsync(client.query('select 1'), undefined, what);
        t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
        const [, , , last] = await mesh.lines('select * from shop.item');
        t.is(last, outcome === 'commit' ? '9 100' : '9 0', what);
        t.deepEqual(await mesh.lines('select v from shop.item where id = 1'), ['0'], what);
      }
    }
    t.is(await mesh.leftovers(), '0 records, 0 locks');
  });
}
