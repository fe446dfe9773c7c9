/** Opens the coordinator's SQLite file: the version gate, the durability settings, the lock, the schema. */
import { chmodSync, closeSync, existsSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CodedError } from '../contract/errors.ts';
import type { WorkerStart } from './sqlite-protocol.ts';

/** `PRAGMA application_id` of our files: the letters `Atme`. */
const APPLICATION_ID = 0x41_74_6d_65;
const SCHEMA_VERSION = 2;
/** A predecessor that is just closing gets this long to let go of the file. */
const LOCK_WAIT_MS = 2000;
/** Pages in the write-ahead log at which SQLite copies them into the database file: 16 MiB, so that a burst does not wait for it. */
const CHECKPOINT_PAGES = 4096;

/**
 * The version from which a WAL database may be trusted. SQLite 3.7.0 to 3.51.2 can corrupt one when a checkpoint that
 * resets the log races with a write ("WAL-reset bug", https://sqlite.org/wal.html#walresetbug).
 */
const VERSION_MIN = [3, 51, 3] as const;

/** Why this SQLite version must not hold transactions; undefined when it may. */
export function versionFault(version: string): string | undefined {
  const parts = version.split('.').map(Number);
  for (const [index, least] of VERSION_MIN.entries()) {
    const part = parts[index] ?? 0;
    if (part > least) return undefined;
    if (part < least || Number.isNaN(part)) {
      return `SQLite ${version} can corrupt a write-ahead log when it resets it (fixed in ${VERSION_MIN.join('.')})`;
    }
  }
  return undefined;
}

/**
 * Opens or makes the file, for this process alone. The indexes are partial so that finished transactions, the bulk of
 * the file, cost nothing when due ones are looked for.
 * Throws `CodedError` STORE_FAILED when it is not ours to use; SQLite's own errors go through.
 */
export function openDatabase({ path, pagesMax }: WorkerStart): DatabaseSync {
  const fault = versionFault(sqliteVersion());
  if (fault !== undefined) throw refusal(fault, 'Run the coordinator on a Node.js that carries a newer SQLite.');
  makeFile(path);
  const database = new DatabaseSync(path, { timeout: LOCK_WAIT_MS });
  try {
    // The lock must be exclusive before the log is first touched: then there is no shared memory file, and no second reader.
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    if (switchToLog(database) !== 'wal')
      throw refusal(`the file system of ${path} does not support SQLite's WAL mode`, OTHER_PLACE);
    database.exec(`PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};
      PRAGMA cache_size = -32768; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF; BEGIN IMMEDIATE`);
    migrate(database, path);
    database.exec('COMMIT');
    if (pagesMax !== undefined) database.exec(`PRAGMA max_page_count = ${pagesMax}`);
    return database;
  } catch (cause) {
    database.close();
    if (sqliteCode(cause) === SQLITE_BUSY) {
      throw refusal(
        `${path} is in use by another process`,
        'Stop the other coordinator, or give this one a file of its own.',
      );
    }
    if (sqliteCode(cause) === SQLITE_NOTADB) throw refusal(`${path} is not a SQLite database`, OTHER_PLACE);
    throw cause;
  }
}

/**
 * Asks for WAL mode and answers the mode that the file is in. The switch is a write of its own, which is committed when the statement has
 * run to its end: who takes its first row only never hears that this has failed, and goes on in a mode that the store is not made for.
 */
function switchToLog(database: DatabaseSync): unknown {
  database.prepare('PRAGMA journal_mode = WAL').all();
  return database.prepare('PRAGMA journal_mode').get()?.['journal_mode'];
}

const OTHER_PLACE = 'Name another file in store.sqlite.path.';
const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

/** SQLite's primary result code (https://sqlite.org/rescode.html) of an error from `node:sqlite`; undefined for other errors. */
export function sqliteCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined;
  return typeof code === 'number' ? code & 0xff : undefined;
}

function refusal(message: string, hint: string): CodedError {
  return new CodedError('STORE_FAILED', message, { hint });
}

/** The version of the library that runs, which on some systems is not the one that Node.js was built with. */
function sqliteVersion(): string {
  const database = new DatabaseSync(':memory:');
  try {
    return String(database.prepare('SELECT sqlite_version() AS version').get()?.['version']);
  } finally {
    database.close();
  }
}

/**
 * Makes the file before SQLite does, so that it is never readable by others, and makes its name durable. A file that is
 * there is not opened: closing it would drop the locks that this process may hold on it (https://sqlite.org/howtocorrupt.html, section 2.2).
 */
function makeFile(path: string): void {
  try {
    if (existsSync(path)) {
      chmodSync(path, 0o600);
      return;
    }
    closeSync(openSync(path, 'wx', 0o600));
    const folder = openSync(dirname(path), 'r');
    fsyncSync(folder);
    closeSync(folder);
  } catch (cause) {
    throw new CodedError('STORE_FAILED', `${path} cannot be opened: ${String(cause)}`, {
      hint: 'The folder of store.sqlite.path must exist, and this user must own the file and may write to both.',
      cause,
    });
  }
}

function migrate(database: DatabaseSync, path: string): void {
  const version = pragma(database, 'user_version');
  const tables = Number(database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n']);
  if (tables > 0 && pragma(database, 'application_id') !== APPLICATION_ID) {
    throw refusal(`${path} is a database of another application`, OTHER_PLACE);
  }
  if (version > SCHEMA_VERSION) {
    throw refusal(
      `${path} was written by a newer Atomesh (schema ${version}, this one knows ${SCHEMA_VERSION})`,
      'Run the newer version, or name another file in store.sqlite.path.',
    );
  }
  if (version < SCHEMA_VERSION) {
    database.exec(version === 0 ? SCHEMA : FROM_VERSION_1);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
  }
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}

/** `created_at` leads its index so that an insert adds at its end; `mode` and `gid` follow, so that lists are found without the bodies. */
const SCHEMA = `
  CREATE TABLE global_transaction (
    gid TEXT NOT NULL PRIMARY KEY,
    mode TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    owner TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    due_at INTEGER,
    status TEXT NOT NULL,
    finished_at INTEGER,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX global_transaction_created ON global_transaction (created_at, mode, gid);
  CREATE INDEX global_transaction_due ON global_transaction (due_at)
    WHERE finished_at IS NULL AND due_at IS NOT NULL;
  CREATE INDEX global_transaction_finished ON global_transaction (finished_at) WHERE finished_at IS NOT NULL;
  CREATE INDEX global_transaction_status ON global_transaction (status, gid) WHERE status <> 'succeed';
  CREATE TABLE record (
    category TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (category, key)
  ) STRICT, WITHOUT ROWID;
`;

/** Version 1 had no records, and mode and begin only in the body. The table is copied, so that every file has the same form. */
const FROM_VERSION_1 = `
  DROP INDEX global_transaction_due;
  DROP INDEX global_transaction_finished;
  DROP INDEX global_transaction_status;
  ALTER TABLE global_transaction RENAME TO global_transaction_1;
  ${SCHEMA}
  INSERT INTO global_transaction
    (gid, mode, created_at, version, owner, lease_until, due_at, status, finished_at, body)
    SELECT gid, body ->> '$.mode', body ->> '$.createdAt', version, owner, lease_until, due_at, status, finished_at, body
    FROM global_transaction_1;
  DROP TABLE global_transaction_1;
`;
