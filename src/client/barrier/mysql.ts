/** The barrier in MySQL and MariaDB, through `mysql2/promise`: the user hands in the pool, so that nothing is imported here. */
import { attemptsOf, commitUnknown, outsideTransaction, overBeforeCommit, retrying, someCause } from './attempts.ts';
import { checkCleanOptions, cleanRows, type OldRows } from './clean.ts';
import { fenceMessage, passBarrier, tableName, type BarrierRow, type BarrierRows } from './rows.ts';
import type { BarrierStore } from './types.ts';

/** What the barrier asks of a connection; a `Connection` or `PoolConnection` of `mysql2/promise` has it. */
export interface MysqlConnection {
  query(text: string, values?: unknown): Promise<readonly [unknown, unknown]>;
}

/** A connection that came from a pool. */
export interface MysqlPoolConnection extends MysqlConnection {
  release(): void;
  destroy(): void;
}

/** What the barrier asks of a pool; a `Pool` of `mysql2/promise` has it (of `mysql2`, its `promise()`). */
export interface MysqlPool<Tx extends MysqlPoolConnection> {
  getConnection(): Promise<Tx>;
}

export interface MysqlBarrierOptions {
  /** `table` or `schema.table`; DTM's `dtm_barrier.barrier` when absent. It needs its unique key, and InnoDB. */
  readonly table?: string;
  /** Of the local transactions that `call` begins; the session's when absent. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable';
  /** How often `call` tries a local transaction that met a deadlock; 5 when absent. */
  readonly attempts?: number;
}

// Error numbers: MySQL documentation, "Server Error Message Reference"; MariaDB documentation, "MariaDB Error Codes".

/**
 * The transaction is rolled back and has had no effect: ER_LOCK_DEADLOCK; ER_CHECKREAD, which MariaDB answers under
 * `innodb_snapshot_isolation` when a row that is to be locked has changed since the snapshot.
 */
const PASSING: ReadonlySet<unknown> = new Set([1213, 1020]);

/** Answers to COMMIT that say that it did not happen: a deadlock between nodes of a cluster, a lock that was waited for in vain. */
const NOT_COMMITTED: ReadonlySet<unknown> = new Set([1213, 1205, 1020]);

/** `SERVER_STATUS_IN_TRANS` of the client/server protocol. */
const IN_TRANSACTION = 1;

