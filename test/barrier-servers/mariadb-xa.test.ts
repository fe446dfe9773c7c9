import test from 'ava';
import mysql from 'mysql2/promise';
import { type MariadbServer, startMariadb } from '../../examples/support/mariadb-server.ts';
import {
  barrierSql,
  type BranchIdentity,
  CodedError,
  FailureError,
  mysqlXa,
  OngoingError,
  runXa,
  serveXa,
} from '../../src/client/index.ts';
import { gidOf, startService, startWorld } from '../client-modes/support.ts';
import { until } from '../coordinator/started.ts';

let server: MariadbServer;
let pool: mysql.Pool;

test.before(async () => {
  server = await startMariadb();
  await server.run(barrierSql('mysql'));
  await server.run(
    `create database bank; use bank;
     create table account (name varchar(20) primary key, amount int not null, check (amount >= 0));`,
  );
  pool = mysql.createPool({
    host: '127.0.0.1',
    port: server.port,
    user: server.user,
    database: 'bank',
    connectionLimit: 20,
  });
  // How long a rollback waits for a local phase under way; the tests have no time for the server's 50 s.
  await pool.query('set global innodb_lock_wait_timeout = 1');
});

test.after.always(async () => {
  await pool?.end();
  await server?.[Symbol.asyncDispose]();
});

const registered = (): Promise<void> => Promise.resolve();
const branch = (gid: string, op: BranchIdentity['op'] = 'action'): BranchIdentity => ({
  gid: gidOf(gid),
  transType: 'xa',
  branchId: '01',
  op,
});

/** An account of 100 with the test's own name. */
async function open(name: string): Promise<void> {
  await pool.query('insert into account values (?, 100)', [name]);
}

async function amountOf(name: string): Promise<number> {
  const [rows] = await pool.query<mysql.RowDataPacket[]>('select amount from account where name = ?', [name]);
  return rows[0]?.['amount'] as number;
}

const add = (name: string, amount: number) => async (tx: mysql.PoolConnection) =>
  void (await tx.query('update account set amount = amount + ? where name = ?', [amount, name]));

async function preparedNames(): Promise<readonly string[]> {
  const [rows] = await pool.query<mysql.RowDataPacket[]>('xa recover');
  return rows.map((row) => String(row['data']));
}

test('branches are prepared, nothing is seen, and then all is committed or all rolled back', async (t) => {
  await Promise.all(['c-a', 'c-b'].map(open));
  await using world = await startWorld();
  const database = mysqlXa(pool);
  const move = (name: string, amount: number) => (request: Parameters<typeof serveXa>[0]) =>
    serveXa(request, world.dtm, database, add(name, amount));
  await using service = await startService({
    '/out': move('c-a', -30),
    '/in': move('c-b', 30),
    '/no': move('c-a', -1000),
  });
  await runXa(world.dtm, { gid: gidOf('c1'), waitResult: true }, async (xa) => {
    await xa.callBranch({ url: `${service.url}/out` });
    await xa.callBranch({ url: `${service.url}/in` });
    t.is(await amountOf('c-a'), 100);
    t.true((await preparedNames()).includes('c1-01'));
  });
  t.deepEqual([await amountOf('c-a'), await amountOf('c-b')], [70, 130]);
  await t.throwsAsync(
    runXa(world.dtm, { gid: gidOf('c2') }, async (xa) => {
      await xa.callBranch({ url: `${service.url}/in` });
      await xa.callBranch({ url: `${service.url}/no` });
    }),
  );
  await until('it is rolled back', async () => (await world.statusOf('c2')) === 'failed');
  t.deepEqual([await amountOf('c-a'), await amountOf('c-b')], [70, 130]);
  t.false((await preparedNames()).some((name) => name.startsWith('c')));
});

test('every operation may be repeated, and the repetition changes nothing', async (t) => {
  await open('r');
  const xa = mysqlXa(pool);
  t.deepEqual(await xa.prepare(branch('r1'), registered, async (tx) => (await add('r', 5)(tx), 'done')), {
    kind: 'prepared',
    value: 'done',
  });
  t.deepEqual(await xa.prepare(branch('r1'), registered, add('r', 5)), { kind: 'repeated' });
  await xa.finish(branch('r1', 'commit'));
  await xa.finish(branch('r1', 'commit'));
  t.is(await amountOf('r'), 105);
  t.deepEqual(await xa.prepare(branch('r1'), registered, add('r', 5)), { kind: 'repeated' });
  await xa.prepare(branch('r2'), registered, add('r', 5));
  await xa.finish(branch('r2', 'rollback'));
  await xa.finish(branch('r2', 'rollback'));
  t.is(await amountOf('r'), 105);
});

