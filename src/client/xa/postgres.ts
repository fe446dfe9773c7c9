/** XA branches in PostgreSQL: `PREPARE TRANSACTION`, through a pool of `pg` that the user hands in. */
import { CodedError } from '../../contract/errors.ts';
import {
  lending,
  postgresBarrier,
  stateOf,
  type PostgresPool,
  type PostgresPoolConnection,
} from '../barrier/postgres.ts';
import { type XaDatabase, type XaDialect, xaDatabase } from './database.ts';

export interface PostgresXaOptions {
  /** The barrier's table; DTM's `dtm_barrier.barrier` when absent. */
  readonly table?: string;
  /** How long a statement of a local phase, or a rollback for a local phase, waits for a lock. Default 5,000. */
  readonly lockTimeoutMs?: number;
}

const LOCK_TIMEOUT_MS = 5000;

/**
 * XA branches in the database that `pool` leads to. Its server needs `max_prepared_transactions` above 0, and the barrier's
 * table. Throws `CodedError` BAD_REQUEST for options that cannot be.
 */
export function postgresXa<Tx extends PostgresPoolConnection>(
  pool: PostgresPool<Tx>,
  { table, lockTimeoutMs = LOCK_TIMEOUT_MS }: PostgresXaOptions = {},
): XaDatabase<Tx> {
  const barrier = postgresBarrier(pool, { lockTimeoutMs, ...(table === undefined ? {} : { table }) });
  const dialect: XaDialect<Tx> = {
    prepared: (xid, use) =>
      lending(pool, async (tx) => {
        await tx.query(`begin; set local lock_timeout = ${lockTimeoutMs}`);
        const value = await use(tx);
        await prepare(tx, xid);
        return value;
      }),
    finish: (xid, verb) => lending(pool, (connection) => finish(connection, xid, verb)),
    isPrepared: (xid) =>
      lending(pool, async (connection) => {
        const text = 'select 1 from pg_prepared_xacts where gid = $1 and database = current_database()';
        return (await connection.query(text, [xid])).rowCount === 1;
      }),
    isLockTimeout: (error) => stateOf(error) === '55P03',
  };
  return xaDatabase(dialect, barrier);
}

async function prepare(connection: PostgresPoolConnection, xid: string): Promise<void> {
  try {
    const { command } = await connection.query(`prepare transaction ${quoted(xid)}`);
    // As with COMMIT: where a statement has failed, the server answers ROLLBACK, and that is no error to it.
    if (command === 'PREPARE TRANSACTION' || command === 'PREPARE') return;
  } catch (error) {
    if (stateOf(error) !== '55000') throw error;
    throw new CodedError('BAD_REQUEST', 'the PostgreSQL server does not prepare transactions', {
      hint: 'Set max_prepared_transactions above 0 in postgresql.conf and restart the server.',
      cause: error,
    });
  }
  throw new CodedError('TRANSACTION_ROLLED_BACK', 'a statement of the local phase failed and was ignored', {
    hint: 'Let the error of a failed statement through, or run the statement behind a savepoint.',
  });
}

async function finish(
  connection: PostgresPoolConnection,
  xid: string,
  verb: 'commit' | 'rollback',
): Promise<'finished' | 'unknown'> {
  try {
    await connection.query(`${verb} prepared ${quoted(xid)}`);
    return 'finished';
  } catch (error) {
    // undefined_object: PostgreSQL documentation, appendix A.
    if (stateOf(error) === '42704') return 'unknown';
    throw error;
  }
}

/** Gids and branch ids hold no quotes and no backslashes; this does not rely on it. */
function quoted(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
