/**
 * The function and the triggers of one table. Statement triggers with transition tables see the rows as they ended up, whatever
 * changed them: BEFORE triggers, foreign keys that cascade, COPY, functions. The statements of a function are its own, so that the
 * server keeps their plans.
 */
import { createHash } from 'node:crypto';
import type { RelationFacts } from '../catalog.ts';
import { quoteName, quoteText } from '../identifier.ts';
import { parentKeys } from '../locks/parents.ts';
import { keyIndex, lockableIndexes, lockKey, unlockableUniques, type LockKey } from '../undo/lock-key.ts';
import { BRANCH_SETTING, COMMITTED_SETTING } from './functions.ts';

/** A table that may get triggers. */
export interface TriggerTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly relkind: string;
  /** Hash of all that its triggers depend on. */
  readonly shape: string;
  /** Why its changes cannot be recorded, from the catalogue; null when nothing is known to be in the way. */
  readonly trouble: string | null;
  /** It inherits, or is inherited from: a statement names one table and changes rows of others, which only row triggers see. */
  readonly inherits: boolean;
  /** The partitioned table at the top; the table itself where there is none. */
  readonly root: number;
  /** Texts of the expressions of virtual generated columns, by name: rows of a transition table do not have their values. */
  readonly virtuals: Readonly<Record<string, string>>;
  /** Triggers of ours that it has: name, the shape that they were made for, and whether they fire in ordinary sessions. */
  readonly triggers: readonly { readonly name: string; readonly shape: string; readonly isOn: boolean }[];
}

/** What is known of a table for its triggers. `nameOf` gives schema and name of a table or index, quoted. */
export interface TriggerSources {
  readonly facts: RelationFacts;
  readonly root: RelationFacts;
  readonly nameOf: (oid: number) => string;
}

const REFUSING = 'atomesh_refuse';
const EVENTS = ['INSERT', 'UPDATE', 'DELETE'] as const;
type Event = (typeof EVENTS)[number];

/** Outside a global transaction this is all that a statement costs, beside the rows that the server keeps for the trigger. */
const WHEN = `WHEN (pg_catalog.current_setting('${BRANCH_SETTING}', true) OPERATOR(pg_catalog.<>) '')`;

/** Why triggers cannot record changes of the table, for people; undefined when they can. */
export function refusalOf(
  table: TriggerTable,
  { facts, root }: Pick<TriggerSources, 'facts' | 'root'>,
): string | undefined {
  if (table.trouble !== null) return table.trouble;
  if (!root.uniqueIndexes.some((index) => index.isKey) || !facts.uniqueIndexes.some((index) => index.isKey))
    return 'a table without a primary key or a unique index over columns that are NOT NULL';
  if (keyIndex(root) === undefined || keyIndex(facts) === undefined)
    return 'a table whose key has a type or a collation in which equal values may look different';
  return undefined;
}

/** The names of the triggers that a table has when they are in place. */
export function triggerNames(isRefusing: boolean): readonly string[] {
  return isRefusing ? [REFUSING] : [...EVENTS.map(triggerName), 'atomesh_truncate'];
}

/** Every name that a trigger of ours can have. */
export const ALL_TRIGGER_NAMES: readonly string[] = [...triggerNames(true), ...triggerNames(false)];

function triggerName(event: Event): string {
  return `atomesh_${event.toLowerCase()}`;
}

