import test from 'ava';
import { startPostgres } from '../../../examples/support/postgres-server.ts';
import { createFinisher } from '../../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../../proxy/postgres/schema.ts';
import { openLog } from '../../../src/platform/log.ts';
import { newGid } from '../../../src/platform/random.ts';
import { dump, openCapturedSession } from '../captured-session.ts';

for (const major of [14, 18] as const) {
  test(`references that are looked at late come back in any order, or are not captured, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run(
      'postgres',
      `CREATE TABLE parent (id int PRIMARY KEY);
       CREATE TABLE late (id int PRIMARY KEY, p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
       CREATE TABLE strict (id int PRIMARY KEY, p int REFERENCES parent ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED);
       CREATE TABLE renamed (id int PRIMARY KEY, p int REFERENCES parent ON UPDATE RESTRICT DEFERRABLE INITIALLY DEFERRED);
       INSERT INTO parent VALUES (1); INSERT INTO late VALUES (1, 1); INSERT INTO renamed VALUES (1, 1);`,
    );
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const tables = ['parent', 'late', 'strict', 'renamed'];
    const before = await dump(session.client, tables);
    const gid = newGid();
    await session.begin(gid);
    for (const sql of [
      'INSERT INTO late VALUES (7, 7)',
      'INSERT INTO parent VALUES (7), (8)',
      'UPDATE late SET p = 9 WHERE id = 7',
      'INSERT INTO parent VALUES (9)',
      'DELETE FROM parent WHERE id = 7',
      'UPDATE renamed SET id = 2',
    ])
      t.is((await session.run(sql)).kind, 'ran', sql);
    for (const sql of ['INSERT INTO strict VALUES (5, 5)', 'UPDATE renamed SET p = 8'])
      t.like(await session.run(sql), { kind: 'refused', refusal: { code: '0A000' } }, sql);
    await session.commit();
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await dump(session.client, tables), before);
  });

  test(`a check that reads tables is met with a path of its own, or not at all, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    const body = `AS 'BEGIN RETURN EXISTS (SELECT FROM colour WHERE name = $1); END'`;
    await server.run(
      'postgres',
      `CREATE TABLE colour (name text PRIMARY KEY); INSERT INTO colour VALUES ('red');
       CREATE FUNCTION seeks(text) RETURNS bool LANGUAGE plpgsql STABLE ${body};
       CREATE FUNCTION finds(text) RETURNS bool LANGUAGE plpgsql STABLE SET search_path = public ${body};
       CREATE FUNCTION bound(text) RETURNS bool LANGUAGE sql STABLE BEGIN ATOMIC SELECT EXISTS (SELECT FROM colour WHERE name = $1); END;
       CREATE TABLE seeking (id int PRIMARY KEY, c text CHECK (seeks(c))); INSERT INTO seeking VALUES (1, 'red');
       CREATE TABLE finding (id int PRIMARY KEY, c text CHECK (finds(c) AND bound(c))); INSERT INTO finding VALUES (1, 'red');`,
    );
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const before = await dump(session.client, ['seeking', 'finding']);
    const gid = newGid();
    await session.begin(gid);
    for (const sql of ["INSERT INTO seeking VALUES (2, 'red')", 'UPDATE finding SET id = 3', 'DELETE FROM finding'])
      t.is((await session.run(sql)).kind, 'ran', sql);
    for (const sql of ['DELETE FROM seeking', 'UPDATE seeking SET id = 9'])
      t.like(await session.run(sql), { kind: 'refused', refusal: { code: '0A000' } }, sql);
    await session.commit();
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await dump(session.client, ['seeking', 'finding']), before);
  });

  test(`a row that breaks a constraint which is NOT VALID is not captured where it could not come back, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run(
      'postgres',
      `CREATE TABLE rated (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, note text);
       CREATE TABLE whole (id int PRIMARY KEY, v int);
       CREATE TABLE member (id int PRIMARY KEY, rated int, note text);
       INSERT INTO rated VALUES (1, -1), (2, 2); INSERT INTO whole VALUES (1); INSERT INTO member VALUES (1, 9), (2, 2);
       ALTER TABLE rated ADD CHECK (twice > 0) NOT VALID;
       ALTER TABLE whole ADD CHECK (whole IS NOT NULL) NOT VALID;
       ALTER TABLE member ADD FOREIGN KEY (rated) REFERENCES rated NOT VALID;
       CREATE TABLE validated (id int PRIMARY KEY, v int, CHECK (v > 0)); INSERT INTO validated VALUES (1, 1);`,
    );
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const tables = ['rated', 'whole', 'member', 'validated'];
    const before = await dump(session.client, tables);
    const gid = newGid();
    await session.begin(gid);
    for (const sql of [
      "UPDATE member SET note = 'x'",
      'INSERT INTO rated VALUES (3, 3)',
      'INSERT INTO whole VALUES (2, 2)',
      'INSERT INTO member VALUES (3, 3)',
      'UPDATE validated SET v = 5',
      'DELETE FROM validated',
    ])
      t.is((await session.run(sql)).kind, 'ran', sql);
    for (const sql of [
      'UPDATE rated SET v = 1 WHERE id = 1',
      'DELETE FROM rated',
      'INSERT INTO rated VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v',
      'UPDATE whole SET v = 1',
      'UPDATE member SET rated = 2',
      'DELETE FROM member',
    ])
      t.like(await session.plan(sql), { kind: 'refuse', escalates: true }, sql);
    await session.commit();
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await dump(session.client, tables), before);
  });

  test(`a generated column changes with the columns that it is computed from, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run(
      'postgres',
      `CREATE TABLE kind (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED UNIQUE);
       CREATE TABLE refers (id int PRIMARY KEY, kind int REFERENCES kind (twice) ON UPDATE SET NULL);
       CREATE TABLE seat (id int PRIMARY KEY, v int, place int GENERATED ALWAYS AS (v * 2) STORED UNIQUE);
       CREATE TABLE made (v int, id int GENERATED ALWAYS AS (v * 2) STORED PRIMARY KEY);
       INSERT INTO kind VALUES (1, 1); INSERT INTO refers VALUES (1, 2); INSERT INTO seat VALUES (1, 1); INSERT INTO made VALUES (1);`,
    );
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    for (const sql of [
      'UPDATE kind SET v = 5',
      'INSERT INTO kind VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET v = excluded.v',
    ])
      t.like(await session.plan(sql), { kind: 'refuse', escalates: true }, `the reference would be lost: ${sql}`);
    const tables = ['seat', 'made'];
    const before = await dump(session.client, tables);
    const gid = newGid();
    await session.begin(gid);
    for (const sql of ['UPDATE seat SET v = 5', 'UPDATE made SET v = 5'])
      t.is((await session.run(sql)).kind, 'ran', sql);
    await session.commit();
    for (const sql of ['INSERT INTO seat VALUES (2, 1)', 'INSERT INTO made VALUES (1)']) {
      await session.begin(newGid());
      await t.throwsAsync(session.run(sql), { code: '55P03' }, `the value is kept: ${sql}`);
      await session.rollback();
    }
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await dump(session.client, tables), before);
  });

  test(`an upsert finds the row that its index takes for the same, wherever the type comes from, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run(
      'postgres',
      `CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
       CREATE TABLE word (lang int, w ext.citext, n int, PRIMARY KEY (w), UNIQUE (lang, w));
       INSERT INTO word VALUES (1, 'abc', 1), (1, 'def', 2);`,
    );
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const before = await dump(session.client, ['word']);
    for (const sql of [
      "INSERT INTO word (lang, w, n) VALUES (1, 'ABC', 0) ON CONFLICT (w) DO UPDATE SET n = 7",
      "INSERT INTO word (lang, w, n) VALUES (1, 'Abc', 0), (2, 'new', 0) ON CONFLICT (w) DO UPDATE SET n = 8",
      "INSERT INTO word (lang, w, n) VALUES (1, 'DEF', 0), (2, 'x', 0) ON CONFLICT (lang, w) DO UPDATE SET n = 9",
      'INSERT INTO word (lang, w, n) SELECT 3::int, upper(w::text)::ext.citext, 0::int FROM word ON CONFLICT (w) DO UPDATE SET n = 10',
    ]) {
      const gid = newGid();
      await session.begin(gid);
      const outcome = await session.run(sql);
      if (outcome.kind !== 'ran') return t.fail(`${sql}: ${outcome.refusal.message}`);
      t.is(outcome.plan.kind, 'capture', sql);
      await session.commit();
      t.notDeepEqual(await dump(session.client, ['word']), before, sql);
      t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' }, sql);
      t.deepEqual(await dump(session.client, ['word']), before, sql);
    }
  });

  test(`a "char" of any byte is kept, or its change does not run, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run(
      'postgres',
      `CREATE TABLE letter (id int PRIMARY KEY, c "char", many "char"[]);
       INSERT INTO letter SELECT i, i::"char", ARRAY['a'::"char", i::"char"] FROM generate_series(-128, 127) i;`,
    );
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const bytes = async (): Promise<unknown> =>
      (
        await session.client.query(
          "SELECT string_agg(concat_ws(',', id, c::int, many[2]::int), ' ' ORDER BY id) FROM letter",
        )
      ).rows;
    const before = await bytes();
    const gid = newGid();
    await session.begin(gid);
    t.is((await session.run('DELETE FROM letter WHERE id >= 0')).kind, 'ran');
    await session.client.query('SAVEPOINT s');
    const high = session.run('DELETE FROM letter WHERE id < 0');
    if (major < 16) await t.throwsAsync(high, { code: '22021' });
    else t.is((await high).kind, 'ran');
    await session.client.query(major < 16 ? 'ROLLBACK TO s' : 'RELEASE s');
    await session.commit();
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await bytes(), before);
  });
}
