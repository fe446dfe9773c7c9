import test from 'ava';
import {
  missingTriggers,
  installTriggers,
  removeTriggers,
  triggerStatus,
} from '../../proxy/postgres/triggers/install.ts';
import type { CodedError } from '../../src/contract/errors.ts';
import { newGid } from '../../src/platform/random.ts';
import { startMesh } from '../sql-e2e/mesh.ts';
import { pgDumpAll } from './dump.ts';
import { change, openStage, RESOURCE, stopServers, type Stage } from './stage.ts';

test.after.always(stopServers);

const SCHEMA = `
CREATE TABLE account (id int PRIMARY KEY, code text UNIQUE, v int);
INSERT INTO account VALUES (1, 'a', 1), (2, 'b', 2);
CREATE TABLE keyless (v int);
CREATE TABLE folded (k tsquery PRIMARY KEY);
CREATE UNLOGGED TABLE forgotten (id int PRIMARY KEY);
CREATE TABLE log_1 (id int PRIMARY KEY);
CREATE SCHEMA other;
CREATE TABLE other.part (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE other.part_1 PARTITION OF other.part FOR VALUES FROM (0) TO (10);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id int) SERVER nowhere;
CREATE TABLE loud (id int PRIMARY KEY);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER always AFTER INSERT ON loud FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE loud ENABLE ALWAYS TRIGGER always;
`;

const EXCEPT = ['public.log_*'];

async function statesOf(stage: Stage, only?: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const patterns = { except: EXCEPT, ...(only === undefined ? {} : { only }) };
  const states = await triggerStatus({ connectionString: stage.url }, patterns);
  return Object.fromEntries(states.map(({ table, state }) => [table, state]));
}

/** The versions of the triggers and functions that are installed. */
async function installed(stage: Stage): Promise<readonly unknown[]> {
  const { rows } = await stage.client.query(
    `SELECT tgname, xmin::text FROM pg_trigger WHERE tgname LIKE 'atomesh%' UNION ALL
     SELECT proname, xmin::text FROM pg_proc WHERE pronamespace = 'atomesh'::regnamespace AND proname LIKE 'record_%' ORDER BY 1, 2`,
  );
  return rows;
}

const IN_PLACE = {
  'other.part': 'recording',
  'other.part_1': 'recording',
  'public.account': 'recording',
  'public.far': 'refusing',
  'public.folded': 'refusing',
  'public.forgotten': 'refusing',
  'public.keyless': 'refusing',
  'public.log_1': 'except',
  'public.loud': 'refusing',
};

