/** Takes a branch's changes back: records and rows in reverse, each row only if it still is what the change left. */
import { isDeepStrictEqual } from 'node:util';
import type pg from 'pg';
import type { Dirt } from '../../branch/finish.ts';
import { assert } from '../../../src/platform/assert.ts';
import { FINGERPRINT_SQL, KEY_INDEX_SQL } from '../catalog.ts';
import { quoteText } from '../identifier.ts';
import {
  differenceSql,
  restoreStatements,
  type RestorableTable,
  type RestoreStatements,
} from './restore-statements.ts';

/** Thrown inside the local transaction of a rollback so that all of it is undone: nothing is written to a dirty branch. */
export class DirtyBranch extends Error {
  readonly dirt: Dirt;
  constructor(dirt: Dirt) {
    super(`${dirt.reason} (${dirt.table})`);
    this.name = 'DirtyBranch';
    this.dirt = dirt;
  }
}

/**
 * Text forms depend on these; the images were written under the same. search_path is empty of user schemas so that nothing
 * of the user's shadows what we call; row_security = off makes a policy an error instead of hiding rows. array_nulls and xmloption
 * decide what is read back: a database may have set that NULL in an array is a text, and that a fragment is no xml.
 */
const PINNED_SETTINGS = `SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL "DateStyle" = 'ISO, MDY';
SET LOCAL "IntervalStyle" = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex';
SET LOCAL lc_monetary = 'C'; SET LOCAL quote_all_identifiers = off; SET LOCAL standard_conforming_strings = on; SET LOCAL row_security = off;
SET LOCAL array_nulls = on; SET LOCAL xmloption = 'content'; SET CONSTRAINTS ALL DEFERRED`;

interface UndoRecord {
  readonly relation: string;
  readonly fingerprint: string;
  readonly time_zone: string;
  readonly writer: string;
  readonly may_insert: boolean | null;
  readonly may_update: boolean | null;
  readonly may_delete: boolean | null;
  /** Columns that the writer may not update. */
  readonly barred: readonly string[] | null;
  readonly before_images: readonly (string | null)[];
  readonly after_images: readonly (string | null)[];
}

/**
 * Restores what the branch changed and deletes its records and locks, in the local transaction that is open on `client`.
 * Answers the number of rows written. A branch without records is restored already.
 * @throws DirtyBranch when a row is not what the branch left; the caller rolls the local transaction back.
 */
export async function restoreBranch(client: pg.ClientBase, gid: string, resource: string): Promise<number> {
  await client.query(PINNED_SETTINGS);
  const ids = await client.query<{ place: string }>(
    'SELECT ctid::pg_catalog.text AS place FROM atomesh.undo_record WHERE gid = $1 AND resource = $2 ORDER BY position DESC FOR UPDATE',
    [gid, resource],
  );
  const tables = new Map<string, RestoreStatements>();
  let rows = 0;
  // A locked row keeps its place.
  for (const { place } of ids.rows) {
    const found = await client.query<UndoRecord>(RECORD_SQL, [place]);
    const record = found.rows[0];
    assert(record !== undefined, 'a locked record stays');
    let statements = tables.get(record.relation);
    statements ??= restoreStatements(await readTable(client, record));
    tables.set(record.relation, statements);
    if (statements.table.fingerprint !== record.fingerprint) {
      throw new DirtyBranch({ reason: 'the table was altered after the change', table: statements.table.sqlName });
    }
    await client.query(`SET LOCAL "TimeZone" = ${quoteText(record.time_zone)}`);
    await refuseForgery(client, statements, record);
    rows += await restoreRecord(client, statements, record);
  }
  await client.query('DELETE FROM atomesh.undo_record WHERE gid = $1 AND resource = $2', [gid, resource]);
  await client.query('DELETE FROM atomesh.row_lock WHERE gid = $1 AND resource = $2', [gid, resource]);
  return rows;
}

