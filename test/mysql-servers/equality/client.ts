/** One session of a client, whatever stands between it and the server. */
import type mysql from 'mysql2/promise';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { begin, createRunner, type Runner } from '../capture/runner.ts';
import type { World } from '../second-phase/world.ts';
import type { Settings } from './settings.ts';

export type Value = string | number | null;

/** What the client hears of a statement. */
export type Heard =
  | {
      readonly kind: 'ok';
      readonly affectedRows: number;
      readonly insertId: string;
      readonly info: string;
      readonly warnings: number;
    }
  | { readonly kind: 'rows'; readonly rows: readonly string[] }
  | { readonly kind: 'error'; readonly errno: number }
  /** By us, because it cannot be captured, or because another global transaction holds a row. */
  | {
      readonly kind: 'refused';
      readonly message: string;
      /** The local transaction was rolled back with it. */
      readonly isGone: boolean;
    };

export interface Client {
  /** Makes the session what the settings say, outside of any global transaction. */
  set(settings: Settings): Promise<void>;
  /** Opens a local transaction. */
  begin(): Promise<void>;
  /** COMMIT, ROLLBACK and savepoints in a local transaction; an error is an answer as well, and is not told. */
  control(sql: string): Promise<void>;
  /** One statement: in the local transaction that is open, or a local transaction by itself. */
  run(sql: string, values: readonly Value[] | undefined, isAlone: boolean): Promise<Heard>;
  /** A question about the statement before it. Missing where there is no session to remember that. */
  ask?(sql: string, isAlone: boolean): Promise<Heard>;
}

/** The session's settings as SQL: the time does not pass, so that two sessions say the same of it. */
function settingsSql({ modes, zone, isolation, autocommit, collation, increment }: Settings): string {
  return `SET NAMES utf8mb4 COLLATE utf8mb4_general_ci; SET collation_connection = ${collation}, sql_mode = '${modes.join()}', time_zone = '${zone}',
    timestamp = 1700000000.25, innodb_lock_wait_timeout = 1, auto_increment_increment = ${increment}, last_insert_id = 0, autocommit = ${Number(autocommit)};
    SET SESSION TRANSACTION ISOLATION LEVEL ${isolation}`;
}

const DEADLOCK = 1213;
/** CR_SERVER_LOST: a sidecar closes a connection whose local transaction it has prepared. */
const CLOSED = 2013;

/** A statement as the client hears it, from the server or through a sidecar. */
async function hear(connection: mysql.Connection, sql: string, values: readonly Value[] | undefined): Promise<Heard> {
  try {
    const [answer] =
      values === undefined
        ? await connection.query({ sql, rowsAsArray: true })
        : await connection.execute({ sql, rowsAsArray: true }, [...values]);
    if (Array.isArray(answer)) return { kind: 'rows', rows: answer.map((row) => JSON.stringify(row)) };
    const { affectedRows, insertId, info, warningStatus } = answer as mysql.ResultSetHeader & { info: string };
    return { kind: 'ok', affectedRows, insertId: String(insertId), info: info ?? '', warnings: warningStatus };
  } catch (error) {
    const errno = errnoOf(error);
    const { message } = error as Error;
    // Ours say of themselves whose they are.
    const isOurs = message.startsWith('atomesh: ') || errno === CLOSED;
    if (isOurs) return { kind: 'refused', message, isGone: errno === DEADLOCK || errno === CLOSED };
    return { kind: 'error', errno };
  } finally {
    if (values !== undefined) connection.unprepare(sql);
  }
}

/** Of an answer of the server's, or of a connection that has been closed; anything else is thrown on. */
export function errnoOf(error: unknown): number {
  const { errno, sqlState, fatal } = error as { errno?: unknown; sqlState?: unknown; fatal?: unknown };
  if (fatal === true) return CLOSED;
  if (typeof errno !== 'number' || typeof sqlState !== 'string') throw error;
  return errno;
}