/** DDL for the triggers of a table, in the place of any that it has. */
export function createSql(table: TriggerTable, sources: TriggerSources): string {
  const refusal = refusalOf(table, sources);
  const on = `ON ${sqlName(table)}`;
  const argument = quoteText(table.shape);
  const wanted = triggerNames(refusal !== undefined);
  const dropped = table.triggers
    .filter(({ name }) => !wanted.includes(name))
    .map(({ name }) => `DROP TRIGGER ${name} ${on};`);
  if (refusal !== undefined) {
    // A foreign table knows no TRUNCATE before PostgreSQL 16.
    const events = table.relkind === 'f' ? 'INSERT OR UPDATE OR DELETE' : 'INSERT OR UPDATE OR DELETE OR TRUNCATE';
    return [
      ...dropped,
      `CREATE OR REPLACE TRIGGER ${REFUSING} BEFORE ${events} ${on} FOR EACH STATEMENT ${WHEN} EXECUTE FUNCTION atomesh.refuse_change(${argument}, ${quoteText(refusal)});`,
    ].join('\n');
  }
  const name = functionName(table);
  return [
    ...dropped,
    functionSql(table, sources),
    ...EVENTS.map(
      (event) =>
        `CREATE OR REPLACE TRIGGER ${triggerName(event)} AFTER ${event} ${on}${table.inherits ? '' : TRANSITIONS[event]} FOR EACH ${table.inherits ? 'ROW' : 'STATEMENT'} ${WHEN} EXECUTE FUNCTION ${name}(${argument});`,
    ),
    `CREATE OR REPLACE TRIGGER atomesh_truncate BEFORE TRUNCATE ${on} FOR EACH STATEMENT ${WHEN} EXECUTE FUNCTION atomesh.refuse_change(${argument}, 'TRUNCATE');`,
  ].join('\n');
}

/** DDL that takes the triggers of a table away. */
export function dropSql(table: TriggerTable): string {
  return table.triggers.map(({ name }) => `DROP TRIGGER ${name} ON ${sqlName(table)};`).join('\n');
}

/** Drops the functions that no table has a trigger for: it was dropped or renamed, or its triggers were taken away. */
export const DROP_UNUSED_SQL = `DO $do$
DECLARE
  unused regprocedure;
BEGIN
  FOR unused IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'atomesh'::regnamespace AND p.proname ~ '^record_[0-9a-f]{32}$'
    AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgfoid = p.oid) LOOP
    EXECUTE format('DROP FUNCTION %s', unused);
  END LOOP;
END
$do$`;

/** By a hash: two names cut at 63 bytes could be one, and an object id would be another table's in a restored dump. */
function functionName({ schema, name }: TriggerTable): string {
  return `atomesh.record_${createHash('md5')
    .update(JSON.stringify([schema, name]))
    .digest('hex')}`;
}

export function sqlName({ schema, name }: Pick<TriggerTable, 'schema' | 'name'>): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}

const TRANSITIONS: Readonly<Record<Event, string>> = {
  INSERT: ' REFERENCING NEW TABLE AS atomesh_new',
  UPDATE: ' REFERENCING OLD TABLE AS atomesh_old NEW TABLE AS atomesh_new',
  DELETE: ' REFERENCING OLD TABLE AS atomesh_old',
};

/**
 * The settings are those under which rows are restored. It runs with the rights of its owner: whoever changes the table needs none
 * to the schema atomesh. The images of an UPDATE are not in pairs, and records are not in the order of the changes: a trigger that
 * changes rows of its own table is recorded before the statement that fired it. Restoring takes the whole of a row's records.
 */
function functionSql(table: TriggerTable, sources: TriggerSources): string {
  return `CREATE OR REPLACE FUNCTION ${functionName(table)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off AS $atomesh$
#variable_conflict use_column
DECLARE
  branch text[] := atomesh.captured_branch();
  released text[] := COALESCE(current_setting('${COMMITTED_SETTING}', true), '{}');
  recorded int8;
BEGIN
  IF TG_OP = 'INSERT' THEN
${eventSql('INSERT', table, sources)}
  ELSIF TG_OP = 'UPDATE' THEN
${eventSql('UPDATE', table, sources)}
  ELSE
${eventSql('DELETE', table, sources)}
  END IF;
  RETURN NULL;
END
$atomesh$;
REVOKE ALL ON FUNCTION ${functionName(table)}() FROM PUBLIC;`;
}

type Side = 'old' | 'new';
const SIDES: Readonly<Record<Event, readonly Side[]>> = { INSERT: ['new'], UPDATE: ['old', 'new'], DELETE: ['old'] };

