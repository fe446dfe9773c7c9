import test from 'ava';
import pg from 'pg';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, change, failure, openWorld, stopServers, untilWaiting } from './branch-world.ts';
import { query } from '../undo/captured-session.ts';

test.after.always(stopServers);

test('a change that comes after the rollback fails, also when the branch had changed nothing', async (t) => {
  await using world = await openWorld();
  const gid = newGid();
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  const session = await world.open();
  await session.begin(gid);
  t.like(await failure(session.run('UPDATE account SET v = 0')), {
    code: '40000',
    schema: 'atomesh',
    table: 'branch_state',
  });
  await session.rollback();
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
});

test('a change that comes after the commit fails', async (t) => {
  await using world = await openWorld();
  const gid = newGid();
  const session = await world.open();
  await change(session, gid, 'UPDATE account SET v = 0');
  t.like(await world.finisher.commit(gid, RESOURCE), { result: 'success' });
  await session.begin(gid);
  // A statement without rows is late as well: it must not pass for an entry of the branch.
  t.like(await failure(session.run('UPDATE account SET v = 1 WHERE false RETURNING *')), {
    code: '40000',
    table: 'branch_state',
  });
});

for (const major of [14, 18] as const) {
  test(`rollback waits for a local transaction that is still open, then undoes it, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, before, session] = [newGid(), await world.accounts(), await world.open()];
    await session.begin(gid);
    await session.run('UPDATE account SET v = v + 1');
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'ongoing' });
    await session.commit();
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
    t.deepEqual(await world.accounts(), before);
  });

  test(`a local transaction that meets an uncommitted rollback fails once it is committed, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, session, before] = [newGid(), await world.open(), await world.accounts()];
    const fence = new pg.Client({ connectionString: world.url });
    await fence.connect();
    await fence.query('BEGIN');
    await fence.query(`INSERT INTO atomesh.branch_state (gid, resource, state) VALUES ($1, $2, 'rolled_back')`, [
      gid,
      RESOURCE,
    ]);
    await session.begin(gid);
    const late = failure(session.run('UPDATE account SET v = 0'));
    await untilWaiting(world, session);
    await fence.query('COMMIT');
    t.like(await late, { code: '40000', table: 'branch_state' });
    await session.rollback();
    await fence.end();
    t.deepEqual(await world.accounts(), before);
  });

  test(`a row that changes while its lock is waited for is undone to what it had become, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, session] = [newGid(), await world.open()];
    const other = new pg.Client({ connectionString: world.url });
    await other.connect();
    await other.query('BEGIN');
    await other.query('UPDATE account SET v = v + 100 WHERE id IN (1, 2)');
    await session.begin(gid);
    const waiting = session.run('UPDATE account SET v = v * 2 WHERE v > 5 AND v <> 10 OR id = 1 RETURNING id, v');
    await untilWaiting(world, session);
    await other.query('COMMIT');
    await other.end();
    t.like(await waiting, { answer: { rows: [['1', '220']] } });
    await session.commit();
    const expected = ['1 c1 110', '2 c2 110', '3 c3 10', '4 c4 10', '5 c5 10'];
    t.deepEqual(await world.accounts(), expected.with(0, '1 c1 220'));
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
    t.deepEqual(await world.accounts(), expected);
  });

  test(`a primary key that changes while its lock is waited for is never missed silently, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, session] = [newGid(), await world.open()];
    const other = new pg.Client({ connectionString: world.url });
    await other.connect();
    await other.query('BEGIN');
    await other.query('UPDATE account SET id = 99 WHERE id = 1');
    await session.begin(gid);
    const waiting = session.run(`UPDATE account SET v = 0 WHERE code = 'c1'`).then(
      () => 'changed',
      (error: pg.DatabaseError) => error.code,
    );
    await untilWaiting(world, session);
    await other.query('COMMIT');
    await other.end();
    t.is(await waiting, major >= 18 ? 'changed' : '40001');
    await session.rollback();
  });

  test(`an upsert that meets a row of this moment has its image or fails, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, session] = [newGid(), await world.open()];
    const other = new pg.Client({ connectionString: world.url });
    await other.connect();
    await other.query('BEGIN');
    await other.query(`INSERT INTO account VALUES (7, 'c7', 70)`);
    await session.begin(gid);
    const waiting = session
      .run(`INSERT INTO account VALUES (7, 'x', 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v`)
      .then(
        () => 'changed',
        (error: pg.DatabaseError) => error.code,
      );
    await untilWaiting(world, session);
    await other.query('COMMIT');
    await other.end();
    const result = await waiting;
    t.is(result, major >= 18 ? 'changed' : '40001');
    await (result === 'changed' ? session.commit() : session.rollback());
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
    t.true((await world.accounts()).includes('7 c7 70'));
  });
}

test('local transactions of one branch that was opened ahead do not wait for each other', async (t) => {
  await using world = await openWorld();
  const [gid, before, one, two] = [newGid(), await world.accounts(), await world.open(), await world.open()];
  await world.finisher.open(gid, RESOURCE);
  await one.begin(gid);
  await one.run('UPDATE account SET v = 1 WHERE id = 1');
  await change(two, gid, 'UPDATE account SET v = 2 WHERE id = 2');
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'ongoing' });
  await one.commit();
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  t.deepEqual(await world.accounts(), before);
  await world.finisher.open(gid, RESOURCE);
  await one.begin(gid);
  t.like(await failure(one.run('DELETE FROM account')), { code: '40000' });
});

test('a row is held from its change until its global transaction has ended', async (t) => {
  await using world = await openWorld();
  const [first, second] = [newGid(), newGid()];
  const [one, two] = [await world.open(), await world.open()];
  await change(one, first, 'UPDATE account SET v = 1 WHERE id = 1');
  await two.begin(second);
  t.like(await failure(two.run('UPDATE account SET v = 2 WHERE id IN (1, 2)')), {
    code: '55P03',
    schema: 'atomesh',
    table: 'row_lock',
    constraint: first,
  });
  await two.rollback();
  await change(two, second, 'UPDATE account SET v = 2 WHERE id = 2');
  await change(one, first, 'UPDATE account SET v = 3 WHERE id = 1');
  t.like(await world.finisher.commit(first, RESOURCE), { result: 'success' });
  await change(two, second, 'UPDATE account SET v = 4 WHERE id = 1');
  t.like(await world.finisher.rollback(second, RESOURCE), { result: 'success' });
  t.deepEqual(await world.accounts(), ['1 c1 3', '2 c2 10', '3 c3 10', '4 c4 10', '5 c5 10']);
});

test('a holder that is known to be committed gives way, and its late clean-up leaves the new holder its lock', async (t) => {
  await using world = await openWorld();
  const [first, second, third] = [newGid(), newGid(), newGid()];
  const session = await world.open();
  await change(session, first, 'UPDATE account SET v = 1 WHERE id = 1');
  await session.begin(second, [first]);
  await session.run('UPDATE account SET v = 2 WHERE id = 1');
  await session.commit();
  t.like(await world.finisher.commit(first, RESOURCE), { result: 'success' });
  await session.begin(third);
  t.like(await failure(session.run('DELETE FROM account WHERE id = 1')), { code: '55P03', constraint: second });
  await session.rollback();
  t.like(await world.finisher.rollback(second, RESOURCE), { result: 'success' });
  t.is((await world.accounts())[0], '1 c1 1');
});

test('a unique value that a global transaction gave up is held for its rollback', async (t) => {
  await using world = await openWorld();
  const [first, second] = [newGid(), newGid()];
  const session = await world.open();
  await change(session, first, `UPDATE account SET code = 'moved' WHERE id = 1`, 'DELETE FROM account WHERE id = 2');
  for (const sql of [
    `INSERT INTO account VALUES (9, 'c1', 0)`,
    `UPDATE account SET code = 'c2' WHERE id = 3`,
    'INSERT INTO account VALUES (2, NULL, 0)',
  ]) {
    await session.begin(second);
    t.like(await failure(session.run(sql)), { code: '55P03', constraint: first }, sql);
    await session.rollback();
  }
  t.like(await world.finisher.rollback(first, RESOURCE), { result: 'success' });
  await change(session, second, `UPDATE account SET code = 'free' WHERE id = 3`);
});

for (const major of [14, 18] as const) {
  test(`savepoints carry records and locks with them, and sequences are left alone, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, other, session] = [newGid(), newGid(), await world.open()];
    await session.begin(gid);
    await session.run('INSERT INTO numbered (v) VALUES (1)');
    await session.run('SAVEPOINT s');
    await session.run('UPDATE account SET v = 0 WHERE id = 1');
    await session.client.query('ROLLBACK TO SAVEPOINT s');
    const { rows } = await query(session.client, 'SELECT lastval()');
    t.deepEqual(rows as unknown[], [['1']]);
    await session.commit();
    await change(session, other, 'UPDATE account SET v = 5 WHERE id = 1');
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success', detail: '1 rows restored' });
    t.is((await world.accounts())[0], '1 c1 5');
  });

  test(`more rows than allowed, and a table that is not the planned one, fail before anything counts, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const session = await world.open({ maxRows: 3 });
    const before = await world.accounts();
    await session.begin(newGid());
    t.like(await failure(session.run('UPDATE account SET v = 0')), { code: '54000' });
    await session.rollback();
    await world.outside(
      'CREATE SCHEMA shadow; CREATE TABLE shadow.account (LIKE account INCLUDING ALL); INSERT INTO shadow.account SELECT * FROM account',
    );
    await session.client.query('SET search_path = shadow, public');
    await session.begin(newGid());
    // PostgreSQL 18 tells of the new search path, so it is planned for the table that the name means now, which has as many rows.
    t.like(await failure(session.run('UPDATE account SET v = 0')), { code: major < 18 ? '55000' : '54000' });
    await session.rollback();
    await session.begin(newGid());
    await session.forget();
    await session.client.query('SET search_path = public');
    await session.plan('DELETE FROM account WHERE id = 1');
    await session.client.query('SET search_path = shadow, public');
    const deletion = session.run('DELETE FROM account WHERE id = 1');
    if (major < 18) t.like(await failure(deletion), { code: '55000', schema: 'atomesh', table: 'plan' });
    else await deletion;
    await session.rollback();
    t.deepEqual(await world.accounts(), before);
  });
}
