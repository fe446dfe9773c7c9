/** Proves a statement on a real server: the same answer and the same rows as without a sidecar, kept by a commit and gone by a rollback. */
import type { ExecutionContext } from 'ava';
import type { Finisher } from '../../proxy/branch/finish.ts';
import { createFinisher } from '../../proxy/postgres/finish.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { newGid } from '../../src/platform/random.ts';
import { openLog } from '../../src/platform/log.ts';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { answerOf, dump, openCapturedSession, query, type CapturedSession } from './captured-session.ts';
import type { Shape } from './statements.ts';

/** Tables, their rows, and how both are set back. */
export interface Realm {
  readonly schema: string;
  /** Empties and fills the tables. */
  readonly data: string;
  readonly tables: readonly string[];
  /** Sets sequences back, so that the same statement makes the same rows again. */
  readonly resetSequences: string;
}

/** A server with the tables of a realm, a session that captures, and what ends its branches. */
export interface World extends AsyncDisposable {
  readonly realm: Realm;
  readonly server: PostgresServer;
  readonly session: CapturedSession;
  readonly finisher: Finisher;
}

/** Starts a server for a realm. */
export async function openWorld(major: PostgresMajor, realm: Realm): Promise<World> {
  // Rows that are put back by DELETE and INSERT stay where they are.
  const server = await startPostgres({ major, settings: { autovacuum: 'off' } });
  const connectionString = server.url('postgres');
  await initialiseDatabase({ connectionString });
  await server.run('postgres', `${realm.schema} ${realm.data}`);
  const session = await openCapturedSession(connectionString);
  const finisher = createFinisher({ connection: { connectionString }, log: openLog('test', 'silent') });
  return {
    realm,
    server,
    session,
    finisher,
    async [Symbol.asyncDispose]() {
      await session[Symbol.asyncDispose]();
      await finisher.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** The statement as the client wrote it, in a local transaction that is then rolled back. */
async function original({ session: { client }, realm }: World, shape: Shape) {
  await query(client, realm.resetSequences);
  await client.query('BEGIN');
  const answer = answerOf(await query(client, shape.sql, shape.parameters));
  await client.query('SET CONSTRAINTS ALL IMMEDIATE');
  const after = await dump(client, realm.tables);
  await client.query('ROLLBACK');
  await query(client, realm.resetSequences);
  return { answer, after };
}

/** The client gets what it would get without a sidecar; a commit keeps just that, and a rollback leaves no trace. */
export async function proveShape(t: ExecutionContext, world: World, shape: Shape): Promise<void> {
  const { session, finisher, realm } = world;
  const before = await dump(session.client, realm.tables);
  const expected = await original(world, shape);
  for (const operation of ['rollback', 'commit'] as const) {
    const gid = newGid();
    await query(session.client, realm.resetSequences);
    await session.begin(gid);
    const outcome = await session.run(shape.sql, shape.parameters);
    if (outcome.kind !== 'ran') return t.fail(`${shape.sql}: ${outcome.refusal.message}`);
    t.is(outcome.plan.kind, 'capture', shape.sql);
    t.deepEqual(
      { ...outcome.answer, rows: sorted(outcome.answer.rows) },
      { ...expected.answer, rows: sorted(expected.answer.rows) },
      shape.sql,
    );
    await session.commit();
    t.deepEqual(await dump(session.client, realm.tables), expected.after, shape.sql);
    t.like(await finisher[operation](gid, 'shop/db'), { result: 'success' }, `${operation} ${shape.sql}`);
    t.deepEqual(
      await dump(session.client, realm.tables),
      operation === 'rollback' ? before : expected.after,
      `${operation} ${shape.sql}`,
    );
    t.deepEqual(await leftovers(session), ['0', '0'], shape.sql);
  }
  await session.client.query(realm.data);
}

/** RETURNING has no promised order; before 18 ours may differ from the plain statement's. */
function sorted(rows: readonly (readonly unknown[])[]): readonly string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}

async function leftovers({ client }: CapturedSession): Promise<unknown[]> {
  const { rows } = await query(
    client,
    'SELECT (SELECT count(*) FROM atomesh.undo_record), (SELECT count(*) FROM atomesh.row_lock)',
  );
  return (rows as unknown[][])[0] ?? [];
}
