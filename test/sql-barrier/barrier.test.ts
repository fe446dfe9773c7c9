/** The barrier's own statements: what they answer, how long they wait, and which rows go when. */
import test from 'ava';
import { createBarrier } from '../../proxy/postgres/barrier.ts';
import { checkSchema, initialiseDatabase } from '../../proxy/postgres/schema.ts';
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
    lockTimeoutMs: 200,
  });
  await client.query("BEGIN /*atomesh_gid='slow/01/try'*/");
  await client.query("INSERT INTO note (said) VALUES ('x')");
  t.is(await barrier.arrive(of('slow', 'cancel')), 'busy');
  t.is(await codeOf(barrier.complete(of('slow', 'try'))), '55P03');
  // However many wait, those find a connection that have nothing to wait for.
  const waiting = Array.from({ length: 8 }, () => barrier.arrive(of('slow', 'cancel')));
  t.is(await barrier.arrive(of('other', 'try')), 'open');
  t.is(await barrier.arrive(of('slow', 'action')), 'open');
  t.true((await Promise.all(waiting)).every((answer) => answer === 'busy'));
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

test.serial('rows go when their gid has had none for long and its transaction is over, and not before', async (t) => {
  const { coordinator, barrier, owner } = world;
  await owner.query('DELETE FROM atomesh.barrier');
  for (const gid of ['over', 'foreign', 'forgotten', 'unfinished', 'young', 'lively'])
    await barrier.complete(of(gid, 'action'));
  await owner.query("UPDATE atomesh.barrier SET create_time = now() - interval '3 days' WHERE gid <> 'young'");
  await owner.query("UPDATE atomesh.barrier SET create_time = now() - interval '32 days' WHERE gid = 'forgotten'");
  await owner.query(`INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time)
    SELECT 'saga', 'over', to_char(n, 'FM0000'), 'action', '01', 'action', now() - interval '2 days' FROM generate_series(1, 1100) n`);
  await barrier.complete(of('lively', 'confirm'));
  for (const gid of ['over', 'young', 'lively']) coordinator.statuses.set(gid, 'succeed');
  coordinator.statuses.set('unfinished', 'aborting');
  t.is(await barrier.cleanUp(86_400_000), 1102);
  t.is(await barrier.cleanUp(86_400_000), 0);
  const { rows } = await owner.query<{ gid: string }>('SELECT DISTINCT gid FROM atomesh.barrier ORDER BY gid');
  t.deepEqual(
    rows.map(({ gid }) => gid),
    ['foreign', 'lively', 'unfinished', 'young'],
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

test.serial('a schema of version 3 is brought up to date', async (t) => {
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
  await t.notThrowsAsync(checkSchema(connection));
});

const ENTER = "SELECT atomesh.enter_operation('tcc', 'g', '01', 'try', false, -7)";
const FORGE =
  "INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason) VALUES ('tcc', 'g1', '01', 'cancel', '01', 'cancel')";

test.serial(
  'nobody but the named roles decides over operations, and each has no more rights than it needs',
  async (t) => {
    const { server } = world;
    await server.run('postgres', 'CREATE ROLE app; CREATE ROLE library; CREATE ROLE stranger');
    await server.run('postgres', 'CREATE DATABASE roles');
    const connection = { connectionString: server.url('roles') };
    const as = (role: string, text: string): Promise<unknown> => server.run('roles', `SET ROLE ${role}; ${text}`);
    const denied = { message: /permission denied/ };
    // As version 4 left it.
    await initialiseDatabase(connection);
    await server.run('roles', 'GRANT SELECT, INSERT ON atomesh.barrier TO PUBLIC, app');
    await as('stranger', `BEGIN; ${ENTER}; ROLLBACK`);

    await initialiseDatabase(connection, { grantTo: 'app', grantBarrier: 'library' });
    await t.throwsAsync(as('stranger', ENTER), denied);
    await t.notThrowsAsync(as('app', `BEGIN; ${ENTER}; ROLLBACK`));
    for (const role of ['stranger', 'app']) {
      await t.throwsAsync(as(role, FORGE), denied, role);
      await t.throwsAsync(as(role, 'SELECT FROM atomesh.barrier'), denied, role);
    }
    await as('library', FORGE);
    for (const text of ["UPDATE atomesh.barrier SET reason = 'x'", 'DELETE FROM atomesh.barrier']) {
      for (const role of ['stranger', 'app', 'library'])
        await t.throwsAsync(as(role, text), denied, `${role}: ${text}`);
    }
    await t.throwsAsync(as('stranger', "INSERT INTO atomesh.row_lock VALUES (1, 'k', 'g', 'r')"), denied);
  },
);

test.serial('an owner who is named as the role of the application keeps what is its own', async (t) => {
  const { server } = world;
  await server.run('postgres', 'CREATE ROLE keeper LOGIN');
  await server.run('postgres', 'CREATE DATABASE kept OWNER keeper');
  const url = new URL(server.url('kept'));
  url.username = 'keeper';
  for (let round = 0; round < 2; round += 1)
    await initialiseDatabase({ connectionString: url.href }, { grantTo: 'keeper' });
  await t.notThrowsAsync(checkSchema({ connectionString: url.href }));
});

test.serial('the word of a session that a row is its own counts in its own local transaction only', async (t) => {
  const { owner } = world;
  await owner.query(ENTER);
  await owner.query("SET atomesh.entered = 'g/01/try'");
  t.is(await codeOf(owner.query(ENTER)), '25000');
  await owner.query('BEGIN');
  await owner.query("SELECT atomesh.enter_operation('tcc', 'h', '01', 'try', false, -8)");
  t.is(await codeOf(owner.query("SELECT atomesh.enter_operation('tcc', 'h', '01', 'try', false, -9)")), undefined);
  await owner.query('COMMIT');
});
