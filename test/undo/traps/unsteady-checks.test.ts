import test from 'ava';
import { startPostgres } from '../../../examples/support/postgres-server.ts';
import { createFinisher } from '../../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../../proxy/postgres/schema.ts';
import { openLog } from '../../../src/platform/log.ts';
import { newGid } from '../../../src/platform/random.ts';
import { dump, openCapturedSession } from '../captured-session.ts';

const SCHEMA = `
  CREATE TABLE offer (id int PRIMARY KEY, until date CHECK (until >= current_date), n int);
  CREATE TABLE dumped (id int PRIMARY KEY, until timestamp CHECK (until > ('now'::text)::timestamp), n int);
  CREATE TABLE session_only (id int PRIMARY KEY, n int, CHECK (n < current_setting('shop.most')::int));
  CREATE TABLE owned (id int PRIMARY KEY, who text CHECK (who = current_user), n int);
  CREATE DOMAIN soon AS timestamptz CHECK (VALUE > clock_timestamp());
  CREATE TYPE span AS (name text, ends soon[]);
  CREATE TABLE appointment (id int PRIMARY KEY, at soon, n int);
  CREATE TABLE diary (id int PRIMARY KEY, spans span, n int);
  CREATE DOMAIN amount AS int;
  CREATE TABLE counted (id int PRIMARY KEY, v amount, n int);
  INSERT INTO counted VALUES (1, -1, 0), (2, 2, 0);
  ALTER DOMAIN amount ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID;
  CREATE DOMAIN word AS text CHECK (VALUE = lower(VALUE) AND length(VALUE) < 9);
  CREATE TABLE steady (id int PRIMARY KEY, w word, made timestamptz CHECK (made > '2020-01-01'), n int CHECK (n > 0),
    age interval CHECK (age(timestamptz '2020-01-01', timestamptz '2019-01-01') > age), CHECK (pg_column_size(w) < 1000));
  INSERT INTO offer VALUES (1, 'infinity', 0); INSERT INTO dumped VALUES (1, 'infinity', 0); SET shop.most = 10; INSERT INTO session_only VALUES (1, 1);
  INSERT INTO owned VALUES (1, current_user, 0); INSERT INTO appointment VALUES (1, 'infinity', 0);
  INSERT INTO diary VALUES (1, ROW('x', '{infinity}'), 0); INSERT INTO steady VALUES (1, 'w', '2021-01-01', 1, '1 day');`;

const MOMENT = /goes by the time or the session/;
const BROKEN = /may have rows that break the check above of the domain amount/;

for (const major of [14, 18] as const) {
  test(`a row that its checks may not let back in is not captured, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run('postgres', SCHEMA);
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const tables = ['offer', 'dumped', 'session_only', 'owned', 'appointment', 'diary', 'counted', 'steady'];
    const before = await dump(session.client, tables);
    const gid = newGid();
    await session.begin(gid);
    // What a rollback deletes needs no check to hold, unless it is read by a domain.
    for (const sql of [
      "INSERT INTO offer VALUES (2, 'infinity', 0)",
      'INSERT INTO counted VALUES (3, 3, 0)',
      "INSERT INTO steady VALUES (2, 'v', '2022-01-01', 2, '2 days')",
      "UPDATE steady SET w = 'x', n = 5",
      'DELETE FROM steady',
    ])
      t.is((await session.run(sql)).kind, 'ran', sql);
    for (const [sql, why] of [
      ['UPDATE offer SET n = 1', MOMENT],
      ['DELETE FROM offer', MOMENT],
      ["INSERT INTO offer VALUES (1, 'infinity', 0) ON CONFLICT (id) DO UPDATE SET n = 1", MOMENT],
      // As servers before 10 dump CURRENT_TIMESTAMP.
      ['UPDATE dumped SET n = 1', MOMENT],
      ['DELETE FROM session_only', MOMENT],
      ['UPDATE owned SET n = 1', MOMENT],
      ["INSERT INTO appointment VALUES (2, 'infinity', 0)", MOMENT],
      ['UPDATE appointment SET n = 1', MOMENT],
      ['DELETE FROM diary', MOMENT],
      ['UPDATE counted SET n = 1', BROKEN],
      ['DELETE FROM counted', BROKEN],
    ] as const) {
      const plan = await session.plan(sql);
      t.like(plan, { kind: 'refuse', escalates: true }, sql);
      if (plan.kind === 'refuse') t.regex(plan.refusal.message, why, sql);
    }
    await session.commit();
    t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' });
    t.deepEqual(await dump(session.client, tables), before);
  });

  test(`a domain that gets a check is met again, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run('postgres', SCHEMA);
    await using session = await openCapturedSession(connectionString);
    await server.run('postgres', 'ALTER DOMAIN amount DROP CONSTRAINT above');
    await session.begin(newGid());
    t.is((await session.run('UPDATE counted SET n = 1')).kind, 'ran');
    await session.rollback();
    await server.run('postgres', 'ALTER DOMAIN amount ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID');
    await session.begin(newGid());
    await t.throwsAsync(session.run('DELETE FROM counted WHERE id = 2'), undefined, 'planned for another table');
    await session.rollback();
  });
}
