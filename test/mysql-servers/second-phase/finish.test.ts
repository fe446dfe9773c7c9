import test from 'ava';
import { newGid } from '../../../src/platform/random.ts';
import { RESOURCE, SERVERS, change, enter, openWorld, type World } from './world.ts';

const TABLES = `
create table account (id int primary key, code varchar(20) unique, v int, at timestamp not null default current_timestamp on update current_timestamp);
insert into account (id, code, v, at) values (1, 'c1', 10, '2020-01-01'), (2, 'c2', 10, '2020-01-01'), (3, 'c3', 10, '2020-01-01'), (4, 'c4', 10, '2020-01-01'), (5, 'c5', 10, '2020-01-01');
create table parent (id int primary key, v int);
create table child (id int primary key, p int, foreign key (p) references parent (id) on delete cascade);
create table strict (id int primary key, p int, foreign key (p) references parent (id));
create table node (id int primary key, up int, foreign key (up) references node (id));
create table logged (id int primary key, v int);
`;

for (const [name, start] of SERVERS) {
  let world: World;
  const accounts = (): Promise<readonly string[]> => world.lines('select id, code, v, at from account order by id');
  const leftovers = (): Promise<readonly string[]> =>
    world.lines('select gid from atomesh.undo_record union select gid from atomesh.row_lock');

  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: changes of the same row are taken back in reverse, deletion and new insertion included`,
    async (t) => {
      const before = await accounts();
      const gid = newGid();
      await change(world, gid, [
        ['account', 'update account set v = v + 1'],
        ['account', 'update account set code = concat(code, v)'],
        ['account', 'delete from account where id < 3'],
      ]);
      await change(
        world,
        gid,
        [
          ['account', "insert into account (id, code, v) values (1, 'c2', 0)"],
          ['account', 'delete from account'],
        ],
        'repeatable read',
      );
      await change(world, gid, [['account', "insert into account (id, code, v) values (1, 'c5', 0), (2, 'c4', 1)"]]);
      t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
      t.deepEqual(await accounts(), before);
      t.deepEqual(await leftovers(), []);
      t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success', detail: '0 rows restored' });
    },
  );

  test.serial(`${name}: commit and rollback may be repeated, and a decision is never turned round`, async (t) => {
    const [kept, undone] = [newGid(), newGid()];
    await change(world, kept, [['account', 'update account set v = 11 where id = 1']]);
    await change(world, undone, [['account', 'update account set v = 12 where id = 2']]);
    for (let round = 0; round < 2; round += 1) {
      t.deepEqual(await world.finisher.commit(kept, RESOURCE), { result: 'success' });
      t.like(await world.finisher.rollback(undone, RESOURCE), { result: 'success' });
    }
    t.like(await world.finisher.rollback(kept, RESOURCE), { result: 'unknown', ended: 'committed' });
    t.like(await world.finisher.commit(undone, RESOURCE), { result: 'unknown', ended: 'rolled back' });
    t.deepEqual(await leftovers(), []);
    t.deepEqual(await world.lines('select id, v from account where id < 3 order by id'), ['1 11', '2 10']);
    const connection = await world.connect();
    await connection.query('begin');
    t.is(await enter(connection, kept), 'committed');
    t.is(await enter(connection, undone), 'rolled_back');
    await connection.query('rollback');
  });

  test.serial(
    `${name}: a branch that is in use is asked for again, and does not hold up the commits of others`,
    async (t) => {
      const [busy, ...others] = [newGid(), newGid(), newGid(), newGid()] as const;
      for (const gid of [busy, ...others]) await world.finisher.open(gid, RESOURCE);
      const connection = await world.connect('repeatable read');
      await connection.query('begin');
      t.is(await enter(connection, busy), 'active');
      const results = await Promise.all([busy, ...others].map((gid) => world.finisher.commit(gid, RESOURCE)));
      t.deepEqual(
        results.map(({ result }) => result),
        ['ongoing', 'success', 'success', 'success'],
      );
      t.like(await world.finisher.rollback(busy, RESOURCE), { result: 'ongoing' });
      await connection.query('commit');
      t.like(await world.finisher.rollback(busy, RESOURCE), { result: 'success' });
      await connection.query('begin');
      t.is(await enter(connection, busy), 'rolled_back');
      await connection.query('rollback');
    },
  );

  test.serial(
    `${name}: a row that somebody else changed makes the branch dirty: nothing is written, and every row in the way is shown`,
    async (t) => {
      const gid = newGid();
      await change(world, gid, [
        ['account', 'update account set v = 21 where id = 3'],
        ['account', 'update account set v = 22 where id = 4'],
        ['account', 'delete from account where id = 5'],
      ]);
      await world.admin.query("update account set v = 77, code = 'x' where id = 3");
      const dirty = await accounts();
      const { result, dirt, detail } = await world.finisher.rollback(gid, RESOURCE);
      t.is(result, 'dirty');
      t.like(dirt, { table: '`shop`.`account`', reason: 'the row was changed by somebody else' });
      t.regex(dirt?.current ?? '', /^\(3, x, 77, /);
      t.regex(detail ?? '', /before \(3, c3, 10, 2020-01-01 00:00:00 UTC\)/);
      t.is(dirt?.rows?.length, 1);
      t.like(
        dirt?.rows?.[0]?.columns.find((column) => column.name === 'v'),
        {
          before: '10',
          after: '21',
          current: '77',
          changed: true,
          differs: true,
        },
      );
      t.deepEqual(await accounts(), dirty);
      t.like(await world.finisher.rollback(gid, RESOURCE, 'apply-before'), { result: 'success' });
      t.deepEqual(await world.lines('select id, code, v from account where id > 2 order by id'), [
        '3 c3 10',
        '4 c4 10',
        '5 c5 10',
      ]);
      t.deepEqual(await leftovers(), []);
    },
  );

  test.serial(
    `${name}: deleted and inserted rows are compared too, and a row that is as it was is left alone`,
    async (t) => {
      await world.admin.query('update account set v = 10');
      const table: readonly (readonly [sql: string, outside: string, result: string])[] = [
        ['delete from account where id = 1', "insert into account (id, code, v) values (1, 'other', 0)", 'dirty'],
        ["insert into account (id, code, v) values (8, 'c8', 0)", 'update account set v = 1 where id = 8', 'dirty'],
        ['update account set v = 0 where id = 2', 'delete from account where id = 2', 'dirty'],
        ['update account set v = 0 where id = 4', 'update account set v = 10 where id = 4', 'dirty'],
        [
          'update account set v = 0, at = at where id = 3',
          'update account set v = 10, at = at where id = 3',
          'success',
        ],
        ["insert into account (id, code, v) values (9, 'c9', 0)", 'delete from account where id = 9', 'success'],
        ["update account set code = 'free' where id = 5", "update account set code = 'c5' where id = 4", 'dirty'],
      ];
      for (const [sql, outside, result] of table) {
        const gid = newGid();
        await change(world, gid, [['account', sql]]);
        await world.admin.query(outside);
        const left = await accounts();
        t.like(await world.finisher.rollback(gid, RESOURCE), { result }, sql);
        t.deepEqual(await accounts(), left, sql);
        t.like(await world.finisher.rollback(gid, RESOURCE, 'keep-current'), { result: 'success' });
        t.deepEqual(await accounts(), left, sql);
        t.deepEqual(await leftovers(), []);
      }
    },
  );

  test.serial(
    `${name}: foreign keys are met in the order of the records, and rows of others are never taken along`,
    async (t) => {
      await world.admin.query(
        'insert into parent values (1, 1), (2, 2); insert into child values (1, 1); insert into strict values (1, 2)',
      );
      const all = (): Promise<readonly string[]> =>
        world.lines(
          'select * from parent union all select id + 100, p from child union all select id + 200, p from strict union all select id + 300, up from node order by 1',
        );
      const before = await all();
      const gid = newGid();
      await change(world, gid, [
        ['parent', 'insert into parent values (3, 3)'],
        ['child', 'insert into child values (2, 3)'],
        ['strict', 'delete from strict'],
        ['parent', 'delete from parent where id = 2'],
        // Each refers to the next: in the order of keys the first could not be put back, nor the last be removed.
        ['node', 'insert into node values (1, null), (2, 1), (3, 2)'],
        ['node', 'update node set up = null where id = 2'],
      ]);
      t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
      t.deepEqual(await all(), before);
      await world.admin.query('insert into node values (7, null), (6, 7), (5, 6)');
      const nodes = newGid();
      await change(world, nodes, [
        ['node', 'delete from node where id = 5'],
        ['node', 'delete from node where id = 6'],
      ]);
      await change(world, nodes, [['node', 'delete from node where id = 7']]);
      t.like(await world.finisher.rollback(nodes, RESOURCE), { result: 'success' });
      t.deepEqual(await world.lines('select id, up from node order by id'), ['5 6', '6 7', '7 null']);
      for (const [table, outside, reason] of [
        ['child', 'insert into child values (9, 4)', /another row refers to it/],
        ['strict', 'insert into strict values (9, 4)', /the database refuses: Cannot delete or update a parent row/],
      ] as const) {
        const inserted = newGid();
        await change(world, inserted, [['parent', 'insert into parent values (4, 4)']]);
        await world.admin.query(outside);
        const { result, dirt } = await world.finisher.rollback(inserted, RESOURCE);
        t.is(result, 'dirty', table);
        t.regex(dirt?.reason ?? '', reason);
        await world.admin.query(`delete from ${table} where id = 9`);
        t.like(await world.finisher.rollback(inserted, RESOURCE), { result: 'success' }, table);
      }
    },
  );

  test.serial(
    `${name}: a table that was altered, that is gone, or that has come to have a trigger is not touched`,
    async (t) => {
      for (const [ddl, again, reason] of [
        ['alter table logged add column w int', 'alter table logged drop column w', /altered after the change/],
        ['alter table logged modify v bigint', 'alter table logged modify v int', /altered after the change/],
        [
          'create trigger meddle before update on logged for each row set new.v = new.v + 1',
          'drop trigger meddle',
          /the trigger meddle would run once more/,
        ],
        ['rename table logged to gone', 'rename table gone to logged', /the table is gone/],
      ] as const) {
        const gid = newGid();
        await world.admin.query('replace into logged values (1, 1)');
        await change(world, gid, [['logged', 'update logged set v = 2']]);
        await world.admin.query(ddl);
        const { result, dirt } = await world.finisher.rollback(gid, RESOURCE);
        t.is(result, 'dirty', ddl);
        t.regex(dirt?.reason ?? '', reason);
        await world.admin.query(again);
        t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' }, again);
        t.deepEqual(await world.lines('select v from logged'), ['1']);
      }
    },
  );

  test.serial(
    `${name}: a record that no sidecar has written is not applied, nor what two servers wrote about one row`,
    async (t) => {
      const forged = newGid();
      await world.admin.query('replace into logged values (1, 1)');
      await change(world, forged, [['logged', 'update logged set v = 2']]);
      await world.admin.query("update atomesh.undo_record set body = replace(body, '1,1', '1,9')");
      t.like(await world.finisher.rollback(forged, RESOURCE), {
        result: 'dirty',
        dirt: { reason: 'an undo record was not written by a sidecar' },
      });
      t.deepEqual(await world.lines('select v from logged'), ['2']);
      t.like(await world.finisher.rollback(forged, RESOURCE, 'keep-current'), { result: 'success' });

      const moved = newGid();
      await change(world, moved, [['logged', 'update logged set v = 3']]);
      await world.admin.query('update atomesh.undo_record set server = server + 1');
      await change(world, moved, [['account', 'update account set v = 5 where id = 1']]);
      await change(world, moved, [['logged', 'update logged set v = 2']]);
      t.like(await world.finisher.rollback(moved, RESOURCE), {
        result: 'dirty',
        dirt: { reason: 'the row was changed through two servers, and nobody can tell in which order' },
      });
      t.like(await world.finisher.rollback(moved, RESOURCE, 'keep-current'), { result: 'success' });
    },
  );

  test.serial(
    `${name}: states are forgotten when they are old enough, and those of open branches much later`,
    async (t) => {
      await world.admin.query('delete from atomesh.branch_state; delete from atomesh.undo_record');
      const [old, young, open, ancient] = [newGid(), newGid(), newGid(), newGid()];
      for (const gid of [old, young]) await world.finisher.commit(gid, RESOURCE);
      for (const gid of [open, ancient]) await world.finisher.open(gid, RESOURCE);
      const age = (gid: string, days: number): Promise<unknown> =>
        world.admin.query(
          'update atomesh.branch_state set updated_at = utc_timestamp(6) - interval ? day where gid = ?',
          [days, gid],
        );
      await Promise.all([age(old, 2), age(open, 2), age(ancient, 32)]);
      t.is(await world.finisher.cleanUp(86_400_000), 2);
      t.deepEqual(await world.lines('select gid from atomesh.branch_state order by gid'), [young, open].toSorted());
      await world.finisher.discard(open, RESOURCE);
      await world.finisher.discard(young, RESOURCE);
      t.deepEqual(await world.lines('select gid from atomesh.branch_state'), [young]);
    },
  );
}
