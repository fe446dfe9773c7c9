/**
 * Makes records that can be restored one by one out of what triggers have recorded. A trigger of the user's that changes rows of its
 * own table is recorded before the statement that fired it, and images of an UPDATE are in no pairs; so no order of the records is
 * that of the changes. But every change takes one image of a row away and leaves another: what is left over when both are counted is
 * the image that the branch found and the one that it left.
 */
import type pg from 'pg';
import { FINGERPRINT_SQL, KEY_INDEX_SQL } from '../catalog-sql.ts';
import { quoteName } from '../identifier.ts';

interface Branch {
  readonly gid: string;
  readonly resource: string;
}

interface RecordedTable {
  readonly relation: string;
  readonly sqlName: string;
  readonly key: readonly string[];
  /** Columns whose values may pass from one row to another, or that UPDATE cannot set: such a row is deleted and inserted. */
  readonly moving: readonly string[];
}

/** Tables whose shape is another by now are left as they are: restoring says so. */
const TABLES_SQL = `SELECT c.oid::text AS relation, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS "sqlName",
  (SELECT json_agg(a.attname ORDER BY k.n) FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE i.indexrelid = ${KEY_INDEX_SQL} AND k.n <= i.indnkeyatts) AS key,
  (SELECT coalesce(json_agg(a.attname), '[]') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attidentity = 'a'
     OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR a.attnum = ANY (i.indkey::int2[]))))) AS moving
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT r.relation FROM atomesh.undo_record r WHERE r.gid = $1 AND r.resource = $2 AND r.source = 'trigger'
  GROUP BY r.relation HAVING count(DISTINCT r.fingerprint) = 1) AND ${KEY_INDEX_SQL} IS NOT NULL
  AND NOT EXISTS (SELECT FROM atomesh.undo_record r WHERE r.gid = $1 AND r.resource = $2 AND r.source = 'trigger' AND r.relation = c.oid AND r.fingerprint <> ${FINGERPRINT_SQL})`;

/** So many rows are in one record, which is held in memory when it is restored. */
const ROWS_A_RECORD = 500;

/**
 * Settles the branch's records in the local transaction that is open on `client`, under the settings of its images. Behind it, rows
 * that appeared are in records above those of changed rows, and rows that vanished below: values that are unique pass through nobody.
 * Doing it again changes nothing.
 */
export async function settleRecords(client: pg.ClientBase, { gid, resource }: Branch): Promise<void> {
  const { rows } = await client.query<{ some: boolean }>(
    `SELECT EXISTS (SELECT FROM atomesh.undo_record WHERE gid = $1 AND resource = $2 AND source = 'trigger') AS some`,
    [gid, resource],
  );
  if (rows[0]?.some !== true) return;
  await client.query(`SET LOCAL "TimeZone" = 'UTC'`);
  const tables = await client.query<RecordedTable>(TABLES_SQL, [gid, resource]);
  for (const table of tables.rows) await client.query(settleSql(table), [gid, resource, table.relation]);
}

/**
 * A row whose images do not make one way, from one to another, was changed by somebody else in between. Its record then says that it
 * was left as it was found, so that restoring finds it changed.
 */
function settleSql({ sqlName, key, moving }: RecordedTable): string {
  const keys = key.map((name) => `(k.row).${quoteName(name)}`).join(', ');
  const parts = (image: string): string =>
    `ROW(${moving.map((name) => `(${image}::${sqlName}).${quoteName(name)}`).join(', ')})::text`;
  const moved = `n.before IS NOT NULL AND n.after IS NOT NULL AND NOT n.broken AND ${parts('n.before')} COLLATE "C" <> ${parts('n.after')}`;
  return `WITH r AS (DELETE FROM atomesh.undo_record WHERE gid = $1 AND resource = $2 AND relation = $3 AND source = 'trigger'
    RETURNING position, fingerprint, before_images, after_images),
  s AS (SELECT r.position, u.image, 1 AS found FROM r CROSS JOIN LATERAL unnest(r.before_images) AS u (image) WHERE u.image IS NOT NULL
    UNION ALL SELECT r.position, u.image, -1 FROM r CROSS JOIN LATERAL unnest(r.after_images) AS u (image) WHERE u.image IS NOT NULL),
  b AS (SELECT s.image COLLATE "C" AS image, sum(s.found) AS found, min(s.position) AS position FROM s GROUP BY 1 HAVING sum(s.found) <> 0),
  k AS MATERIALIZED (SELECT b.image, b.found, b.position, b.image::${sqlName} AS row FROM b),
  n AS (SELECT (array_agg(k.image ORDER BY k.position) FILTER (WHERE k.found > 0))[1] AS before,
      (array_agg(k.image ORDER BY k.position) FILTER (WHERE k.found < 0))[1] AS after,
      count(*) FILTER (WHERE k.found > 0) > 1 OR count(*) FILTER (WHERE k.found < 0) > 1 OR bool_or(abs(k.found) > 1) AS broken
    FROM k GROUP BY ${keys}),
  c AS (SELECT n.before, CASE WHEN n.broken THEN COALESCE(n.before, n.after) ELSE n.after END AS after, ${moved} AS moves FROM n),
  i AS (SELECT 3 AS step, NULL AS before, c.after FROM c WHERE c.after IS NOT NULL AND (c.before IS NULL OR c.moves)
    UNION ALL SELECT 2, c.before, c.after FROM c WHERE c.before IS NOT NULL AND c.after IS NOT NULL AND NOT c.moves
    UNION ALL SELECT 1, c.before, NULL FROM c WHERE c.before IS NOT NULL AND (c.after IS NULL OR c.moves)),
  p AS (SELECT i.*, (row_number() OVER (PARTITION BY i.step) - 1) / ${ROWS_A_RECORD} AS part FROM i)
  INSERT INTO atomesh.undo_record (gid, resource, position, relation, fingerprint, before_images, after_images, time_zone, source)
  SELECT $1, $2, (SELECT max(r.position) FROM r) + p.step::numeric, $3, (SELECT min(r.fingerprint) FROM r), array_agg(p.before), array_agg(p.after), 'UTC', 'settled'
  FROM p GROUP BY p.step, p.part`;
}
