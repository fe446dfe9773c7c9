/** What a branch does about rows that somebody else has changed: says which, writes them back by force, or leaves them. */
import test from 'ava';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, change, openWorld, stopServers, type World } from '../branch/branch-world.ts';
import { query } from '../undo/captured-session.ts';

test.after.always(stopServers);

const ORIGINAL: readonly string[] = ['1 c1 10', '2 c2 10', '3 c3 10', '4 c4 10', '5 c5 10'];

async function left(world: World): Promise<unknown> {
  await using session = await world.open();
  const { rows } = await query(
    session.client,
    'SELECT (SELECT count(*) FROM atomesh.undo_record) + (SELECT count(*) FROM atomesh.row_lock)',
  );
  return (rows as unknown[][])[0]?.[0];
}

test('the diagnosis has every row in the way, over all changes of the branch, column by column', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'UPDATE account SET v = 11 WHERE id < 3', 'UPDATE account SET v = NULL WHERE id = 1');
  await change(session, gid, 'DELETE FROM account WHERE id = 3', `INSERT INTO account VALUES (3, 'c3', 33)`);
  await change(session, gid, 'DELETE FROM account WHERE id = 4', 'UPDATE account SET v = 50 WHERE id = 5');
  await world.outside(
    `UPDATE account SET code = 'mine' || id WHERE id IN (1, 3); INSERT INTO account VALUES (4, 'c4', 44)`,
  );
  await world.outside('DELETE FROM account WHERE id = 5');
  const { result, dirt } = await world.finisher.rollback(gid, RESOURCE);
  t.is(result, 'dirty');
  const same = { changed: false, differs: false };
  const none = { before: '4', current: '4' };
  t.deepEqual(
    dirt?.rows?.toSorted((a, b) => Number(a.columns[0]?.before) - Number(b.columns[0]?.before)),
    [
      {
        table: 'public.account',
        columns: [
          { name: 'id', before: '1', after: '1', current: '1', ...same },
          { name: 'code', before: 'c1', after: 'c1', current: 'mine1', changed: false, differs: true },
          { name: 'v', before: '10', after: null, current: null, changed: true, differs: false },
        ],
      },
      {
        table: 'public.account',
        columns: [
          { name: 'id', before: '3', after: '3', current: '3', ...same },
          { name: 'code', before: 'c3', after: 'c3', current: 'mine3', changed: false, differs: true },
          { name: 'v', before: '10', after: '33', current: '33', changed: true, differs: false },
        ],
      },
      {
        table: 'public.account',
        columns: [
          { name: 'id', ...none, changed: true, differs: true },
          { name: 'code', before: 'c4', current: 'c4', changed: true, differs: true },
          { name: 'v', before: '10', current: '44', changed: true, differs: true },
        ],
      },
      {
        table: 'public.account',
        columns: [
          { name: 'id', before: '5', after: '5', changed: false, differs: true },
          { name: 'code', before: 'c5', after: 'c5', changed: false, differs: true },
          { name: 'v', before: '10', after: '50', changed: true, differs: true },
        ],
      },
    ],
  );
});

test('rows that exchanged their keys are told apart, and many rows are counted', async (t) => {
  await using world = await openWorld();
  await world.outside(
    `CREATE TABLE swap (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, other int NOT NULL UNIQUE, v text);
     INSERT INTO swap SELECT i, i, repeat('x', 1000) FROM generate_series(1, 60) i`,
  );
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'UPDATE swap SET id = 3 - id WHERE id < 3', `UPDATE swap SET v = 'y'`);
  await world.outside('UPDATE swap SET v = NULL WHERE other <> 2');
  const { dirt } = await world.finisher.rollback(gid, RESOURCE);
  t.is((dirt?.rows?.length ?? 0) + (dirt?.rowsMore ?? 0), 59);
  t.true(JSON.stringify(dirt?.rows).length < 12_000);
  t.regex(String(dirt?.rows?.[0]?.columns[2]?.before), /^x{200}… \(1000 characters\)$/);
});