function eventSql(event: Event, table: TriggerTable, sources: TriggerSources): string {
  return `${shapeSql(event, table)}${recordSql(event, table, sources)}    GET DIAGNOSTICS recorded = ROW_COUNT;
    IF recorded = 0 THEN
      RETURN NULL;
    END IF;
${unkeptSql(event, table, sources)}${parentsSql(event, table, sources)}${claimSql(event, table, sources)}${freedSql(event, table, sources)}    ${lockSql(event, table, sources)}`;
}

function rowsOf(side: Side, { inherits }: TriggerTable): string {
  return inherits ? `(SELECT ${side.toUpperCase()}.*) AS t` : `atomesh_${side} AS t`;
}

/** The row as the partitioned table at the top has it, whose columns may stand in another order. */
function imageOf({ virtuals }: TriggerTable, { root }: TriggerSources): string {
  const values = root.columns.map(({ name }) => {
    const expression = virtuals[name];
    return expression === undefined ? `t.${quoteName(name)}` : `(${expression})`;
  });
  return `ROW(${values.join(', ')})::${sqlName(root)}::text`;
}

/** By itself, for the record's own statement does not even parse when the table has got another shape. The server plans it again then. */
function shapeSql(event: Event, table: TriggerTable): string {
  const relation = `${quoteText(sqlName(table))}::regclass::oid`;
  const shape = quoteText(table.shape);
  const rows = rowsOf(SIDES[event][0] ?? 'new', table);
  return `    PERFORM atomesh.refuse_trigger(TG_RELID, 'stale') FROM ${rows}
      WHERE COALESCE(atomesh.has_trigger_shape(${relation}, ${shape}), atomesh.trigger_shape(${relation}) = ${shape}) IS NOT TRUE LIMIT 1;\n`;
}

function recordSql(event: Event, table: TriggerTable, sources: TriggerSources): string {
  const { root } = sources;
  const images = (side: Side): string =>
    SIDES[event].includes(side)
      ? `(SELECT count(*), COALESCE(array_agg(${imageOf(table, sources)}), '{}') FROM ${rowsOf(side, table)})`
      : `(SELECT 0, '{}'::text[])`;
  return `    INSERT INTO atomesh.undo_record (gid, resource, position, relation, fingerprint, before_images, after_images, time_zone, source)
    SELECT branch[2], branch[3], pg_current_wal_insert_lsn(), ${quoteText(sqlName(root))}::regclass::oid, ${quoteText(root.fingerprint)}, o.images, n.images, 'UTC', 'trigger'
    FROM ${images('old')} AS o (count, images), ${images('new')} AS n (count, images)
    WHERE CASE WHEN o.count + n.count = 0 THEN false
      WHEN greatest(o.count, n.count) > branch[4]::int8 THEN atomesh.refuse_capture(branch[4]) ELSE true END;\n`;
}

/** A value that is unique in a way for which there are no locks could be somebody else's when the row is to come back. */
function unkeptSql(event: Event, table: TriggerTable, { facts, root }: TriggerSources): string {
  if (event === 'INSERT') return '';
  return [
    ...new Map(
      [...unlockableUniques(facts), ...unlockableUniques(root)].map((unique) => [unique.name, unique]),
    ).values(),
  ]
    .map(({ name, columns }) => {
      const row = `ROW(${columns.map((column) => `t.${quoteName(column)}`).join(', ')})::text`;
      const left = `SELECT ${row} FROM ${rowsOf('old', table)}`;
      const freed = event === 'DELETE' ? left : `${left} EXCEPT ALL SELECT ${row} FROM ${rowsOf('new', table)}`;
      return `    IF EXISTS (${freed}) THEN
      PERFORM atomesh.refuse_trigger(TG_RELID, ${quoteText(`it would free a value of ${name}, which cannot be kept from others`)});
    END IF;\n`;
    })
    .join('');
}

/** Rows that somebody else holds, and that a row has come to refer to: they may vanish with a rollback. */
function parentsSql(event: Event, table: TriggerTable, { facts, nameOf }: TriggerSources): string {
  if (event === 'DELETE') return '';
  return parentKeys(facts, 't')
    .map(({ relation, sql }) => {
      const keys = `SELECT ${sql} FROM ${rowsOf('new', table)}`;
      const referred = event === 'INSERT' ? keys : `${keys} EXCEPT SELECT ${sql} FROM ${rowsOf('old', table)}`;
      return `    PERFORM atomesh.meet_row_locks(${quoteText(nameOf(relation))}::regclass::oid, ARRAY(${referred}), branch[2], released);\n`;
    })
    .join('');
}

