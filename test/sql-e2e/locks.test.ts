import test from 'ava';
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import { NOTHING_LEFT, type Mesh, type Outcome } from './mesh.ts';
import { commented, reset, startShopMesh } from './prove.ts';
import { openWire, say } from './wire-client.ts';

/** Longer than a busy machine takes to end what is waited for; and how long waits last that are to be in vain. */
const PATIENT_MS = 20_000;
const HASTY_MS = 700;

let mesh: Mesh;
let hasty: Mesh;
test.before(async () => {
  [mesh, hasty] = await Promise.all([startShopMesh(18, PATIENT_MS), startShopMesh(18, HASTY_MS)]);
});
test.after.always(() => Promise.all([mesh, hasty].map((one) => one[Symbol.asyncDispose]())));
test.afterEach.always(() => Promise.all([mesh, hasty].map((one) => reset(one))));

const ADD = 'UPDATE item SET qty = qty + 10 WHERE id = 1';

async function qty(client: pg.Client = mesh.owner): Promise<number> {
  const { rows } = await client.query<{ qty: number }>('SELECT qty FROM item WHERE id = 1');
  return rows[0]?.qty ?? 0;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
}

/** Resolves when a statement has met the holder's lock, and the sidecar asks what has become of the holder. */
async function isMet(holder: string): Promise<void> {
  await mesh.line.heard(`GET /v1/transactions/${holder}`);
}

const BLOCKED = "SELECT FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0 AND datname = 'shop'";

async function deadlocks(): Promise<number> {
  const { rows } = await mesh.owner.query<{ n: string }>(
    "SELECT deadlocks AS n FROM pg_stat_database WHERE datname = 'shop'",
  );
  return Number(rows[0]?.n);
}

type Local = (client: pg.Client, gid: string, text: string) => Promise<pg.QueryResult>;

const LOCALS: Readonly<Record<string, Local>> = {
  'a single statement': (client, gid, text) => client.query(commented(text, gid)),
  'a block': async (client, gid, text) => {
    await client.query(commented('BEGIN', gid));
    await client.query('UPDATE lonely SET v = v + 1');
    const result = await client.query(text);
    await client.query('COMMIT');
    return result;
  },
  'a block by the extended protocol': async (client, gid, text) => {
    await client.query(commented('BEGIN', gid));
    const result = await client.query({ text: text.replace('10', '$1'), values: [10] });
    await client.query('COMMIT');
    return result;
  },
};

for (const [local, run] of Object.entries(LOCALS)) {
  for (const outcome of ['commit', 'rollback'] as Outcome[]) {
    test.serial(`${local} waits for a row of another gid and goes on when that is over by ${outcome}`, async (t) => {
      const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
      const [one, two] = [await mesh.client(), await mesh.client()];
      await one.query(commented('UPDATE item SET qty = 100 WHERE id = 1', holder));
      const waiting = run(two, waiter, `${ADD} RETURNING qty`);
      await isMet(holder);
      await mesh.end(holder, outcome);
      const { rows } = await waiting;
      t.deepEqual(rows, [{ qty: outcome === 'commit' ? 110 : 11 }]);
      await mesh.end(waiter, 'rollback');
      t.is(await qty(), outcome === 'commit' ? 100 : 1);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
      await Promise.all([one.end(), two.end()]);
    });
  }
}

test.serial('a holder that is decided to commit gives way before its second phase is through', async (t) => {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const [one, two] = [await mesh.client(), await mesh.client()];
  await one.query(commented(ADD, holder));
  // A local transaction that the application has left open keeps the second phase waiting.
  await one.query(commented('BEGIN', holder));
  await one.query('UPDATE lonely SET v = 2');
  await mesh.coordinator.submit(holder);
  t.is((await two.query(commented(ADD, waiter))).rowCount, 1);
  t.is(await qty(), 21);
  t.is(await codeOf(one.query('COMMIT')), '40000', 'what comes behind the decision is not kept');
  await mesh.over(holder);
  await mesh.end(waiter, 'rollback');
  t.is(await qty(), 11);
  t.is(await mesh.leftovers(), NOTHING_LEFT);
  await Promise.all([one.end(), two.end()]);
});