for (const major of [14, 18] as const) {
  test(`triggers are installed, found out of date, and removed, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA, { installs: false });
    const connection = { connectionString: stage.url };
    t.is((await statesOf(stage))['public.account'], 'missing');
    t.is((await missingTriggers(connection, { except: EXCEPT }))?.code, 'BAD_REQUEST');
    await installTriggers(connection, { except: EXCEPT });
    t.deepEqual(await statesOf(stage), IN_PLACE);
    t.is(await missingTriggers(connection, { except: EXCEPT }), undefined);

    const before = await installed(stage);
    await installTriggers(connection, { except: EXCEPT });
    t.deepEqual(await installed(stage), before, 'what is in place is left alone');

    for (const sql of [
      'ALTER TABLE account ADD COLUMN w int DEFAULT 7',
      'CREATE UNIQUE INDEX ON account (w, v)',
      'ALTER TABLE account ALTER COLUMN v SET NOT NULL',
      'ALTER TABLE account DISABLE TRIGGER atomesh_update',
      'ALTER TABLE account ADD FOREIGN KEY (v) REFERENCES account ON DELETE NO ACTION',
      'DROP TRIGGER atomesh_truncate ON account',
    ]) {
      await stage.client.query(sql);
      t.deepEqual(await statesOf(stage, ['public.a*']), { 'public.account': 'stale' }, sql);
      await installTriggers(connection, { except: EXCEPT, only: ['public.account'] });
      t.deepEqual(await statesOf(stage), IN_PLACE, sql);
    }
    await installTriggers(connection, { except: [] });
    t.is((await installed(stage)).length, before.length + 5);
    await installTriggers(connection, { except: EXCEPT });
    t.is((await installed(stage)).length, before.length);

    await stage.client.query('ALTER TABLE account RENAME TO renamed');
    await installTriggers(connection, { except: EXCEPT });
    t.is((await installed(stage)).length, before.length, 'no function is left behind');
    await change(stage.client, newGid(), 'DELETE FROM renamed');

    await removeTriggers(connection, { except: EXCEPT });
    t.deepEqual(await installed(stage), []);
  });

  test(`a statement meets a table as it is, or fails, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const gid = newGid();
    // More often than the server plans a statement anew by itself.
    await change(stage.client, gid, ...Array.from({ length: 8 }, () => 'UPDATE account SET v = v + 1 WHERE id = 1'));
    const other = await stage.open();
    await other.query('ALTER TABLE account ADD COLUMN w int DEFAULT 7');
    const stale = { code: '55000', table: 'trigger' };
    t.like(await t.throwsAsync(change(stage.client, newGid(), 'UPDATE account SET v = v + 1 WHERE id = 2')), stale);
    // A new table without triggers, to which the change of another is carried on.
    await change(stage.client, newGid(), 'DELETE FROM other.part');
    await other.query('CREATE TABLE late (id int PRIMARY KEY, p int REFERENCES other.part ON DELETE CASCADE)');
    t.like(await t.throwsAsync(change(stage.client, newGid(), 'INSERT INTO other.part VALUES (1, 1)')), stale);
    await stage.client.query('UPDATE account SET v = v + 1 WHERE id = 2');
    const { result, detail } = await stage.finisher.rollback(gid, RESOURCE);
    t.is(result, 'dirty');
    t.regex(detail ?? '', /altered after the change/);
  });
}

test('triggers survive a dump, and are made anew where the copy differs', async (t) => {
  await using stage = await openStage(14, SCHEMA.replace(/CREATE FOREIGN TABLE[^;]*;/, ''));
  const dump = await pgDumpAll(stage.server, new URL(stage.url).pathname.slice(1));
  if (dump === undefined) {
    t.pass('no pg_dump here');
    return;
  }
  await stage.server.run('postgres', 'CREATE DATABASE copied');
  await stage.server.run('copied', dump);
  const connection = { connectionString: stage.server.url('copied') };
  await installTriggers(connection, { except: [] });
  const states = await triggerStatus(connection, { except: [] });
  t.true(states.every(({ state }) => state === 'recording' || state === 'refusing'));
  await stage.server.run(
    'copied',
    `BEGIN; SELECT atomesh.enter_capture('g', 'shop/db', 10, '{}', false); DELETE FROM account; COMMIT`,
  );
});

test('a role that may not silence triggers is told what it takes', async (t) => {
  await using stage = await openStage(18, 'CREATE ROLE keeper LOGIN; GRANT CREATE ON SCHEMA public TO keeper', {
    installs: false,
  });
  await stage.client.query(
    'GRANT ALL ON SCHEMA atomesh TO keeper; GRANT ALL ON ALL FUNCTIONS IN SCHEMA atomesh TO keeper',
  );
  const url = new URL(stage.url);
  url.username = 'keeper';
  const connection = { connectionString: url.href };
  const error = await t.throwsAsync<CodedError>(installTriggers(connection, { except: [] }));
  t.regex(error?.hint ?? '', /GRANT SET ON PARAMETER session_replication_role/);
  await stage.client.query('GRANT SET ON PARAMETER session_replication_role TO keeper');
  t.regex((await t.throwsAsync(installTriggers(connection, { except: [] })))?.message ?? '', /keeper may not write/);
  await stage.client.query('GRANT ALL ON ALL TABLES IN SCHEMA atomesh TO keeper');
  await t.notThrowsAsync(installTriggers(connection, { except: [] }));
});

test('a sidecar does not start while tables lack triggers', async (t) => {
  const starting = startMesh({ major: 18, schema: SCHEMA, tables: ['account'], database: { capture: 'triggers' } });
  t.like(await t.throwsAsync(starting), { code: 'BAD_REQUEST' });
});
