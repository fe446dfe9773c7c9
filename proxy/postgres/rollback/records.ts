/** What a rollback reads: the undo records of a branch, and the tables that they are about. */
import type pg from 'pg';
import { assert } from '../../../src/platform/assert.ts';
import { DirtyBranch } from '../../branch/dirty.ts';
import { FINGERPRINT_SQL, KEY_INDEX_SQL } from '../catalog-sql.ts';
import { quoteText } from '../identifier.ts';
import { settleRecords } from '../triggers/settle.ts';
import {
  differenceSql,
  restoreStatements,
  type RestorableTable,
  type RestoreStatements,
} from '../undo/restore-statements.ts';

/**
 * Text forms depend on these; the images were written under the same. search_path is empty of user schemas so that nothing
 * of the user's shadows what we call; row_security = off makes a policy an error instead of hiding rows. array_nulls and xmloption
 * decide what is read back: a database may have set that NULL in an array is a text, and that a fragment is no xml.
 */
const PINNED_SETTINGS = `SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL "DateStyle" = 'ISO, MDY';
SET LOCAL "IntervalStyle" = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex';
SET LOCAL lc_monetary = 'C'; SET LOCAL quote_all_identifiers = off; SET LOCAL standard_conforming_strings = on; SET LOCAL row_security = off;
SET LOCAL array_nulls = on; SET LOCAL xmloption = 'content'; SET CONSTRAINTS ALL DEFERRED`;

/** One row of atomesh.undo_record, with what its writer may do. */
export interface UndoRecord {
  readonly relation: string;
  readonly fingerprint: string;
  readonly time_zone: string;
  readonly writer: string;
  /** `statement`, or else written by us: what it says has happened. */
  readonly source: string;
  readonly may_insert: boolean | null;
  readonly may_update: boolean | null;
  readonly may_delete: boolean | null;
  /** Columns that the writer may not update. */
  readonly barred: readonly string[] | null;
  readonly before_images: readonly (string | null)[];
  readonly after_images: readonly (string | null)[];
}

/** A record with the statements for its table, in the settings that its images were written under. */
export interface OpenRecord {
  readonly record: UndoRecord;
  readonly statements: RestoreStatements;
}

/**
 * Hands the records of a branch to `visit`, the last one first, locked, each under the settings of its images.
 * @throws DirtyBranch when a record may not be applied: its table is gone or another by now, or its writer had no right to the change.
 */
export async function eachRecord(
  client: pg.ClientBase,
  { gid, resource }: { readonly gid: string; readonly resource: string },
  visit: (open: OpenRecord) => Promise<void>,
): Promise<void> {
  await client.query(PINNED_SETTINGS);
  await settleRecords(client, { gid, resource });
  let isSilent = false;
  const ids = await client.query<{ place: string }>(
    'SELECT ctid::pg_catalog.text AS place FROM atomesh.undo_record WHERE gid = $1 AND resource = $2 ORDER BY position DESC FOR UPDATE',
    [gid, resource],
  );
  const tables = new Map<string, RestoreStatements>();
  // A locked row keeps its place.
  for (const { place } of ids.rows) {
    const found = await client.query<UndoRecord>(RECORD_SQL, [place]);
    const record = found.rows[0];
    assert(record !== undefined, 'a locked record stays');
    const isByTrigger = record.source !== 'statement';
    const key = `${record.relation} ${isByTrigger}`;
    let statements = tables.get(key);
    if (statements === undefined) {
      const table = await readTable(client, record);
      // Foreign keys are silent with all triggers, and are looked at in the end.
      statements = restoreStatements(isByTrigger ? { ...table, references: null } : table);
      tables.set(key, statements);
    }
    if (statements.table.fingerprint !== record.fingerprint) {
      throw new DirtyBranch({ reason: 'the table was altered after the change', table: statements.table.sqlName });
    }
    await client.query(`SET LOCAL "TimeZone" = ${quoteText(record.time_zone)}`);
    if (isSilent !== isByTrigger) await client.query('SELECT atomesh.silence_triggers($1)', [isByTrigger]);
    isSilent = isByTrigger;
    if (!isByTrigger) await refuseForgery(client, statements, record);
    await visit({ record, statements });
  }
}

