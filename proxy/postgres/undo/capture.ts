/** Rewrites a statement with changes into one that changes the rows and writes its undo records and row locks. */
import type { Capture, OwnParameter } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import { quoteName, quoteText } from '../identifier.ts';
import type { Anatomy } from './anatomy.ts';
import { keyIndex, type LockKey } from './lock-key.ts';
import { changesOneRow } from './text/one-row.ts';

/** A change that has been checked and may be captured. */
export interface Change {
  readonly command: 'INSERT' | 'UPDATE' | 'DELETE' | 'MERGE';
  readonly anatomy: Anatomy;
  readonly facts: RelationFacts;
  /** Columns that UPDATE, DO UPDATE or MERGE … UPDATE assigns. */
  readonly assigned: ReadonlySet<string>;
  readonly maxRows: number;
  readonly serverMajor: number;
  /** Names of the client's RETURNING columns; undefined without RETURNING. */
  readonly resultColumns: readonly string[] | undefined;
  /** Names of the other tables of the statement: of FROM, USING, or the source of MERGE. */
  readonly sourceNames: readonly string[];
  /** What tells the names of its common table expressions from those of another change of the same statement. */
  readonly suffix: string;
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
  /** What the records are made from: `changedRows` or something joined to it. */
  readonly rows: string;
  /** Further WHEN … THEN branches of the check of the whole statement, tried first. */
  readonly checks: string;
  /** Evaluated once, before the change begins. */
  readonly first: string;
  readonly keys: readonly LockKey[];
  /** Keys of rows that the changed rows refer to, the own columns `atomesh_f1`, `atomesh_f2`, …: nobody else may hold them. */
  readonly parents: readonly LockKey[];
  /** Keys, as SQL over the own columns, of rows that the changed rows have ceased to refer to. Null for a row that has given up nothing. */
  readonly claims: readonly LockKey[];
  /** Keys, likewise, that a changed row had and has no longer, as far as foreign keys lead to them. Null for a row that has kept it. */
  readonly freed: readonly LockKey[];
}

/** A change and its changing part. */
export interface CapturedChange {
  readonly change: Change;
  readonly part: ChangePart;
}

/** A common table expression of the client: as it came, or a change. `head`: its name, with its column names, as written. */
export type TableExpression =
  | { readonly kind: 'as-is'; readonly sql: string }
  | { readonly kind: 'change'; readonly head: string; readonly captured: CapturedChange };

/** A statement whose changes have all been checked. */
export interface CapturedStatement {
  readonly isRecursive: boolean;
  readonly expressions: readonly TableExpression[];
  readonly main:
    | { readonly kind: 'change'; readonly captured: CapturedChange }
    /** The query's own text. */
    | { readonly kind: 'query'; readonly sql: string };
  /** All its changes in the order of their records: undone in reverse. */
  readonly changes: readonly CapturedChange[];
  readonly clientParameters: number;
}

const OWN_PARAMETERS: readonly OwnParameter[] = ['gid', 'resource', 'committed-gids'];

/** Own columns that every change part begins with. */
export const IMAGE_COLUMNS: readonly string[] = ['atomesh_before', 'atomesh_after', 'atomesh_relation'];

/** The name of the common table expression that makes the change: one row for each row changed. */
export function changedRows({ suffix }: Pick<Change, 'suffix'>): string {
  return `atomesh_c${suffix}`;
}

/** The capture of a statement. */
export function assembleCapture(statement: CapturedStatement): Capture {
  const { main } = statement;
  return {
    command: main.kind === 'query' ? 'SELECT' : main.captured.change.command,
    sql: statementSql(statement, true),
    sqlWhenEntered: statementSql(statement, false),
    returnsRows: main.kind === 'query' || main.captured.change.resultColumns !== undefined,
    clientParameters: statement.clientParameters,
    ownParameters: OWN_PARAMETERS,
    locks: [...new Set(statement.changes.flatMap(({ part }) => part.keys.map(({ relation }) => relation)))],
  };
}

