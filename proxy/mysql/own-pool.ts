/** Connections of the sidecar's own, beside those of its clients: the second phase, the barrier, what is prepared. */
import { createPool, type Pool, type PoolConnection, type PoolOptions, type QueryOptions } from 'mysql2/promise';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import { RESTORE_SETTINGS } from './undo/image.ts';

/** What `mysql2` needs to log in. */
export type OwnLogin = Pick<PoolOptions, 'host' | 'port' | 'user' | 'password' | 'ssl'>;

export interface OwnPoolOptions {
  readonly connection: OwnLogin;
  /** What they are for: the connection attribute `program_name` has it behind "atomesh". */
  readonly purpose: string;
  readonly max: number;
  /** How long one statement may take, in milliseconds. */
  readonly statementTimeoutMs: number;
  /** How long one statement may wait for a row, in seconds: the server counts no less. */
  readonly lockTimeoutS: number;
}

/** Values take the places of `?`, as the driver writes them: an array of values is a list of them. */
export interface OwnConnection {
  /** The rows of one statement. */
  rows<Row>(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** The same without names: columns may have none, or the same. */
  lists(sql: string): Promise<readonly (readonly (string | null)[])[]>;
  /** The number of rows that one statement has changed. */
  change(sql: string, values?: readonly unknown[]): Promise<number>;
}

/** Each statement by itself, committed at once, on whatever connection is free. */
export interface OwnPool extends OwnConnection {
  /** Carries `work` out in one local transaction, READ COMMITTED, that is rolled back when it rejects. */
  inTransaction<T>(work: (connection: OwnConnection) => Promise<T>): Promise<T>;
  /** Ends the connections once what is under way on them has ended. */
  end(): Promise<void>;
}

const CONNECT_MS_MAX = 5_000;
const IDLE_MS_MAX = 60_000;
/** How long to wait for a free connection. */
const TURN_MS_MAX = 30_000;
const TURNS_MAX = 20_000;
/** The server ends a statement by itself first, where it can; a connection that is silent for this much longer is given up. */
const SILENCE_MS_MAX = 3_000;

/** Connections are made when needed. A statement rejects when its connection is lost, or has been silent for too long. */
export function openOwnPool(options: OwnPoolOptions): OwnPool {
  return new MysqlOwnPool(options);
}

/** An error that the server has answered: `errno` and `sqlState` are its own. Of others nobody knows what has become of the statement. */
export interface ServerError extends Error {
  readonly errno: number;
  readonly sqlState: string;
}

/** True for what the server has said itself. The driver's and Node's errors have no SQLSTATE, or a negative number. */
export function isServerError(error: unknown): error is ServerError {
  if (!(error instanceof Error)) return false;
  const { errno, sqlState } = error as { errno?: unknown; sqlState?: unknown };
  return typeof errno === 'number' && errno > 0 && typeof sqlState === 'string' && sqlState !== '';
}

class MysqlOwnPool implements OwnPool {
  readonly #pool: Pool;
  readonly #settings: readonly string[];
  readonly #silenceMs: number;
  /** Connections that have their settings. */
  readonly #ready = new WeakSet<object>();

