/** Puts triggers on the tables of a database, takes them away, and says how they stand. */
import pg from 'pg';
import { CodedError } from '../../../src/contract/errors.ts';
import { quoteName, quoteText } from '../identifier.ts';
import { createSql, DROP_UNUSED_SQL, dropSql, refusalOf, triggerNames, type TriggerTable } from './generate.ts';
import { surveySources, surveyTables } from './survey.ts';

/** Tables by `schema.table`, `*` for any characters. */
export interface TablePatterns {
  /** Absent: all. */
  readonly only?: readonly string[];
  readonly except: readonly string[];
}

/**
 * How a table stands. `recording`: its triggers are in place. `refusing`: they are, and refuse changes inside a global transaction,
 * `detail` says why. `stale`: made for another shape of the table, or switched off. `except`: it is to have none.
 */
export interface TableState {
  readonly table: string;
  readonly state: 'recording' | 'refusing' | 'stale' | 'missing' | 'except';
  readonly detail?: string;
}

/** Row images depend on names being the server's own. */
const PINNED = 'SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL client_min_messages = warning';
/** A table in use keeps its statement: whoever installs tries again. */
const LOCK_TIMEOUT = '10s';

/**
 * Installs triggers where they are missing or stale, removes them where they are not to be, in one transaction. Answers how every
 * table stands afterwards. `finisher`: the role of the second phase, when it is not the one that is logged in.
 * @throws CodedError INTERNAL when the database refuses, with a hint that names the right that is needed.
 */
export async function installTriggers(
  connection: pg.ClientConfig,
  patterns: TablePatterns,
  finisher?: string,
): Promise<readonly TableState[]> {
  return inTransaction(connection, async (client) => {
    await client.query(silenceSql(finisher));
    await client.query('SELECT atomesh.silence_triggers(true); SELECT atomesh.silence_triggers(false)');
    await refuseUnableOwner(client);
    const all = await surveyTables(client);
    const chosen = all.filter((table) => isMeant(table, patterns.only));
    const wanted = chosen.filter((table) => !isExcept(table, patterns));
    for (const table of chosen) {
      if (isExcept(table, patterns) && table.triggers.length > 0) await client.query(dropSql(table));
    }
    const sourcesOf = await surveySources(client, wanted, all);
    for (const table of wanted) {
      const sources = sourcesOf(table);
      if (['missing', 'stale'].includes(stateOf(table, refusalOf(table, sources)).state))
        await client.query(createSql(table, sources));
    }
    await client.query(DROP_UNUSED_SQL);
    return states(client, patterns);
  });
}

/** The functions of the triggers write with the rights of whoever makes them. */
async function refuseUnableOwner(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ able: boolean; role: string }>(
    `SELECT current_user AS role, has_table_privilege('atomesh.undo_record', 'INSERT') AND has_table_privilege('atomesh.row_lock', 'SELECT')
       AND has_table_privilege('atomesh.row_lock', 'INSERT') AND has_table_privilege('atomesh.row_lock', 'UPDATE')
       AND has_any_column_privilege('atomesh.parent_claim', 'INSERT') AND has_table_privilege('atomesh.freed_key', 'INSERT') AS able`,
  );
  const [row] = rows;
  if (row?.able === true) return;
  const message = `triggers: the role ${row?.role ?? ''} may not write to the tables of the schema atomesh`;
  throw new CodedError('INTERNAL', message, { hint: hintFor('42501') });
}

/**
 * Removes triggers and their functions, in one transaction. Undo records that they have written stay, and can be restored.
 * @throws CodedError INTERNAL when the database refuses.
 */
export async function removeTriggers(
  connection: pg.ClientConfig,
  patterns: TablePatterns,
): Promise<readonly TableState[]> {
  return inTransaction(connection, async (client) => {
    for (const table of await surveyTables(client)) {
      if (isMeant(table, patterns.only) && table.triggers.length > 0) await client.query(dropSql(table));
    }
    await client.query(DROP_UNUSED_SQL);
    return states(client, patterns);
  });
}

/**
 * How every table stands that the patterns name. Changes nothing.
 * @throws CodedError INTERNAL when the database cannot be asked.
 */
export async function triggerStatus(
  connection: pg.ClientConfig,
  patterns: TablePatterns,
): Promise<readonly TableState[]> {
  return inTransaction(connection, (client) => states(client, patterns));
}

/**
 * Whether every table has triggers, and what they write can be restored: the error that names `atomesh db triggers install` where
 * that is not so.
 * @throws CodedError INTERNAL when the database cannot be asked.
 */
