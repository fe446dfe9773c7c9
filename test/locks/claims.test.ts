/** Rows that have given up a reference claim the row that they referred to, and find it again when they come back. */
import test, { type ExecutionContext } from 'ava';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, change, failure, openWorld, stopServers, untilWaiting, type World } from '../branch/branch-world.ts';
import type { CapturedSession } from '../undo/captured-session.ts';

test.after.always(stopServers);

const SCHEMA = `
CREATE TABLE customer (id bigint PRIMARY KEY, code text UNIQUE, tag text COLLATE "POSIX" UNIQUE, name text);
CREATE TABLE purchase (
  id int PRIMARY KEY, customer int REFERENCES customer, code varchar(20) REFERENCES customer (code),
  tag text COLLATE "POSIX" REFERENCES customer (tag), note text);
CREATE TABLE place (a int, b text, PRIMARY KEY (b, a));
CREATE TABLE visit (id int PRIMARY KEY, x int, y text, FOREIGN KEY (x, y) REFERENCES place (a, b));
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node);
CREATE TABLE zone (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
CREATE TABLE zone_low PARTITION OF zone FOR VALUES FROM (0) TO (10);
CREATE TABLE zone_high PARTITION OF zone FOR VALUES FROM (10) TO (20);
CREATE TABLE stop (id int, zone int REFERENCES zone, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE stop_0 PARTITION OF stop FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE room (id int PRIMARY KEY);
CREATE TABLE guest (id int PRIMARY KEY, room int REFERENCES room DEFERRABLE INITIALLY DEFERRED);
INSERT INTO customer VALUES (1, 'one', 'i', ''), (2, 'two', 'ii', '');
INSERT INTO purchase VALUES (1, 1, 'one', 'i', '');
INSERT INTO place VALUES (1, 'p'), (2, 'q');
INSERT INTO visit VALUES (1, 1, 'p');
INSERT INTO node VALUES (1, NULL), (2, 1);
INSERT INTO zone VALUES (1), (2), (11);
INSERT INTO stop VALUES (1, 1);
INSERT INTO room VALUES (1);
INSERT INTO guest VALUES (1, 1);`;

/** What gives a reference up, what then has to wait, and what does not meet it. */
type Case = readonly [gives: string, waits: string, free: string];

const DELETE_CUSTOMER = 'DELETE FROM customer WHERE id = 1';

const CASES: readonly Case[] = [
  ['DELETE FROM purchase WHERE id = 1', DELETE_CUSTOMER, 'DELETE FROM customer WHERE id = 2'],
  ['DELETE FROM purchase', DELETE_CUSTOMER, "UPDATE customer SET name = 'x'"],
  ['UPDATE purchase SET customer = 2', 'UPDATE customer SET id = 3 WHERE id = 1', 'INSERT INTO purchase VALUES (2, 1)'],
  [
    'UPDATE purchase SET customer = NULL, code = NULL, tag = NULL',
    DELETE_CUSTOMER,
    'UPDATE customer SET id = id WHERE id = 1',
  ],
  [
    'UPDATE purchase SET code = NULL',
    "UPDATE customer SET code = 'x' WHERE id = 1",
    'UPDATE customer SET tag = NULL WHERE id = 2',
  ],
  ['DELETE FROM purchase', "UPDATE customer SET tag = 'x' WHERE id = 1", "INSERT INTO customer VALUES (4, 'f', 'iv')"],
  [
    'INSERT INTO purchase VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET customer = excluded.customer',
    'UPDATE customer SET id = 3 WHERE id = 1',
    `INSERT INTO customer VALUES (1, 'one') ON CONFLICT (id) DO UPDATE SET name = 'x', code = excluded.code`,
  ],
  ['UPDATE visit SET y = NULL', "DELETE FROM place WHERE b = 'p'", "UPDATE place SET a = 3 WHERE b = 'q'"],
  ["UPDATE visit SET x = 2, y = 'q'", "UPDATE place SET a = 3 WHERE b = 'p'", "INSERT INTO visit VALUES (2, 1, 'p')"],
  ['DELETE FROM node WHERE id = 2', 'DELETE FROM node WHERE id = 1', 'INSERT INTO node VALUES (3, 1)'],
  ['DELETE FROM stop', 'DELETE FROM zone WHERE id = 1', 'DELETE FROM zone WHERE id = 2'],
  ['UPDATE stop_0 SET zone = 11', 'DELETE FROM zone_low', 'UPDATE zone SET id = 12 WHERE id = 2'],
  ['DELETE FROM stop', 'UPDATE zone SET id = 12 WHERE id = 1', 'DELETE FROM zone_high'],
  [
    'WITH g AS (DELETE FROM visit) UPDATE purchase SET code = NULL',
    'DELETE FROM place',
    'DELETE FROM customer WHERE id = 2',
  ],
];

