/**
 * A gate in a database: while it is closed, whoever wants to write to the table waits, and the demo can see that somebody does.
 * So the demo stops the world at a chosen point without guessing how long anything takes. It is a plain table lock
 * (https://www.postgresql.org/docs/18/explicit-locking.html#LOCKING-TABLES), taken straight at the database.
 */
import pg from 'pg';
import { until } from '../support/until.ts';

export interface Gate extends AsyncDisposable {
  /** Resolves when a writer stands before the gate. */
  isWaitedAt(signal: AbortSignal): Promise<void>;
  /** Lets everybody through; opening an open gate does nothing. */
  open(): Promise<void>;
}

/** Closes `table` to writers, once those that are in it have left. `url` logs in as the owner of the table. */
export async function closeGate(url: string, table: string): Promise<Gate> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  // The server may be stopped under an open gate when the demo ends early.
  client.on('error', () => undefined);
  await client.connect();
  let isClosed = true;
  const open = async (): Promise<void> => {
    if (!isClosed) return;
    isClosed = false;
    await client.end();
  };
  try {
    await client.query("set lock_timeout = '5s'");
    await client.query('begin');
    await client.query(`lock table ${client.escapeIdentifier(table)} in share mode`);
  } catch (error) {
    await open();
    throw error;
  }
  return {
    isWaitedAt: async (signal) => {
      await until(
        `somebody waits to write to the table ${table}`,
        async () => {
          const waiting = await client.query(
            // Not pg_stat_activity: inside a transaction that view stays as it was when it was first read.
            'select from pg_catalog.pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))',
          );
          return waiting.rowCount === 0 ? undefined : true;
        },
        { signal },
      );
    },
    open,
    [Symbol.asyncDispose]: open,
  };
}
