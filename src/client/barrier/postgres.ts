/** The barrier in PostgreSQL, through `pg`: the user hands in the pool, so that nothing is imported here. */
import { CodedError } from '../../contract/errors.ts';
import { attemptsOf, commitUnknown, outsideTransaction, overBeforeCommit, retrying, someCause } from './attempts.ts';
import { checkCleanOptions, cleanRows, type OldRows } from './clean.ts';
import { fenceMessage, passBarrier, tableName, type BarrierRow, type BarrierRows } from './rows.ts';
import type { BarrierStore } from './types.ts';

/** What the barrier asks of a connection; a `Client` or `PoolClient` of `pg` has it. */
export interface PostgresConnection {
  query(
    text: string,
    values?: unknown[],
  ): Promise<{ readonly rows: readonly object[]; readonly rowCount: number | null; readonly command: string }>;
  /** `I` outside of a transaction. From `pg` 8.20 on. */
  getTransactionStatus?(): string | null;
}

/** A connection that came from a pool. */
export interface PostgresPoolConnection extends PostgresConnection {
  on(event: 'error', listener: (error: Error) => void): unknown;
  removeListener(event: 'error', listener: (error: Error) => void): unknown;
  release(destroy?: boolean): void;
}

/** What the barrier asks of a pool; a `Pool` of `pg` has it. */
export interface PostgresPool<Tx extends PostgresPoolConnection> {
  connect(): Promise<Tx>;
  /** Never called: it is here because the compiler finds out `Tx` by comparing the signatures of both sides in pairs. */
  connect(callback: never): void;
}

export interface PostgresBarrierOptions {
  /** `table` or `schema.table`; DTM's `dtm_barrier.barrier` when absent. Its unique key must be named `uniq_barrier`. */
  readonly table?: string;
  /** Of the local transactions that `call` begins; the database's default when absent. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable';
  /**
   * How long a statement in a local transaction that `call` begins may wait for a lock, the barrier's own ones included: an undoing
   * operation waits for the operation that it undoes. 10,000 ms when absent.
   */
  readonly lockTimeoutMs?: number;
  /** How often `call` tries a local transaction that met a deadlock or a failed serialization; 5 when absent. */
  readonly attempts?: number;
}

const LOCK_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS_MAX = 2_147_483_647;

/** serialization_failure and deadlock_detected: the transaction has had no effect. PostgreSQL documentation, appendix A. */
const PASSING: ReadonlySet<string> = new Set(['40001', '40P01']);

/** Classes of errors that say nothing about a commit: connection lost, server stopping, system and internal errors. */
const NO_ANSWER = /^(?:08|57|58|XX)/;

/** The barrier of the database that `pool` leads to. Throws `CodedError` `BAD_REQUEST` for options that cannot be. */
export function postgresBarrier<Tx extends PostgresPoolConnection>(
  pool: PostgresPool<Tx>,
  options: PostgresBarrierOptions = {},
): BarrierStore<Tx, PostgresConnection> {
  const statements = statementsFor(tableName(options.table));
  const max = attemptsOf(options.attempts);
  const begin = beginStatement(options.isolation, lockTimeoutOf(options.lockTimeoutMs));
  const beginReadCommitted = beginStatement('read committed', lockTimeoutOf(options.lockTimeoutMs));
  return {
    call: (branch, work, choice = {}) =>
      retrying({ max, isPassing }, () =>
        inTransaction(pool, begin, (tx) => passBarrier(rowsOf(tx, statements), branch, choice, () => work(tx))),
      ),
    within: (tx, branch, work, choice = {}) => passBarrier(rowsOf(tx, statements), branch, choice, () => work(tx)),
    // Under READ COMMITTED: the reading has to see what the writing has waited for.
    queryPrepared: (gid) =>
      retrying({ max, isPassing }, () =>
        inTransaction(pool, beginReadCommitted, (tx) => fenceMessage(rowsOf(tx, statements), gid)),
      ),
    async clean(cleaning) {
      checkCleanOptions(cleaning);
      return lending(pool, async (connection) => {
        const old = await oldRows(connection, statements, cleaning.olderThanMs, max);
        return cleanRows(old, cleaning);
      });
    },
  };
}

interface Statements {
  readonly insert: string;
  readonly read: string;
  readonly remove: string;
  readonly date: string;
  readonly list: string;
  readonly delete: string;
}

function statementsFor(table: string): Statements {
  const key = 'gid=$1 and branch_id=$2 and op=$3 and barrier_id=$4';
  return {
    // The text of DTM's clients (client/dtmcli/dtmimp/utils.go, `InsertBarrier`).
    insert: `insert into ${table}(trans_type, gid, branch_id, op, barrier_id, reason) values($1,$2,$3,$4,$5,$6) on conflict ON CONSTRAINT uniq_barrier do nothing`,
    read: `select gid, reason from ${table} where ${key}`,
    remove: `delete from ${table} where ${key}`,
    date: `update ${table} set create_time = now() where id in (select id from ${table} where create_time is null limit $1 for update skip locked)`,
    list: `select id::text as number, gid, create_time::text as created from ${table} where create_time < $1::timestamptz and ($2::timestamptz is null or (create_time, id) > ($2::timestamptz, $3::bigint)) order by create_time, id limit $4`,
    delete: `delete from ${table} where id = any($1::bigint[])`,
  };
}