const MERGES: readonly Case[] = [
  [
    'MERGE INTO purchase p USING (VALUES (1), (2)) v (i) ON p.id = v.i WHEN MATCHED THEN UPDATE SET customer = 2 WHEN NOT MATCHED THEN INSERT VALUES (i, 2)',
    'MERGE INTO customer c USING (VALUES (1)) v (i) ON c.id = v.i WHEN MATCHED THEN UPDATE SET id = 3',
    `MERGE INTO customer c USING (VALUES (1)) v (i) ON c.id = v.i WHEN MATCHED THEN UPDATE SET name = 'x'`,
  ],
  [
    'MERGE INTO purchase p USING (VALUES (1)) v (i) ON p.id = v.i WHEN MATCHED THEN DELETE',
    'MERGE INTO customer c USING (VALUES (1)) v (i) ON c.id = v.i WHEN MATCHED THEN DELETE',
    'MERGE INTO customer c USING (VALUES (2)) v (i) ON c.id = v.i WHEN MATCHED THEN DELETE',
  ],
];

async function rows(world: World): Promise<unknown> {
  await using session = await world.open();
  const tables = ['purchase', 'customer', 'visit', 'place', 'node', 'zone', 'stop', 'guest', 'room'];
  const lists = tables.map((table) => `array(SELECT t::text FROM ${table} t ORDER BY 1)`);
  return (await session.client.query(`SELECT ${lists.join(', ')}`)).rows;
}

/** Nothing is left of claims, nor of the questions for them. */
async function leavesNothing(t: ExecutionContext, world: World): Promise<void> {
  await using session = await world.open();
  const { rows: left } = await session.client.query(
    'SELECT gid FROM atomesh.parent_claim UNION ALL SELECT gid FROM atomesh.freed_key UNION ALL SELECT gid FROM atomesh.row_lock',
  );
  t.deepEqual(left, []);
}

/** Runs a statement of the gid in a local transaction of that isolation, which stays open. */
async function begin(session: CapturedSession, gid: string, sql: string, isolation = 'READ COMMITTED'): Promise<void> {
  await session.begin(gid);
  await session.client.query(`SET TRANSACTION ISOLATION LEVEL ${isolation}`);
  await session.client.query('SELECT 1');
  await session.run(sql);
}

