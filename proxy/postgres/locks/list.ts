/** Reads atomesh.row_lock and atomesh.parent_claim for people: which rows of which tables are locked, by key. */
import type pg from 'pg';
import { CodedError } from '../../../src/contract/errors.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { HeldLock, LockQuery } from '../../branch/lock-view.ts';
import { KEY_INDEX_SQL } from '../catalog-sql.ts';
import { openOwnPool } from '../own-pool.ts';

export interface LockList {
  /** @throws CodedError BAD_REQUEST for a cursor of another database, UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked. */
  read(query: LockQuery): Promise<readonly HeldLock[]>;
  close(): Promise<void>;
}

const OBJECT_ID = /^[0-9]{1,10}$/;

/** One connection is enough for people, and is let go when nobody looks. */
export function createLockList(connection: pg.PoolConfig, log: Log): LockList {
  const pool = openOwnPool({
    connection,
    purpose: 'lock view',
    max: 1,
    statementTimeoutMs: 5_000,
    idleTimeoutMs: 10_000,
    log,
  });
  return {
    async read({ gid, after, limit }) {
      if (after !== undefined && !OBJECT_ID.test(after.relation)) {
        throw new CodedError('BAD_REQUEST', 'after is not the next of an earlier page of this database');
      }
      try {
        const place =
          after === undefined ? [null, null, null, null] : [after.relation, after.key, after.gid, after.resource];
        const parameters = [gid ?? null, ...place, limit];
        const { rows } = await pool.query<LockRow>(LOCKS_SQL, parameters);
        return rows.map(lockOf);
      } catch (error) {
        throw new CodedError('UPSTREAM_UNREACHABLE', `the row locks cannot be read: ${(error as Error).message}`, {
          retry: 'safe',
          hint: 'Check upstream, tls and credentials of this database.',
          cause: error,
        });
      }
    },
    close: () => pool.end(),
  };
}

interface LockRow {
  readonly relation: string;
  readonly key: string;
  readonly gid: Gid;
  readonly resource: string;
  readonly shared: boolean;
  readonly table: string | null;
  readonly columns: readonly string[] | null;
  readonly since: string | null;
}

/** Those of one of the two tables that one page can have. */
const fromTable = (
  table: string,
  shared: boolean,
): string => `(SELECT DISTINCT l.relation, l.key, l.gid, l.resource, ${shared} AS shared FROM atomesh.${table} l
  WHERE ($1::pg_catalog.text IS NULL OR l.gid = $1)
    AND ($2::pg_catalog.oid IS NULL OR (l.relation, l.key, l.gid, l.resource) > ($2::pg_catalog.oid, $3::pg_catalog.text, $4::pg_catalog.text, $5::pg_catalog.text))
  ORDER BY l.relation, l.key, l.gid, l.resource LIMIT $6)`;

/** The relation of a lock is the table for its key, and the index for another unique value. Who has the lock needs no claim. */
const LOCKS_SQL = `WITH page AS MATERIALIZED (
  SELECT u.relation, u.key, u.gid, u.resource, pg_catalog.bool_and(u.shared) AS shared
  FROM (${fromTable('row_lock', false)} UNION ALL ${fromTable('parent_claim', true)}) AS u
  GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT $6
), branch AS (
  SELECT r.gid, r.resource, pg_catalog.min(r.created_at) AS since FROM atomesh.undo_record r
  WHERE r.gid IN (SELECT page.gid FROM page) GROUP BY 1, 2
), relation AS (
  SELECT c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.relname) AS "table",
    (SELECT pg_catalog.json_agg(a.attname ORDER BY k.n) FROM pg_catalog.pg_index i
       CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (attnum, n)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indexrelid = (CASE WHEN c.relkind IN ('r', 'p') THEN ${KEY_INDEX_SQL} ELSE c.oid END) AND k.n <= i.indnkeyatts) AS columns
  FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
    JOIN pg_catalog.pg_class t ON t.oid = COALESCE(x.indrelid, c.oid) JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  WHERE c.oid IN (SELECT page.relation FROM page)
)
SELECT page.relation::pg_catalog.text, page.key, page.gid, page.resource, page.shared, relation."table", relation.columns,
  pg_catalog.floor(EXTRACT(epoch FROM branch.since) * 1000)::pg_catalog.int8::pg_catalog.text AS since
FROM page LEFT JOIN relation ON relation.oid = page.relation LEFT JOIN branch ON branch.gid = page.gid AND branch.resource = page.resource
ORDER BY page.relation, page.key, page.gid, page.resource`;

function lockOf({ relation, key, gid, resource, shared, table, columns, since }: LockRow): HeldLock {
  return {
    row: { relation, key },
    gid,
    resource,
    table: table ?? `oid ${relation}`,
    columns: columns ?? [],
    values: valuesOf(key, columns?.length ?? 1),
    shared,
    ...(since === null ? {} : { since: Number(since) }),
  };
}

/** The inverse of what `undo/lock-key.ts` writes: one value as it is, several each behind its length in bytes. */
function valuesOf(key: string, count: number): readonly string[] {
  if (count === 1) return [key];
  const bytes = Buffer.from(key);
  const values: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const colon = bytes.indexOf(':', at);
    const length = Number(bytes.toString('latin1', at, colon));
    if (colon < 0 || !Number.isInteger(length) || colon + 1 + length > bytes.length) return [key];
    values.push(bytes.toString('utf8', colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return values.length === count ? values : [key];
}
