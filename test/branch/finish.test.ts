import test from 'ava';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { checkSchema, initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { newGid } from '../../src/platform/random.ts';
import { openLog } from '../../src/platform/log.ts';
import { RESOURCE, change, failure, openWorld, stopServers } from './branch-world.ts';
import { dump, openCapturedSession, query } from '../undo/captured-session.ts';

test.after.always(stopServers);

test('changes of the same row are taken back in reverse, deletion and new insertion included', async (t) => {
  await using world = await openWorld();
  const before = await world.accounts();
  const [gid, session] = [newGid(), await world.open()];
  await change(
    session,
    gid,
    'UPDATE account SET v = v + 1',
    `UPDATE account SET code = code || v`,
    'DELETE FROM account WHERE id < 3',
  );
  await change(
    session,
    gid,
    `INSERT INTO account VALUES (1, 'c2', 0)`,
    'UPDATE account SET id = 2 WHERE id = 1',
    'DELETE FROM account',
  );
  await change(session, gid, `INSERT INTO account VALUES (1, 'c5', 0), (2, 'c4', 1)`);
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  t.deepEqual(await world.accounts(), before);
});

test('a row that somebody else changed makes the branch dirty: nothing is written, and the diagnosis shows the three rows', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(
    session,
    gid,
    'UPDATE account SET v = 11 WHERE id = 1',
    'UPDATE account SET v = 12 WHERE id = 2',
    'DELETE FROM account WHERE id = 3',
  );
  await world.outside('UPDATE account SET v = 77 WHERE id = 1');
  const dirty = await world.accounts();
  t.like(await world.finisher.rollback(gid, RESOURCE), {
    result: 'dirty',
    dirt: { current: '(1,c1,77)', before: '(1,c1,10)', after: '(1,c1,11)', table: 'public.account' },
  });
  t.deepEqual(await world.accounts(), dirty);
  await session.begin(gid);
  t.like(await failure(session.run('DELETE FROM account WHERE id = 5')), { code: '40000' });
  await session.rollback();
  await world.outside('UPDATE account SET v = 11 WHERE id = 1');
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  t.deepEqual(await world.accounts(), ['1 c1 10', '2 c2 10', '3 c3 10', '4 c4 10', '5 c5 10']);
});

test('deleted and inserted rows are compared too, and a row that is already as it was is left alone', async (t) => {
  await using world = await openWorld();
  const session = await world.open();
  const table: readonly (readonly [string, string, string])[] = [
    ['DELETE FROM account WHERE id = 1', `INSERT INTO account VALUES (1, 'other', 0)`, 'dirty'],
    [`INSERT INTO account VALUES (8, 'c8', 0)`, 'UPDATE account SET v = 1 WHERE id = 8', 'dirty'],
    ['UPDATE account SET v = 0 WHERE id = 2', 'DELETE FROM account WHERE id = 2', 'dirty'],
    ['UPDATE account SET id = 20 WHERE id = 3', 'UPDATE account SET v = 5 WHERE id = 20', 'dirty'],
    ['UPDATE account SET v = 0 WHERE id = 4', 'UPDATE account SET v = 10 WHERE id = 4', 'success'],
    [`INSERT INTO account VALUES (9, 'c9', 0)`, 'DELETE FROM account WHERE id = 9', 'success'],
    ['DELETE FROM account WHERE id = 5', `INSERT INTO account VALUES (5, 'c5', 10)`, 'success'],
  ];
  for (const [sql, outside, result] of table) {
    const gid = newGid();
    await change(session, gid, sql);
    await world.outside(outside);
    const left = await world.accounts();
    t.like(await world.finisher.rollback(gid, RESOURCE), { result }, sql);
    t.deepEqual(await world.accounts(), left, sql);
  }
});

test('an inserted row that another row has come to refer to by a cascading key is dirty, not deleted with it', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'INSERT INTO parent VALUES (1, 1)', 'INSERT INTO child VALUES (1, 1)');
  await world.outside('INSERT INTO child VALUES (2, 1)');
  const before = await dump(session.client, ['parent', 'child']);
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'dirty' });
  t.deepEqual(await dump(session.client, ['parent', 'child']), before);
  await world.outside('DELETE FROM child WHERE id = 2');
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  t.deepEqual(await dump(session.client, ['parent', 'child']), { parent: [], child: [] });
});

test('a trigger that changes a row on its way back, or an altered table, makes the branch dirty', async (t) => {
  await using world = await openWorld();
  const [first, second, session] = [newGid(), newGid(), await world.open()];
  await change(session, first, 'UPDATE account SET v = 1 WHERE id = 1');
  await change(session, second, 'UPDATE account SET v = 1 WHERE id = 2');
  await world.outside(`CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v + 1; RETURN NEW; END';
    CREATE TRIGGER meddle BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION meddle()`);
  const before = await world.accounts();
  t.like(await world.finisher.rollback(first, RESOURCE), { result: 'dirty' });
  t.deepEqual(await world.accounts(), before);
  await world.outside('DROP TRIGGER meddle ON account; ALTER TABLE account ADD extra int');
  t.like(await world.finisher.rollback(second, RESOURCE), {
    result: 'dirty',
    dirt: { reason: 'the table was altered after the change' },
  });
});

