import test from 'ava';
import pg from 'pg';
import { until } from '../../examples/support/until.ts';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { createPreparedFinisher } from '../../proxy/branch/xa/prepared-finisher.ts';
import { preparedName, preparedPrefix, readPreparedName } from '../../proxy/postgres/xa/names.ts';
import { openPreparedTransactions } from '../../proxy/postgres/xa/prepared.ts';
import { startRecovery } from '../../proxy/branch/xa/recovery.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { BranchStatus, Gid, GlobalStatus } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import { openWorld, stopServers, type World } from '../branch/branch-world.ts';

const DATABASE = 'shop/db';
const log = openLog('test', 'silent');

test.after.always(stopServers);

/** A database with prepared transactions, and their second phase under a role of its choice. */
async function openStage(major: 14 | 18 = 18, user?: string) {
  const world = await openWorld(major);
  const connection = { connectionString: world.url, ...(user === undefined ? {} : { user }) };
  const url = new URL(world.url);
  if (user !== undefined) url.username = user;
  const own = user === undefined ? connection : { connectionString: url.href };
  const transactions = openPreparedTransactions({ database: DATABASE, connection: own, log });
  const finisher = createPreparedFinisher(
    createFinisher({ connection: own, log, lockTimeoutMs: 200 }),
    transactions,
    log,
  );
  return {
    world,
    transactions,
    finisher,
    async [Symbol.asyncDispose]() {
      await finisher.close();
      const left = await names(world);
      for (const name of left) await world.outside(`ROLLBACK PREPARED '${name}'`);
      await world[Symbol.asyncDispose]();
    },
  };
}

async function names(world: World): Promise<readonly string[]> {
  return (await asked(world, 'SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 1')).map(
    String,
  );
}

async function asked(world: World, sql: string): Promise<readonly unknown[]> {
  const client = new pg.Client({ connectionString: world.url });
  await client.connect();
  try {
    const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
    return rows.map(([value]) => value);
  } finally {
    await client.end();
  }
}

/** Prepares a local transaction of the branch that adds to an account; answers its name. */
async function prepare(
  world: World,
  gid: string,
  account: number,
  resource = DATABASE,
  role?: string,
): Promise<string> {
  const name = preparedName({ gid: gid as Gid, resource }, newId());
  await world.outside(
    `INSERT INTO atomesh.branch_state VALUES ('${gid}', '${resource}', 'active') ON CONFLICT DO NOTHING`,
  );
  const client = new pg.Client({ connectionString: world.url });
  await client.connect();
  try {
    await client.query('BEGIN');
    if (role !== undefined) await client.query(`SET ROLE ${role}`);
    await client.query('SELECT atomesh.enter_branch($1, $2)', [gid, resource]);
    await client.query('UPDATE account SET v = v + 100 WHERE id = $1', [account]);
    await client.query(`PREPARE TRANSACTION '${name}'`);
  } finally {
    await client.end();
  }
  return name;
}

test('a name says whose it is, within the limit of the server', (t) => {
  const gid = 'g'.repeat(128) as Gid;
  const name = preparedName({ gid, resource: 'shop/db#999999' }, newId());
  t.true(name.length < 200);
  t.deepEqual(readPreparedName(preparedPrefix('shop/db'), name), { gid, run: 999_999 });
  t.deepEqual(readPreparedName(preparedPrefix('shop/db'), preparedName({ gid, resource: 'shop/db' }, newId())), {
    gid,
    run: undefined,
  });
  t.is(readPreparedName(preparedPrefix('shop/other'), name), undefined);
  t.is(readPreparedName(preparedPrefix('shop/db'), `${preparedPrefix('shop/db')}0_x`), undefined);
});

