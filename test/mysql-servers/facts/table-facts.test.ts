import test from 'ava';
import { startMariadb } from '../../../examples/support/mariadb-server.ts';
import { createTableFacts } from '../../../proxy/mysql/facts/table-facts.ts';
import { CATALOG_COLUMNS, catalogOfSql, catalogSql } from '../../../proxy/mysql/catalog-sql.ts';
import { readFacts, readTables, type ForeignKeyFacts, type TableFacts } from '../../../proxy/mysql/catalog.ts';
import { lockKeys } from '../../../proxy/mysql/undo/lock-key.ts';
import { CodedError } from '../../../src/contract/errors.ts';
import { SERVERS, eventually, openWorld, silent, type World } from '../second-phase/world.ts';

const TABLES = `
create table ta (id int primary key, v varchar(9) unique);
create table TA (id int primary key, v int);
create table tä (id int primary key, v int);
create table child_of_ta (id int primary key, p int, foreign key (p) references ta (id) on delete cascade);
create table child_of_upper (id int primary key, p int, foreign key (p) references TA (id) on update set null);
create table parent (a int, b varchar(9), primary key (a, b));
create table child (id int primary key, x varchar(9), y int, up int,
  constraint same unique key (y, x), constraint same foreign key (y, x) references parent (a, b) on delete set null,
  constraint self foreign key (up) references child (id));
create table plain (id int primary key);
create view seen as select * from plain;
create trigger fires before update on plain for each row set @a = 1;
create database other;
create table other.child (id int primary key, x varchar(9), y int, constraint same foreign key (y, x) references shop.parent (a, b));`;

const NAMES = ['ta', 'TA', 'tä', 'child_of_ta', 'parent', 'child', 'plain', 'seen', 'missing'];

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  const together = async (names: readonly string[]): Promise<readonly (TableFacts | undefined)[]> => {
    const asked = names.map((table) => ({ database: 'shop', table }));
    const [rows] = await world.admin.query({ sql: catalogOfSql(asked), rowsAsArray: true });
    return readTables(rows as unknown as (string | null)[][], names.length);
  };

  test.serial(`${name}: several tables in one question have the facts that each of them has by itself`, async (t) => {
    const facts = await together(NAMES);
    for (const [index, table] of NAMES.entries()) {
      const [rows] = await world.admin.query({ sql: catalogSql('shop', table), rowsAsArray: true });
      const alone = readFacts((rows as unknown as (string | null)[][]).map((row) => row.slice(0, CATALOG_COLUMNS)));
      t.deepEqual(facts[index], alone, table);
    }
    t.deepEqual(
      facts.map((each) => each?.kind),
      ['table', 'table', 'table', 'table', 'table', 'table', 'table', 'view', undefined],
    );
    t.deepEqual(facts[6]?.triggers, [{ name: 'fires', event: 'UPDATE' }]);
  });

  test.serial(`${name}: tables whose names differ in case or accents are not taken for each other`, async (t) => {
    const [lower, upper, accented] = await together(['ta', 'TA', 'tä']);
    t.deepEqual(
      [lower, upper, accented].map((each) => each?.table),
      ['ta', 'TA', 'tä'],
    );
    const children = [lower, upper, accented].map((each) => each?.children.map(({ table }) => table));
    t.deepEqual(children, [['child_of_ta'], ['child_of_upper'], []]);
    t.deepEqual(
      [lower, upper, accented].map((each) => each?.uniques.length),
      [2, 1, 1],
    );
    t.is(lower?.children[0]?.onDelete, 'cascade');
    t.is(upper?.children[0]?.onUpdate, 'set');
  });

  test.serial(`${name}: foreign keys are known at both ends, whatever else has their name`, async (t) => {
    const [parent, child] = await together(['parent', 'child']);
    const text = (keys: readonly ForeignKeyFacts[] = []): readonly string[] =>
      keys
        .map(
          (each) =>
            `${each.name}: ${each.columns.map(({ own, other }) => `${own}=${other}`).join()} of ${each.database}.${each.table}, ${each.onDelete}`,
        )
        .toSorted();
    t.deepEqual(text(parent?.children), ['same: a=y,b=x of other.child, restrict', 'same: a=y,b=x of shop.child, set']);
    t.deepEqual(text(parent?.parents), []);
    t.deepEqual(text(child?.parents), ['same: y=a,x=b of shop.parent, set', 'self: up=id of shop.child, restrict']);
    t.deepEqual(text(child?.children), ['self: id=up of shop.child, restrict']);
  });

  test.serial(`${name}: what somebody alters is noticed, and a lock on a table holds up nobody`, async (t) => {
    const facts = createTableFacts(world.login, silent);
    t.teardown(() => facts.close());
    const learn = async (table: string): Promise<TableFacts | 'none' | undefined> => {
      await facts.learn([{ database: 'shop', table }]);
      return facts.known('shop', table);
    };
    t.is(await learn('later'), 'none');
    const other = await world.connect();
    await other.query('create table later (id int primary key); lock tables plain write');
    t.like(await learn('later'), { columns: { length: 1 } });
    t.like(await learn('plain'), { kind: 'table' });
    await other.query('unlock tables; alter table later add column v int');
    await eventually('the new column is known', async () => {
      const seen = facts.known('shop', 'later') ?? (await learn('later'));
      return typeof seen === 'object' && seen.columns.length === 2;
    });
    await other.query('drop table later');
    facts.moved();
    t.is(facts.known('shop', 'later'), undefined);
    t.is(await learn('later'), 'none');
  });
}

test('a server that folds names gives one table the same facts, and the same locks, by all of its names', async (t) => {
  const world = await openWorld(
    () => startMariadb(['--lower-case-table-names=1']),
    'create table Item (id int primary key, k varchar(9) unique); create table Part (id int primary key, i int, foreign key (i) references ITEM (id));',
  );
  try {
    const facts = createTableFacts(world.login, silent);
    t.teardown(() => facts.close());
    const tables = ['Item', 'item', 'ITEM'].map((table) => ({ database: 'Shop', table }));
    await facts.learn(tables);
    const known = tables.map(({ database, table }) => facts.known(database, table));
    for (const each of known) t.deepEqual(each, known[0]);
    const [first] = known;
    t.like(first, { database: 'shop', table: 'item', children: [{ table: 'part' }] });
    if (typeof first === 'object')
      t.deepEqual(
        lockKeys(first).map(({ relation }) => relation),
        ['`shop`.`item`', '`shop`.`item`.`k`'],
      );
  } finally {
    await world[Symbol.asyncDispose]();
  }
});

test('a server that is gone is said to whoever asks', async (t) => {
  const facts = createTableFacts({ host: '127.0.0.1', port: 1, user: 'nobody' }, silent);
  t.teardown(() => facts.close());
  const error = await t.throwsAsync(facts.learn([{ database: 'a', table: 'b' }]), { instanceOf: CodedError });
  t.like(error, { code: 'UPSTREAM_UNREACHABLE', retry: 'safe' });
  t.is(facts.known('a', 'b'), undefined);
});