/** The barrier of the database that `pool` leads to. Throws `CodedError` `BAD_REQUEST` for options that cannot be. */
export function mysqlBarrier<Tx extends MysqlPoolConnection>(
  pool: MysqlPool<Tx>,
  options: MysqlBarrierOptions = {},
): BarrierStore<Tx, MysqlConnection> {
  const statements = statementsFor(tableName(options.table));
  const max = attemptsOf(options.attempts);
  const { isolation } = options;
  return {
    call: (branch, work, choice = {}) =>
      retrying({ max, isPassing }, () =>
        inTransaction(pool, isolation, (tx) => passBarrier(rowsOf(tx, statements), branch, choice, () => work(tx))),
      ),
    within: (tx, branch, work, choice = {}) => passBarrier(rowsOf(tx, statements), branch, choice, () => work(tx)),
    queryPrepared: (gid) =>
      retrying({ max, isPassing }, () =>
        inTransaction(pool, undefined, (tx) => fenceMessage(rowsOf(tx, statements), gid)),
      ),
    async clean(cleaning) {
      checkCleanOptions(cleaning);
      const connection = await pool.getConnection();
      return lending(connection, async () => {
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
  readonly before: string;
  readonly date: string;
  readonly list: string;
  readonly delete: string;
}

function statementsFor(table: string): Statements {
  const key = 'gid=? and branch_id=? and op=? and barrier_id=?';
  const time = (expression: string): string => `date_format(${expression}, '%Y-%m-%d %H:%i:%s')`;
  return {
    // The text of DTM's clients (client/dtmcli/dtmimp/utils.go, `InsertBarrier`).
    insert: `insert ignore into ${table}(trans_type, gid, branch_id, op, barrier_id, reason) values(?,?,?,?,?,?)`,
    // Locking, and so of the latest committed row: under REPEATABLE READ a plain reading has the snapshot's age. The insert has
    // locked it so already.
    read: `select gid, reason from ${table} where ${key} lock in share mode`,
    remove: `delete from ${table} where ${key}`,
    before: `select ${time('now() - interval ? second')} as \`before\``,
    date: `update ${table} set create_time = now() where create_time is null limit ?`,
    list: `select id, gid, ${time('create_time')} as created from ${table} where create_time < ? and create_time >= ? and (create_time > ? or id > ?) order by create_time, id limit ?`,
    delete: `delete from ${table} where id in (?)`,
  };
}

/** What a driver with `query` for a statement that changes rows answers. */
interface ChangeHeader {
  readonly affectedRows: number;
  readonly serverStatus?: number;
}

function rowsOf(tx: MysqlConnection, statements: Statements): BarrierRows {
  return {
    async insert(row) {
      const { transType, gid, branchId, op, barrierId, reason } = row;
      const values = [transType, gid, branchId, op, barrierId, reason];
      const [header] = (await tx.query(statements.insert, values)) as readonly [ChangeHeader, unknown];
      const { affectedRows } = header;
      if (!isInTransaction(header)) {
        if (affectedRows === 1) await tx.query(statements.remove, keyOf(row));
        throw outsideTransaction();
      }
      return affectedRows === 1;
    },
    async read(row) {
      const [rows] = await tx.query(statements.read, keyOf(row));
      return (rows as readonly { readonly gid: string; readonly reason: string }[])[0];
    },
  };
}

function isInTransaction({ serverStatus = IN_TRANSACTION }: ChangeHeader): boolean {
  return (serverStatus & IN_TRANSACTION) !== 0;
}

function keyOf({ gid, branchId, op, barrierId }: BarrierRow): unknown[] {
  return [gid, branchId, op, barrierId];
}

/** Carries `work` out on a connection of its own, and commits. */
async function inTransaction<Tx extends MysqlPoolConnection, T>(
  pool: MysqlPool<Tx>,
  isolation: MysqlBarrierOptions['isolation'],
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  const connection = await pool.getConnection();
  return lending(connection, async () => {
    if (isolation !== undefined) await connection.query(`set transaction isolation level ${isolation}`);
    await connection.query('start transaction');
    const result = await work(connection);
    // A deadlock that the work has swallowed ended the transaction, barrier and all; COMMIT would be a success nevertheless.
    const [header] = (await connection.query('do 0')) as readonly [ChangeHeader, unknown];
    if (!isInTransaction(header)) throw overBeforeCommit();
    try {
      await connection.query('commit');
    } catch (error) {
      throw NOT_COMMITTED.has(numberOf(error)) ? error : commitUnknown(error);
    }
    return result;
  });
}

/** Gives the connection back when `use` has ended: rolled back when it failed, destroyed when not even that went well. */
async function lending<T>(connection: MysqlPoolConnection, use: () => Promise<T>): Promise<T> {
  let isBroken = false;
  try {
    return await use();
  } catch (error) {
    await connection.query('rollback').catch(() => {
      isBroken = true;
    });
    throw error;
  } finally {
    if (isBroken) connection.destroy();
    else connection.release();
  }
}

function isPassing(error: unknown): boolean {
  return someCause(error, (cause) => PASSING.has(numberOf(cause)));
}

/** The server's number of an error. Errors of Node.js have an `errno` too, which is negative. */
function numberOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'errno' in error ? error.errno : undefined;
}

async function oldRows(
  connection: MysqlConnection,
  statements: Statements,
  olderThanMs: number,
  max: number,
): Promise<OldRows<{ readonly id: number | string; readonly created: string }>> {
  const [answer] = await connection.query(statements.before, [Math.ceil(olderThanMs / 1000)]);
  const before = (answer as readonly { readonly before: string }[])[0]?.before;
  const changed = (text: string, values: readonly unknown[]): Promise<number> =>
    retrying({ max, isPassing }, async () => ((await connection.query(text, values))[0] as ChangeHeader).affectedRows);
  return {
    async list(place, limit) {
      // Rows may be without a time, if somebody wrote them so: they get the present one, and go when they are that old.
      await changed(statements.date, [limit]);
      const { created, id } = place ?? { created: '1000-01-01 00:00:00', id: 0 };
      const [rows] = await connection.query(statements.list, [before, created, created, id, limit]);
      return (rows as readonly OldRowColumns[]).map((row) => ({
        gid: row.gid,
        place: { id: row.id, created: row.created },
      }));
    },
    delete: (places) => changed(statements.delete, [places.map(({ id }) => id)]),
  };
}

interface OldRowColumns {
  readonly id: number | string;
  readonly gid: string;
  readonly created: string;
}
