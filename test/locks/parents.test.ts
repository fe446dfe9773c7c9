/** Rows that another row comes to refer to while an unfinished global transaction holds them. */
import test from 'ava';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, change, failure, openWorld, stopServers, type World } from '../branch/branch-world.ts';
import { openCapturedSession } from '../undo/captured-session.ts';

test.after.always(stopServers);

const SCHEMA = `
CREATE TABLE customer (id bigint PRIMARY KEY, code text UNIQUE, name text);
CREATE TABLE purchase (
  id int PRIMARY KEY, customer int REFERENCES customer, code varchar(20) REFERENCES customer (code), note text);
CREATE TABLE place (a int, b text, PRIMARY KEY (b, a));
CREATE TABLE visit (id int PRIMARY KEY, x int, y text, FOREIGN KEY (x, y) REFERENCES place (a, b));
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node);
INSERT INTO customer VALUES (1, 'one', ''), (2, 'two', '');
INSERT INTO purchase VALUES (1, 1, 'one', '');
INSERT INTO place VALUES (1, 'p');`;

/** What the holder does, what comes to refer to its row, and what does not meet it. */
const CASES: readonly (readonly [holder: string, refers: string, free: string])[] = [
  [
    `INSERT INTO customer VALUES (3, 'three', '')`,
    'INSERT INTO purchase VALUES (2, 3)',
    'INSERT INTO purchase VALUES (2, 2)',
  ],
  [
    `INSERT INTO customer VALUES (3, 'three', '')`,
    'UPDATE purchase SET customer = 3',
    `UPDATE purchase SET note = 'x'`,
  ],
  [`DELETE FROM customer WHERE id = 2`, 'INSERT INTO purchase VALUES (2, 2)', 'INSERT INTO purchase VALUES (2, NULL)'],
  [
    'UPDATE customer SET id = 4 WHERE id = 2',
    'INSERT INTO purchase VALUES (2, 4)',
    'INSERT INTO purchase VALUES (2, 1)',
  ],
  [
    `UPDATE customer SET code = 'dos' WHERE id = 2`,
    `INSERT INTO purchase VALUES (2, NULL, 'dos')`,
    `INSERT INTO purchase VALUES (2, NULL, 'one')`,
  ],
  [
    `INSERT INTO place VALUES (2, 'q')`,
    `INSERT INTO visit SELECT i, 2, 'q' FROM generate_series(1, 3) i`,
    `INSERT INTO visit VALUES (1, 2, NULL), (2, 1, 'p')`,
  ],
  ['INSERT INTO node VALUES (1, NULL)', 'INSERT INTO node VALUES (2, 1)', 'INSERT INTO node VALUES (2, 2)'],
  [
    `INSERT INTO customer VALUES (3, 'three', '')`,
    `INSERT INTO purchase VALUES (1, 3) ON CONFLICT (id) DO UPDATE SET customer = excluded.customer`,
    `INSERT INTO purchase VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET customer = excluded.customer`,
  ],
];

async function rows(world: World): Promise<unknown> {
  await using session = await world.open();
  const { rows: found } = await session.client.query<unknown[]>(
    `SELECT array(SELECT p::text FROM purchase p ORDER BY 1), array(SELECT c::text FROM customer c ORDER BY 1),
       array(SELECT v::text FROM visit v ORDER BY 1), array(SELECT n::text FROM node n ORDER BY 1)`,
  );
  return found;
}

for (const major of [14, 18] as const) {
  test(`a row that refers to one which an unfinished gid holds has to wait, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const before = await rows(world);
    const session = await world.open();
    for (const [holding, refers, free] of CASES) {
      const [holder, other] = [newGid(), newGid()];
      await change(session, holder, holding);
      const error = await failure(change(session, other, refers));
      t.like(error, { code: '55P03', constraint: holder }, refers);
      await session.rollback();
      // What would make the branch dirty has not come about; neither has anything else been kept waiting.
      await change(session, other, free);
      t.like(await world.finisher.rollback(holder, RESOURCE), { result: 'success' }, holding);
      t.like(await world.finisher.rollback(other, RESOURCE), { result: 'success' }, free);
      t.deepEqual(await rows(world), before, refers);
    }
  });

  test(`one gid refers to its own rows, and to those of one that is committed, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const session = await world.open();
    const [gid, next] = [newGid(), newGid()];
    await change(session, gid, `INSERT INTO customer VALUES (3, 'three', '')`, 'INSERT INTO purchase VALUES (2, 3)');
    await change(session, gid, 'INSERT INTO node VALUES (1, NULL), (2, 1)', 'INSERT INTO node VALUES (3, 2)');
    t.like(await world.finisher.commit(gid, RESOURCE), { result: 'success' });
    await change(session, next, 'INSERT INTO purchase VALUES (3, 3)');
    t.like(await world.finisher.rollback(next, RESOURCE), { result: 'success' });
  });
}

test('looking for the locks of others takes no more rights than capturing does', async (t) => {
  await using world = await openWorld();
  await world.outside(
    `${SCHEMA} CREATE ROLE teller LOGIN; GRANT SELECT, INSERT, UPDATE ON purchase, customer TO teller`,
  );
  await initialiseDatabase({ connectionString: world.url }, { grantTo: 'teller' });
  await using session = await openCapturedSession(world.url.replace('postgres@', 'teller@'), { resource: RESOURCE });
  const [gid, other] = [newGid(), newGid()];
  await change(session, gid, 'INSERT INTO purchase VALUES (2, 2)', 'SELECT * FROM customer WHERE id = 1 FOR UPDATE');
  await change(session, gid, `UPDATE customer SET name = 'x' WHERE id = 1`);
  t.like(await failure(change(session, other, 'SELECT * FROM customer FOR SHARE')), { code: '55P03', constraint: gid });
  await session.rollback();
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
});