/** Rows that no row of the statement refers to any more, though one did. */
function claimSql(event: Event, table: TriggerTable, sources: TriggerSources): string {
  const keys = lostSql(event, table, sources, parentKeys(sources.facts, 't'));
  if (keys === '') return '';
  return `    INSERT INTO atomesh.parent_claim (relation, key, gid, resource)
    SELECT DISTINCT v.relation, v.key, branch[2], branch[3] FROM (${keys}) AS v (relation, key);\n`;
}

/** Keys that foreign keys lead to and that no row has any more. The triggers of those have fired before: see `locks/claims.ts`. */
function freedSql(event: Event, table: TriggerTable, sources: TriggerSources): string {
  const { facts } = sources;
  const referred = lockableIndexes(facts).flatMap((index) => {
    const found = facts.referred.find(({ lockRelation }) => lockRelation === index.lockRelation);
    return found === undefined ? [] : [{ ...found, key: lockKey(facts, index, 't') }];
  });
  const keys = lostSql(
    event,
    table,
    sources,
    referred.map(({ key }) => key),
  );
  if (keys === '') return '';
  return `    INSERT INTO atomesh.freed_key (gid, resource, taken, relations, keys, late)
    SELECT branch[2], branch[3], released, array_agg(v.relation), array_agg(v.key), ${referred.some(({ isDeferrable }) => isDeferrable)}
    FROM (${keys}) AS v (relation, key) HAVING count(*) > 0;\n`;
}

/** A query for those of the keys that rows had before the change and none has after it; empty where there are none. */
function lostSql(event: Event, table: TriggerTable, { nameOf }: TriggerSources, keys: readonly LockKey[]): string {
  if (event === 'INSERT') return '';
  return keys
    .map(({ relation, sql }) => {
      const before = `SELECT ${sql} FROM ${rowsOf('old', table)}`;
      const lost = event === 'DELETE' ? before : `${before} EXCEPT SELECT ${sql} FROM ${rowsOf('new', table)}`;
      return `SELECT ${quoteText(nameOf(relation))}::regclass::oid, k.key COLLATE "C" FROM (${lost}) AS k (key) WHERE k.key IS NOT NULL`;
    })
    .join('\n      UNION ALL ');
}

/** The key of every row, and each other unique value that the statement has taken or freed. */
function lockSql(event: Event, table: TriggerTable, { facts, nameOf }: TriggerSources): string {
  const locks = lockableIndexes(facts).map((index) => {
    const { relation, sql } = lockKey(facts, index, 't');
    const keys = (side: Side): string => `SELECT ${sql} FROM ${rowsOf(side, table)}`;
    const [one, other] = SIDES[event].map(keys);
    const both =
      other === undefined
        ? `SELECT DISTINCT ${sql} FROM ${rowsOf(SIDES[event][0] ?? 'new', table)}`
        : index.isKey
          ? `${one} UNION ${other}`
          : `(${one} EXCEPT ${other}) UNION ALL (${other} EXCEPT ${one})`;
    return `SELECT ${quoteText(nameOf(relation))}::regclass::oid, k.key FROM (${both}) AS k (key) WHERE k.key IS NOT NULL`;
  });
  return `INSERT INTO atomesh.row_lock AS l (relation, key, gid, resource)
    SELECT v.relation, v.key, branch[2], branch[3] FROM (${locks.join('\n      UNION ALL ')}) AS v (relation, key)
    ON CONFLICT (relation, key) DO UPDATE SET resource = excluded.resource,
      gid = CASE WHEN l.gid = ANY (released) THEN excluded.gid ELSE atomesh.row_lock_conflict(l.gid, excluded.gid, l.relation, l.key) END
    WHERE l.gid <> excluded.gid OR l.resource <> excluded.resource;`;
}
