import fc from 'fast-check';
import test from 'ava';
import type pg from 'pg';
import { newGid } from '../../src/platform/random.ts';
import { DATA, SCHEMA } from './cases.ts';
import { enter, NOTHING_LEFT, openStage, RESOURCE, stopServers } from './stage.ts';

test.after.always(stopServers);

const id = fc.integer({ min: 1, max: 6 });
const special = fc.constantFrom(1, 50, 60, 70, 5000);
const code = fc.integer({ min: 1, max: 6 }).map((n) => `'f${n}'`);
const pair = <A, B>(one: fc.Arbitrary<A>, other: fc.Arbitrary<B>, sql: (a: A, b: B) => string): fc.Arbitrary<string> =>
  fc.tuple(one, other).map(([a, b]) => sql(a, b));

/** Changes that meet each other: the same rows by several ways, values that go round, triggers that change what fired them. */
const statement = fc.oneof(
  pair(id, special, (i, v) => `UPDATE flip SET v = ${v} WHERE id >= ${i}`),
  pair(id, code, (i, c) => `UPDATE flip SET code = ${c} WHERE id = ${i}`),
  pair(id, id, (i, j) => `UPDATE flip SET id = ${j} WHERE id = ${i}`),
  pair(
    id,
    code,
    (i, c) => `INSERT INTO flip VALUES (${i}, 3, ${c}) ON CONFLICT (id) DO UPDATE SET v = 50, code = excluded.code`,
  ),
  id.map((i) => `DELETE FROM flip WHERE id <= ${i}`),
  pair(id, id, (i, j) => `UPDATE parent SET id = ${j + 6} WHERE id = ${i}`),
  id.map((i) => `DELETE FROM parent WHERE id = ${i}`),
  pair(id, id, (i, j) => `INSERT INTO parent VALUES (${i}, ${j}, 'x${i}') ON CONFLICT DO NOTHING`),
  pair(id, id, (i, j) => `INSERT INTO child VALUES (${i}, ${j}, 'again')`),
  id.map((i) => `DELETE FROM child WHERE p = ${i}`),
  pair(id, id, (i, j) => `UPDATE tree SET up = ${j} WHERE id = ${i}`),
  pair(id, id, (i, j) => `INSERT INTO tree VALUES (${i}, ${j})`),
  id.map((i) => `DELETE FROM tree WHERE id = ${i}`),
  pair(id, id, (i, j) => `UPDATE seat SET place = ${j} - place WHERE id >= ${i}`),
  pair(id, id, (i, j) => `INSERT INTO latest SELECT g, 'l' || ${j} FROM generate_series(1, ${i}) g`),
  id.map((i) => `UPDATE latest SET v = v || 'x' WHERE id = ${i}`),
  pair(id, fc.constantFrom('eu', 'us'), (i, r) => `UPDATE part SET region = '${r}', v = v + 1 WHERE id <= ${i}`),
  pair(id, fc.constantFrom('eu', 'us'), (i, r) => `DELETE FROM part_${r} WHERE id = ${i}`),
  pair(
    id,
    fc.constantFrom('eu', 'us'),
    (i, r) => `INSERT INTO part (id, region, v) VALUES (${i}, '${r}', 0) ON CONFLICT (id, region) DO UPDATE SET v = 9`,
  ),
  id.map((i) => `UPDATE animal SET name = name || 'y', id = id WHERE id % 5 = ${i} % 5`),
  id.map((i) => `DELETE FROM animal WHERE id % 7 = ${i}`),
  fc.constant("UPDATE dog SET breed = 'z'"),
  id.map((i) => `SELECT take(${i})`),
  pair(id, id, (i, j) => `CALL transfer(${i}, ${j})`),
  fc.constant('SELECT try_twice()'),
  id.map((i) => `UPDATE made SET a = a + 1 WHERE id <= ${i}`),
  id.map((i) => `UPDATE made SET id = DEFAULT WHERE id = ${i}`),
  fc.constant('DELETE FROM strict'),
);
const local = fc.record({ statements: fc.array(statement, { minLength: 1, maxLength: 8 }), commits: fc.boolean() });

/** How many of its statements the server carried out. */
async function runLocal(
  client: pg.Client,
  gid: string,
  work: { readonly statements: readonly string[]; readonly commits: boolean },
): Promise<number> {
  let done = 0;
  await client.query('BEGIN');
  await enter(client, gid);
  for (const sql of work.statements) {
    await client.query('SAVEPOINT s');
    try {
      await client.query(sql);
      done += 1;
    } catch {
      await client.query('ROLLBACK TO SAVEPOINT s');
    }
  }
  // A constraint may be broken in the end.
  await client.query(work.commits ? 'COMMIT' : 'ROLLBACK').catch(() => undefined);
  return done;
}

for (const major of [14, 18] as const) {
  test(`whatever a global transaction did to tables with triggers, its rollback leaves what was there, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, `${SCHEMA} ${DATA}`);
    const before = await stage.digest();
    let [all, done] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(local, { minLength: 1, maxLength: 3 }), async (work) => {
        const gid = newGid();
        for (const one of work) {
          all += one.statements.length;
          done += await runLocal(stage.client, gid, one);
        }
        const { result, detail } = await stage.finisher.rollback(gid, RESOURCE);
        t.is(result, 'success', detail);
        t.deepEqual(await stage.digest(), before);
        t.is(await stage.leftovers(), NOTHING_LEFT);
      }),
      { numRuns: 40 },
    );
    t.true(done > all / 2, `${done} of ${all} statements ran`);
  });
}
