import test from 'ava';
import pg from 'pg';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { openLog } from '../../src/platform/log.ts';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, change, failure, openWorld, stopServers, type World } from './branch-world.ts';
import { openCapturedSession, query } from '../undo/captured-session.ts';

test.after.always(stopServers);

test('what stands in the way of a row for good makes the branch dirty, in the words of the database', async (t) => {
  await using world = await openWorld();
  const session = await world.open();
  const raising = (body: string): string =>
    `CREATE OR REPLACE FUNCTION bar() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} END $$;
     CREATE TRIGGER bar BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION bar()`;
  const table: readonly (readonly [string, RegExp])[] = [
    [`RAISE EXCEPTION 'the books are closed';`, /the database refuses: the books are closed/],
    [`RAISE EXCEPTION 'not yours' USING ERRCODE = '42501';`, /the database refuses: not yours/],
    [`RAISE EXCEPTION 'routine' USING ERRCODE = '38000';`, /the database refuses: routine/],
    [`PERFORM 1 FROM nowhere; RETURN NEW;`, /the database refuses: relation "nowhere" does not exist/],
  ];
  for (const [body, reason] of table) {
    const gid = newGid();
    await change(session, gid, 'UPDATE account SET v = v + 1 WHERE id = 1');
    await world.outside(raising(body));
    const { result, dirt } = await world.finisher.rollback(gid, RESOURCE);
    t.is(result, 'dirty', body);
    t.regex(dirt?.reason ?? '', reason);
    await world.outside('DROP TRIGGER bar ON account');
    await session.forget();
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  }
});

test('what passes by itself is tried again: the branch is not dirty', async (t) => {
  await using world = await openWorld();
  const session = await world.open();
  for (const code of ['53100', '57P03', '58030', '08006', 'XX000']) {
    const gid = newGid();
    await change(session, gid, 'UPDATE account SET v = v + 1 WHERE id = 1');
    await world.outside(`CREATE OR REPLACE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'later' USING ERRCODE = '${code}'; END $$;
      CREATE TRIGGER pass BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION pass()`);
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'unknown', detail: 'later' }, code);
    await world.outside('DROP TRIGGER pass ON account');
    await session.forget();
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
  }
});

test('a connection that never answers holds up its own branches alone, and is given up', async (t) => {
  await using world = await openWorld();
  const url = new URL(world.url);
  url.searchParams.set('application_name', 'frozen');
  const finisher = createFinisher({
    connection: { connectionString: url.href },
    log: openLog('test', 'silent'),
    statementTimeoutMs: 500,
  });
  t.like(await finisher.commit(newGid(), RESOURCE), { result: 'success' });
  const pid = await backendOf(world, 'frozen');
  process.kill(pid, 'SIGSTOP');
  try {
    const stuck = finisher.commit(newGid(), RESOURCE);
    const others = await Promise.all([1, 2, 3].map(() => finisher.commit(newGid(), RESOURCE)));
    t.deepEqual(
      others.map(({ result }) => result),
      ['success', 'success', 'success'],
    );
    t.like(await stuck, { result: 'unknown', detail: 'Query read timeout' });
    t.like(await finisher.commit(newGid(), RESOURCE), { result: 'success' });
  } finally {
    process.kill(pid, 'SIGCONT');
    await finisher.close();
  }
});

async function backendOf(world: World, application: string): Promise<number> {
  const client = new pg.Client({ connectionString: world.url });
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('SELECT pid FROM pg_stat_activity WHERE application_name = $1', [
    application,
  ]);
  await client.end();
  const pid = rows[0]?.pid;
  if (pid === undefined || rows.length > 1) throw new Error('expected one connection');
  return pid;
}

test('a changed row is undone only where its writer may update every column that differs', async (t) => {
  await using world = await openWorld();
  await world.outside('CREATE ROLE clerk LOGIN; GRANT SELECT, UPDATE (code), DELETE, INSERT ON account TO clerk');
  await using clerk = await openCapturedSession(world.url.replace('postgres@', 'clerk@'), { resource: RESOURCE });
  const honest = newGid();
  await change(clerk, honest, `UPDATE account SET code = 'mine' WHERE id = 2`);
  const { rows } = await query(clerk.client, `SELECT x.*::text FROM account x WHERE id = 1`);
  const after = String((rows[0] as unknown as unknown[])[0]);
  const forged = newGid();
  await clerk.begin(forged);
  await clerk.run(`UPDATE account SET code = 'c1' WHERE id = 1`);
  await clerk.commit();
  // What the honest record says with another image, as anybody who captures could have written it.
  await world.outside(
    `UPDATE atomesh.undo_record SET before_images = ARRAY['(1,c1,1000000)'], after_images = ARRAY['${after}'] WHERE gid = '${forged}'`,
  );
  const { result, dirt } = await world.finisher.rollback(forged, RESOURCE);
  t.is(result, 'dirty');
  t.regex(dirt?.reason ?? '', /^the role clerk, .* no right/);
  t.deepEqual((await world.accounts())[0], '1 c1 10');
  t.like(await world.finisher.rollback(honest, RESOURCE), { result: 'success' });
  t.deepEqual((await world.accounts())[1], '2 c2 10');
});

