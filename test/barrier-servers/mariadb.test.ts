import test from 'ava';
import mysql from 'mysql2/promise';
import { type MariadbServer, startMariadb } from '../../examples/support/mariadb-server.ts';
import { mysqlBarrier, type MysqlBarrierOptions } from '../../src/client/barrier/mysql.ts';
import { barrierSql } from '../../src/client/barrier/schema.ts';
import { until } from '../../examples/support/until.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { barrierLaws } from '../barrier/laws.ts';
import { raceLaws } from '../barrier/race-laws.ts';
import { branch, opened, type World } from '../barrier/world.ts';

let server: MariadbServer;
let pool: mysql.Pool;

test.before(async () => {
  server = await startMariadb();
  await server.run(barrierSql('mysql'));
  await server.run(
    `${barrierSql('mysql')} create database shop; use shop; ${barrierSql('mysql', { table: 'custom_barrier' })}
     create table ledger (gid varchar(128) collate utf8mb4_bin primary key, total int not null)`,
  );
  pool = mysql.createPool({
    host: '127.0.0.1',
    port: server.port,
    user: server.user,
    database: 'shop',
    connectionLimit: 30,
    multipleStatements: true,
  });
});

test.after.always(async () => {
  await pool?.end();
  await server?.[Symbol.asyncDispose]();
});

async function ask<Row>(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
  const [rows] = await pool.query(text, [...values]);
  return rows as unknown as readonly Row[];
}

const world: World<mysql.PoolConnection> = {
  barrier: (settings: MysqlBarrierOptions = {}) => mysqlBarrier(pool, settings),
  async add(tx, gid, amount) {
    await tx.query('update ledger set total = total + ? where gid = ?', [amount, gid]);
  },
  async open(gid) {
    await pool.query('insert into ledger values (?, 0)', [gid]);
  },
  total: async (gid) => (await ask<{ total: number }>('select total from ledger where gid = ?', [gid]))[0]?.total ?? -1,
  async rows(gid, table = 'dtm_barrier.barrier') {
    const text = `select concat_ws(' ', trans_type, branch_id, op, barrier_id, reason) as line from ${table} where gid = ? order by id`;
    return (await ask<{ line: string }>(text, [gid])).map(({ line }) => line);
  },
  async run(statements) {
    await pool.query(statements);
  },
  count: async (query) => Number((await ask<{ count: number }>(query))[0]?.count),
  // Not innodb_trx: as long as that is read ten times a second it shows the same.
  waiting: () =>
    world.count(
      "select variable_value as count from information_schema.global_status where variable_name = 'innodb_row_lock_current_waits'",
    ),
  async connect() {
    const tx = await pool.getConnection();
    return { tx, query: async (text) => void (await tx.query(text)), close: () => tx.release() };
  },
};

barrierLaws(test, () => world);
raceLaws(test, () => world, ['read committed', 'repeatable read', 'serializable']);

test('gids that differ in case only are different', async (t) => {
  const lower = await opened(world);
  const upper = lower.toUpperCase() as typeof lower;
  await world.open(upper);
  for (const gid of [lower, upper]) {
    t.is((await world.barrier().call(branch(gid, 'action'), (tx) => world.add(tx, gid, 1))).kind, 'done');
  }
});

test('a table that takes gids of another case for the same is found out, before success is answered', async (t) => {
  await world.run(`create table loose_barrier like custom_barrier;
    alter table loose_barrier convert to character set utf8mb4 collate utf8mb4_general_ci`);
  const barrier = mysqlBarrier(pool, { table: 'loose_barrier' });
  const lower = await opened(world);
  const upper = lower.toUpperCase() as typeof lower;
  await barrier.call(branch(lower, 'action'), () => Promise.resolve());
  await t.throwsAsync(
    barrier.call(branch(upper, 'action'), () => Promise.resolve()),
    { instanceOf: CodedError, message: /takes .* for/ },
  );
});