function rowsOf(tx: PostgresConnection, statements: Statements): BarrierRows {
  return {
    async insert(row) {
      const { transType, gid, branchId, op, barrierId, reason } = row;
      const { rowCount } = await tx.query(statements.insert, [transType, gid, branchId, op, barrierId, reason]);
      if (tx.getTransactionStatus?.() === 'I') {
        if (rowCount === 1) await tx.query(statements.remove, keyOf(row));
        throw outsideTransaction();
      }
      return rowCount === 1;
    },
    async read(row) {
      const { rows } = await tx.query(statements.read, keyOf(row));
      return rows[0] as { readonly gid: string; readonly reason: string } | undefined;
    },
  };
}

function keyOf({ gid, branchId, op, barrierId }: BarrierRow): unknown[] {
  return [gid, branchId, op, barrierId];
}

/** Both in one round trip: a simple query may hold several statements. */
function beginStatement(isolation: PostgresBarrierOptions['isolation'], lockTimeoutMs: number): string {
  const level = isolation === undefined ? '' : ` isolation level ${isolation}`;
  return `begin${level}; set local lock_timeout = ${lockTimeoutMs}`;
}

/** Carries `work` out on a connection of its own, and commits. */
async function inTransaction<Tx extends PostgresPoolConnection, T>(
  pool: PostgresPool<Tx>,
  begin: string,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  return lending(pool, async (connection) => {
    await connection.query(begin);
    const result = await work(connection);
    await commit(connection);
    return result;
  });
}

async function commit(connection: PostgresConnection): Promise<void> {
  // COMMIT outside of a transaction is a success with a warning.
  if (connection.getTransactionStatus?.() === 'I') throw overBeforeCommit();
  let command: string;
  try {
    ({ command } = await connection.query('commit'));
  } catch (error) {
    throw isAnswer(error) ? error : commitUnknown(error);
  }
  // COMMIT of a transaction in which a statement failed is answered ROLLBACK, and is no error to the server.
  if (command !== 'COMMIT') {
    throw new CodedError('TRANSACTION_ROLLED_BACK', 'a statement of the local transaction failed and was ignored', {
      hint: 'Let the error of a failed statement through, or run the statement behind a savepoint.',
    });
  }
}

/**
 * Takes a connection from the pool, and gives it back when `use` has ended: rolled back when it failed, destroyed when not even that went
 * well. Meanwhile somebody listens for its end, which would else end the process: the pool itself listens to idle connections only.
 */
export async function lending<Tx extends PostgresPoolConnection, T>(
  pool: PostgresPool<Tx>,
  use: (connection: Tx) => Promise<T>,
): Promise<T> {
  const connection = await pool.connect();
  let isBroken = false;
  const onError = (): void => {
    isBroken = true;
  };
  connection.on('error', onError);
  try {
    return await use(connection);
  } catch (error) {
    await connection.query('rollback').catch(onError);
    throw error;
  } finally {
    connection.removeListener('error', onError);
    connection.release(isBroken);
  }
}

/** True when the server has said that the transaction is not committed. */
function isAnswer(error: unknown): boolean {
  const code = stateOf(error);
  return code !== undefined && !NO_ANSWER.test(code);
}

function isPassing(error: unknown): boolean {
  return someCause(error, (cause) => PASSING.has(stateOf(cause) ?? ''));
}

/** The SQLSTATE of an error of the server; errors of Node.js have a `code` of their own, which is never five digits and capitals. */
export function stateOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in error ? code : undefined;
}

async function oldRows(
  connection: PostgresConnection,
  statements: Statements,
  olderThanMs: number,
  max: number,
): Promise<OldRows<{ readonly id: string; readonly created: string }>> {
  const { rows } = await connection.query("select (now() - $1 * interval '1 millisecond')::text as before", [
    olderThanMs,
  ]);
  const { before } = rows[0] as { readonly before: string };
  return {
    async list(place, limit) {
      // Rows that DTM's own table holds have no time: they get the present one, and go when they are that old.
      await connection.query(statements.date, [limit]);
      const values = [before, place?.created ?? null, place?.id ?? null, limit];
      const found = (await connection.query(statements.list, values)).rows as readonly OldRowColumns[];
      return found.map(({ number, gid, created }) => ({ gid, place: { id: number, created } }));
    },
    async delete(places) {
      const ids = places.map(({ id }) => id);
      return retrying({ max, isPassing }, async () => (await connection.query(statements.delete, [ids])).rowCount ?? 0);
    },
  };
}

interface OldRowColumns {
  /** The id, under another name: ORDER BY would take the name of an output column for that, and sort texts. */
  readonly number: string;
  readonly gid: string;
  readonly created: string;
}

function lockTimeoutOf(ms: number = LOCK_TIMEOUT_MS): number {
  if (Number.isInteger(ms) && ms >= 1 && ms <= LOCK_TIMEOUT_MS_MAX) return ms;
  throw new CodedError('BAD_REQUEST', `${ms} is no lock timeout`, { hint: `Use 1 to ${LOCK_TIMEOUT_MS_MAX} ms.` });
}