const RECORD_SQL = `SELECT r.relation::text, r.fingerprint, r.time_zone, r.before_images, r.after_images, r.writer, r.source,
  pg_catalog.has_any_column_privilege(w.oid, r.relation, 'INSERT') AS may_insert, pg_catalog.has_any_column_privilege(w.oid, r.relation, 'UPDATE') AS may_update,
  pg_catalog.has_table_privilege(w.oid, r.relation, 'DELETE') AS may_delete,
  (SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.relation AND a.attnum > 0 AND NOT a.attisdropped
     AND NOT pg_catalog.has_column_privilege(w.oid, r.relation, a.attnum, 'UPDATE')) AS barred
  FROM atomesh.undo_record r LEFT JOIN pg_catalog.pg_roles w ON w.rolname = r.writer::pg_catalog.name WHERE r.ctid = $1::pg_catalog.tid`;

/**
 * Anybody who captures may insert records, and they are applied with greater rights: only what the writer could have done is
 * undone. For an inserted row that is the right to insert, for a deleted one to delete, for a changed one to update every
 * column that differs. Which rows a policy shows to the writer cannot be asked, so a table that has come to have one is refused.
 */
async function refuseForgery(client: pg.ClientBase, statements: RestoreStatements, record: UndoRecord): Promise<void> {
  const { table } = statements;
  if (table.rowSecurity) {
    throw new DirtyBranch({ reason: 'the table has row-level security', table: table.sqlName });
  }
  const isAllowed = record.before_images.every((before, index) => {
    const after = record.after_images[index] ?? null;
    if (before === null) return after !== null && record.may_insert === true;
    return after === null ? record.may_delete === true : record.may_update === true;
  });
  if (!isAllowed || (await changesBarred(client, statements, record))) {
    throw new DirtyBranch({
      reason: `the role ${record.writer}, which wrote the record, has no right to such a change`,
      table: table.sqlName,
    });
  }
}

/** True when a changed row differs in a column that the writer may not update. */
async function changesBarred(
  client: pg.ClientBase,
  { table }: RestoreStatements,
  record: UndoRecord,
): Promise<boolean> {
  const sql = differenceSql(table, new Set(record.barred));
  if (sql === undefined) return false;
  const { rows } = await client.query<{ differs: boolean | null }>(sql, [record.before_images, record.after_images]);
  return rows[0]?.differs === true;
}

const TABLE_SQL = `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS "sqlName", ${FINGERPRINT_SQL} AS fingerprint, c.relrowsecurity AS "rowSecurity",
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'generated', a.attgenerated <> '', 'identityAlways', a.attidentity = 'a') ORDER BY a.attnum)
     FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT pg_catalog.json_agg(a.attname ORDER BY k.n) FROM pg_catalog.pg_index i CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (attnum, n)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE i.indexrelid = ${KEY_INDEX_SQL} AND k.n <= i.indnkeyatts) AS key, c.relkind = 'p' AS partitioned,
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('table', pg_catalog.quote_ident(rn.nspname) || '.' || pg_catalog.quote_ident(r.relname),
      'cascades', k.confdeltype IN ('c', 'n', 'd'), 'isSelf', k.conrelid = k.confrelid,
      'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('from', f.attname, 'to', t.attname))
         FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS u (f, t)
         JOIN pg_catalog.pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.f
         JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.t)))
     FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class r ON r.oid = k.conrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
     WHERE k.confrelid = c.oid AND k.contype = 'f') AS "references"
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::pg_catalog.oid`;

async function readTable(client: pg.ClientBase, record: UndoRecord): Promise<RestorableTable> {
  const { rows } = await client.query<RestorableTable>(TABLE_SQL, [record.relation]);
  const table = rows[0];
  if (table === undefined || table.columns === null || table.key === null) {
    throw new DirtyBranch({
      reason: 'the table, or what tells its rows apart, is gone',
      table: `oid ${record.relation}`,
    });
  }
  return table;
}