test('commit and rollback may be repeated, and a decision is never turned round', async (t) => {
  await using world = await openWorld();
  const [kept, undone, session] = [newGid(), newGid(), await world.open()];
  await change(session, kept, 'UPDATE account SET v = 1 WHERE id = 1');
  await change(session, undone, 'UPDATE account SET v = 2 WHERE id = 2');
  for (const _ of [1, 2]) {
    t.like(await world.finisher.commit(kept, RESOURCE), { result: 'success' });
    t.like(await world.finisher.rollback(undone, RESOURCE), { result: 'success' });
  }
  t.like(await world.finisher.rollback(kept, RESOURCE), { result: 'unknown' });
  t.like(await world.finisher.commit(undone, RESOURCE), { result: 'unknown' });
  t.deepEqual((await world.accounts()).slice(0, 2), ['1 c1 1', '2 c2 10']);
  t.is(await world.finisher.cleanUp(3_600_000), 0);
  t.is(await world.finisher.cleanUp(-1000), 2);
});

test('commits that arrive together are kept together, and one that is still in use does not hold up the others', async (t) => {
  await using world = await openWorld();
  const session = await world.open();
  const busy = newGid();
  await session.begin(busy);
  await session.run('UPDATE account SET v = 1 WHERE id = 1');
  const gids = Array.from({ length: 50 }, () => newGid());
  const results = await Promise.all([...gids, busy].map((gid) => world.finisher.commit(gid, RESOURCE)));
  t.deepEqual(
    results.map(({ result }) => result),
    [...gids.map(() => 'success'), 'ongoing'],
  );
  await session.commit();
  t.like(await world.finisher.commit(busy, RESOURCE), { result: 'success' });
  const { rows } = await query(
    session.client,
    'SELECT (SELECT count(*) FROM atomesh.undo_record) + (SELECT count(*) FROM atomesh.row_lock)',
  );
  t.deepEqual(rows as unknown[], [['0']]);
});

test('without a database the result is unknown, never a failure', async (t) => {
  const finisher = createFinisher({
    connection: { host: '127.0.0.1', port: 1, user: 'x', database: 'x' },
    log: openLog('test', 'silent'),
  });
  t.like(await finisher.commit(newGid(), RESOURCE), { result: 'unknown' });
  t.like(await finisher.rollback(newGid(), RESOURCE), { result: 'unknown' });
  await finisher.close();
});

test('an application role captures with rights to its own tables only, and reaches nothing else of the schema', async (t) => {
  await using world = await openWorld();
  await world.outside('CREATE ROLE app LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON account TO app');
  await using session = await openCapturedSession(world.url.replace('postgres@', 'app@'), { resource: RESOURCE });
  const gid = newGid();
  await change(
    session,
    gid,
    'UPDATE account SET v = 0',
    `INSERT INTO account VALUES (6, 'c6', 0)`,
    'DELETE FROM account WHERE id = 2',
  );
  for (const sql of [
    'SELECT FROM atomesh.undo_record',
    'DELETE FROM atomesh.row_lock',
    'UPDATE atomesh.branch_state SET state = state',
    `SELECT atomesh.commit_branches('{}', '')`,
  ]) {
    t.is((await failure(session.client.query(sql))).code, '42501', sql);
  }
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  t.deepEqual(await world.accounts(), ['1 c1 10', '2 c2 10', '3 c3 10', '4 c4 10', '5 c5 10']);
});

test('a record that its writer had no right to make is not applied', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'UPDATE account SET v = 10000 WHERE id = 1');
  await world.outside('CREATE ROLE forger LOGIN');
  const forger = await openCapturedSession(world.url.replace('postgres@', 'forger@'));
  const forged = newGid();
  const copy = (columns: string, values: string): string =>
    `INSERT INTO atomesh.undo_record (gid, resource, position, relation, fingerprint, before_images, after_images, time_zone${columns})
     VALUES ('${forged}', '${RESOURCE}', '0/1', 'account'::regclass, 'x', ARRAY['(1,c1,999)'], ARRAY['(1,c1,10000)'], 'UTC'${values})`;
  t.is((await failure(forger.client.query(copy(', writer', `, 'postgres'`)))).code, '42501');
  await forger.client.query(copy('', ''));
  await forger[Symbol.asyncDispose]();
  await world.outside(
    `UPDATE atomesh.undo_record f SET fingerprint = r.fingerprint FROM atomesh.undo_record r WHERE r.gid = '${gid}'`,
  );
  const { result, dirt } = await world.finisher.rollback(forged, RESOURCE);
  t.is(result, 'dirty');
  t.regex(dirt?.reason ?? '', /^the role forger, .* no right/);
  t.is((await world.accounts())[0], '1 c1 10000');
});

test('a database without the schema, or with another version of it, is told from one that is ready', async (t) => {
  await using world = await openWorld();
  const connection = { connectionString: world.url };
  await t.notThrowsAsync(checkSchema(connection));
  await world.outside(`COMMENT ON SCHEMA atomesh IS 'Atomesh, schema version 0'`);
  t.like(await t.throwsAsync(checkSchema(connection)), { code: 'BAD_REQUEST' });
  await world.outside('CREATE ROLE weak LOGIN');
  await initialiseDatabase(connection);
  const weak = { connectionString: world.url.replace('postgres@', 'weak@') };
  t.like(await t.throwsAsync(checkSchema(weak)), { code: 'BAD_REQUEST' });
  await initialiseDatabase(connection, { finisher: 'weak' });
  await t.notThrowsAsync(checkSchema(weak));
  t.like(await t.throwsAsync(checkSchema({ connectionString: world.server.url('template1') })), {
    code: 'BAD_REQUEST',
  });
  t.like(await t.throwsAsync(checkSchema({ host: '127.0.0.1', port: 1, user: 'x' })), {
    code: 'UPSTREAM_UNREACHABLE',
    retry: 'safe',
  });
});
