/**
 * What the server checks by triggers, checked by us: while rows are restored, its own for foreign keys and deferrable constraints are as
 * silent as the user's. The rows themselves are what they were, but somebody else may have come to refer to what the branch had made,
 * deleted what it referred to, or taken a value.
 */
import type pg from 'pg';
import type { Dirt } from '../../branch/finish.ts';
import { quoteName } from '../identifier.ts';

interface ForeignKey {
  readonly constraint: string;
  /** Table and columns that refer, and those that are referred to; quoted. */
  readonly from: string;
  readonly to: string;
  readonly columns: readonly { readonly from: string; readonly to: string; readonly equals: string }[];
  readonly isOurs: boolean;
  readonly refersToOurs: boolean;
}

interface DeferredUnique {
  readonly constraint: string;
  readonly columns: readonly { readonly name: string; readonly equals: string }[];
}

interface RestoredTable {
  readonly relation: string;
  readonly sqlName: string;
  readonly foreignKeys: readonly ForeignKey[];
  readonly uniques: readonly DeferredUnique[];
}

const NAME = (alias: string): string =>
  `(SELECT CASE WHEN x.relkind = 'p' THEN '' ELSE 'ONLY ' END || quote_ident(s.nspname) || '.' || quote_ident(x.relname) FROM pg_class x JOIN pg_namespace s ON s.oid = x.relnamespace WHERE x.oid = ${alias})`;

/** Those that the server vouches for: not those that are not validated, or not enforced (PostgreSQL 18). */
const TABLES_SQL = `SELECT c.oid::text AS relation, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS "sqlName",
  (SELECT coalesce(json_agg(json_build_object('constraint', k.conname, 'from', ${NAME('k.conrelid')}, 'to', ${NAME('k.confrelid')},
      'isOurs', k.conrelid = c.oid, 'refersToOurs', k.confrelid = c.oid,
      'columns', (SELECT json_agg(json_build_object('from', f.attname, 'to', t.attname, 'equals', 'OPERATOR(' || quote_ident(os.nspname) || '.' || o.oprname || ')'))
         FROM ROWS FROM (unnest(k.conkey), unnest(k.confkey), unnest(k.conpfeqop)) AS u (f, t, o)
         JOIN pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.f JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.t
         JOIN pg_operator o ON o.oid = u.o JOIN pg_namespace os ON os.oid = o.oprnamespace))), '[]')
     FROM pg_constraint k WHERE c.oid IN (k.conrelid, k.confrelid) AND k.contype = 'f' AND k.conparentid = 0 AND k.convalidated
       AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)) AS "foreignKeys",
  (SELECT coalesce(json_agg(json_build_object('constraint', k.conname, 'columns',
      (SELECT json_agg(json_build_object('name', a.attname, 'equals', 'OPERATOR(' || quote_ident(os.nspname) || '.' || o.oprname || ')'))
         FROM ROWS FROM (unnest(i.indkey::int2[]), unnest(i.indclass::oid[])) AS u (attnum, class) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum
         JOIN pg_opclass oc ON oc.oid = u.class JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amoplefttype = oc.opcintype AND m.amoprighttype = oc.opcintype AND m.amopstrategy = 3
         JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace os ON os.oid = o.oprnamespace))), '[]')
     FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u') AND k.condeferrable) AS uniques
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT r.relation FROM atomesh.undo_record r WHERE r.gid = $1 AND r.resource = $2 AND r.source = 'settled')`;

/**
 * Looks at the settled records of the branch, when they have all been restored, in the same local transaction. Answers the first
 * constraint that does not hold any more.
 */
export async function brokenConstraint(
  client: pg.ClientBase,
  { gid, resource }: { readonly gid: string; readonly resource: string },
): Promise<Dirt | undefined> {
  const { rows: tables } = await client.query<RestoredTable>(TABLES_SQL, [gid, resource]);
  for (const table of tables) {
    for (const { reason, sql } of checksOf(table)) {
      const { rows } = await client.query<{ image: string }>(sql, [gid, resource, table.relation]);
      const [row] = rows;
      if (row !== undefined) return { reason, table: table.sqlName, current: row.image };
    }
  }
  return undefined;
}

interface Check {
  readonly reason: string;
  /** Answers a row that breaks the constraint, as `image`. */
  readonly sql: string;
}

function checksOf(table: RestoredTable): readonly Check[] {
  const of = (reason: string, constraint: string, sql: string): Check => ({ reason: `${reason} (${constraint})`, sql });
  return [
    ...table.foreignKeys
      .filter(({ isOurs }) => isOurs)
      .map((key) => of('a row refers to one that is gone', key.constraint, orphansSql(table, key))),
    ...table.foreignKeys
      .filter(({ refersToOurs }) => refersToOurs)
      .map((key) => of('a row refers to one that the branch had made', key.constraint, referringSql(table, key))),
    ...table.uniques.map((unique) =>
      of('somebody else has taken a value', unique.constraint, duplicatesSql(table, unique)),
    ),
  ];
}

function restored({ sqlName }: RestoredTable, images: 'before_images' | 'after_images'): string {
  return `(SELECT u.image::${sqlName} AS row FROM atomesh.undo_record r CROSS JOIN LATERAL unnest(r.${images}) AS u (image)
    WHERE r.gid = $1 AND r.resource = $2 AND r.relation = $3 AND r.source = 'settled' AND u.image IS NOT NULL OFFSET 0)`;
}

/** Rows that are back, and refer to none. What they refer to is locked, as the server does it, so that it stays until the end. */
function orphansSql(table: RestoredTable, { to, columns }: ForeignKey): string {
  const isSet = columns.map(({ from }) => `(x.row).${quoteName(from)} IS NOT NULL`).join(' AND ');
  const match = columns
    .map((column) => `p.${quoteName(column.to)} ${column.equals} (i.row).${quoteName(column.from)}`)
    .join(' AND ');
  return `WITH i AS MATERIALIZED (SELECT row_number() OVER () AS n, x.row FROM ${restored(table, 'before_images')} AS x WHERE ${isSet}),
  l AS MATERIALIZED (SELECT i.n FROM i JOIN ${to} AS p ON ${match} FOR KEY SHARE OF p)
  SELECT i.row::text AS image FROM i WHERE NOT EXISTS (SELECT FROM l WHERE l.n = i.n) LIMIT 1`;
}

/** Rows that refer to one that is there no more. */
function referringSql(table: RestoredTable, { from, to, columns }: ForeignKey): string {
  const match = (row: string, side: 'from' | 'to'): string =>
    columns
      .map((column) =>
        side === 'to'
          ? `${row}.${quoteName(column.to)} ${column.equals} c.${quoteName(column.from)}`
          : `(i.row).${quoteName(column.to)} ${column.equals} c.${quoteName(column.from)}`,
      )
      .join(' AND ');
  return `SELECT c.*::text AS image FROM ${restored(table, 'after_images')} AS i JOIN ${from} AS c ON ${match('i', 'from')}
  WHERE NOT EXISTS (SELECT FROM ${to} AS p WHERE ${match('p', 'to')}) LIMIT 1`;
}

function duplicatesSql(table: RestoredTable, { columns }: DeferredUnique): string {
  const match = columns
    .map(({ name, equals }) => `p.${quoteName(name)} ${equals} (i.row).${quoteName(name)}`)
    .join(' AND ');
  return `SELECT i.row::text AS image FROM ${restored(table, 'before_images')} AS i JOIN ${table.sqlName} AS p ON ${match} GROUP BY i.row::text HAVING count(*) > 1 LIMIT 1`;
}