test('a deleted row is put back only for a writer who may delete, without a right to insert', async (t) => {
  await using world = await openWorld();
  await world.outside('CREATE ROLE remover LOGIN; GRANT SELECT, DELETE ON account TO remover');
  const session = await openCapturedSession(world.url.replace('postgres@', 'remover@'), { resource: RESOURCE });
  const [first, second] = [newGid(), newGid()];
  await change(session, first, 'DELETE FROM account WHERE id = 1');
  await change(session, second, 'DELETE FROM account WHERE id = 2');
  await session[Symbol.asyncDispose]();
  t.like(await world.finisher.rollback(first, RESOURCE), { result: 'success' });
  await world.outside('REVOKE DELETE ON account FROM remover; GRANT INSERT, UPDATE ON account TO remover');
  t.like(await world.finisher.rollback(second, RESOURCE), { result: 'dirty' });
  t.is((await world.accounts())[0], '1 c1 10');
});

test('a table that has come to have row-level security is left alone', async (t) => {
  await using world = await openWorld();
  const [gid, session] = [newGid(), await world.open()];
  await change(session, gid, 'UPDATE account SET v = 0 WHERE id = 1');
  await world.outside('ALTER TABLE account ENABLE ROW LEVEL SECURITY');
  t.like(await world.finisher.rollback(gid, RESOURCE), {
    result: 'dirty',
    dirt: { reason: 'the table has row-level security' },
  });
  await world.outside('ALTER TABLE account DISABLE ROW LEVEL SECURITY');
  t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
});

for (const major of [14, 18] as const) {
  test(`a row has one service a global transaction: the second one is told so, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const [gid, shop] = [newGid(), await world.open()];
    await using billing = await openCapturedSession(world.url, { resource: 'billing/db' });
    await change(shop, gid, 'UPDATE account SET v = 11 WHERE id = 1');
    await billing.begin(gid);
    const error = await failure(billing.run('UPDATE account SET v = 12 WHERE id = 1'));
    await billing.rollback();
    t.like(error, { code: '55P03', schema: 'atomesh', table: 'row_owner', hint: 'Let one service own the row.' });
    t.is(error.message, 'a row is held by another service of the same global transaction');
    await change(billing, gid, 'UPDATE account SET v = 20 WHERE id = 2');
    await change(shop, gid, 'UPDATE account SET v = 12 WHERE id = 1');
    t.like(await world.finisher.rollback(gid, RESOURCE), { result: 'success' });
    t.like(await world.finisher.rollback(gid, 'billing/db'), { result: 'success' });
    t.deepEqual((await world.accounts()).slice(0, 2), ['1 c1 10', '2 c2 10']);
  });

  test(`a statement meets the table it was planned for, or fails as stale, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    const session = await world.open();
    const sql = 'UPDATE account SET v = v + 1 WHERE id = 1';
    const altering = [
      'ALTER TABLE account ADD extra int',
      'ALTER TABLE account DROP extra',
      'ALTER TABLE account ALTER v TYPE bigint',
      'CREATE UNIQUE INDEX another ON account (id, v)',
      'CREATE TABLE follower (id int REFERENCES account ON UPDATE CASCADE)',
      `CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
      'CREATE TRIGGER nothing BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION nothing(); ALTER TABLE account DISABLE TRIGGER nothing',
      'ALTER TABLE account ENABLE TRIGGER nothing',
    ];
    for (const ddl of altering) {
      await change(session, newGid(), sql);
      await world.outside(`DELETE FROM atomesh.row_lock; ${ddl}`);
      await session.begin(newGid());
      if (ddl.startsWith('CREATE FUNCTION')) {
        t.like(await session.run(sql), { kind: 'ran' });
      } else {
        t.like(await failure(session.run(sql)), { code: '55000', schema: 'atomesh', table: 'plan' }, ddl);
      }
      await session.rollback();
      await session.forget();
    }
    await session.begin(newGid());
    t.like(await session.run(sql), { kind: 'refused' });
    await session.rollback();
  });
}

test('what changes only the contents or the rights of a table leaves its plans good', async (t) => {
  await using world = await openWorld();
  const session = await world.open();
  const sql = 'UPDATE numbered SET v = v + 1';
  await world.outside('CREATE ROLE reader');
  for (const harmless of [
    'TRUNCATE numbered',
    'VACUUM ANALYZE numbered',
    'GRANT SELECT ON numbered TO reader',
    'INSERT INTO numbered (v) VALUES (1)',
  ]) {
    await change(session, newGid(), sql);
    await world.outside('DELETE FROM atomesh.row_lock');
    await world.outside(harmless);
    await t.notThrowsAsync(change(session, newGid(), sql), harmless);
    await world.outside('DELETE FROM atomesh.row_lock');
  }
});
