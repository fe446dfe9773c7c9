/** Who waits for a row, in which order, and who never gets it: against a real database. */
import test from 'ava';
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import type { LockPage } from '../../src/contract/locks.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { NOTHING_LEFT, startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';

const LOCK_TIMEOUT_MS = 15_000;

let mesh: Mesh;
test.before(async () => {
  mesh = await startMesh({
    major: 18,
    schema: 'CREATE TABLE item (id int PRIMARY KEY, qty int);',
    tables: ['item'],
    lockTimeoutMs: LOCK_TIMEOUT_MS,
  });
});
test.after.always(() => mesh[Symbol.asyncDispose]());
test.beforeEach(async () => {
  await mesh.owner.query('TRUNCATE item; INSERT INTO item SELECT i, 0 FROM generate_series(1, 5) i');
});

const add = (id: number): string => `UPDATE item SET qty = qty + 1 WHERE id = ${id}`;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
}

/** Resolves once so many statements wait for row locks. */
async function waiting(count: number): Promise<void> {
  await until(`${count} statements wait`, async () => {
    const response = await fetch(`http://127.0.0.1:${mesh.admin}/locks`);
    const { locks } = (await response.json()) as LockPage;
    return locks.reduce((sum, lock) => sum + lock.waiting.length, 0) === count ? true : undefined;
  });
}

async function change(gid: Gid, id: number, client?: pg.Client): Promise<void> {
  await (client ?? (await mesh.client())).query(commented(add(id), gid));
}

test.serial(
  'those who wait for a row get it in the order in which they came, each as soon as it is free',
  async (t) => {
    const holder = await mesh.begin();
    await change(holder, 1);
    const order: number[] = [];
    const waiters: Promise<void>[] = [];
    for (let number = 1; number <= 5; number += 1) {
      const gid = await mesh.begin();
      waiters.push(
        change(gid, 1).then(async () => {
          order.push(number);
          await mesh.end(gid, number % 2 === 0 ? 'rollback' : 'commit');
        }),
      );
      await waiting(number);
    }
    const from = Date.now();
    await mesh.end(holder, 'commit');
    await Promise.all(waiters);
    t.deepEqual(order, [1, 2, 3, 4, 5]);
    t.true(Date.now() - from < LOCK_TIMEOUT_MS / 2);
    t.deepEqual(await mesh.dump(), { item: ['(1,4)', '(2,0)', '(3,0)', '(4,0)', '(5,0)'] });
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  },
);

for (const size of [2, 3]) {
  test.serial(`${size} gids that wait for each other's rows: one is told so at once, the others go on`, async (t) => {
    const gids = await Promise.all(Array.from({ length: size }, () => mesh.begin()));
    for (const [index, gid] of gids.entries()) await change(gid, index + 1);
    const outcomes: Promise<string>[] = [];
    const from = Date.now();
    for (const [index, gid] of gids.entries()) {
      outcomes.push(codeOf(change(gid, ((index + 1) % size) + 1)));
      if (index < size - 1) await waiting(index + 1);
    }
    t.is(await outcomes[size - 1], '40P01');
    t.true(Date.now() - from < LOCK_TIMEOUT_MS / 3);
    // The one before it waits for its rows until it has ended; each then ends in turn.
    for (let index = size - 1; index >= 0; index -= 1) {
      if (index < size - 1) t.is(await outcomes[index], 'none');
      await mesh.end(gids[index] as Gid, index === size - 1 ? 'rollback' : 'commit');
    }
    t.true(Date.now() - from < LOCK_TIMEOUT_MS);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });
}

test.serial('a stream of newcomers keeps nobody waiting beyond what it takes to serve those before it', async (t) => {
  const rounds = 40;
  let running = 0;
  const client = await mesh.client();
  const newcomers = Array.from({ length: 3 }, async () => {
    const session = await mesh.client();
    for (let round = 0; round < rounds; round += 1) {
      const gid = await mesh.begin();
      running += 1;
      await change(gid, 1, session);
      await mesh.end(gid, 'commit');
    }
  });
  await until('they run', async () => (running > 10 ? true : undefined));
  const gid = await mesh.begin();
  const before = running;
  await change(gid, 1, client);
  // It had at most the three that were there before it, and those that came between a release and its next look.
  t.log(`overtaken by ${running - before} of ${3 * rounds}`);
  t.true(running - before < rounds);
  await mesh.end(gid, 'commit');
  await Promise.all(newcomers);
  t.deepEqual((await mesh.dump())['item']?.[0], `(1,${3 * rounds + 1})`);
});