  constructor({ connection, purpose, max, statementTimeoutMs, lockTimeoutS }: OwnPoolOptions) {
    this.#settings = settings(statementTimeoutMs, lockTimeoutS);
    this.#silenceMs = statementTimeoutMs + SILENCE_MS_MAX;
    this.#pool = createPool({
      ...connection,
      charset: 'utf8mb4_bin',
      connectionLimit: max,
      queueLimit: TURNS_MAX,
      idleTimeout: IDLE_MS_MAX,
      connectTimeout: CONNECT_MS_MAX,
      enableKeepAlive: true,
      // Numbers beyond 53 bits, and dates, as the server writes them.
      supportBigNumbers: true,
      bigNumberStrings: true,
      dateStrings: true,
      connectAttributes: { program_name: `atomesh ${purpose}` },
    });
  }

  rows<Row>(sql: string, values?: readonly unknown[]): Promise<readonly Row[]> {
    return this.#lend((connection) => rowsOf<Row>(connection, this.#silenceMs, sql, values));
  }

  lists(sql: string): Promise<readonly (readonly (string | null)[])[]> {
    return this.#lend((connection) => listsOf(connection, this.#silenceMs, sql));
  }

  change(sql: string, values?: readonly unknown[]): Promise<number> {
    return this.#lend((connection) => changeOf(connection, this.#silenceMs, sql, values));
  }

  inTransaction<T>(work: (connection: OwnConnection) => Promise<T>): Promise<T> {
    return this.#lend(async (connection) => {
      const own: OwnConnection = {
        rows: (sql, values) => rowsOf(connection, this.#silenceMs, sql, values),
        lists: (sql) => listsOf(connection, this.#silenceMs, sql),
        change: (sql, values) => changeOf(connection, this.#silenceMs, sql, values),
      };
      await own.change('START TRANSACTION READ WRITE');
      const value = await work(own);
      await own.change('COMMIT');
      return value;
    });
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }

  /** Whatever went wrong, the connection goes back without a local transaction, or not at all. */
  async #lend<T>(use: (connection: PoolConnection) => Promise<T>): Promise<T> {
    const connection = await this.#take();
    let isFit = false;
    try {
      if (!this.#ready.has(connection.connection)) {
        for (const sql of this.#settings) await changeOf(connection, this.#silenceMs, sql);
        this.#ready.add(connection.connection);
      }
      const value = await use(connection);
      isFit = true;
      return value;
    } catch (error) {
      // What the server has not said itself came from a connection that is lost or silent: another statement would wait as long.
      if (!isConnectionError(error)) {
        isFit = await changeOf(connection, this.#silenceMs, 'ROLLBACK').then(
          () => true,
          () => false,
        );
      }
      throw error;
    } finally {
      if (isFit) connection.release();
      else connection.destroy();
    }
  }

  #take(): Promise<PoolConnection> {
    return new Promise((resolve, reject) => {
      let isLate = false;
      const cancel = at((now() + TURN_MS_MAX) as Instant, () => {
        isLate = true;
        reject(new Error(`no connection to the database was free within ${TURN_MS_MAX / 1000} s`));
      });
      this.#pool.getConnection().then(
        (connection) => {
          cancel();
          if (isLate) connection.release();
          else resolve(connection);
        },
        (error: unknown) => {
          cancel();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }
}

/** The driver has lost the connection, or waited in vain. Errors of `work` itself are not the connection's. */
function isConnectionError(error: unknown): boolean {
  if (isServerError(error) || !(error instanceof Error)) return false;
  return 'fatal' in error || 'code' in error || 'errno' in error;
}

/** MySQL limits the time of readings alone; each server reads the comment that is meant for it. */
function settings(statementTimeoutMs: number, lockTimeoutS: number): readonly string[] {
  const limits = `/*M!, max_statement_time = ${statementTimeoutMs / 1000} */ /*!80000 , max_execution_time = ${statementTimeoutMs} */`;
  return [
    RESTORE_SETTINGS,
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE',
    `SET autocommit = 1, foreign_key_checks = 1, unique_checks = 1, innodb_lock_wait_timeout = ${lockTimeoutS} ${limits}`,
  ];
}

async function ask(connection: PoolConnection, options: QueryOptions): Promise<unknown> {
  const [answer] = await connection.query(options);
  return answer;
}

async function listsOf(
  connection: PoolConnection,
  silenceMs: number,
  sql: string,
): Promise<readonly (readonly (string | null)[])[]> {
  return (await ask(connection, { sql, timeout: silenceMs, rowsAsArray: true })) as (string | null)[][];
}

async function rowsOf<Row>(
  connection: PoolConnection,
  silenceMs: number,
  sql: string,
  values: readonly unknown[] = [],
): Promise<readonly Row[]> {
  return (await ask(connection, { sql, values: [...values], timeout: silenceMs })) as readonly Row[];
}

async function changeOf(
  connection: PoolConnection,
  silenceMs: number,
  sql: string,
  values: readonly unknown[] = [],
): Promise<number> {
  const answer = await ask(connection, { sql, values: [...values], timeout: silenceMs });
  return (answer as { readonly affectedRows?: number }).affectedRows ?? 0;
}