function statementSql(statement: CapturedStatement, entering: boolean): string {
  const { main, changes } = statement;
  const own = ownParameters(statement.clientParameters);
  return [
    `WITH ${statement.isRecursive ? 'RECURSIVE ' : ''}${entering ? enterSql(own) : ''}`,
    ...statement.expressions.map((expression) =>
      expression.kind === 'as-is' ? `${expression.sql},\n` : expressionSql(expression),
    ),
    main.kind === 'change' ? changeSql(main.captured) : '',
    `atomesh_r AS (${recordsSql(changes, own, entering && main.kind === 'query')}),\n`,
    `atomesh_l AS (${lockSql(changes, own)})`,
    claimSql(changes, own),
    freedSql(changes, own),
    '\n',
    main.kind === 'query' ? main.sql : answerSql(main.captured, entering),
  ].join('');
}

/** The row of a branch that is open is locked here, which costs half of a call; the function opens it, or says why it cannot be entered. */
function enterSql({ gid, resource }: ReturnType<typeof ownParameters>): string {
  return `atomesh_s (state) AS MATERIALIZED (SELECT b.state FROM atomesh.branch_state AS b
  WHERE b.gid OPERATOR(pg_catalog.=) ${gid} AND b.resource OPERATOR(pg_catalog.=) ${resource} FOR SHARE),
atomesh_e (entered) AS MATERIALIZED (SELECT CASE WHEN (SELECT state FROM atomesh_s) OPERATOR(pg_catalog.=) 'active' THEN true ELSE atomesh.enter_branch(${gid}, ${resource}) END),\n`;
}

function answerSql({ change, part }: CapturedChange, entering: boolean): string {
  const conditions = [
    ...(entering ? ['(SELECT entered FROM atomesh_e)'] : []),
    ...(part.first === '' ? [] : [part.first]),
  ];
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  return `SELECT ${resultList(change)} FROM ${changedRows(change)}${where}`;
}

function changeSql({ change, part }: CapturedChange): string {
  const columns = [...part.ownColumns, ...(change.resultColumns ?? []).map((_, index) => `c${index + 1}`)];
  return `${part.before}${changedRows(change)} (${columns.join(', ')}) AS (${part.change}\n),\n${part.after}`;
}

/** The change under a name of ours, and the client's name for what it returns of it. */
function expressionSql({ head, captured }: Extract<TableExpression, { kind: 'change' }>): string {
  const { change } = captured;
  const returned =
    change.resultColumns === undefined
      ? ''
      : `${head} AS (SELECT ${resultList(change)} FROM ${changedRows(change)}),\n`;
  return changeSql(captured) + returned;
}

function ownParameters(clientParameters: number): { gid: string; resource: string; committed: string } {
  return {
    gid: `$${clientParameters + 1}::pg_catalog.text`,
    resource: `$${clientParameters + 2}::pg_catalog.text`,
    committed: `$${clientParameters + 3}::pg_catalog.text[]`,
  };
}

function resultList(change: Change): string {
  const { resultColumns } = change;
  if (resultColumns === undefined) return 'pg_catalog.count(*)';
  const rows = changedRows(change);
  return resultColumns.map((name, index) => `${rows}.c${index + 1} AS ${quoteName(name)}`).join(', ');
}

/**
 * A record for all rows of a change. The changes of one statement happen in no promised order; their records' positions, which
 * decide about the order of undoing, are set apart in the order in which they are given.
 */
function recordsSql(
  changes: readonly CapturedChange[],
  own: ReturnType<typeof ownParameters>,
  entering: boolean,
): string {
  const [only] = changes;
  const records = changes.map((captured, index) =>
    recordSql(captured, own, { offset: changes.length === 1 ? 0 : index + 1, enters: entering && captured === only }),
  );
  return `INSERT INTO atomesh.undo_record (gid, resource, position, relation, fingerprint, before_images, after_images, time_zone)
  ${records.join('\n  UNION ALL ')}`;
}

