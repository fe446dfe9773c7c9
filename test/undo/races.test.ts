import test from 'ava';
import pg from 'pg';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { newGid } from '../../src/platform/random.ts';
import { openLog } from '../../src/platform/log.ts';
import { dump, openCapturedSession } from './captured-session.ts';
import { JOINED_REALM } from './joined-statements.ts';

interface World extends AsyncDisposable {
  readonly server: PostgresServer;
  readonly url: string;
  /** Another client, outside any global transaction. */
  readonly other: pg.Client;
  dump(): Promise<Record<string, readonly string[]>>;
  /** Ends a branch by rollback. */
  undo(gid: Gid): Promise<void>;
}

async function openWorld(major: PostgresMajor): Promise<World> {
  const server = await startPostgres({ major });
  const url = server.url('postgres');
  await initialiseDatabase({ connectionString: url });
  await server.run('postgres', `${JOINED_REALM.schema} ${JOINED_REALM.data}`);
  const other = new pg.Client({ connectionString: url });
  await other.connect();
  const finisher = createFinisher({ connection: { connectionString: url }, log: openLog('test', 'silent') });
  return {
    server,
    url,
    other,
    dump: () => dump(other, JOINED_REALM.tables),
    async undo(gid) {
      const { result, detail } = await finisher.rollback(gid, 'shop/db');
      if (result !== 'success') throw new Error(`${result} ${detail ?? ''}`);
    },
    async [Symbol.asyncDispose]() {
      await other.end();
      await finisher.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** The image is of the row as the other client left it, and not as the statement first saw it. */
const WAITING: readonly (readonly [sql: string, from?: 18])[] = [
  [
    'UPDATE stock SET qty = stock.qty + d.amount FROM delta d WHERE d.id = stock.id AND d.amount = 10 RETURNING stock.qty',
  ],
  ['DELETE FROM stock USING delta d WHERE d.id = stock.id AND d.amount = 10 RETURNING qty'],
  ['WITH u AS (UPDATE stock SET qty = qty + 10 WHERE id = 1 RETURNING qty) SELECT * FROM u'],
  [
    'WITH u AS (UPDATE stock SET qty = stock.qty + 10 FROM delta d WHERE d.id = stock.id AND d.id = 1 RETURNING stock.qty) INSERT INTO audit (what) SELECT qty FROM u',
  ],
  [
    'MERGE INTO stock USING delta d ON d.id = stock.id AND d.id = 1 WHEN MATCHED THEN UPDATE SET qty = stock.qty + 10 RETURNING qty',
    18,
  ],
];

for (const major of [14, 18] as const) {
  test(`a change that waited for another client is undone to what that one left, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await using session = await openCapturedSession(world.url);
    for (const [sql, from] of WAITING) {
      if (from !== undefined && major < from) continue;
      await world.other.query(JOINED_REALM.data);
      await world.other.query("BEGIN; UPDATE stock SET qty = 100, note = 'other' WHERE id = 1");
      const gid = newGid();
      await session.begin(gid);
      const running = session.run(sql);
      await until('the statement waits for a lock', async () => {
        const { rows } = await world.other.query('SELECT 1 FROM pg_locks WHERE NOT granted');
        return rows[0];
      });
      await world.other.query('COMMIT');
      t.is((await running).kind, 'ran', sql);
      await session.commit();
      const changed = await world.dump();
      await world.undo(gid);
      const undone = await world.dump();
      t.notDeepEqual(changed, undone, sql);
      await world.other.query(JOINED_REALM.data);
      await world.other.query("UPDATE stock SET qty = 100, note = 'other' WHERE id = 1");
      t.deepEqual(undone, await world.dump(), sql);
    }
  });

  test(`rows and unique values stay locked however they are reached, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await using holder = await openCapturedSession(world.url);
    await using session = await openCapturedSession(world.url);
    const table: readonly (readonly [held: string, wanted: string])[] = [
      ['UPDATE part SET v = 9 WHERE id = 1', "UPDATE part_eu SET v = 8 WHERE id = 1 AND region = 'eu'"],
      ['UPDATE part_small SET v = 9', 'DELETE FROM part WHERE id = 3'],
      ['UPDATE part_other SET v = 9 WHERE id = 300', 'DELETE FROM part_big'],
      ['DELETE FROM part WHERE id = 1', "INSERT INTO part_eu VALUES (1, 'eu', 0)"],
      ["UPDATE keyed SET v = 9 WHERE a = 1 AND b = 'x'", "DELETE FROM keyed WHERE b = 'x'"],
      ["UPDATE keyed SET b = 'moved' WHERE a = 2", "INSERT INTO keyed VALUES (2, 'x', 0)"],
      [
        'WITH d AS (DELETE FROM stock WHERE id = 1 RETURNING code) INSERT INTO audit (what) SELECT code FROM d',
        "INSERT INTO stock (code) VALUES ('c1')",
      ],
      [
        'UPDATE stock SET code = d.old FROM delta d WHERE d.id = stock.id AND d.amount = 10',
        "INSERT INTO stock (code) VALUES ('c1')",
      ],
    ];
    for (const [held, wanted] of table) {
      await world.other.query(JOINED_REALM.data);
      const gid = newGid();
      await holder.begin(gid);
      t.is((await holder.run(held)).kind, 'ran', held);
      await holder.commit();
      await session.begin(newGid());
      const error = await t.throwsAsync(session.run(wanted), { code: '55P03' } as never, `${held} / ${wanted}`);
      t.is((error as { constraint?: string } | undefined)?.constraint, gid);
      await session.rollback();
      await world.undo(gid);
    }
  });
}
