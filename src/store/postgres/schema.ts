/** The tables of the PostgreSQL store, and how a database comes to have them. */
import type pg from 'pg';
import { CodedError } from '../../contract/errors.ts';
import { openClient, sqlState } from './line.ts';

const SCHEMA_VERSION = 1;
/** Two coordinators that start at once on an engine without advisory locks may collide while they create the same. */
const ATTEMPTS_MAX = 10;
/** The key of the advisory lock: any number that no other application is likely to use. */
const LOCK_KEY = 4_719_283_361;
/** Somebody else has just created the same (unique violation in the catalog, object exists), or the engine rolled back. */
const COLLISIONS: ReadonlySet<string> = new Set(['23505', '42P06', '42P07', '42710', '40001', '40P01', 'XX000']);
/** The function does not exist, is there but not supported, or is not for this user. */
const UNSUPPORTED: ReadonlySet<string> = new Set(['42883', '0A000', '42501']);

/** The name as SQL takes it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Makes the schema and its tables, or brings them up to date; does nothing but look when they are.
 * Rejects with `CodedError` STORE_FAILED when the database was written by a newer version or may not be used.
 */
export async function migrate(url: string, schema: string): Promise<void> {
  const client = await openClient(url);
  try {
    if ((await versionOf(client, schema)) === SCHEMA_VERSION) return;
    let hasAdvisoryLocks = true;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await client.query('BEGIN');
        if (hasAdvisoryLocks) await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK_KEY]);
        await migrateLocked(client, schema);
        await client.query('COMMIT');
        return;
      } catch (error) {
        await client.query('ROLLBACK').catch(() => undefined);
        const code = sqlState(error) ?? '';
        if (hasAdvisoryLocks && UNSUPPORTED.has(code)) hasAdvisoryLocks = false;
        else if (!COLLISIONS.has(code) || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  } catch (cause) {
    throw refusal(schema, cause);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The version of the schema, locked until the end of the transaction: the lock that every engine has. */
async function migrateLocked(client: pg.Client, schema: string): Promise<void> {
  const name = quoted(schema);
  await client.query(`CREATE SCHEMA IF NOT EXISTS ${name}`);
  await client.query(
    `CREATE TABLE IF NOT EXISTS ${name}.schema_version (id int8 NOT NULL PRIMARY KEY, version int8 NOT NULL)`,
  );
  await client.query(`INSERT INTO ${name}.schema_version (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING`);
  const { rows } = await client.query<{ version: string }>(
    `SELECT version FROM ${name}.schema_version WHERE id = 1 FOR UPDATE`,
  );
  const version = Number(rows[0]?.version);
  if (version > SCHEMA_VERSION) throw newer(schema, version);
  if (version === SCHEMA_VERSION) return;
  const engine = (await client.query<{ version: string }>('SELECT version() AS version')).rows[0]?.version ?? '';
  // Gids are compared byte by byte. CockroachDB does so anyway, and has no collation of that name.
  const text = /cockroach/i.test(engine) ? 'text' : 'text COLLATE "C"';
  // Room on each page, so that a renewed lease writes to no index (https://www.postgresql.org/docs/current/storage-hot.html).
  const storage = /cockroach|-yb-/i.test(engine) ? '' : 'WITH (fillfactor = 50)';
  for (const statement of tables(name, text, storage)) await client.query(statement);
  await client.query(`UPDATE ${name}.schema_version SET version = ${SCHEMA_VERSION} WHERE id = 1`);
}

/** The version of the schema that is there; undefined when there is none. A user who may not create anything can still look. */
async function versionOf(client: pg.Client, schema: string): Promise<number | undefined> {
  const found = await client.query(
    "SELECT 1 FROM information_schema.tables WHERE table_schema = $1 AND table_name = 'schema_version'",
    [schema],
  );
  if (found.rows.length === 0) return undefined;
  const { rows } = await client.query<{ version: string }>(
    `SELECT version FROM ${quoted(schema)}.schema_version WHERE id = 1`,
  );
  const version = rows[0] === undefined ? undefined : Number(rows[0].version);
  if (version !== undefined && version > SCHEMA_VERSION) throw newer(schema, version);
  return version;
}

/**
 * The indexes are partial so that finished transactions, the bulk of the table, cost nothing when due ones are looked for.
 * `created_at` leads its index so that an insert adds at its end. Instants are the coordinators', in milliseconds.
 */
function tables(name: string, text: string, storage: string): readonly string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${name}.global_transaction (
      gid ${text} NOT NULL PRIMARY KEY,
      mode text NOT NULL,
      created_at int8 NOT NULL,
      version int8 NOT NULL,
      owner text NOT NULL,
      lease_until int8 NOT NULL,
      due_at int8,
      status text NOT NULL,
      finished_at int8,
      body text NOT NULL
    ) ${storage}`,
    `CREATE INDEX IF NOT EXISTS global_transaction_created ON ${name}.global_transaction (created_at, mode, gid)`,
    `CREATE INDEX IF NOT EXISTS global_transaction_due ON ${name}.global_transaction (due_at) WHERE finished_at IS NULL`,
    `CREATE INDEX IF NOT EXISTS global_transaction_finished ON ${name}.global_transaction (finished_at)
      WHERE finished_at IS NOT NULL`,
    `CREATE INDEX IF NOT EXISTS global_transaction_failed ON ${name}.global_transaction (gid) WHERE status = 'failed'`,
    `CREATE TABLE IF NOT EXISTS ${name}.record (
      category ${text} NOT NULL,
      key ${text} NOT NULL,
      value text NOT NULL,
      version int8 NOT NULL,
      created_at int8 NOT NULL,
      updated_at int8 NOT NULL,
      PRIMARY KEY (category, key)
    )`,
  ];
}

function newer(schema: string, version: number): CodedError {
  return new CodedError(
    'STORE_FAILED',
    `the schema ${schema} was written by a newer Atomesh (version ${version}, this one knows ${SCHEMA_VERSION})`,
    { hint: 'Run the newer version, or name another schema in store.postgres.schema.' },
  );
}

function refusal(schema: string, cause: unknown): CodedError {
  if (cause instanceof CodedError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  return new CodedError('STORE_FAILED', `the schema ${schema} cannot be made ready: ${text}`, {
    hint: 'The user of store.postgres.url must be able to connect, and to create a schema and tables in the database (or own them).',
    cause,
  });
}
