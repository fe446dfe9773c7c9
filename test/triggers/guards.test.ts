import test from 'ava';
import pg from 'pg';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { installTriggers } from '../../proxy/postgres/triggers/install.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { newGid } from '../../src/platform/random.ts';
import { change, enter, NOTHING_LEFT, openStage, RESOURCE, stopServers, type Stage } from './stage.ts';

test.after.always(stopServers);

const SCHEMA = `
CREATE TABLE account (id int PRIMARY KEY, code text UNIQUE, v int, lower_code text UNIQUE GENERATED ALWAYS AS (upper(code)) STORED);
INSERT INTO account VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
CREATE TABLE keyless (v int);
CREATE TABLE odd (id int PRIMARY KEY, name text);
CREATE UNIQUE INDEX odd_lower ON odd (lower(name));
INSERT INTO odd VALUES (1, 'X');
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1, 1);
CREATE TABLE seat (id int PRIMARY KEY, place int UNIQUE DEFERRABLE);
INSERT INTO seat VALUES (1, 1), (2, 2);
CREATE TABLE kept (id int PRIMARY KEY, v int);
ALTER TABLE kept ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON kept USING (v < 10);
INSERT INTO kept VALUES (1, 1), (2, 20);
`;

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'none',
    (error: pg.DatabaseError) => `${error.code} ${error.constraint ?? ''}`.trim(),
  );
}

async function rollback(stage: Stage, gid: Gid): Promise<string> {
  const { result, detail } = await stage.finisher.rollback(gid, RESOURCE);
  return `${result} ${detail ?? ''}`;
}

