import fc from 'fast-check';
import test from 'ava';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, openWorld, stopServers, type World } from '../branch/branch-world.ts';
import type { CapturedSession } from '../undo/captured-session.ts';

test.after.always(stopServers);

const key = fc.integer({ min: 1, max: 8 });
const code = fc.integer({ min: 1, max: 8 }).map((n) => `c${n}`);
const statement = fc.oneof(
  fc.tuple(key, code).map(([id, text]) => `INSERT INTO account VALUES (${id}, '${text}', 1) ON CONFLICT DO NOTHING`),
  fc
    .tuple(key, code)
    .map(
      ([id, text]) =>
        `INSERT INTO account VALUES (${id}, '${text}', 1), (${9 - id}, NULL, 2) ON CONFLICT (id) DO UPDATE SET v = account.v + excluded.v`,
    ),
  fc.tuple(key, code).map(([id, text]) => `UPDATE account SET code = '${text}' WHERE id = ${id}`),
  fc.tuple(key, key).map(([from, to]) => `UPDATE account SET id = ${to} WHERE id = ${from}`),
  key.map((id) => `UPDATE account SET v = coalesce(v, 0) * 2 WHERE id >= ${id} RETURNING *`),
  key.map((id) => `DELETE FROM account WHERE id <= ${id}`),
  fc.constant('DELETE FROM account'),
);
/** Local transactions: statements, and whether it commits. A statement that the database refuses is taken back alone. */
const local = fc.record({ statements: fc.array(statement, { minLength: 1, maxLength: 6 }), commits: fc.boolean() });

async function runLocal(
  session: CapturedSession,
  gid: string,
  work: { statements: readonly string[]; commits: boolean },
) {
  await session.begin(gid);
  for (const sql of work.statements) {
    await session.run('SAVEPOINT s');
    await session.run(sql).catch(() => session.client.query('ROLLBACK TO SAVEPOINT s'));
  }
  await (work.commits ? session.commit() : session.rollback());
}

for (const major of [14, 18] as const) {
  test(`whatever a global transaction did, its rollback leaves what was there before, on PostgreSQL ${major}`, async (t) => {
    await using world: World = await openWorld(major);
    const session = await world.open();
    await fc.assert(
      fc.asyncProperty(fc.array(local, { minLength: 1, maxLength: 4 }), async (work) => {
        const [gid, before] = [newGid(), await world.accounts()];
        for (const one of work) await runLocal(session, gid, one);
        const { result, detail } = await world.finisher.rollback(gid, RESOURCE);
        t.is(result, 'success', detail);
        t.deepEqual(await world.accounts(), before);
      }),
      { numRuns: 40 },
    );
  });
}