/** HAVING is evaluated once, after every row has been changed. One row needs no gathering, which costs as much as the record itself. */
function recordSql(
  { change, part }: CapturedChange,
  own: ReturnType<typeof ownParameters>,
  options: { readonly offset: number; readonly enters: boolean },
): string {
  const { facts, maxRows } = change;
  const { oid, fingerprint, shape } = facts;
  const later = options.offset === 0 ? '' : ` OPERATOR(pg_catalog.+) ${options.offset}::pg_catalog.numeric`;
  const enter = options.enters ? 'WHEN NOT (SELECT entered FROM atomesh_e) THEN false ' : '';
  const record = (before: string, after: string): string =>
    `SELECT ${own.gid}, ${own.resource}, pg_catalog.pg_current_wal_insert_lsn()${later}, ${oid}::pg_catalog.oid, ${quoteText(fingerprint)}::pg_catalog.text,
    ${before}, ${after}, pg_catalog.current_setting('TimeZone')
  FROM ${part.rows}`;
  const otherShape = `WHEN COALESCE(atomesh.has_shape(${oid}::pg_catalog.oid, ${quoteText(shape)}), atomesh.table_shape(${oid}::pg_catalog.oid) OPERATOR(pg_catalog.=) ${quoteText(shape)}) IS NOT TRUE THEN atomesh.refuse_capture('stale')`;
  if (isOneRow({ change, part })) {
    return `${record('ARRAY[atomesh_before]', 'ARRAY[atomesh_after]')}
  WHERE CASE ${enter}${parentChecks(part, own, (key) => `ARRAY[${key}]`)}WHEN atomesh_relation OPERATOR(pg_catalog.<>) ${oid}::pg_catalog.oid THEN atomesh.refuse_capture('stale')
    ${otherShape}
    ELSE true END`;
  }
  return `${record('pg_catalog.array_agg(atomesh_before)', 'pg_catalog.array_agg(atomesh_after)')}
  HAVING CASE ${enter}${part.checks}${parentChecks(part, own, (key) => `pg_catalog.array_agg(${key})`)}WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 THEN false
    WHEN NOT ${isOfTable(facts, part)} THEN atomesh.refuse_capture('stale')
    ${otherShape}
    WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>) ${maxRows} THEN atomesh.refuse_capture('${maxRows}')
    ELSE true END`;
}

/** The checks of a part are about all of its rows, and so are those of a partitioned table. */
function isOneRow({ change, part }: CapturedChange): boolean {
  const { anatomy, facts } = change;
  const key = keyIndex(facts)?.columns ?? [];
  return part.checks === '' && facts.relkind !== 'p' && changesOneRow(anatomy.statement.node, key);
}

/**
 * Raises the conflict. Before the server looks at the foreign keys, at the end of the statement: they would call it a violation. Keys may
 * come twice: DISTINCT would have the server sort the rows, and their order is that in which they are undone.
 */
function parentChecks(
  { parents }: ChangePart,
  own: ReturnType<typeof ownParameters>,
  gathered: (key: string) => string,
): string {
  return parents
    .map(({ relation }, index) => {
      const keys = gathered(`atomesh_f${index + 1}`);
      return `WHEN atomesh.meet_row_locks(${relation}::pg_catalog.oid, ${keys}, ${own.gid}, ${own.committed}) THEN false `;
    })
    .join('');
}

/** True when all rows lie in the table that the statement was planned for, or in partitions of it. */
function isOfTable({ oid, relkind }: RelationFacts, part: ChangePart): string {
  if (relkind !== 'p') return `pg_catalog.bool_and(atomesh_relation OPERATOR(pg_catalog.=) ${oid}::pg_catalog.oid)`;
  return `(SELECT pg_catalog.bool_and(EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(p.relation) AS a (relation) WHERE a.relation::pg_catalog.oid OPERATOR(pg_catalog.=) ${oid}::pg_catalog.oid))
      FROM (SELECT DISTINCT atomesh_relation FROM ${part.rows}) AS p (relation))`;
}