for (const major of [14, 18] as const) {
  test.serial(
    `all of a branch's prepared transactions end with it, and nobody else's, on PostgreSQL ${major}`,
    async (t) => {
      await using stage = await openStage(major);
      const { world, finisher } = stage;
      await prepare(world, 'one', 1);
      await prepare(world, 'one', 2);
      const foreign = [
        await prepare(world, 'two', 3),
        await prepare(world, 'one', 4, 'shop/db#1'),
        await prepare(world, 'one', 5, 'hotel/db'),
      ];
      await world.outside("BEGIN; INSERT INTO account VALUES (9); PREPARE TRANSACTION 'somebody_one'");
      t.deepEqual(await finisher.rollback('one' as Gid, DATABASE), { result: 'success', detail: '0 rows restored' });
      t.deepEqual(await names(world), [...foreign, 'somebody_one'].toSorted());
      t.is((await finisher.rollback('one' as Gid, DATABASE)).result, 'success', 'it may be repeated');
      t.is((await finisher.commit('two' as Gid, DATABASE)).result, 'success');
      t.is((await finisher.commit('one' as Gid, 'shop/db#1')).result, 'success');
      t.is((await finisher.commit('one' as Gid, 'shop/db#1')).result, 'success', 'it may be repeated');
      t.deepEqual(await world.accounts(), ['1 c1 10', '2 c2 10', '3 c3 110', '4 c4 110', '5 c5 10']);
      t.deepEqual(new Set(await names(world)), new Set([foreign[2], 'somebody_one']));
      await t.throwsAsync(prepare(world, 'one', 1), { message: /already ended here: rolled_back/ });
      await world.outside("ROLLBACK PREPARED 'somebody_one'");
    },
  );
}

test.serial('a decision that contradicts an earlier one touches nothing', async (t) => {
  await using stage = await openStage();
  const { world, finisher } = stage;
  await prepare(world, 'done', 1);
  await prepare(world, 'undone', 2);
  // Nobody can get here through the sidecar: the state is locked as long as something is prepared.
  await world.outside("COMMIT PREPARED '" + (await names(world))[0] + "'");
  for (const [gid, state] of [
    ['held', 'committed'],
    ['kept', 'rolled_back'],
  ] as const) {
    const name = preparedName({ gid: gid as Gid, resource: DATABASE }, newId());
    await world.outside(`INSERT INTO atomesh.branch_state VALUES ('${gid}', '${DATABASE}', '${state}')`);
    await world.outside(
      `BEGIN; UPDATE account SET v = 0 WHERE id = ${gid === 'held' ? 3 : 4}; PREPARE TRANSACTION '${name}'`,
    );
  }
  const before = await names(world);
  t.like(await finisher.rollback('held' as Gid, DATABASE), { result: 'unknown', ended: 'committed' });
  t.like(await finisher.commit('kept' as Gid, DATABASE), { result: 'unknown', ended: 'rolled back' });
  t.deepEqual(await names(world), before);
});

test.serial('what somebody else has just ended is asked for again, and not taken for success', async (t) => {
  await using stage = await openStage();
  const { world, transactions } = stage;
  const log_ = openLog('test', 'silent');
  await prepare(world, 'stolen', 1);
  const slow = {
    ...transactions,
    list: async () => {
      const found = await transactions.list();
      for (const { name } of found) await world.outside(`ROLLBACK PREPARED '${name}'`);
      return found;
    },
  };
  const undo = createFinisher({ connection: { connectionString: world.url }, log, lockTimeoutMs: 200 });
  t.is((await createPreparedFinisher(undo, slow, log_).commit('stolen' as Gid, DATABASE)).result, 'ongoing');
  await undo.close();
});

test.serial('a local transaction that is open while its branch is decided is waited for', async (t) => {
  await using stage = await openStage();
  const { world, finisher } = stage;
  const session = await world.open();
  await session.client.query(`INSERT INTO atomesh.branch_state VALUES ('open', '${DATABASE}', 'active')`);
  await session.client.query(
    `BEGIN; SELECT atomesh.enter_branch('open', '${DATABASE}'); UPDATE account SET v = 1 WHERE id = 1`,
  );
  t.is((await finisher.rollback('open' as Gid, DATABASE)).result, 'ongoing');
  t.is((await finisher.commit('open' as Gid, DATABASE)).result, 'ongoing');
  await session.client.query(
    `PREPARE TRANSACTION '${preparedName({ gid: 'open' as Gid, resource: DATABASE }, newId())}'`,
  );
  t.is((await finisher.rollback('open' as Gid, DATABASE)).result, 'success');
  t.deepEqual(await names(world), []);
});

