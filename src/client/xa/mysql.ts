/** XA branches in MySQL and MariaDB, through a pool of `mysql2/promise` that the user hands in. */
import { CodedError } from '../../contract/errors.ts';
import type { Instant } from '../../contract/transaction.ts';
import { at, now } from '../../platform/clock.ts';
import { mysqlBarrier, type MysqlPool, type MysqlPoolConnection } from '../barrier/mysql.ts';
import { OngoingError } from '../errors.ts';
import { type XaDatabase, type XaDialect, xaDatabase } from './database.ts';

export interface MysqlXaOptions {
  /** The barrier's table; DTM's `dtm_barrier.barrier` when absent. */
  readonly table?: string;
  /** How long a statement of a local phase waits for a lock; MySQL counts in whole seconds. Default 5,000. */
  readonly lockTimeoutMs?: number;
}

const LOCK_TIMEOUT_MS = 5000;

/** The part of an XA identifier that holds `<gid>-<branch id>`: MySQL documentation, "XA Transaction SQL Statements". */
const XID_BYTES_MAX = 64;

// Error numbers: MySQL documentation, "Server Error Message Reference".
const ER_LOCK_WAIT_TIMEOUT = 1205;
const ER_XAER_NOTA = 1397;
const ER_XAER_DUPID = 1440;

const TRIES_MAX = 20;
const PAUSE_MS = 50;

/**
 * XA branches in the database that `pool` leads to, which needs the barrier's table. With MySQL 8 the user needs the privilege
 * XA_RECOVER_ADMIN. How long a rollback waits for a local phase that is still under way is the server's
 * `innodb_lock_wait_timeout`: keep it below the time limits of calls. Throws `CodedError` BAD_REQUEST for options that cannot be.
 */
export function mysqlXa<Tx extends MysqlPoolConnection>(
  pool: MysqlPool<Tx>,
  { table, lockTimeoutMs = LOCK_TIMEOUT_MS }: MysqlXaOptions = {},
): XaDatabase<Tx> {
  const dialect: XaDialect<Tx> = {
    prepared: async (xid, use) => {
      const name = quoted(xid);
      const connection = await pool.getConnection();
      try {
        const seconds = Math.max(1, Math.ceil(lockTimeoutMs / 1000));
        await connection.query(`set session innodb_lock_wait_timeout = ${seconds}`);
        await connection.query(`xa start ${name}`);
        const value = await use(connection);
        await connection.query(`xa end ${name}`);
        await connection.query(`xa prepare ${name}`);
        return value;
      } finally {
        // The server lets nobody else finish the branch while the session that prepared it lives; and it rolls back what a
        // session that ends has not prepared.
        connection.destroy();
      }
    },
    finish: (xid, verb) => finish(pool, xid, verb),
    isPrepared: (xid) => lending(pool, (connection) => isPrepared(connection, xid)),
    // A second branch of one name is refused at once instead of waiting for the first.
    isLockTimeout: (error) => [ER_LOCK_WAIT_TIMEOUT, ER_XAER_DUPID].includes(numberOf(error) ?? 0),
  };
  return xaDatabase(dialect, mysqlBarrier(pool, table === undefined ? {} : { table }));
}

/** A branch that is listed but not to be had is that of a session which the server has not yet noticed to be gone. */
function finish<Tx extends MysqlPoolConnection>(
  pool: MysqlPool<Tx>,
  xid: string,
  verb: 'commit' | 'rollback',
): Promise<'finished' | 'unknown'> {
  return lending(pool, async (connection) => {
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      if (tries > 0) await pause(PAUSE_MS);
      try {
        await connection.query(`xa ${verb} ${quoted(xid)}`);
        return 'finished';
      } catch (error) {
        if (numberOf(error) !== ER_XAER_NOTA) throw error;
      }
      if (!(await isPrepared(connection, xid))) return 'unknown';
    }
    throw new OngoingError(`the session that prepared ${xid} has not ended yet`);
  });
}

async function isPrepared(connection: MysqlPoolConnection, xid: string): Promise<boolean> {
  const [rows] = await connection.query('xa recover');
  // MySQL gives the name as text, MariaDB as bytes.
  return (rows as readonly { readonly data: string | Buffer }[]).some(({ data }) => String(data) === xid);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    at((now() + ms) as Instant, resolve);
  });
}

async function lending<Tx extends MysqlPoolConnection, T>(
  pool: MysqlPool<Tx>,
  use: (connection: Tx) => Promise<T>,
): Promise<T> {
  const connection = await pool.getConnection();
  let isBroken = true;
  try {
    const value = await use(connection);
    isBroken = false;
    return value;
  } finally {
    if (isBroken) connection.destroy();
    else connection.release();
  }
}

/** The name as a literal. Gids and branch ids are of ASCII characters that need no escape; this does not rely on it. */
function quoted(xid: string): string {
  if (Buffer.byteLength(xid) > XID_BYTES_MAX || /['\\]/.test(xid)) {
    throw new CodedError('BAD_GID', `"${xid}" cannot be the name of an XA branch in MySQL`, {
      hint: `Use gids that, with "-" and the branch id behind, have at most ${XID_BYTES_MAX} bytes.`,
    });
  }
  return `'${xid}'`;
}

function numberOf(error: unknown): number | undefined {
  const number = typeof error === 'object' && error !== null && 'errno' in error ? error.errno : undefined;
  return typeof number === 'number' ? number : undefined;
}