for (const major of [14, 18] as const) {
  test(`outside a global transaction nothing is written or refused, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    await stage.client.query(
      `UPDATE account SET v = 0; INSERT INTO keyless VALUES (1); DELETE FROM odd; TRUNCATE parent CASCADE; DELETE FROM account`,
    );
    t.is(await stage.leftovers(), NOTHING_LEFT);
  });

  test(`what triggers cannot record is refused inside one, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const before = await stage.digest();
    for (const [sql, code] of [
      ['INSERT INTO keyless VALUES (1)', '0A000'],
      ['TRUNCATE account', '0A000'],
      ['TRUNCATE parent CASCADE', '0A000'],
      ['DELETE FROM odd', '0A000'],
      ["UPDATE odd SET name = 'y'", '0A000'],
      ["INSERT INTO odd VALUES (2, 'y')", 'none'],
      ['UPDATE odd SET id = 9 WHERE id = 1', 'none'],
    ] as const) {
      const gid = newGid();
      t.is(await codeOf(change(stage.client, gid, sql)), code, sql);
      t.regex(await rollback(stage, gid), /^success/, sql);
      t.deepEqual(await stage.digest(), before, sql);
    }
    await stage.client.query('BEGIN');
    await enter(stage.client, newGid(), 2);
    t.is(await codeOf(stage.client.query('UPDATE account SET v = 9')), '54000');
    await stage.client.query('ROLLBACK');
  });

  test(`rows and unique values are another's until it has ended, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const other = await stage.open();
    for (const [held, wanted] of [
      ['UPDATE account SET v = 9 WHERE id = 1', 'UPDATE account SET v = 8 WHERE id = 1'],
      ['DELETE FROM account WHERE id = 1', "INSERT INTO account VALUES (1, 'z', 1)"],
      ['DELETE FROM account WHERE id = 1', "INSERT INTO account VALUES (9, 'a', 1)"],
      ["UPDATE account SET code = 'z' WHERE id = 1", "UPDATE account SET code = 'a' WHERE id = 2"],
      ['DELETE FROM parent WHERE id = 1', 'INSERT INTO child VALUES (1, 2)'],
      ['INSERT INTO parent VALUES (7)', 'INSERT INTO child VALUES (70, 7)'],
      ['UPDATE parent SET id = 8 WHERE id = 2', 'UPDATE child SET p = 8 WHERE id = 1'],
    ] as const) {
      const gid = newGid();
      await change(stage.client, gid, held);
      t.is(await codeOf(change(other, newGid(), wanted)), `55P03 ${gid}`, wanted);
      await other.query('BEGIN');
      await other.query('SELECT atomesh.enter_capture($1, $2, 10, $3, false)', [newGid(), RESOURCE, [gid]]);
      t.is(await codeOf(other.query(wanted)), 'none', 'what has committed gives way');
      await other.query('ROLLBACK');
      t.regex(await rollback(stage, gid), /^success/);
    }
    t.is(await stage.leftovers(), NOTHING_LEFT);
  });

  test(`the word to the triggers is the sidecar's, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    await stage.client.query(
      `DROP ROLE IF EXISTS outsider; CREATE ROLE outsider; GRANT ALL ON account TO outsider;
       REVOKE EXECUTE ON FUNCTION atomesh.enter_capture(text, text, bigint, text[], boolean) FROM PUBLIC`,
    );
    const update = 'UPDATE account SET v = 9';
    for (const word of ['x', '1 g shop/db 10'])
      t.is(await codeOf(stage.client.query(`SET atomesh.branch = '${word}'; ${update}`)), '42501');
    await stage.client.query('RESET atomesh.branch');
    const forged = `SELECT set_config('atomesh.branch', pg_current_xact_id()::text || ' g shop/db 10', true)`;
    // Who may enter may also say so, and has not entered for anybody else.
    await stage.client.query(`BEGIN; ${forged}; ${update}; ROLLBACK`);
    await stage.client.query('SET SESSION AUTHORIZATION outsider');
    t.is(await codeOf(stage.client.query(`BEGIN; ${forged}; ${update}`)), '42501');
    await stage.client.query('ROLLBACK; RESET SESSION AUTHORIZATION');
    t.is(await stage.leftovers(), NOTHING_LEFT);
  });

  test(`a session whose triggers are silent does not enter, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    await stage.client.query('SET session_replication_role = replica');
    t.is(await codeOf(change(stage.client, newGid(), 'UPDATE account SET v = 9')), '55000');
    t.is(await stage.leftovers(), NOTHING_LEFT);
  });

  test(`a branch that has ended, or only reads so far, is noticed by the trigger, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const gid = newGid();
    await rollback(stage, gid);
    t.is(await codeOf(change(stage.client, gid, 'UPDATE account SET v = 9')), '40000');
    await stage.client.query('BEGIN; SAVEPOINT s; SET TRANSACTION READ ONLY');
    await enter(stage.client, gid);
    await stage.client.query('RELEASE s');
    t.is(await codeOf(stage.client.query('UPDATE account SET v = 9')), '40000');
    await stage.client.query('ROLLBACK');
  });

  test(`what others have done in between keeps everything as it is, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    for (const [title, change1, theirs, reason, mended] of [
      [
        'a row',
        ['UPDATE account SET v = 9 WHERE id = 1'],
        'UPDATE account SET v = 10 WHERE id = 1',
        /changed by somebody else/,
        'UPDATE account SET v = 9 WHERE id = 1',
      ],
      [
        'a child',
        ['INSERT INTO parent VALUES (7)'],
        'INSERT INTO child VALUES (70, 7)',
        /refers to one that the branch had made/,
        'DELETE FROM child WHERE id = 70',
      ],
      [
        'a parent',
        ['DELETE FROM child WHERE id = 1'],
        'DELETE FROM parent WHERE id = 1',
        /refers to one that is gone/,
        'INSERT INTO parent VALUES (1)',
      ],
      [
        'a value',
        ['DELETE FROM seat WHERE id = 1'],
        'UPDATE seat SET place = 1 WHERE id = 2',
        /taken a value/,
        'UPDATE seat SET place = 2 WHERE id = 2',
      ],
    ] as const) {
      const before = await stage.digest();
      const gid = newGid();
      await change(stage.client, gid, ...change1);
      await stage.client.query(theirs);
      const dirty = await stage.digest();
      t.regex(await rollback(stage, gid), new RegExp(`^dirty.*${reason.source}`), title);
      t.deepEqual(await stage.digest(), dirty, 'nothing is written');
      t.regex(await rollback(stage, gid), /^dirty/, 'and it stays dirty');
      await stage.client.query(mended);
      t.regex(await rollback(stage, gid), /^success/, title);
      t.deepEqual(await stage.digest(), before, title);
    }
    const gid = newGid();
    await change(stage.client, gid, 'UPDATE account SET v = 20 WHERE id = 2');
    await stage.client.query('UPDATE account SET v = 30 WHERE id = 2');
    await change(stage.client, gid, 'UPDATE account SET v = 40 WHERE id = 2');
    for (let round = 0; round < 2; round += 1) t.regex(await rollback(stage, gid), /^dirty.*changed by somebody else/);
  });

  test(`clients and the second phase need no rights but those to the rows, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA, { installs: false });
    await stage.client.query(
      `DROP ROLE IF EXISTS app; DROP ROLE IF EXISTS phase_two; CREATE ROLE app LOGIN; CREATE ROLE phase_two LOGIN;
       GRANT SELECT, DELETE ON parent TO app; GRANT ALL ON ALL TABLES IN SCHEMA public TO phase_two`,
    );
    const connection = { connectionString: stage.url };
    await initialiseDatabase(connection, { grantTo: 'app', finisher: 'phase_two' });
    await installTriggers(connection, { except: [] }, 'phase_two');
    const as = (user: string): string => stage.url.replace('postgres@', `${user}@`);
    const client = new pg.Client({ connectionString: as('app') });
    await client.connect();
    const before = await stage.digest();
    const gid = newGid();
    // Rows of a table that it may not touch go with those that it deletes.
    await change(client, gid, 'DELETE FROM parent');
    await client.end();
    const finisher = createFinisher({
      connection: { connectionString: as('phase_two') },
      log: openLog('test', 'silent'),
    });
    t.like(await finisher.rollback(gid, RESOURCE), { result: 'success' });
    await finisher.close();
    t.deepEqual(await stage.digest(), before);
    t.is(await stage.leftovers(), NOTHING_LEFT);
    await stage.client.query('DROP OWNED BY app; DROP OWNED BY phase_two');
  });

  test(`a table with row-level security is restored by a role that sees all, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const before = await stage.digest();
    const gid = newGid();
    await change(stage.client, gid, 'UPDATE kept SET v = v + 1');
    t.regex(await rollback(stage, gid), /^success/);
    t.deepEqual(await stage.digest(), before);
  });
}

test('virtual columns are computed, in transactions of any isolation', async (t) => {
  await using stage = await openStage(
    18,
    `CREATE TABLE account (id int PRIMARY KEY, branch int, doubled int GENERATED ALWAYS AS (branch * 2) VIRTUAL, recorded text);
     INSERT INTO account VALUES (1, 1), (2, 2)`,
  );
  const before = await stage.digest();
  for (const isolation of ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE']) {
    const gid = newGid();
    await stage.client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
    await enter(stage.client, gid);
    await stage.client.query(
      'UPDATE account SET branch = branch + 1; DELETE FROM account WHERE id = 2; INSERT INTO account VALUES (3, 7)',
    );
    await stage.client.query('COMMIT');
    t.regex(await rollback(stage, gid), /^success/, isolation);
    t.deepEqual(await stage.digest(), before, isolation);
  }
});