for (const major of [14, 18] as const) {
  test.serial(
    `the role of the second phase ends what a role prepared of which it is a member, on PostgreSQL ${major}`,
    async (t) => {
      await using stage = await openStage(major, 'finisher');
      const { world, finisher } = stage;
      await world.outside(`CREATE ROLE finisher LOGIN; CREATE ROLE app; CREATE ROLE other; GRANT app TO finisher;
      GRANT USAGE ON SCHEMA atomesh TO finisher, app, other; GRANT ALL ON ALL TABLES IN SCHEMA atomesh TO finisher;
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA atomesh TO finisher; GRANT ALL ON account TO app, other`);
      await prepare(world, 'mine', 1, DATABASE, 'app');
      await prepare(world, 'gone', 2, DATABASE, 'app');
      await prepare(world, 'theirs', 3, DATABASE, 'other');
      t.is((await finisher.commit('mine' as Gid, DATABASE)).result, 'success');
      t.is((await finisher.rollback('gone' as Gid, DATABASE)).result, 'success');
      const refused = await finisher.commit('theirs' as Gid, DATABASE);
      t.is(refused.result, 'unknown');
      t.regex(refused.detail ?? '', /permission denied/);
      t.deepEqual((await world.accounts()).slice(0, 3), ['1 c1 110', '2 c2 10', '3 c3 10']);
    },
  );
}

test.serial('what nobody ends, the coordinator is asked about: at the start, and until it is decided', async (t) => {
  await using stage = await openStage();
  const { world, finisher, transactions } = stage;
  const statuses = new Map<string, GlobalStatus>([
    ['open', 'prepared'],
    ['submitted', 'submitted'],
    ['aborting', 'aborting'],
  ]);
  await Promise.all(['open', 'submitted', 'aborting', 'unknown'].map((gid, index) => prepare(world, gid, index + 1)));
  await world.outside("BEGIN; INSERT INTO account VALUES (9); PREPARE TRANSACTION 'somebody_else'");
  let isSilent = true;
  const read = async (gid: Gid) => {
    if (isSilent) throw new Error('silent');
    const status = statuses.get(gid);
    return status === undefined ? undefined : view(status);
  };
  const recovery = startRecovery({ transactions, finisher, coordinator: { read }, everyMs: 50, ageMsMin: 0, log });
  await until('it has looked', () => Promise.resolve(recovery.inDoubt === 4 ? true : undefined));
  t.is((await names(world)).length, 5, 'silence decides nothing');
  isSilent = false;
  await until('three have ended', () => Promise.resolve(recovery.inDoubt === 1 ? true : undefined));
  t.deepEqual(await world.accounts(), ['1 c1 10', '2 c2 110', '3 c3 10', '4 c4 10', '5 c5 10']);
  statuses.set('open', 'succeed');
  await until('the last has ended', () => Promise.resolve(recovery.inDoubt === 0 ? true : undefined));
  t.is((await world.accounts())[0], '1 c1 110');
  await recovery.stop();
  t.deepEqual(await names(world), ['somebody_else']);
});

test.serial('what an operator has stopped is left for a person, except where its branch was over', async (t) => {
  await using stage = await openStage();
  const { world, finisher, transactions } = stage;
  await Promise.all(['open', 'over', 'never'].map((gid, index) => prepare(world, gid, index + 1)));
  const read = async (gid: Gid) => {
    if (gid === 'never') return view('failed');
    return view('failed', [{ resource: DATABASE, status: gid === 'open' ? 'prepared' : 'succeed' }]);
  };
  const recovery = startRecovery({ transactions, finisher, coordinator: { read }, everyMs: 50, ageMsMin: 0, log });
  await until('the others have ended', () => Promise.resolve(recovery.inDoubt === 1 ? true : undefined));
  await recovery.stop();
  const left = await names(world);
  t.is(left.length, 1);
  t.true(left[0]?.endsWith('open'));
});

/** A global transaction as far as it is looked at. */
function view(status: GlobalStatus, branches: readonly { resource: string; status: BranchStatus }[] = []): View {
  return { status, branches } as unknown as View;
}

type View = NonNullable<Awaited<ReturnType<CoordinatorClient['read']>>>;
