import test from 'ava';
import pg from 'pg';
import { type PostgresServer, startPostgres } from '../../examples/support/postgres-server.ts';
import { postgresBarrier, type PostgresBarrierOptions } from '../../src/client/barrier/postgres.ts';
import { barrierSql } from '../../src/client/barrier/schema.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { barrierLaws } from './laws.ts';
import { raceLaws } from './race-laws.ts';
import { branch, opened, type World } from './world.ts';

let server: PostgresServer;
let pool: pg.Pool;

test.before(async () => {
  server = await startPostgres();
  await server.run('postgres', 'create database shop');
  await server.run('shop', barrierSql('postgres'));
  await server.run('shop', `${barrierSql('postgres')}; create table ledger (gid text primary key, total int not null)`);
  await server.run('shop', barrierSql('postgres', { table: 'custom_barrier' }));
  pool = new pg.Pool({ connectionString: server.url('shop'), max: 30, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => undefined);
});

test.after.always(async () => {
  await pool?.end();
  await server?.[Symbol.asyncDispose]();
});

const world: World<pg.PoolClient> = {
  barrier: (settings: PostgresBarrierOptions = {}) => postgresBarrier(pool, settings),
  async add(tx, gid, amount) {
    await tx.query('update ledger set total = total + $2 where gid = $1', [gid, amount]);
  },
  async open(gid) {
    await pool.query('insert into ledger values ($1, 0)', [gid]);
  },
  async total(gid) {
    return (await pool.query<{ total: number }>('select total from ledger where gid = $1', [gid])).rows[0]?.total ?? -1;
  },
  async rows(gid, table = 'dtm_barrier.barrier') {
    const text = `select concat_ws(' ', trans_type, branch_id, op, barrier_id, reason) as row from ${table} where gid = $1 order by id`;
    return (await pool.query<{ row: string }>(text, [gid])).rows.map(({ row }) => row);
  },
  async run(statements) {
    await pool.query(statements);
  },
  async count(query) {
    return Number((await pool.query<{ count: string }>(query)).rows[0]?.count);
  },
  waiting: () => world.count("select count(*) as count from pg_stat_activity where wait_event_type = 'Lock'"),
  async connect() {
    const tx = await pool.connect();
    return { tx, query: async (text) => void (await tx.query(text)), close: () => tx.release() };
  },
};

barrierLaws(test, () => world);
raceLaws(test, () => world, ['read committed', 'repeatable read', 'serializable']);

test('a commit that PostgreSQL turns into a rollback, because a failed statement was ignored, is an error', async (t) => {
  const gid = await opened(world);
  const error = await t.throwsAsync(
    world.barrier().call(branch(gid, 'action'), async (tx) => {
      await world.add(tx, gid, 1);
      await tx.query('select 1/0').catch(() => undefined);
    }),
    { instanceOf: CodedError },
  );
  t.is(error.code, 'TRANSACTION_ROLLED_BACK');
  t.deepEqual(await world.rows(gid), []);
});

test('work that ends the local transaction itself is an error: what came after was on its own', async (t) => {
  const gid = await opened(world);
  const error = await t.throwsAsync(
    world.barrier().call(branch(gid, 'action'), async (tx) => {
      await tx.query('rollback');
      await world.add(tx, gid, 1);
    }),
    { instanceOf: CodedError },
  );
  t.is(error.code, 'TRANSACTION_ROLLED_BACK');
});

test('when the server ends during the commit the outcome is unknown, and the same request tells it', async (t) => {
  const gid = await opened(world);
  const act = (tamper: (tx: pg.PoolClient) => Promise<unknown>) =>
    postgresBarrier(pool).call(branch(gid, 'action'), async (tx) => {
      await world.add(tx, gid, 1);
      await tamper(tx);
    });
  const error = await t.throwsAsync(
    act(async (tx) => {
      const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
      await pool.query('select pg_terminate_backend($1, 10000)', [rows[0]?.pid]);
    }),
    { instanceOf: CodedError },
  );
  t.like(error, { code: 'OUTCOME_UNKNOWN', retry: 'safe' });
  t.like(await act(() => Promise.resolve()), { kind: 'done' });
  t.is(await world.total(gid), 1);
});

test('an undoing operation does not wait for ever for an operation that does not end', async (t) => {
  const gid = await opened(world);
  const { tx, query, close } = await world.connect();
  await query('begin');
  await world.barrier().within(tx, branch(gid, 'action'), () => Promise.resolve());
  const impatient = postgresBarrier(pool, { lockTimeoutMs: 50 });
  await t.throwsAsync(
    impatient.call(branch(gid, 'compensate'), () => Promise.resolve(t.fail())),
    { code: '55P03' },
  );
  await query('rollback');
  close();
  t.is((await impatient.call(branch(gid, 'compensate'), () => Promise.resolve(t.fail()))).kind, 'absorbed');
  t.throws(() => postgresBarrier(pool, { lockTimeoutMs: 0 }), { instanceOf: CodedError });
});

test('the table of DTM’s own script is brought up to date and keeps its rows', async (t) => {
  await server.run('postgres', 'create database old');
  await server.run('old', DTM_SQL);
  await server.run(
    'old',
    "insert into dtm_barrier.barrier(gid, branch_id, op, barrier_id) values ('g','01','action','01')",
  );
  await server.run('old', barrierSql('postgres'));
  const old = new pg.Pool({ connectionString: server.url('old') });
  const gid = 'h';
  await old.query('insert into dtm_barrier.barrier(gid, branch_id, op, barrier_id) values ($1,$2,$3,$4)', [
    gid,
    '01',
    'try',
    '01',
  ]);
  const { rows } = await old.query('select gid, create_time is null as timeless from dtm_barrier.barrier order by id');
  await old.end();
  t.deepEqual(rows, [
    { gid: 'g', timeless: true },
    { gid: 'h', timeless: false },
  ]);
});

/** sqls/dtmcli.barrier.postgres.sql of DTM 1.19. */
const DTM_SQL = `create schema if not exists dtm_barrier;
CREATE SEQUENCE if not EXISTS dtm_barrier.barrier_seq;
create table if not exists dtm_barrier.barrier(
  id bigint NOT NULL DEFAULT NEXTVAL ('dtm_barrier.barrier_seq'),
  trans_type varchar(45) default '',
  gid varchar(128) default '',
  branch_id varchar(128) default '',
  op varchar(45) default '',
  barrier_id varchar(45) default '',
  reason varchar(45) default '',
  create_time timestamp(0) with time zone DEFAULT NULL,
  update_time timestamp(0) with time zone DEFAULT NULL,
  PRIMARY KEY(id),
  CONSTRAINT uniq_barrier unique(gid, branch_id, op, barrier_id)
);`;