function lockSql(changes: readonly CapturedChange[], own: ReturnType<typeof ownParameters>): string {
  return `INSERT INTO atomesh.row_lock AS l (relation, key, gid, resource)
  SELECT v.relation, v.key, ${own.gid}, ${own.resource} FROM ${lockSource(changes)}
  ON CONFLICT (relation, key) DO UPDATE SET resource = excluded.resource,
    gid = CASE WHEN l.gid OPERATOR(pg_catalog.=) ANY (${own.committed}) THEN excluded.gid ELSE atomesh.row_lock_conflict(l.gid, excluded.gid, l.relation, l.key) END
  WHERE l.gid OPERATOR(pg_catalog.<>) excluded.gid OR l.resource OPERATOR(pg_catalog.<>) excluded.resource`;
}

/** The keys, each once: a lock that one statement takes twice is an error of the server. */
function lockSource(changes: readonly CapturedChange[]): string {
  const [first] = changes;
  if (changes.length === 1 && first?.part.keys.length === 1) {
    return `(SELECT ${first.part.keys[0]?.relation}::pg_catalog.oid, atomesh_k1 FROM ${first.part.rows}) AS v (relation, key)`;
  }
  return `(SELECT DISTINCT u.relation, u.key FROM (${keysSql(changes, ({ keys }) => keys.map(({ relation }, index) => ({ relation, sql: `atomesh_k${index + 1}` })))}) AS u) AS v`;
}

/** Claims never conflict with each other, and are never waited for here: nothing is unique about them. */
function claimSql(changes: readonly CapturedChange[], own: ReturnType<typeof ownParameters>): string {
  const keys = keysSql(changes, ({ claims }) => claims);
  if (keys === '') return '';
  return `,\natomesh_g AS (INSERT INTO atomesh.parent_claim (relation, key, gid, resource)
  SELECT DISTINCT u.relation, u.key, ${own.gid}, ${own.resource} FROM (${keys}) AS u)`;
}

/** One row for all of them, behind all the changes: its trigger fires behind those of the foreign keys. See `locks/claims.ts`. */
function freedSql(changes: readonly CapturedChange[], own: ReturnType<typeof ownParameters>): string {
  const keys = keysSql(changes, ({ freed }) => freed);
  if (keys === '') return '';
  const late = changes.some(({ change: { facts }, part: { freed } }) =>
    facts.referred.some(
      ({ lockRelation, isDeferrable }) => isDeferrable && freed.some(({ relation }) => relation === lockRelation),
    ),
  );
  return `,\natomesh_d AS (INSERT INTO atomesh.freed_key (gid, resource, taken, relations, keys, late)
  SELECT ${own.gid}, ${own.resource}, ${own.committed}, pg_catalog.array_agg(u.relation), pg_catalog.array_agg(u.key), ${late} FROM (${keys}) AS u
  HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0)`;
}

/**
 * A query for the keys of all changed rows that are not null, with what they are filed under; empty where there are none. Each has the
 * collation of its column, and two of them together would have none.
 */
function keysSql(changes: readonly CapturedChange[], keysOf: (part: ChangePart) => readonly LockKey[]): string {
  return changes
    .flatMap(({ part }) => {
      const values = keysOf(part).map(
        ({ relation, sql }) => `(${relation}::pg_catalog.oid, (${sql}) COLLATE pg_catalog."C")`,
      );
      if (values.length === 0) return [];
      return [
        `SELECT v.relation, v.key FROM ${part.rows} CROSS JOIN LATERAL (VALUES ${values.join(', ')}) AS v (relation, key) WHERE v.key IS NOT NULL`,
      ];
    })
    .join(' UNION ALL ');
}
