/** The barrier's own statements: what they answer, how long they wait, and which rows go when. */
import test from 'ava';
import { createBarrier } from '../../proxy/postgres/barrier.ts';
import { checkSchema, initialiseDatabase, schemaSql } from '../../proxy/postgres/schema.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { codeOf, startWorld, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world[Symbol.asyncDispose]());

const branch = '01' as BranchId;
const of = (gid: string, task: 'try' | 'confirm' | 'cancel' | 'action') => ({ gid: gid as Gid, branch, task });

test.serial(
  'an operation that changed nothing is done once it is completed, and fenced when its compensation was faster',
  async (t) => {
    const { barrier } = world;
    t.is(await barrier.arrive(of('n1', 'try')), 'open');
    t.is(await barrier.complete(of('n1', 'try')), 'done');
    t.is(await barrier.complete(of('n1', 'try')), 'done');
    t.is(await barrier.arrive(of('n1', 'try')), 'done');
    t.is(await barrier.arrive(of('n1', 'confirm')), 'open');
    t.is(await barrier.complete(of('n1', 'confirm')), 'done');
    t.is(await barrier.arrive(of('n1', 'confirm')), 'done');
    t.deepEqual(await world.rows('n1'), ['tcc 01 confirm confirm', 'tcc 01 try try']);

    t.is(await barrier.arrive(of('n2', 'try')), 'open');
    t.is(await barrier.arrive(of('n2', 'cancel')), 'absorbed');
    t.is(await barrier.complete(of('n2', 'try')), 'fenced');
    t.deepEqual(await world.rows('n2'), ['tcc 01 cancel cancel', 'tcc 01 try cancel']);
  },
);

test.serial('of many at once one absorbs, and the others find it done', async (t) => {
  const answers = await Promise.all(Array.from({ length: 12 }, () => world.barrier.arrive(of('many', 'cancel'))));
  t.is(answers.filter((answer) => answer === 'absorbed').length, 1);
  t.is(answers.filter((answer) => answer === 'done').length, 11);
});

test.serial('a local transaction that stays open is waited for only so long', async (t) => {
  const client = await world.client();
  const barrier = createBarrier({
    connection: { connectionString: world.server.url('shop') },
    coordinator: { read: async () => undefined },
    log: openLog('test', 'silent'),
    statementTimeoutMs: 200,
  });
  await client.query("BEGIN /*atomesh_gid='slow/01/try'*/");
  await client.query("INSERT INTO note (said) VALUES ('x')");
  for (const asked of [barrier.arrive(of('slow', 'cancel')), barrier.complete(of('slow', 'try'))]) {
    t.is(await codeOf(asked), '57014');
  }
  await client.query('COMMIT');
  t.is(await barrier.arrive(of('slow', 'cancel')), 'open');
  await barrier.close();
  await client.end();
});

test.serial('the default isolation of the database does not matter', async (t) => {
  await world.owner.query("ALTER DATABASE shop SET default_transaction_isolation = 'repeatable read'");
  const barrier = createBarrier({
    connection: { connectionString: world.server.url('shop') },
    coordinator: { read: async () => undefined },
    log: openLog('test', 'silent'),
  });
  const answers = await Promise.all(Array.from({ length: 12 }, () => barrier.arrive(of('strict', 'cancel'))));
  t.is(answers.filter((answer) => answer === 'absorbed').length, 1);
  await barrier.close();
  await world.owner.query('ALTER DATABASE shop RESET default_transaction_isolation');
});

test.serial('rows go when they are old and their global transaction is over, and not before', async (t) => {
  const { coordinator, barrier, owner } = world;
  await owner.query('DELETE FROM atomesh.barrier');
  for (const gid of ['over', 'forgotten', 'unfinished', 'young']) await barrier.complete(of(gid, 'action'));
  await owner.query("UPDATE atomesh.barrier SET create_time = now() - interval '3 days' WHERE gid <> 'young'");
  await owner.query(`INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time)
    SELECT 'saga', 'over', to_char(n, 'FM0000'), 'action', '01', 'action', now() - interval '2 days' FROM generate_series(1, 1100) n`);
  coordinator.statuses.set('over', 'succeed').set('unfinished', 'aborting').set('young', 'succeed');
  t.is(await barrier.cleanUp(86_400_000), 1102);
  t.is(await barrier.cleanUp(86_400_000), 0);
  const { rows } = await owner.query<{ gid: string }>('SELECT gid FROM atomesh.barrier ORDER BY gid');
  t.deepEqual(
    rows.map(({ gid }) => gid),
    ['unfinished', 'young'],
  );
});

test.serial('a database that is not there is an error, and ends nothing', async (t) => {
  const barrier = createBarrier({
    connection: { host: '127.0.0.1', port: 1, user: 'nobody' },
    coordinator: { read: async () => undefined },
    log: openLog('test', 'silent'),
  });
  await t.throwsAsync(barrier.arrive(of('x', 'try')));
  await t.throwsAsync(barrier.backCheck('x' as Gid));
  await barrier.close();
});

test.serial('a schema of version 3 is brought up to date, and a client has no more rights than it needs', async (t) => {
  const { server } = world;
  await server.run('postgres', 'CREATE DATABASE old');
  await server.run(
    'old',
    `CREATE SCHEMA atomesh; CREATE TABLE atomesh.barrier (trans_type varchar(45) NOT NULL, gid varchar(128) NOT NULL,
    branch_id varchar(128) NOT NULL, op varchar(45) NOT NULL, barrier_id varchar(45) NOT NULL, reason varchar(45) NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (gid, branch_id, op, barrier_id));
    INSERT INTO atomesh.barrier VALUES ('tcc', 'kept', '01', 'try', '01', 'try'); COMMENT ON SCHEMA atomesh IS 'Atomesh, schema version 3'`,
  );
  const connection = { connectionString: server.url('old') };
  await t.throwsAsync(checkSchema(connection), { message: /another version/ });
  for (let round = 0; round < 2; round += 1) await initialiseDatabase(connection);
  await checkSchema(connection);
  await server.run('old', `CREATE ROLE app; GRANT USAGE ON SCHEMA atomesh TO app;`);
  await server.run(
    'old',
    `SET ROLE app; DO $$ BEGIN PERFORM atomesh.enter_operation('tcc', 'g', '01', 'try', false); END $$`,
  );
  await t.throwsAsync(server.run('old', `SET ROLE app; UPDATE atomesh.barrier SET reason = 'cancel'`), {
    message: /permission denied/,
  });
  await t.throwsAsync(server.run('old', `SET ROLE app; DELETE FROM atomesh.barrier`), { message: /permission denied/ });
  await server.run('old', schemaSql({ grantTo: 'app' }));
});