const RECORD_SQL = `SELECT r.relation::text, r.fingerprint, r.time_zone, r.before_images, r.after_images, r.writer,
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

/**
 * The rows of one record, last first. A row that refers to another row of its own table may have to wait for that one:
 * such a table's rows are tried again until none makes progress. What is left then, rows that refer to each other in a ring or
 * keys that were all renumbered, is restored by one statement, at the end of which the server looks at foreign keys.
 */
async function restoreRecord(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
): Promise<number> {
  const refersToItself = (statements.table.references ?? []).some((reference) => reference.isSelf);
  let pending = record.before_images.map((_, index) => index).toReversed();
  let rows = 0;
  while (pending.length > 0) {
    const waiting: number[] = [];
    for (const index of pending) {
      const before = record.before_images[index] ?? undefined;
      const after = record.after_images[index] ?? undefined;
      if (!refersToItself) {
        rows += await restoreRow(client, statements, before, after);
        continue;
      }
      await client.query('SAVEPOINT atomesh_row; SET CONSTRAINTS ALL DEFERRED');
      try {
        rows += await restoreRow(client, statements, before, after);
        await client.query('RELEASE SAVEPOINT atomesh_row');
      } catch (error) {
        // A row that waits may still have the unique value of this one.
        const mayPass = isForeignKeyViolation(error) || (waiting.length > 0 && codeOf(error) === '23505');
        if (!mayPass || pending.length === 1) throw error;
        await client.query('ROLLBACK TO SAVEPOINT atomesh_row; RELEASE SAVEPOINT atomesh_row');
        waiting.push(index);
      }
    }
    if (waiting.length === pending.length) return rows + (await restoreTogether(client, statements, record, waiting));
    pending = waiting;
  }
  return rows;
}

/** The rows at these places of a record, by one statement. Answers the number of rows written. */
async function restoreTogether(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
  places: readonly number[],
): Promise<number> {
  const { table } = statements;
  const entangled = new DirtyBranch({
    reason: 'rows refer to each other in a way that cannot be restored',
    table: table.sqlName,
  });
  const imagesOf = (images: readonly (string | null)[]): readonly string[] =>
    places.flatMap((place) => images[place] ?? []);
  const [before, after] = [imagesOf(record.before_images), imagesOf(record.after_images)];
  const isOneKind = [before, after].every(({ length }) => length === 0 || length === places.length);
  // Deleted together, rows would take with them what a foreign key lets go with each.
  if (!isOneKind || (before.length === 0 && statements.referring.length > 0)) throw entangled;
  const { rows } = await apply(client, statements, before, after);
  const restored = rows.map(({ image }) => image ?? '').toSorted();
  const wanted = before.length === 0 ? after : before;
  if (!isDeepStrictEqual(restored, wanted.toSorted())) throw entangled;
  return rows.length;
}

/** 23503; or 23001, by which PostgreSQL 18 tells a foreign key that says RESTRICT. */
function isForeignKeyViolation(error: unknown): boolean {
  if (error instanceof DirtyBranch) return error.dirt.reason === REFERRED;
  return ['23503', '23001'].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : '';
}

const REFERRED = 'another row refers to the inserted one, and a foreign key would delete or change it';

async function restoreRow(
  client: pg.ClientBase,
  statements: RestoreStatements,
  before: string | undefined,
  after: string | undefined,
): Promise<number> {
  const { table } = statements;
  if (before === undefined) {
    assert(after !== undefined, 'a changed row has an image');
    for (const sql of statements.referring) {
      const referring = await client.query(sql, [after]);
      if (referring.rows.length > 0) throw new DirtyBranch({ reason: REFERRED, table: table.sqlName, after });
    }
  }
  const result = await apply(
    client,
    statements,
    before === undefined ? [] : [before],
    after === undefined ? [] : [after],
  );
  const [row] = result.rows;
  if (row !== undefined) {
    if (before === undefined || row.image === before) return 1;
    const current = row.image ?? undefined;
    throw new DirtyBranch({
      reason: 'the row came back different: something in the database changes it on the way',
      table: table.sqlName,
      before,
      ...(current === undefined ? {} : { current }),
      ...(after === undefined ? {} : { after }),
    });
  }
  const current = await readCurrent(client, statements, before, after);
  if (current === before) return 0;
  throw new DirtyBranch({
    reason: 'the row was changed by somebody else',
    table: table.sqlName,
    ...(current === undefined ? {} : { current }),
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  });
}

interface ImageRow {
  readonly image: string | null;
}

/** Restores rows that were all inserted (no images before), all deleted (none after), or all updated. */
function apply(
  client: pg.ClientBase,
  statements: RestoreStatements,
  before: readonly string[],
  after: readonly string[],
): Promise<pg.QueryResult<ImageRow>> {
  if (before.length === 0) return client.query<ImageRow>(statements.undoInsert, [after]);
  if (after.length === 0) return client.query<ImageRow>(statements.undoDelete, [before]);
  return client.query<ImageRow>(statements.undoUpdate, [before, after]);
}

/** The row as it is: under the key that the change left, or under the key that it had before. */
async function readCurrent(
  client: pg.ClientBase,
  statements: RestoreStatements,
  before: string | undefined,
  after: string | undefined,
): Promise<string | undefined> {
  for (const image of [after, before]) {
    if (image === undefined) continue;
    const { rows } = await client.query<ImageRow>(statements.readCurrent, [image]);
    const current = rows[0]?.image ?? undefined;
    if (current !== undefined) return current;
  }
  return undefined;
}
