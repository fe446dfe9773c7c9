import test from 'ava';
import { newGid } from '../../../src/platform/random.ts';
import { createRowLocks, insertClaimsSql } from '../../../proxy/mysql/locks/row-locks.ts';
import type { RowLock } from '../../../proxy/mysql/undo/capture.ts';
import { lockKeys } from '../../../proxy/mysql/undo/lock-key.ts';
import { parentKey } from '../../../proxy/mysql/undo/parents.ts';
import { RESOURCE, SERVERS, openWorld, rowsOf, silent, type World } from '../second-phase/world.ts';
import { CONFLICTS, REFERENCES, REFERENCE_TABLES, TYPES, UNTOLD } from './references.ts';
import { begin, createRunner, factsOf } from './runner.ts';

function lockOf(name: string): RowLock {
  const at = name.lastIndexOf(' ');
  return { relation: name.slice(0, at), key: name.slice(at + 1) };
}

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, REFERENCE_TABLES);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: rows that a change comes to refer to, ceases to refer to, or frees, are told by their locks`,
    async (t) => {
      const connection = await world.connect('repeatable read');
      const runner = await createRunner(world, connection, { database: 'shop', countsFound: true, hasPhantoms: false });
      for (const { sql, ...expected } of REFERENCES) {
        const gid = newGid();
        await begin(world, connection, gid);
        const { heard, references } = await runner.run(gid, sql);
        t.is(heard.kind, 'ok', sql);
        t.deepEqual(
          Object.fromEntries(Object.entries(references).map(([kind, keys]) => [kind, keys.toSorted()])),
          Object.fromEntries(
            (['shared', 'claims', 'freed'] as const).map((kind) => [kind, (expected[kind] ?? []).toSorted()]),
          ),
          sql,
        );
        await connection.query('rollback');
      }
    },
  );

  test.serial(
    `${name}: the key of a row that is referred to is that of the lock which its own change takes`,
    async (t) => {
      const connection = await world.connect('read committed');
      const runner = await createRunner(world, connection, { database: 'shop', countsFound: true, hasPhantoms: true });
      for (const [parent, child] of [
        ["insert into parent values (8, 'Ächt ', 8, 80)", "insert into child (p, c, x, y) values (8, 'acht', 80, 8)"],
        [
          "insert into parent values (-9, '', -9, 18446744073709551615)",
          "insert into child (p, c, x, y) values (-9, '  ', 18446744073709551615, -9)",
        ],
        ['insert into node values (5, null)', 'insert into node values (6, 5)'],
      ] as const) {
        const gid = newGid();
        await begin(world, connection, gid);
        const { locks } = await runner.run(gid, parent);
        const { heard, references } = await runner.run(gid, child);
        t.is(heard.kind, 'ok', child);
        t.true(references.shared.length > 0);
        t.deepEqual(references.shared.toSorted(), locks.toSorted(), child);
        await connection.query('rollback');
      }
    },
  );

  test.serial(
    `${name}: who has inserted the row that is referred to, or has given up a reference to one that is deleted, is known`,
    async (t) => {
      const rowLocks = createRowLocks(world.login, silent);
      t.teardown(() => rowLocks.close());
      for (const { first, later, undo } of CONFLICTS) {
        const [one, two] = [await world.connect(), await world.connect()];
        const [holder, other] = [newGid(), newGid()];
        const options = { database: 'shop', countsFound: true, hasPhantoms: true };
        await begin(world, one, holder);
        const { references } = await (await createRunner(world, one, options)).run(holder, first);
        if (references.claims.length > 0) {
          await one.query(insertClaimsSql(references.claims.map(lockOf), { gid: holder, resource: RESOURCE }));
        }
        await one.query('commit');
        await begin(world, two, other);
        const ran = await (await createRunner(world, two, options)).run(other, later);
        t.is(ran.heard.kind, 'ok', later);
        const { shared, freed } = ran.references;
        const held = [
          ...(await rowLocks.holdersOf(shared.map(lockOf))),
          ...(await rowLocks.claimantsOf(freed.map(lockOf))),
        ];
        t.deepEqual([...new Set(held.map((each) => each.holder))], [holder], later);
        // What would have become of it.
        await two.query('commit');
        t.like(await world.finisher.rollback(holder, RESOURCE), { result: 'dirty' }, later);
        await world.admin.query(undo);
        t.like(await world.finisher.rollback(holder, RESOURCE), { result: 'success' }, later);
      }
    },
  );

  test.serial(
    `${name}: whatever the types are that the server lets refer to each other, the key is the same or refused`,
    async (t) => {
      const refused: string[] = [];
      for (const [parent, child, values] of TYPES) {
        await world.admin.query('drop table if exists kin, kind');
        await world.admin.query(
          `create table kind (k ${parent}, id int primary key auto_increment, unique key (k)) default charset utf8mb4 collate utf8mb4_general_ci`,
        );
        const made = world.admin.query(
          `create table kin (id int primary key auto_increment, k ${child}, foreign key (k) references kind (k)) default charset utf8mb4 collate utf8mb4_general_ci`,
        );
        const types = `${parent} - ${child}`;
        // The server does not want these to refer to each other.
        if (!(await made.then(Boolean, () => false))) continue;
        // Some it lets be declared, and then finds no two values of them equal.
        let pairs = 0;
        for (const [index, value] of values.entries()) {
          const [to, from] = typeof value === 'string' ? [value, value] : value;
          await world.admin.query(`insert into kind (k, id) values (${to}, ${index + 1})`);
          const inserted = world.admin.query(`insert into kin (k, id) values (${from}, ${index + 1})`);
          pairs += await inserted.then(
            () => 1,
            () => 0,
          );
        }
        const [own, other] = [await factsOf(world, 'shop', 'kin'), await factsOf(world, 'shop', 'kind')];
        if (own === 'none' || other === 'none' || own.parents[0] === undefined) return t.fail(types);
        const key = parentKey(own, own.parents[0], other);
        if (key === undefined || 'kind' in key) {
          refused.push(types);
          continue;
        }
        const lock = lockKeys(other).find(({ relation }) => relation === key.relation);
        const lines = await world.lines(
          `select ${lock?.sql('a')} = ${key.sql('b')} from kind a join kin b on a.k = b.k and a.id = b.id`,
        );
        t.deepEqual(lines, Array<string>(pairs).fill('1'), types);
      }
      t.log(refused.join('; '));
      t.false(
        refused.some((types) => new Set(types.split(' - ')).size === 1),
        'equal types are never refused',
      );
      await world.admin.query('drop table kin, kind');
    },
  );

  test.serial(`${name}: a reference of which the lock cannot be told is refused`, async (t) => {
    const connection = await world.connect();
    const runner = await createRunner(world, connection, { database: 'shop', countsFound: true, hasPhantoms: true });
    for (const [sql, because] of UNTOLD) {
      const gid = newGid();
      await begin(world, connection, gid);
      const { heard } = await runner.run(gid, sql);
      t.regex(heard.kind === 'refused' ? heard.message : heard.kind, because, sql);
      await connection.query('rollback');
    }
  });

  test.serial(
    `${name}: behind a foreign key's check nobody whose local transaction is open changes what was referred to`,
    async (t) => {
      const own = await world.connect();
      await own.query(
        "begin; insert into child (p) values (3); delete from child where id = 2; insert into parent values (7, 'seven', 7, 7)",
      );
      // Who refers to a row keeps it from being deleted, and who did refer to it too; who refers to a new one waits for the end of who inserted it.
      const waiting = [
        'delete from parent where id = 3',
        'delete from parent where id = 2',
        'insert into child (p) values (7)',
      ];
      await Promise.all(
        waiting.map(async (sql) => {
          const other = await world.connect();
          await other.query('set innodb_lock_wait_timeout = 1; begin');
          const error = await t.throwsAsync(other.query(sql), undefined, sql);
          t.is((error as { errno?: number } | undefined)?.errno, 1205, sql);
          await other.query('rollback');
        }),
      );
      await own.query('rollback');
      t.deepEqual(await rowsOf(world.admin, 'select id from child where p in (3, 7)'), []);
    },
  );
}