test.serial(
  'the wait ends after lockTimeout with 55P03; a block is failed by it and can be rolled back to a savepoint',
  async (t) => {
    const [holder, waiter] = [await hasty.begin(), await hasty.begin()];
    const [one, two] = [await hasty.client(), await hasty.client()];
    await one.query(commented(ADD, holder));
    t.is(await codeOf(two.query(commented(ADD, waiter))), '55P03');
    t.is(await codeOf(two.query({ text: commented(ADD, waiter), queryMode: 'extended' } as pg.QueryConfig)), '55P03');
    await two.query(commented('BEGIN', waiter));
    await two.query('UPDATE lonely SET v = 5');
    await two.query('SAVEPOINT a');
    t.is(await codeOf(two.query(ADD)), '55P03');
    t.is(await codeOf(two.query('SELECT 1')), '25P02');
    // The holder's rollback needs the row: nobody may hold it meanwhile.
    await hasty.end(holder, 'rollback');
    await two.query('ROLLBACK TO a');
    t.is((await two.query(ADD)).rowCount, 1);
    await two.query('COMMIT');
    t.is(await qty(hasty.owner), 11);
    await hasty.end(waiter, 'rollback');
    t.is(await qty(hasty.owner), 1);
    t.is(await hasty.leftovers(), NOTHING_LEFT);
    await Promise.all([one.end(), two.end()]);
  },
);

test.serial('a waiting block does not stand in the way of the rollback that it waits for', async (t) => {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const [one, two] = [await mesh.client(), await mesh.client()];
  await one.query(commented('UPDATE item SET qty = qty + 10 WHERE id IN (1, 2)', holder));
  await two.query(commented('BEGIN', waiter));
  await two.query('UPDATE item SET qty = qty + 10 WHERE id = 3');
  const waiting = two.query('UPDATE item SET qty = qty + 10 WHERE id IN (2, 1)');
  await isMet(holder);
  await mesh.end(holder, 'rollback');
  t.is((await waiting).rowCount, 2);
  await two.query('COMMIT');
  await mesh.end(waiter, 'commit');
  const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id < 4 ORDER BY id');
  t.deepEqual(rows, [{ qty: 11 }, { qty: 12 }, { qty: 13 }]);
  await Promise.all([one.end(), two.end()]);
});

const WAYS = ['a statement', 'a block'] as const;

/** What the waiter comes to, its own session's error code or the rows that it changed, when it meets a deadlock behind a wait. */
async function deadlocked(way: (typeof WAYS)[number]): Promise<string | number | null> {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const [one, two, other] = [await mesh.client(), await mesh.client(), await mesh.client()];
  await one.query(commented('UPDATE item SET qty = qty + 10 WHERE id = 1', holder));
  // Row 1 is locked ahead of row 2, wherever they lie.
  await two.query('SET enable_seqscan = off; SET enable_bitmapscan = off');
  if (way === 'a block') {
    await two.query(commented('BEGIN', waiter));
    await two.query('UPDATE item SET qty = qty + 10 WHERE id = 3');
  }
  const waiting = two.query(commented('UPDATE item SET qty = qty + 10 WHERE id IN (1, 2)', waiter)).then(
    ({ rowCount }) => rowCount,
    ({ code }: pg.DatabaseError) => code ?? '',
  );
  await isMet(holder);
  // Of the two that wait for each other, the server ends the one whose patience is over first.
  await other.query("BEGIN; SET LOCAL deadlock_timeout = '1min'; UPDATE item SET qty = qty + 100 WHERE id = 2");
  await mesh.end(holder, 'commit');
  await until('the waiter waits for the other', async () =>
    (await mesh.owner.query(BLOCKED)).rowCount === 1 ? true : undefined,
  );
  await other.query('UPDATE item SET qty = qty + 100 WHERE id = 1');
  await other.query('COMMIT');
  const outcome = await waiting;
  if (way === 'a block') await two.query(typeof outcome === 'number' ? 'COMMIT' : 'ROLLBACK');
  await mesh.end(waiter, typeof outcome === 'number' ? 'commit' : 'rollback');
  await Promise.all([one.end(), two.end(), other.end()]);
  return outcome;
}

