/** Random lives of global transactions that refer to each other's rows: whatever they do and however they end, none is dirty. */
import test from 'ava';
import fc from 'fast-check';
import type { Gid } from '../../src/contract/transaction.ts';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, openWorld, stopServers, type World } from '../branch/branch-world.ts';
import type { CapturedSession } from '../undo/captured-session.ts';

test.after.always(stopServers);

const RUNS = 40;
const SCHEMA = `
CREATE TABLE shelf (id int PRIMARY KEY, code int UNIQUE, v int);
CREATE TABLE book (id int PRIMARY KEY, p int REFERENCES shelf, code int REFERENCES shelf (code) DEFERRABLE INITIALLY DEFERRED);`;
const DATA = `DELETE FROM book; DELETE FROM shelf; INSERT INTO shelf VALUES (1, 1, 0), (2, 2, 0);
INSERT INTO book VALUES (1, 1, NULL), (2, NULL, 2);
DELETE FROM atomesh.undo_record; DELETE FROM atomesh.row_lock; DELETE FROM atomesh.parent_claim`;

const two = fc.integer({ min: 1, max: 2 });
const three = fc.integer({ min: 1, max: 3 });
const gives = fc.oneof(
  two.map((id) => `DELETE FROM book WHERE id = ${id}`),
  fc.constant('UPDATE book SET p = NULL, code = NULL'),
  fc.tuple(two, three).map(([id, p]) => `UPDATE book SET p = ${p}, code = NULL WHERE id = ${id}`),
  fc
    .tuple(two, three)
    .map(
      ([id, code]) =>
        `INSERT INTO book VALUES (${id}, NULL, ${code}) ON CONFLICT (id) DO UPDATE SET code = excluded.code`,
    ),
);
const frees = fc.oneof(
  two.map((id) => `DELETE FROM shelf WHERE id = ${id}`),
  fc.tuple(two, three).map(([id, other]) => `UPDATE shelf SET id = ${other}, v = 1 WHERE id = ${id}`),
  fc.tuple(two, three).map(([id, other]) => `UPDATE shelf SET code = ${other} WHERE id = ${id}`),
);
const others = fc.oneof(
  two.map((id) => `UPDATE shelf SET v = v + 1 WHERE id = ${id}`),
  fc.tuple(three, three).map(([id, code]) => `INSERT INTO shelf VALUES (${id}, ${code}, 0)`),
  fc.tuple(three, two).map(([id, p]) => `INSERT INTO book VALUES (${id}, ${p}, ${p})`),
);
const step = fc.record({
  who: fc.integer({ min: 0, max: 2 }),
  sql: fc.oneof({ weight: 4, arbitrary: gives }, { weight: 4, arbitrary: frees }, { weight: 1, arbitrary: others }),
  isolation: fc.constantFrom('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'),
  // What the local transaction does then, or the global one.
  next: fc.constantFrom('commit', 'commit', 'commit', 'stay', 'roll back', 'end', 'abort'),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Life {
  readonly session: CapturedSession;
  gid: Gid;
  isOpen: boolean;
}

/** What cannot go on at once fails, and takes its local transaction with it. */
async function play(world: World, life: Life, { sql, isolation, next }: Step): Promise<string> {
  const { session } = life;
  try {
    if (!life.isOpen) {
      await session.begin(life.gid);
      life.isOpen = true;
      await session.client.query(`SET TRANSACTION ISOLATION LEVEL ${isolation}; SET LOCAL lock_timeout = '20ms'`);
      await session.client.query('SELECT count(*) FROM book');
    }
    await session.run(sql);
    if (next === 'stay') return 'ok';
    life.isOpen = false;
    if (next === 'roll back') await session.rollback();
    else await session.commit();
  } catch (error) {
    await leave(life);
    return (error as { readonly code?: string }).code ?? String(error);
  }
  return next === 'end' || next === 'abort' ? end(world, life, next === 'end' ? 'commit' : 'rollback') : 'ok';
}

async function leave(life: Life): Promise<void> {
  await life.session.rollback();
  life.isOpen = false;
}

/** Ends the global transaction, and begins the next one. One that somebody else's open local transaction is in the way of is asked again later. */
async function end(world: World, life: Life, how: 'commit' | 'rollback'): Promise<string> {
  const { result, dirt } = await world.finisher[how](life.gid, RESOURCE);
  if (result === 'dirty') return `dirty: ${dirt?.reason}`;
  if (result !== 'success') return 'later';
  life.gid = newGid();
  return 'ended';
}

test('no rollback is dirty among those that give references up and free keys', async (t) => {
  await using world = await openWorld();
  await world.outside(SCHEMA);
  const owner = await world.open();
  const lives: Life[] = [];
  for (let index = 0; index < 3; index += 1) lives.push({ session: await world.open(), gid: newGid(), isOpen: false });
  const property = fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14, size: 'max' }), async (steps) => {
    await owner.client.query(DATA);
    const words: string[] = [];
    for (const each of steps) {
      const life = lives[each.who];
      if (life !== undefined) words.push(await play(world, life, each));
    }
    for (const life of lives.filter(({ isOpen }) => isOpen)) await leave(life);
    for (const life of lives) words.push(await end(world, life, 'rollback'));
    const { rows } = await owner.client.query(
      'SELECT FROM atomesh.parent_claim UNION ALL SELECT FROM atomesh.freed_key',
    );
    const isOver = words.slice(-lives.length).every((word) => word === 'ended') && rows.length === 0;
    if (!isOver || words.some((word) => word.startsWith('dirty'))) throw new Error(words.join(', '));
  });
  await t.notThrowsAsync(fc.assert(property, { numRuns: RUNS }));
});
