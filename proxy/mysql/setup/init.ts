/** Puts the schema of Atomesh on a server, and looks whether it is there. */
import { createConnection, type Connection } from 'mysql2/promise';
import { CodedError } from '../../../src/contract/errors.ts';
import { isServerError, type OwnLogin } from '../own-pool.ts';
import { SCHEMA_VERSION, schemaStatements, type SchemaOptions } from '../schema.ts';
import { SETTINGS_SQL, settingsFault } from './settings.ts';
import { supportedVersion } from './version.ts';

const CONNECT_MS_MAX = 10_000;
const STATEMENT_MS_MAX = 60_000;
/** How long another run of the same may take before this one gives up, in seconds. */
const TURN_SECONDS_MAX = 30;

/**
 * Creates or updates the schema; a lock of the server keeps two runs apart. The server commits each statement by itself: a run that was
 * interrupted leaves no version behind, and the next one goes through all of it again.
 * @throws CodedError BAD_REQUEST for a server that is too old or an account that is none, INTERNAL when the server refuses.
 */
export async function initialiseDatabase(connection: OwnLogin, options: SchemaOptions = {}): Promise<void> {
  const statements = schemaStatements(options);
  try {
    await connected(connection, async (ask) => {
      await checkVersion(ask);
      const [turn] = await ask<{ taken: number | null }>(
        `SELECT GET_LOCK('atomesh.init', ${TURN_SECONDS_MAX}) AS taken`,
      );
      if (turn?.taken !== 1) throw new Error('another run is still at it');
      // No default: what identifiers and texts mean must not depend on the server's. Without its last word MariaDB makes an account, and
      // one without a password, of a name in a GRANT.
      await ask("SET sql_mode = CONCAT('NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES' /*M! , ',NO_AUTO_CREATE_USER' */)");
      for (const statement of statements) await ask(statement);
    });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError('INTERNAL', `could not set up the database atomesh: ${messageOf(error)}`, {
      hint: 'Connect as an account that may create databases, tables and procedures and grant rights on them, or have one run the SQL that "atomesh db init --print" shows.',
      cause: error,
    });
  }
}

/**
 * Checks at the start of a sidecar that the server can be used, and that the schema is there, of this version, and usable by the
 * account of the second phase.
 * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) without a connection, BAD_REQUEST naming what to do otherwise.
 */
export async function checkSchema(connection: OwnLogin): Promise<void> {
  try {
    await connected(connection, async (ask) => {
      await checkVersion(ask);
      await checkSettings(ask);
      const [row] = await ask<{ version: number }>('SELECT version FROM atomesh.schema_version WHERE id = 1');
      if (row?.version !== SCHEMA_VERSION) {
        throw schemaMissing(
          row === undefined ? 'the database atomesh is not complete' : 'the database atomesh is of another version',
        );
      }
      // Without a row, only rights are looked at: to read, to lock, to change and to delete, in each of the tables.
      for (const table of TABLES) await ask(`SELECT 1 FROM atomesh.${table} WHERE FALSE FOR UPDATE`);
      for (const table of TABLES) await ask(`DELETE FROM atomesh.${table} WHERE FALSE`);
      await ask('SELECT 1 FROM atomesh.seal_secret WHERE id = 1');
    });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    if (!isServerError(error) || ACCESS.has(error.errno)) {
      throw new CodedError('UPSTREAM_UNREACHABLE', `no connection to the database: ${messageOf(error)}`, {
        retry: 'safe',
        hint: 'Check upstream, tls and credentials of this database.',
        cause: error,
      });
    }
    if (MISSING.has(error.errno)) throw schemaMissing('there is no database atomesh on the server');
    throw schemaMissing(`the account of the second phase may not use the database atomesh: ${error.message}`);
  }
}

const TABLES = ['undo_record', 'row_lock', 'parent_claim', 'branch_state', 'barrier', 'operation_answer'];
/** ER_ACCESS_DENIED_ERROR, ER_CON_COUNT_ERROR, ER_HOST_NOT_PRIVILEGED: they come before any statement. */
const ACCESS: ReadonlySet<number> = new Set([1045, 1040, 1130]);
/** ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE. */
const MISSING: ReadonlySet<number> = new Set([1049, 1146]);

type Ask = <Row>(sql: string) => Promise<readonly Row[]>;

async function checkVersion(ask: Ask): Promise<void> {
  const [row] = await ask<{ version: string }>('SELECT VERSION() AS version');
  supportedVersion(row?.version ?? '');
}

async function checkSettings(ask: Ask): Promise<void> {
  const rows = await ask<{ Variable_name: string; Value: string }>(SETTINGS_SQL);
  const fault = settingsFault(new Map(rows.map(({ Variable_name, Value }) => [Variable_name, Value])));
  if (fault !== undefined) throw fault;
}

async function connected(login: OwnLogin, work: (ask: Ask) => Promise<void>): Promise<void> {
  const connection: Connection = await createConnection({
    ...login,
    charset: 'utf8mb4_bin',
    connectTimeout: CONNECT_MS_MAX,
    connectAttributes: { program_name: 'atomesh' },
  });
  // A loss that nobody hears of would end the process; the statement that runs rejects.
  connection.on('error', () => undefined);
  try {
    await work(async <Row>(sql: string) => {
      const [rows] = await connection.query({ sql, timeout: STATEMENT_MS_MAX });
      return rows as unknown as readonly Row[];
    });
  } finally {
    connection.destroy();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error);
}

function schemaMissing(message: string): CodedError {
  return new CodedError('BAD_REQUEST', message, {
    hint: 'Run "atomesh db init" against this server as an administrator.',
  });
}