test('the first phase of an XA branch counts as a transaction, and keeps its row only when it is committed', async (t) => {
  const gid = await opened(world);
  const identity = { ...branch(gid, 'action'), transType: 'xa' } as const;
  const { tx, query, close } = await world.connect();
  for (const end of ['rollback', 'commit']) {
    await query(`xa start '${gid}-01'`);
    const { kind } = await world.barrier().within(tx, identity, (inside) => world.add(inside, gid, 1));
    t.is(kind, 'done');
    await query(`xa end '${gid}-01'`);
    await query(`xa prepare '${gid}-01'`);
    await query(`xa ${end} '${gid}-01'`);
  }
  close();
  t.is(await world.total(gid), 1);
  t.deepEqual(await world.rows(gid), ['xa 01 action 01 action']);
});

test('a lock that is waited for in vain is an error, and no answer', async (t) => {
  const gid = await opened(world);
  const holder = await world.connect();
  await holder.query('begin');
  await world.barrier().within(holder.tx, branch(gid, 'action'), () => Promise.resolve());
  const waiter = await world.connect();
  await waiter.query('set innodb_lock_wait_timeout = 1');
  await waiter.query('begin');
  const undoing = world.barrier().within(waiter.tx, branch(gid, 'compensate'), () => Promise.resolve(t.fail()));
  await t.throwsAsync(undoing, { code: 'ER_LOCK_WAIT_TIMEOUT' });
  await waiter.query('rollback; set innodb_lock_wait_timeout = default');
  await holder.query('rollback');
  waiter.close();
  holder.close();
  t.deepEqual(await world.rows(gid), []);
});

test.serial('work that goes on after a deadlock that it swallowed is an error: the barrier went with it', async (t) => {
  const [gid, first, second] = [await opened(world), await opened(world), await opened(world)];
  const other = await world.connect();
  await other.query('begin');
  await world.add(other.tx, first, 1);
  // The one that has changed less is the victim.
  await other.query(`insert into ledger select concat('${gid}-', seq), 0 from seq_1_to_50`);
  const error = await t.throwsAsync(
    world.barrier({ attempts: 1 }).call(branch(gid, 'action'), async (tx) => {
      await world.add(tx, second, 1);
      const crossing = world.add(other.tx, second, 1);
      await until('the other one waits', async () => ((await world.waiting()) > 0 ? true : undefined));
      const swallowed: unknown = await world.add(tx, first, 1).catch((thrown: unknown) => thrown);
      t.like(swallowed, { code: 'ER_LOCK_DEADLOCK' });
      await crossing;
    }),
    { instanceOf: CodedError },
  );
  t.is(error.code, 'TRANSACTION_ROLLED_BACK');
  t.deepEqual(await world.rows(gid), []);
  await other.query('rollback');
  other.close();
});

test('when the connection ends before the commit, nothing has happened, and the error is no answer', async (t) => {
  const gid = await opened(world);
  const act = mysqlBarrier(pool).call(branch(gid, 'action'), async (tx) => {
    await world.add(tx, gid, 1);
    await pool.query(`kill ${tx.threadId}`);
  });
  t.false((await t.throwsAsync(act)) instanceof CodedError);
  t.is(await world.total(gid), 0);
  t.deepEqual(await world.rows(gid), []);
});

test('when the connection ends during the commit the outcome is unknown, and the same request tells it', async (t) => {
  const gid = await opened(world);
  const act = (tamper: (tx: mysql.PoolConnection) => Promise<unknown>) =>
    mysqlBarrier(pool).call(branch(gid, 'action'), async (tx) => {
      await world.add(tx, gid, 1);
      await tamper(tx);
    });
  const error = await t.throwsAsync(
    act(async (tx) => {
      const query = tx.query.bind(tx);
      const killedAtCommit = async (text: string): Promise<unknown> => {
        if (text === 'commit') await pool.query(`kill ${tx.threadId}`);
        return query(text);
      };
      Object.assign(tx, { query: killedAtCommit });
    }),
    { instanceOf: CodedError },
  );
  t.like(error, { code: 'OUTCOME_UNKNOWN', retry: 'safe' });
  t.like(await act(() => Promise.resolve()), { kind: 'done' });
  t.is(await world.total(gid), 1);
});