/** On a busy machine the waiter may have row 1 again before the other, which is told of it, has taken it: that is a second deadlock. */
const TRIES_MAX = 5;

for (const way of WAYS) {
  test.serial(`${way} that meets a deadlock behind a wait gives its locks back and goes on`, async (t) => {
    for (let left = TRIES_MAX; ; left -= 1) {
      const before = await deadlocks();
      const outcome = await deadlocked(way);
      if (outcome === '40P01' && left > 1) {
        await reset(mesh);
        continue;
      }
      t.is(outcome, 2);
      const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id < 3 ORDER BY id');
      t.deepEqual(rows, [{ qty: 121 }, { qty: 112 }]);
      return until('the deadlock is counted', async () => ((await deadlocks()) > before ? true : undefined));
    }
  });
}

test.serial('named portals of a pipeline are bound again when their rows were waited for', async (t) => {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const one = await mesh.client();
  await one.query(commented(ADD, holder));
  await using wire = await openWire(mesh.through);
  wire.send(
    ...say.run(commented('BEGIN', waiter)),
    say.parse('UPDATE item SET qty = qty + $2 WHERE id = $1 RETURNING qty', 'add'),
    say.bind([1, 5], 'add', 'first'),
    say.bind([2, 5], 'add', 'second'),
    say.describe('first'),
    say.execute(0, 'first'),
    say.execute(0, 'second'),
    ...say.run('COMMIT'),
    say.sync,
  );
  await isMet(holder);
  await mesh.end(holder, 'commit');
  const lines = await wire.answers.ready(1);
  t.deepEqual(
    lines.filter((line) => !line.endsWith('complete')),
    [
      'no-data',
      'done BEGIN',
      'fields qty:23:4:-1:0',
      'row ["16"]',
      'done UPDATE 1',
      'row ["7"]',
      'done UPDATE 1',
      'no-data',
      'done COMMIT',
      'ready I',
    ],
  );
  await mesh.end(waiter, 'rollback');
  t.is(await qty(), 11);
  t.is(await mesh.leftovers(), NOTHING_LEFT);
  await one.end();
});

test.serial('a value that another gid has given up or taken is not taken before that is over', async (t) => {
  const [holder, waiter] = [await hasty.begin(), await hasty.begin()];
  const [one, two] = [await hasty.client(), await hasty.client()];
  await one.query(commented("UPDATE item SET code = 'free' WHERE code = 'c1'", holder));
  t.is(await codeOf(two.query(commented("INSERT INTO item (code) VALUES ('c1')", waiter))), '55P03');
  await hasty.end(holder, 'rollback');
  t.is(await codeOf(two.query(commented("INSERT INTO item (code) VALUES ('c1')", waiter))), '23505');
  await hasty.end(waiter, 'rollback');
  t.is(await hasty.leftovers(), NOTHING_LEFT);
  await Promise.all([one.end(), two.end()]);
});

test.serial('eight gids at once add to one row, and its sum is that of those which committed', async (t) => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => hasty.client()));
  let committed = 0;
  await Promise.all(
    clients.map(async (client, index) => {
      for (let turn = 0; turn < 3; turn += 1) {
        const gid = await hasty.begin();
        const done = await codeOf(
          index % 2 === 0
            ? client.query(commented('UPDATE item SET qty = qty + 1 WHERE id = 1', gid))
            : client
                .query(commented('BEGIN', gid))
                .then(() => client.query({ text: 'UPDATE item SET qty = qty + $1 WHERE id = 1', values: [1] }))
                .then(() => client.query('COMMIT')),
        );
        const isKept = done === 'none' && (index + turn) % 3 > 0;
        if (done !== 'none') {
          t.is(done, '55P03');
          await client.query('ROLLBACK');
        }
        await hasty.end(gid, isKept ? 'commit' : 'rollback');
        if (isKept) committed += 1;
      }
    }),
  );
  t.is(await qty(hasty.owner), 1 + committed);
  t.true(committed > 0);
  t.is(await hasty.leftovers(), NOTHING_LEFT);
  await Promise.all(clients.map((client) => client.end()));
});