/** Without us: the session is the server's. */
export function directClient(connection: mysql.Connection): Client {
  let isAutocommit = true;
  return {
    async set(settings) {
      isAutocommit = settings.autocommit;
      await connection.query(settingsSql(settings));
    },
    async begin() {
      if (isAutocommit) await connection.query('BEGIN');
    },
    async control(sql) {
      await connection.query(sql).catch(errnoOf);
    },
    async run(sql, values, isAlone) {
      const heard = await hear(connection, sql, values);
      if (isAlone && !isAutocommit) await connection.query('COMMIT');
      return heard;
    },
    ask: (sql) => hear(connection, sql, undefined),
  };
}

/** Through a sidecar: the gid goes in a comment of what begins a local transaction, or as a variable of the session where nothing begins one. */
export function throughClient(connection: mysql.Connection, gid: Gid): Client {
  let isAutocommit = true;
  const mark = `/*atomesh_gid='${gid}'*/`;
  return {
    async set(settings) {
      isAutocommit = settings.autocommit;
      await connection.query(`SET @atomesh_gid = NULL`);
      for (const sql of settingsSql(settings).split(';')) await connection.query(sql);
      if (!isAutocommit) await connection.query(`SET @atomesh_gid = '${gid}'`);
    },
    async begin() {
      if (isAutocommit) await connection.query(`BEGIN ${mark}`).catch(errnoOf);
    },
    async control(sql) {
      await connection.query(sql).catch(errnoOf);
    },
    async run(sql, values, isAlone) {
      const heard = await hear(connection, isAlone && isAutocommit ? `${sql} ${mark}` : sql, values);
      if (isAlone && !isAutocommit) await connection.query('COMMIT').catch(errnoOf);
      return heard;
    },
    // What comes without the gid is not looked at.
    ask: (sql, isAlone) => hear(connection, isAlone && isAutocommit ? `${sql} ${mark}` : sql, undefined),
  };
}

export interface CaptureOptions {
  readonly world: World;
  readonly gid: Gid;
  readonly database: string;
  /** Facts of tables, for all sessions of the stage. */
  readonly known: Map<string, TableFacts | 'none'>;
}

/** What the runner says of statements that nothing has to be captured of. */
const PASSES = /^not captured: (?:pass|locking-read)$/;

/** The parts of a session that captures, over a driver's connection: without a sidecar, its wire, and its sessions. */
export function capturingClient(connection: mysql.Connection, { world, gid, database, known }: CaptureOptions): Client {
  let runner: Runner | undefined;
  const captured = async (sql: string, values: readonly Value[] | undefined): Promise<Heard> => {
    if (runner === undefined) throw new Error('the session has no settings yet');
    const held = await heldByOthers(world, gid);
    try {
      const { heard, locks } = await runner.run(gid, sql, values ?? []);
      if (heard.kind === 'refused' && PASSES.test(heard.message)) return await hear(connection, sql, values);
      if (heard.kind === 'refused') return { ...heard, isGone: false };
      if (!locks.some((lock) => held.has(lock))) return heard;
      await connection.query('ROLLBACK TO SAVEPOINT atomesh');
      return { kind: 'refused', message: 'another global transaction holds a row', isGone: false };
    } catch (error) {
      const errno = errnoOf(error);
      await connection.query('ROLLBACK TO SAVEPOINT atomesh');
      return { kind: 'error', errno };
    }
  };
  return {
    async set(settings) {
      await connection.query(settingsSql({ ...settings, autocommit: true }));
      runner = await createRunner(world, connection, {
        database,
        countsFound: settings.countsFound,
        hasPhantoms: settings.isolation.startsWith('READ'),
        noBackslashEscapes: settings.modes.includes('NO_BACKSLASH_ESCAPES'),
        ansiQuotes: settings.modes.includes('ANSI_QUOTES'),
        known,
      });
    },
    begin: () => begin(world, connection, gid),
    async control(sql) {
      await connection.query(sql).catch(errnoOf);
    },
    async run(sql, values, isAlone) {
      if (!isAlone) return captured(sql, values);
      await begin(world, connection, gid);
      const heard = await captured(sql, values);
      await connection.query('COMMIT');
      return heard;
    },
  };
}

async function heldByOthers(world: World, gid: Gid): Promise<ReadonlySet<string>> {
  return new Set(await world.lines(`SELECT relation, lock_key FROM atomesh.row_lock WHERE gid <> '${gid}'`));
}
