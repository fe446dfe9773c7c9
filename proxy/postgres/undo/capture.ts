/** Rewrites one INSERT, UPDATE or DELETE into one statement that changes the rows and writes its undo record and row locks. */
import type { Capture, OwnParameter } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import { quoteName, quoteText } from '../identifier.ts';
import type { Anatomy } from './anatomy.ts';
import type { LockKey } from './lock-key.ts';

/** A change that has been checked and may be captured. */
export interface Change {
  readonly command: Capture['command'];
  readonly anatomy: Anatomy;
  readonly facts: RelationFacts;
  /** Columns that UPDATE or DO UPDATE assigns. */
  readonly assigned: ReadonlySet<string>;
  readonly clientParameters: number;
  readonly maxRows: number;
  readonly serverMajor: number;
  /** Names of the client's RETURNING columns; undefined without RETURNING. */
  readonly resultColumns: readonly string[] | undefined;
}

/** The changing part of a capturing statement, made by `returning.ts` (18 and later) or `locking.ts` (14 to 17). */
export interface ChangePart {
  /** Common table expressions before the change; each ends with a comma. */
  readonly before: string;
  /** Columns of the change: before image, after image, tableoid, own columns, then the client's. Without the names `c1`, `c2`, … of the client's. */
  readonly ownColumns: readonly string[];
  readonly change: string;
  /** Common table expressions between the change and its records; each ends with a comma. */
  readonly after: string;
  /** What the records are made from: `atomesh_c` or something joined to it. */
  readonly rows: string;
  /** Further WHEN … THEN branches of the check of the whole statement, tried first. */
  readonly checks: string;
  /** Evaluated once, before the change begins. */
  readonly first: string;
  readonly keys: readonly LockKey[];
}

const OWN_PARAMETERS: readonly OwnParameter[] = ['gid', 'resource', 'committed-gids'];

/** Own columns that every change part begins with. */
export const IMAGE_COLUMNS: readonly string[] = ['atomesh_before', 'atomesh_after', 'atomesh_relation'];

/** The capture of a change, from its changing part. */
export function assembleCapture(change: Change, part: ChangePart): Capture {
  const sql = (entering: boolean): string => statementSql(change, part, entering);
  return {
    command: change.command,
    sql: sql(true),
    sqlWhenEntered: sql(false),
    returnsRows: change.resultColumns !== undefined,
    clientParameters: change.clientParameters,
    ownParameters: OWN_PARAMETERS,
  };
}

function statementSql(change: Change, part: ChangePart, entering: boolean): string {
  const { anatomy } = change;
  const own = ownParameters(change.clientParameters);
  const client = anatomy.tableExpressions;
  const clientText = client === undefined ? '' : `${anatomy.statement.source.slice(client.start, client.end)},\n`;
  const enter = `atomesh_e (entered) AS MATERIALIZED (SELECT atomesh.enter_branch(${own.gid}, ${own.resource})),\n`;
  const columns = [...part.ownColumns, ...(change.resultColumns ?? []).map((_, index) => `c${index + 1}`)];
  const conditions = [
    ...(entering ? ['(SELECT entered FROM atomesh_e)'] : []),
    ...(part.first === '' ? [] : [part.first]),
  ];
  return [
    `WITH ${anatomy.isRecursive ? 'RECURSIVE ' : ''}${clientText}${entering ? enter : ''}${part.before}`,
    `atomesh_c (${columns.join(', ')}) AS (${part.change}\n),\n${part.after}`,
    `atomesh_r AS (${recordSql(change, part, own)}),\n`,
    `atomesh_l AS (${lockSql(part, own)})\n`,
    `SELECT ${resultList(change.resultColumns)} FROM atomesh_c`,
    conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`,
  ].join('');
}

function ownParameters(clientParameters: number): { gid: string; resource: string; committed: string } {
  return {
    gid: `$${clientParameters + 1}::pg_catalog.text`,
    resource: `$${clientParameters + 2}::pg_catalog.text`,
    committed: `$${clientParameters + 3}::pg_catalog.text[]`,
  };
}

function resultList(names: readonly string[] | undefined): string {
  if (names === undefined) return 'pg_catalog.count(*)';
  return names.map((name, index) => `atomesh_c.c${index + 1} AS ${quoteName(name)}`).join(', ');
}

/** One record for all rows of the statement. HAVING is evaluated once, after every row has been changed. */
function recordSql(change: Change, part: ChangePart, own: ReturnType<typeof ownParameters>): string {
  const { oid, fingerprint, shape } = change.facts;
  return `INSERT INTO atomesh.undo_record (gid, resource, position, relation, fingerprint, before_images, after_images, time_zone)
  SELECT ${own.gid}, ${own.resource}, pg_catalog.pg_current_wal_insert_lsn(), ${oid}::pg_catalog.oid, ${quoteText(fingerprint)},
    pg_catalog.array_agg(atomesh_before), pg_catalog.array_agg(atomesh_after), pg_catalog.current_setting('TimeZone')
  FROM ${part.rows}
  HAVING CASE ${part.checks}WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 THEN false
    WHEN NOT pg_catalog.bool_and(atomesh_relation OPERATOR(pg_catalog.=) ${oid}::pg_catalog.oid) THEN atomesh.refuse_capture('stale')
    WHEN COALESCE(atomesh.has_shape(${oid}::pg_catalog.oid, ${quoteText(shape)}), atomesh.table_shape(${oid}::pg_catalog.oid) OPERATOR(pg_catalog.=) ${quoteText(shape)}) IS NOT TRUE THEN atomesh.refuse_capture('stale')
    WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>) ${change.maxRows} THEN atomesh.refuse_capture('${change.maxRows}')
    ELSE true END`;
}

function lockSql(part: ChangePart, own: ReturnType<typeof ownParameters>): string {
  const [first, ...more] = part.keys.map((key, index) => `(${key.relation}::pg_catalog.oid, atomesh_k${index + 1})`);
  const source =
    more.length === 0
      ? `(SELECT ${part.keys[0]?.relation}::pg_catalog.oid, atomesh_k1 FROM ${part.rows}) AS v (relation, key)`
      : `(SELECT DISTINCT v.relation, v.key FROM ${part.rows} CROSS JOIN LATERAL (VALUES ${[first, ...more].join(', ')}) AS v (relation, key)
     WHERE v.key IS NOT NULL) AS v`;
  return `INSERT INTO atomesh.row_lock AS l (relation, key, gid, resource)
  SELECT v.relation, v.key, ${own.gid}, ${own.resource} FROM ${source}
  ON CONFLICT (relation, key) DO UPDATE SET resource = excluded.resource,
    gid = CASE WHEN l.gid OPERATOR(pg_catalog.=) ANY (${own.committed}) THEN excluded.gid ELSE atomesh.row_lock_conflict(l.gid, excluded.gid) END
  WHERE l.gid OPERATOR(pg_catalog.<>) excluded.gid OR l.resource OPERATOR(pg_catalog.<>) excluded.resource`;
}
