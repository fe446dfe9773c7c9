import test from 'ava';
import { startPostgres } from '../../../examples/support/postgres-server.ts';
import { createFinisher } from '../../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../../proxy/postgres/schema.ts';
import { openLog } from '../../../src/platform/log.ts';
import { newGid } from '../../../src/platform/random.ts';
import { dump, openCapturedSession } from '../captured-session.ts';

const SCHEMA = `CREATE TABLE job (id int PRIMARY KEY, state text NOT NULL, tries int NOT NULL DEFAULT 0);
INSERT INTO job SELECT i, 'open' FROM generate_series(1, 6) i;`;

/** What a worker takes from a queue, of which another one holds the first two rows; the ids that it gets. */
const SKIPPING: readonly (readonly [sql: string, ids: readonly string[]])[] = [
  [
    "UPDATE job SET state = 'taken' WHERE id = (SELECT id FROM job WHERE state = 'open' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
    ['3'],
  ],
  [
    "WITH next AS (SELECT id FROM job WHERE state = 'open' ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED) UPDATE job SET state = 'taken', tries = tries + 1 FROM next WHERE next.id = job.id RETURNING job.id",
    ['3', '4'],
  ],
  [
    'DELETE FROM job WHERE id IN (SELECT id FROM job ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id',
    ['3', '4', '5', '6'],
  ],
];
const NOT_WAITING = 'UPDATE job SET tries = 1 WHERE id IN (SELECT id FROM job FOR UPDATE NOWAIT)';

for (const major of [14, 18] as const) {
  test(`rows that are skipped or not waited for are those of the one evaluation, on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    const connectionString = server.url('postgres');
    await initialiseDatabase({ connectionString });
    await server.run('postgres', SCHEMA);
    await using other = await openCapturedSession(connectionString);
    await using session = await openCapturedSession(connectionString);
    const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
    t.teardown(() => finisher.close());
    const before = await dump(other.client, ['job']);
    await other.client.query('BEGIN; SELECT FROM job WHERE id < 3 FOR UPDATE');
    for (const [sql, ids] of SKIPPING) {
      const gid = newGid();
      await session.begin(gid);
      const outcome = await session.run(sql);
      if (outcome.kind !== 'ran') return t.fail(outcome.refusal.message);
      t.is(outcome.plan.kind, 'capture');
      t.deepEqual(outcome.answer.rows.flat().map(String).toSorted(), ids, sql);
      await session.commit();
      t.like(await finisher.rollback(gid, 'shop/db'), { result: 'success' }, sql);
      t.deepEqual(await dump(other.client, ['job']), before, sql);
    }
    await session.begin(newGid());
    await t.throwsAsync(session.run(NOT_WAITING), { message: /could not obtain lock on row/ });
    await session.rollback();
    await other.client.query('ROLLBACK');
    t.deepEqual(await dump(other.client, ['job']), before);
  });
}