test('a local phase that comes after its rollback fails for good and leaves nothing', async (t) => {
  await open('l');
  const xa = mysqlXa(pool);
  await xa.finish(branch('l1', 'rollback'));
  await t.throwsAsync(xa.prepare(branch('l1'), registered, add('l', 5)), { instanceOf: FailureError });
  t.is(await amountOf('l'), 100);
  t.false((await preparedNames()).includes('l1-01'));
});

test('a commit of what the server does not know is no success', async (t) => {
  await t.throwsAsync(mysqlXa(pool).finish(branch('u1', 'commit')), {
    instanceOf: CodedError,
    code: 'OUTCOME_UNKNOWN',
  });
});

test('a rollback that meets a local phase under way waits its turn: ongoing, and then rolled back', async (t) => {
  await open('w');
  const xa = mysqlXa(pool);
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const phase = xa.prepare(branch('w1'), registered, async (tx) => {
    await add('w', 5)(tx);
    begun.resolve();
    await gate.promise;
  });
  await begun.promise;
  await t.throwsAsync(xa.finish(branch('w1', 'rollback')), { instanceOf: OngoingError });
  gate.resolve();
  t.is((await phase).kind, 'prepared');
  await xa.finish(branch('w1', 'rollback'));
  t.is(await amountOf('w'), 100);
  t.false((await preparedNames()).includes('w1-01'));
});

test('what cannot be registered is not prepared; what has too long a name is refused', async (t) => {
  await open('n');
  const xa = mysqlXa(pool);
  const error = new Error('nobody takes it');
  t.is(await t.throwsAsync(xa.prepare(branch('n1'), () => Promise.reject(error), add('n', 5))), error);
  t.is(await amountOf('n'), 100);
  t.false((await preparedNames()).includes('n1-01'));
  await t.throwsAsync(xa.prepare(branch('n'.repeat(62)), registered, add('n', 5)), { code: 'BAD_GID' });
});

test('no connection that carried an XA branch goes back into the pool, however the branch went', async (t) => {
  const ways: readonly (readonly [name: string, way: string, work: (tx: mysql.PoolConnection) => Promise<unknown>])[] =
    [
      ['p1', 'prepared', () => Promise.resolve()],
      ['p2', 'refused by the database', add('p2', -1000)],
      ['p3', 'given up by the work', () => Promise.reject(new Error('no'))],
      ['p4', 'ended by the work itself', (tx) => tx.query("xa end 'p4-01'")],
    ];
  // An account each: what is prepared keeps its row.
  await Promise.all(ways.map(([name]) => open(name)));
  // One connection at a time: one that was kept, or given back, would be the next that anybody gets.
  const narrow = mysql.createPool({
    host: '127.0.0.1',
    port: server.port,
    user: server.user,
    database: 'bank',
    connectionLimit: 1,
  });
  const carried: (number | null)[] = [];
  let returned: (number | null)[] = [];
  narrow.on('release', ({ threadId }) => returned.push(threadId));
  const xa = mysqlXa(narrow);
  for (const [name, way, work] of ways) {
    returned = [];
    const prepared = xa.prepare(branch(name), registered, async (tx) => {
      carried.push(tx.threadId);
      await add(name, 5)(tx);
      await work(tx);
    });
    const isPrepared = await prepared.then(
      () => true,
      () => false,
    );
    t.is(isPrepared, way === 'prepared', way);
    t.false(returned.includes(carried.at(-1) ?? null), way);
    const [rows] = await narrow.query<mysql.RowDataPacket[]>('select connection_id() as id');
    t.false(carried.includes(rows[0]?.['id'] as number), `${way}: the next who asks has another connection`);
  }
  t.is(new Set(carried).size, ways.length);
  // What was prepared is finished from another connection; what was not is gone with its session.
  await xa.finish(branch('p1', 'commit'));
  await narrow.end();
  t.deepEqual(await Promise.all(ways.map(([name]) => amountOf(name))), [105, 100, 100, 100]);
  t.false((await preparedNames()).some((name) => name.startsWith('p')));
  await until('the server has ended all of their sessions', async () => {
    const [rows] = await pool.query<mysql.RowDataPacket[]>('select id from information_schema.processlist');
    return !rows.some((row) => carried.includes(row['id'] as number));
  });
});