export async function missingTriggers(
  connection: pg.ClientConfig,
  patterns: TablePatterns,
): Promise<CodedError | undefined> {
  return inTransaction(connection, async (client) => {
    const bad = (await states(client, patterns)).filter(({ state }) => state === 'stale' || state === 'missing');
    if (bad.length > 0)
      return notReady(
        `${bad.length} tables lack triggers that are up to date: ${bad
          .slice(0, 10)
          .map(({ table }) => table)
          .join(', ')}`,
      );
    const { rows } = await client.query<{ usable: boolean | null }>(
      `SELECT has_function_privilege(to_regprocedure('atomesh.silence_triggers(boolean)')::oid, 'EXECUTE') AS usable`,
    );
    if (rows[0]?.usable !== true) return notReady('the role of the second phase may not call atomesh.silence_triggers');
    return undefined;
  });
}

function notReady(message: string): CodedError {
  return new CodedError('BAD_REQUEST', `capture: triggers: ${message}`, {
    hint: 'Run "atomesh db triggers install" against this database as its owner, or name the tables in captureExcept.',
  });
}

/**
 * What is restored is written while nobody's triggers fire: what they did was recorded by itself. The setting for that is a
 * superuser's, or from PostgreSQL 15 on that of whoever it is granted to; a function lends it to the role of the second phase alone.
 */
function silenceSql(finisher: string | undefined): string {
  const grant =
    finisher === undefined
      ? ''
      : `GRANT EXECUTE ON FUNCTION atomesh.silence_triggers(boolean) TO ${quoteName(finisher)};`;
  return `CREATE OR REPLACE FUNCTION atomesh.silence_triggers(silent boolean) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $body$
BEGIN
  PERFORM pg_catalog.set_config('session_replication_role', CASE WHEN silent THEN 'replica' ELSE 'origin' END, true);
END
$body$;
REVOKE ALL ON FUNCTION atomesh.silence_triggers(boolean) FROM PUBLIC; ${grant}`;
}

async function states(client: pg.ClientBase, patterns: TablePatterns): Promise<readonly TableState[]> {
  const all = await surveyTables(client);
  const chosen = all.filter((table) => isMeant(table, patterns.only));
  const sourcesOf = await surveySources(client, chosen, all);
  return chosen.map((table) => {
    if (isExcept(table, patterns)) return { table: nameOf(table), state: 'except' };
    return stateOf(table, refusalOf(table, sourcesOf(table)));
  });
}

function stateOf(table: TriggerTable, refusal: string | undefined): TableState {
  const name = nameOf(table);
  if (table.triggers.length === 0) return { table: name, state: 'missing' };
  const wanted = triggerNames(refusal !== undefined);
  const isCurrent =
    table.triggers.length === wanted.length &&
    table.triggers.every((trigger) => wanted.includes(trigger.name) && trigger.isOn && trigger.shape === table.shape);
  if (!isCurrent) return { table: name, state: 'stale' };
  return refusal === undefined
    ? { table: name, state: 'recording' }
    : { table: name, state: 'refusing', detail: refusal };
}

function nameOf({ schema, name }: TriggerTable): string {
  return `${schema}.${name}`;
}

function isMeant(table: TriggerTable, only: readonly string[] | undefined): boolean {
  return only === undefined || only.some((pattern) => matches(pattern, nameOf(table)));
}

function isExcept(table: TriggerTable, { except }: TablePatterns): boolean {
  return except.some((pattern) => matches(pattern, nameOf(table)));
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name);
}

async function inTransaction<T>(connection: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionTimeoutMillis: 10_000, statement_timeout: 300_000, ...connection });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(
      `BEGIN; SET LOCAL lock_timeout = ${quoteText(LOCK_TIMEOUT)}; ${PINNED}; SELECT pg_advisory_xact_lock(7236281734)`,
    );
    const answer = await work(client);
    await client.query('COMMIT');
    return answer;
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const { message, code } = error as Partial<pg.DatabaseError>;
    throw new CodedError('INTERNAL', `triggers: ${message ?? String(error)}`, { hint: hintFor(code), cause: error });
  } finally {
    await client.end().catch(() => undefined);
  }
}

function hintFor(code: string | undefined): string {
  if (code === '3F000') return 'Run "atomesh db init" first.';
  if (code === '42501')
    return 'Connect as a role that owns the tables and the schema atomesh, and may set session_replication_role: a superuser, or from PostgreSQL 15 on a role with GRANT SET ON PARAMETER session_replication_role.';
  if (code === '55P03') return 'A table is in use. Try again when no long statement runs.';
  return 'Connect as the owner of the tables and of the schema atomesh.';
}