for (const major of [14, 18] as const) {
  test(`a row that was referred to stays until the one that gave it up is finished, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const before = await rows(world);
    const session = await world.open();
    for (const [gives, waits, free] of major === 18 ? [...CASES, ...MERGES] : CASES) {
      const [holder, other] = [newGid(), newGid()];
      await change(session, holder, gives);
      t.like(await failure(change(session, other, waits)), { code: '55P03', constraint: holder }, `${gives}; ${waits}`);
      await session.rollback();
      await change(session, other, free);
      t.like(await world.finisher.rollback(holder, RESOURCE), { result: 'success' }, gives);
      t.like(await world.finisher.rollback(other, RESOURCE), { result: 'success' }, free);
      t.deepEqual(await rows(world), before, gives);
    }
    await leavesNothing(t, world);
  });

  test(`claims exclude neither each other nor their own gid, and go with a commit, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(`${SCHEMA} INSERT INTO purchase VALUES (2, 1)`);
    const [one, two, last] = [await world.open(), await world.open(), await world.open()];
    const [a, b, c] = [newGid(), newGid(), newGid()];
    await begin(one, a, 'DELETE FROM purchase WHERE id = 1');
    await begin(two, b, 'DELETE FROM purchase WHERE id = 2', 'SERIALIZABLE');
    await two.commit();
    await one.commit();
    t.like(await world.finisher.commit(b, RESOURCE), { result: 'success' });
    t.like(await failure(change(last, c, DELETE_CUSTOMER)), { code: '55P03', constraint: a });
    await last.rollback();
    // Its own are in nobody's way, and neither are those of a gid that is known to be committed.
    await change(one, a, DELETE_CUSTOMER, "INSERT INTO customer VALUES (1, 'one', 'i')");
    await last.begin(c, [a]);
    await last.run(DELETE_CUSTOMER);
    await last.commit();
    t.like(await world.finisher.commit(a, RESOURCE), { result: 'success' });
    t.like(await world.finisher.commit(c, RESOURCE), { result: 'success' });
    await leavesNothing(t, world);
  });

  for (const isolation of ['REPEATABLE READ', 'SERIALIZABLE']) {
    test(`a claim behind the snapshot is a serialization failure at ${isolation}, on PostgreSQL ${major}`, async (t) => {
      await using world = await openWorld(major);
      await world.outside(`${SCHEMA} INSERT INTO purchase VALUES (2, 1)`);
      const [one, two] = [await world.open(), await world.open()];
      const [a, b, c] = [newGid(), newGid(), newGid()];
      // A claim of its own, which the snapshot shows, hides no other.
      await change(two, b, 'DELETE FROM purchase WHERE id = 2');
      await begin(two, b, 'UPDATE node SET up = up', isolation);
      await change(one, a, 'DELETE FROM purchase WHERE id = 1');
      t.like(await failure(two.run(DELETE_CUSTOMER)), { code: '40001' });
      await two.rollback();
      // One that is there before the snapshot is a conflict, and one that ended behind it a failure again.
      await begin(two, b, 'UPDATE node SET up = up', isolation);
      t.like(await failure(two.run(DELETE_CUSTOMER)), { code: '55P03', constraint: a });
      await two.rollback();
      await begin(two, b, 'UPDATE node SET up = up', isolation);
      t.like(await world.finisher.commit(a, RESOURCE), { result: 'success' });
      t.like(await failure(two.run(DELETE_CUSTOMER)), { code: '40001' });
      await two.rollback();
      await begin(two, b, DELETE_CUSTOMER, isolation);
      await two.commit();
      t.like(await world.finisher.rollback(b, RESOURCE), { result: 'success' });
      await begin(one, c, 'DELETE FROM purchase WHERE id = 2', isolation);
      await one.commit();
      t.like(await world.finisher.rollback(c, RESOURCE), { result: 'success' });
      await leavesNothing(t, world);
    });
  }

  test(`who deletes a row while a reference to it is being given up hears of the claim behind the wait, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const [one, two] = [await world.open(), await world.open()];
    for (const [isolation, code] of [
      ['READ COMMITTED', '55P03'],
      ['REPEATABLE READ', '40001'],
      ['SERIALIZABLE', '40001'],
    ] as const) {
      const [a, b] = [newGid(), newGid()];
      await begin(one, a, 'DELETE FROM purchase');
      await two.begin(b);
      await two.client.query(`SET TRANSACTION ISOLATION LEVEL ${isolation}`);
      const waiting = failure(two.run(DELETE_CUSTOMER));
      await untilWaiting(world, two);
      await one.commit();
      t.like(await waiting, { code }, isolation);
      await two.rollback();
      t.like(await world.finisher.rollback(a, RESOURCE), { result: 'success' });
    }
    // Taken back, the reference is there again; one that was moved was never away.
    await begin(one, newGid(), 'DELETE FROM purchase');
    await two.begin(newGid());
    const waiting = failure(two.run(DELETE_CUSTOMER));
    await untilWaiting(world, two);
    await one.rollback();
    t.like(await waiting, { code: '23503' });
    await two.rollback();
    await begin(one, newGid(), 'UPDATE purchase SET customer = 2, code = NULL, tag = NULL');
    t.like(await failure(change(two, newGid(), DELETE_CUSTOMER)), { code: '23503' });
    await two.rollback();
    await one.rollback();
  });

  test(`neither of two local transactions waits for the other where it would not without us, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const [one, two] = [await world.open(), await world.open()];
    const [a, b] = [newGid(), newGid()];
    // The child is held by one, the parent by the other.
    await begin(one, a, `UPDATE purchase SET note = 'x'`);
    await begin(two, b, 'SELECT * FROM customer WHERE id = 1 FOR UPDATE');
    await one.run('DELETE FROM purchase');
    const waiting = failure(two.run(DELETE_CUSTOMER));
    await untilWaiting(world, two);
    await one.commit();
    t.like(await waiting, { code: '55P03', constraint: a });
    await two.rollback();
    t.like(await world.finisher.rollback(a, RESOURCE), { result: 'success' });
  });

  test(`where a foreign key is looked at late, claims are asked for behind it, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const before = await rows(world);
    const [one, two] = [await world.open(), await world.open()];
    for (const isolation of ['READ COMMITTED', 'REPEATABLE READ']) {
      const [a, b] = [newGid(), newGid()];
      // The parent goes first; its foreign key looks at COMMIT, when the reference has been given up.
      await begin(two, b, 'DELETE FROM room', isolation);
      await change(one, a, 'DELETE FROM guest');
      t.like(await failure(two.commit()), { code: '40001' }, isolation);
      await two.rollback();
      t.like(await failure(change(two, b, 'DELETE FROM room')), { code: '55P03', constraint: a });
      await two.rollback();
      t.like(await world.finisher.rollback(a, RESOURCE), { result: 'success' });
      t.like(await world.finisher.rollback(b, RESOURCE), { result: 'success' });
      t.deepEqual(await rows(world), before);
    }
    await change(one, newGid(), 'DELETE FROM room', 'DELETE FROM guest');
  });
}

test('two services of one global transaction do not free what the other may need', async (t) => {
  await using world = await openWorld();
  await world.outside(SCHEMA);
  const session = await world.open();
  const gid = newGid();
  await change(session, gid, 'DELETE FROM purchase');
  await session.client.query(`UPDATE atomesh.parent_claim SET resource = 'other/db'`);
  t.like(await failure(change(session, gid, DELETE_CUSTOMER)), { code: '55P03', table: 'row_owner' });
});