test('apply-before writes what was there before over whatever is there, and may be repeated', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(
    session,
    gid,
    'UPDATE account SET v = 11 WHERE id = 1',
    'UPDATE account SET id = 20, v = 0 WHERE id = 2',
    'DELETE FROM account WHERE id IN (3, 4)',
    `INSERT INTO account VALUES (6, 'c6', 0)`,
    'UPDATE account SET v = 1 WHERE id = 6',
    'UPDATE account SET v = 55 WHERE id = 5',
  );
  await world.outside(
    `UPDATE account SET code = 'mine', v = 77 WHERE id IN (1); INSERT INTO account VALUES (3, 'other', 0);
     UPDATE account SET v = 78 WHERE id IN (6, 20); DELETE FROM account WHERE id = 5; INSERT INTO account VALUES (9, 'c9', 9)`,
  );
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'dirty' });
  for (const _ of [1, 2]) {
    t.like(await world.finisher.rollback(gid, RESOURCE, 'apply-before'), { result: 'success' });
    t.deepEqual(await world.accounts(), [...ORIGINAL, '9 c9 9']);
  }
  t.is(await left(world), '0');
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  t.like(await world.finisher.commit(gid, RESOURCE), { result: 'unknown' });
});

test('apply-before writes nothing where the database refuses, a trigger meddles, or rows of others would go along', async (t) => {
  const obstacles: readonly (readonly [string, string, string])[] = [
    [
      'UPDATE account SET code = code || 1 WHERE id = 1',
      `UPDATE account SET v = 5 WHERE id = 1; INSERT INTO account VALUES (7, 'c1', 7)`,
      'DELETE FROM account WHERE id = 7',
    ],
    [
      'UPDATE account SET v = 0 WHERE id = 1',
      `UPDATE account SET v = 5 WHERE id = 1;
       CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v + 1; RETURN NEW; END';
       CREATE TRIGGER meddle BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION meddle()`,
      'DROP TRIGGER meddle ON account',
    ],
    [
      'INSERT INTO parent VALUES (1, 1)',
      'UPDATE parent SET v = 2; INSERT INTO child VALUES (1, 1)',
      'DELETE FROM child',
    ],
  ];
  for (const [sql, outside, mend] of obstacles) {
    await using world = await openWorld();
    const [gid, session] = [newGid(), await world.open()];
    await change(session, gid, sql);
    await world.outside(outside);
    const before = await world.accounts();
    t.like(await world.finisher.rollback(gid, RESOURCE, 'apply-before'), { result: 'dirty' }, sql);
    t.deepEqual(await world.accounts(), before, sql);
    t.not(await left(world), '0', sql);
    await world.outside(mend);
    t.like(await world.finisher.rollback(gid, RESOURCE, 'apply-before'), { result: 'success' }, sql);
    t.deepEqual(await world.accounts(), ORIGINAL, sql);
  }
});

test('keep-current leaves every row, frees the locks and forgets the records, and may be repeated', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'UPDATE account SET v = 11 WHERE id < 3');
  await world.outside('UPDATE account SET v = 77 WHERE id = 1');
  const kept = await world.accounts();
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'dirty' });
  for (const _ of [1, 2]) t.like(await world.finisher.rollback(gid, RESOURCE, 'keep-current'), { result: 'success' });
  t.deepEqual(await world.accounts(), kept);
  t.is(await left(world), '0');
  const next = newGid();
  await change(session, next, 'UPDATE account SET v = 12 WHERE id = 1');
  t.like(await world.finisher.commit(next, RESOURCE), { result: 'success' });
});

test('a branch that has committed is not resolved', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'UPDATE account SET v = 11 WHERE id = 1');
  t.like(await world.finisher.commit(gid, RESOURCE), { result: 'success' });
  for (const how of ['apply-before', 'keep-current'] as const) {
    t.like(await world.finisher.rollback(gid, RESOURCE, how), { result: 'unknown', ended: 'committed' });
  }
  t.is((await world.accounts())[0], '1 c1 11');
});
