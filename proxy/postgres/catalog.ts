/** What the planner must know about relations and functions, and the one catalogue query that tells it. */
import { assert } from '../../src/platform/assert.ts';
import type { QualifiedName } from './tree.ts';

/** How the text form of a column's type depends on settings of the session. */
export type TextForm = 'fixed' | 'date-style' | 'interval-style' | 'float-digits' | 'bytea-output' | 'pinned';

export interface ColumnFacts {
  readonly name: string;
  /** Schema and name of the type, to cast to. */
  readonly typeSchema: string;
  readonly typeName: string;
  /** The type's name with domains resolved. */
  readonly baseName: string;
  readonly form: TextForm;
  /** How a value becomes part of a lock key, so that equal values have equal keys; undefined when there is no such way. */
  readonly keyForm: KeyForm | undefined;
  /** `stored` or `virtual` when generated. */
  readonly generated: 'stored' | 'virtual' | undefined;
  readonly identityAlways: boolean;
}

export type KeyForm = 'text' | 'long-text' | 'folded' | 'numeric' | 'float' | 'binary';

export interface UniqueIndexFacts {
  readonly oid: number;
  readonly isPrimary: boolean;
  /** Rows are told apart by it: the primary key, or else a unique index that no row can escape by a null, and that is not deferred. */
  readonly isKey: boolean;
  /** What its locks are filed under: for the key the table, else the index; of a partition those that the index is a part of. */
  readonly lockRelation: number;
  readonly columns: readonly string[];
  /** The constraint that the index belongs to. */
  readonly constraint: string | undefined;
  readonly nullsNotDistinct: boolean;
}

/** A uniqueness whose values cannot be locked: a unique index over expressions, or an exclusion constraint. */
export interface OtherUniqueFacts {
  readonly name: string;
  /** Columns that it depends on. */
  readonly columns: readonly string[];
}

/** A trigger of the user's, and what fires it. */
export interface TriggerFacts {
  readonly name: string;
  readonly onInsert: boolean;
  readonly onUpdate: boolean;
  readonly onDelete: boolean;
}

/** A foreign key of the relation. */
export interface ForeignKeyFacts {
  /** The oid of the table that it refers to. */
  readonly to: number;
  readonly columns: readonly string[];
}

export interface RelationFacts {
  readonly kind: 'relation';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_class.relkind: r table, p partitioned table, v view, m materialised view, f foreign table, S sequence. */
  readonly relkind: string;
  readonly persistence: 'permanent' | 'unlogged' | 'temporary';
  readonly isPartition: boolean;
  /** Tables inherit from it; partitions do not count. */
  readonly hasHeirs: boolean;
  /** Of a partitioned table: why changes of some of its partitions cannot be seen from it. */
  readonly partitionTrouble: string | null;
  readonly rowSecurity: boolean;
  readonly rules: boolean;
  readonly triggers: readonly TriggerFacts[];
  readonly foreignKeys: readonly ForeignKeyFacts[];
  /** A foreign key to the relation deletes or changes the rows that refer to a deleted one. */
  readonly cascadesOnDelete: boolean;
  /** Columns whose change a foreign key to the relation carries on to the rows that refer to it. */
  readonly cascadesOnUpdateOf: readonly string[];
  readonly columns: readonly ColumnFacts[];
  /** Unique indexes over plain columns; the primary key is one of them. */
  readonly uniqueIndexes: readonly UniqueIndexFacts[];
  readonly otherUniques: readonly OtherUniqueFacts[];
  /** Functions that might write and that a view, a default or a check of the relation calls. */
  readonly unsafeFunctions: readonly string[];
  /** Hash of columns, types and primary key: an undo record is applied only to a table of the same fingerprint. */
  readonly fingerprint: string;
  /** `SHAPE_SQL` at the time of asking: a captured statement fails as stale when it is another by then. */
  readonly shape: string;
}

/** `unsafe`: the overloads that a call might reach and that might write. */
export interface FunctionFacts {
  readonly kind: 'function';
  readonly unsafe: readonly string[];
}

export interface Facts {
  readonly relations: ReadonlyMap<string, RelationFacts | 'missing'>;
  readonly functions: ReadonlyMap<string, FunctionFacts>;
}

/** The key of a name in the maps of `Facts`. */
export function factKey(name: QualifiedName): string {
  return JSON.stringify([name.schema ?? null, name.name]);
}

/** Functions of pg_catalog that write, or run a text as SQL, whatever they are declared as. */
const UNSAFE_BUILTINS =
  "'^(lo_.*|lowrite|lo_put|.*_to_xml.*|ts_stat|ts_rewrite|pg_logical_emit_message|pg_restore_.*|pg_clear_.*|binary_upgrade_.*|pg_file_.*|brin_.*|gin_clean_pending_list|pg_import_.*|pg_replication_.*|pg_create_.*|pg_drop_.*|pg_export_snapshot|pg_extension_config_dump|dblink.*)$'";

/** Extensions whose volatile functions only make values. */
const VALUE_EXTENSIONS = "'{uuid-ossp,pgcrypto,pg_uuidv7}'";

/** True for a function (pg_proc row `p`) that might change rows: volatile ones of the user, and the built-in ones named above. */
const IS_UNSAFE = `(case when p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and not exists (
      select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e')
    then p.proname operator(pg_catalog.~) ${UNSAFE_BUILTINS}
    else p.provolatile = 'v' and not exists (
      select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
      where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e'
        and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and e.extname = any (${VALUE_EXTENSIONS}::pg_catalog.name[])) end)`;

const COLUMNS = `(select pg_catalog.json_agg(pg_catalog.json_build_object(
    'name', a.attname, 'typeSchema', tn.nspname, 'typeName', t.typname,
    'base', bn.nspname || '.' || b.typname, 'baseType', b.typtype, 'isArray', b.typlen = -1 and b.typelem <> 0 and b.typcategory = 'A',
    'element', en.nspname || '.' || e.typname, 'elementType', e.typtype,
    'generated', a.attgenerated, 'identity', a.attidentity, 'deterministic', coalesce(l.collisdeterministic, true)) order by a.attnum)
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_type t on t.oid = a.atttypid join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
  join pg_catalog.pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end join pg_catalog.pg_namespace bn on bn.oid = b.typnamespace
  left join pg_catalog.pg_type e on e.oid = b.typelem and b.typelem <> 0 left join pg_catalog.pg_namespace en on en.oid = e.typnamespace
  left join pg_catalog.pg_collation l on l.oid = a.attcollation
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)`;

/** SQL for the index that tells the rows of the relation \`c\` (a pg_class row) apart, its oid; null without one. */
export const KEY_INDEX_SQL = `(select i.indexrelid from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
    and i.indpred is null and i.indexprs is null and not exists (select from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum where k.n <= i.indnkeyatts and not a.attnotnull)
  order by i.indisprimary desc, i.indexrelid limit 1)`;

/** SQL for the fingerprint of the relation \`c\` (a pg_class row): the same text at planning and at restoring. */
export const FINGERPRINT_SQL = `pg_catalog.md5(pg_catalog.concat((select pg_catalog.string_agg(pg_catalog.concat_ws(',', pg_catalog.octet_length(a.attname::pg_catalog.text), a.attname, a.atttypid, a.atttypmod, a.attgenerated, a.attidentity), ';' order by a.attnum)
    from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '|',
  (select i.indkey::pg_catalog.text from pg_catalog.pg_index i where i.indexrelid = ${KEY_INDEX_SQL})))`;

const versions = (catalogue: string, alias: string, owner: string): string =>
  `(select pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(${alias}.xmin::pg_catalog.text::pg_catalog.int8)) from pg_catalog.${catalogue} ${alias} where ${alias}.${owner} operator(pg_catalog.=) c.oid)`;

/** The same for the tables that are partitions of it, or inherit from it, directly. */
const ofChildren = (catalogue: string, owner: string): string =>
  `(select pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(x.xmin::pg_catalog.text::pg_catalog.int8), ' ') from pg_catalog.pg_inherits h join pg_catalog.${catalogue} x on x.${owner} operator(pg_catalog.=) h.inhrelid where h.inhparent operator(pg_catalog.=) c.oid)`;

/**
 * SQL for the versions of the catalogue rows that describe the relation \`c\` (a pg_class row): changes with every column,
 * trigger, foreign key, rule, policy, check, child and index of the relation, and with triggers and indexes of its children. Each change writes a row by a later transaction, so
 * that count and sum tell any two states apart. TRUNCATE, VACUUM, ANALYZE and rights to the table change nothing here.
 */
export const SHAPE_SQL: string = `pg_catalog.concat_ws(' ', c.relkind, c.relpersistence, c.relnatts, c.relchecks, c.relhasrules, c.relrowsecurity, c.relispartition, c.relhassubclass, ${versions('pg_attribute', 'a', 'attrelid')}, ${versions('pg_trigger', 'g', 'tgrelid')}, ${versions('pg_index', 'i', 'indrelid')}, case when c.relhassubclass then ${ofChildren('pg_inherits', 'inhrelid')} || ${ofChildren('pg_trigger', 'tgrelid')} || ${ofChildren('pg_index', 'indrelid')} end)`;

const INDEXES = `(select pg_catalog.json_agg(pg_catalog.json_build_object('oid', i.indexrelid::pg_catalog.int8, 'isPrimary', i.indisprimary,
    'isKey', i.indexrelid is not distinct from ${KEY_INDEX_SQL}, 'lockRelation', (case when i.indexrelid is distinct from ${KEY_INDEX_SQL} then coalesce(pg_catalog.pg_partition_root(i.indexrelid)::pg_catalog.oid, i.indexrelid)
      else (select r.indrelid from pg_catalog.pg_index r where r.indexrelid = coalesce(pg_catalog.pg_partition_root(i.indexrelid)::pg_catalog.oid, i.indexrelid)) end)::pg_catalog.int8,
    'columns', (select pg_catalog.json_agg(a.attname order by k.n) from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum where k.n <= i.indnkeyatts),
    'constraint', (select o.conname from pg_catalog.pg_constraint o where o.conindid = i.indexrelid and o.contype in ('p', 'u') limit 1),
    'nullsNotDistinct', coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false)) order by i.indexrelid is not distinct from ${KEY_INDEX_SQL} desc, i.indexrelid)
  from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indexprs is null)`;

/** The columns are those of the index and those that its expressions are recorded to depend on; all of them where one takes the whole row. */
const OTHER_UNIQUES = `(select pg_catalog.json_agg(pg_catalog.json_build_object('name', x.relname, 'columns',
    (select coalesce(pg_catalog.json_agg(a.attname), '[]') from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0
       and (a.attnum = any (i.indkey::pg_catalog.int2[]) or pg_catalog.concat(i.indexprs, i.indpred) operator(pg_catalog.~) ':varattno 0 '
         or exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           and d.objid = i.indexrelid and d.refclassid = d.classid and d.refobjid = c.oid and d.refobjsubid = a.attnum)))))
  from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
  where i.indrelid = c.oid and (i.indisexclusion or (i.indisunique and i.indexprs is not null)))`;

/** Triggers that are not the server's own for foreign keys and deferred uniqueness. Those of a partition are marked internal before 15. */
const IS_USERS = `g.tgenabled <> 'D' and not exists (select from pg_catalog.pg_proc p where p.oid = g.tgfoid
  and p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and p.proname operator(pg_catalog.~) '^(RI_FKey_.*|unique_key_recheck)$')`;

/** Bits of pg_trigger.tgtype. Source: PostgreSQL, src/include/catalog/pg_trigger.h. */
const TRIGGERS = `(select pg_catalog.json_agg(pg_catalog.json_build_object('name', g.tgname, 'onInsert', g.tgtype & 4 > 0, 'onDelete', g.tgtype & 8 > 0, 'onUpdate', g.tgtype & 16 > 0) order by g.tgname)
  from pg_catalog.pg_trigger g where g.tgrelid = c.oid and ${IS_USERS})`;

const FOREIGN_KEYS = `(select pg_catalog.json_agg(pg_catalog.json_build_object('to', k.confrelid::pg_catalog.int8, 'columns',
    (select pg_catalog.json_agg(a.attname) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum = any (k.conkey))))
  from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'f')`;

/** What a partition may have of its own, which the partitioned table does not show; null when there is nothing of the kind. */
const PARTITION_TROUBLE = `(select pg_catalog.min(w.trouble || ' (' || l.relname || ')')
  from pg_catalog.pg_partition_tree(c.oid) t join pg_catalog.pg_class l on l.oid = t.relid
  cross join lateral (select case
      when l.relkind = 'f' then 'a foreign partition' when l.relpersistence <> c.relpersistence then 'an unlogged partition' when l.relhasrules then 'a partition with rules'
      when exists (select from pg_catalog.pg_trigger g where g.tgrelid = l.oid and g.tgparentid = 0 and ${IS_USERS}) then 'a partition with triggers'
      when exists (select from pg_catalog.pg_index i where i.indrelid = l.oid and (i.indisunique or i.indisexclusion)
        and not exists (select from pg_catalog.pg_inherits h where h.inhrelid = i.indexrelid)) then 'a partition with a unique index of its own'
      when exists (select from pg_catalog.pg_constraint k where k.conrelid = l.oid and k.contype = 'c' and k.coninhcount = 0) then 'a partition with a check of its own'
      when exists (select from pg_catalog.pg_constraint k where k.confrelid = l.oid and k.contype = 'f' and k.conparentid = 0) then 'a partition that foreign keys refer to'
    end as trouble) w
  where t.level > 0)`;

/** Foreign keys to the relation whose action (columns confdeltype, confupdtype) changes rows of the other table. */
const CASCADES = `from pg_catalog.pg_constraint k where k.confrelid = c.oid and k.contype = 'f'`;

const UNSAFE_OF_RELATION = `(with recursive part(classid, objid) as (
    select 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid, r.oid from pg_catalog.pg_rewrite r where r.ev_class = c.oid
    union select 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid from pg_catalog.pg_attrdef f where f.adrelid = c.oid
    union select 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid from pg_catalog.pg_constraint k where k.conrelid = c.oid
    union select 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid from part join pg_catalog.pg_depend d on d.classid = part.classid and d.objid = part.objid
        and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass join pg_catalog.pg_rewrite r on r.ev_class = d.refobjid)
  select pg_catalog.json_agg(distinct p.proname) from part
  join pg_catalog.pg_depend d on d.classid = part.classid and d.objid = part.objid and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  join pg_catalog.pg_proc p on p.oid = d.refobjid where ${IS_UNSAFE})`;

/**
 * One row, one text column: everything about the relations ($1) and functions ($2), both JSON arrays of [schema or null, name].
 * Independent of search_path apart from the names that the client itself leaves unqualified.
 */
export const FACTS_SQL: string = `select pg_catalog.json_build_object(
  'relations', (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'facts', case when c.oid is null then null else
    pg_catalog.json_build_object('oid', c.oid::pg_catalog.int8, 'schema', n.nspname, 'name', c.relname, 'relkind', c.relkind, 'persistence', c.relpersistence,
      'isPartition', c.relispartition, 'hasHeirs', c.relkind = 'r' and exists (select from pg_catalog.pg_inherits h where h.inhparent = c.oid),
      'partitionTrouble', case when c.relkind = 'p' then ${PARTITION_TROUBLE} end,
      'rowSecurity', c.relrowsecurity, 'rules', c.relkind in ('r', 'p') and exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid),
      'triggers', ${TRIGGERS}, 'foreignKeys', ${FOREIGN_KEYS},
      'cascadesOnDelete', exists (select ${CASCADES} and k.confdeltype in ('c', 'n', 'd')),
      'cascadesOnUpdateOf', (select pg_catalog.json_agg(distinct a.attname) from pg_catalog.pg_attribute a where a.attrelid = c.oid
         and exists (select ${CASCADES} and k.confupdtype in ('c', 'n', 'd') and a.attnum = any (k.confkey))),
      'columns', ${COLUMNS}, 'uniqueIndexes', ${INDEXES}, 'otherUniques', ${OTHER_UNIQUES}, 'unsafeFunctions', ${UNSAFE_OF_RELATION}, 'fingerprint', ${FINGERPRINT_SQL}, 'shape', ${SHAPE_SQL}) end))
    from pg_catalog.json_array_elements($1::pg_catalog.text::pg_catalog.json) q(name)
    left join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(case when q.name ->> 0 is null then pg_catalog.quote_ident(q.name ->> 1)
      else pg_catalog.quote_ident(q.name ->> 0) || '.' || pg_catalog.quote_ident(q.name ->> 1) end)
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace),
  'functions', (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'unsafe',
      (select pg_catalog.json_agg(distinct p.proname) from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
       where p.proname = (q.name ->> 1) and case when q.name ->> 0 is null then pg_catalog.pg_function_is_visible(p.oid) else n.nspname = (q.name ->> 0) end
         and ${IS_UNSAFE})))
    from pg_catalog.json_array_elements($2::pg_catalog.text::pg_catalog.json) q(name))
)::pg_catalog.text`;

/** The two parameters of `FACTS_SQL`. */
export function factsParameters(relations: readonly QualifiedName[], functions: readonly QualifiedName[]): string[] {
  return [`[${relations.map(factKey).join(',')}]`, `[${functions.map(factKey).join(',')}]`];
}

interface RawColumn {
  readonly name: string;
  readonly typeSchema: string;
  readonly typeName: string;
  readonly base: string;
  readonly baseType: string;
  readonly isArray: boolean;
  readonly element: string | null;
  readonly elementType: string | null;
  readonly generated: string;
  readonly identity: string;
  readonly deterministic: boolean;
}

interface RawFacts {
  readonly relations: readonly { readonly asked: [string | null, string]; readonly facts: RawRelation | null }[] | null;
  readonly functions: readonly { readonly asked: [string | null, string]; readonly unsafe: string[] | null }[] | null;
}

interface RawRelation extends Omit<RelationFacts, 'kind' | 'persistence' | 'columns'> {
  readonly persistence: string;
  readonly columns: readonly RawColumn[] | null;
}

/** Reads the answer to `FACTS_SQL`. */
export function readFacts(rows: readonly (readonly (string | null)[])[]): Facts {
  const json = rows[0]?.[0];
  assert(typeof json === 'string', 'the catalogue query answers one text');
  const raw = JSON.parse(json) as RawFacts;
  return {
    relations: new Map((raw.relations ?? []).map((item) => [JSON.stringify(item.asked), readRelation(item.facts)])),
    functions: new Map(
      (raw.functions ?? []).map((item) => [
        JSON.stringify(item.asked),
        { kind: 'function', unsafe: item.unsafe ?? [] },
      ]),
    ),
  };
}

const PERSISTENCE: Readonly<Record<string, RelationFacts['persistence']>> = {
  p: 'permanent',
  u: 'unlogged',
  t: 'temporary',
};

function readRelation(raw: RawRelation | null): RelationFacts | 'missing' {
  if (raw === null) return 'missing';
  return {
    ...raw,
    kind: 'relation',
    persistence: PERSISTENCE[raw.persistence] ?? 'unlogged',
    triggers: raw.triggers ?? [],
    cascadesOnUpdateOf: raw.cascadesOnUpdateOf ?? [],
    foreignKeys: raw.foreignKeys ?? [],
    uniqueIndexes: raw.uniqueIndexes ?? [],
    otherUniques: raw.otherUniques ?? [],
    unsafeFunctions: raw.unsafeFunctions ?? [],
    columns: (raw.columns ?? []).map((column) => ({
      name: column.name,
      typeSchema: column.typeSchema,
      typeName: column.typeName,
      baseName: column.base.slice(column.base.indexOf('.') + 1),
      form: formOf(column),
      keyForm: keyFormOf(column),
      generated: column.generated === '' ? undefined : column.generated === 'v' ? 'virtual' : 'stored',
      identityAlways: column.identity === 'a',
    })),
  };
}

const FORMS: ReadonlyMap<string, TextForm> = new Map<string, TextForm>([
  ...[
    'bool',
    'int2',
    'int4',
    'int8',
    'numeric',
    'text',
    'varchar',
    'bpchar',
    'char',
    'name',
    'uuid',
    'json',
    'jsonb',
  ].map((name) => [name, 'fixed'] as const),
  ...[
    'oid',
    'inet',
    'cidr',
    'macaddr',
    'macaddr8',
    'bit',
    'varbit',
    'tsvector',
    'tsquery',
    'xid',
    'pg_lsn',
    'time',
  ].map((name) => [name, 'fixed'] as const),
  ['timetz', 'fixed'],
  ['date', 'date-style'],
  ['timestamp', 'date-style'],
  ['timestamptz', 'date-style'],
  ['interval', 'interval-style'],
  ['float4', 'float-digits'],
  ['float8', 'float-digits'],
  ['bytea', 'bytea-output'],
]);

function formOf(column: RawColumn): TextForm {
  const name = column.isArray ? column.element : column.base;
  const type = column.isArray ? column.elementType : column.baseType;
  if (type === 'e') return 'fixed';
  if (type !== 'b' || name === null || !name.startsWith('pg_catalog.')) return 'pinned';
  return FORMS.get(name.slice('pg_catalog.'.length)) ?? 'pinned';
}

const KEY_FORMS: ReadonlyMap<string, KeyForm> = new Map<string, KeyForm>([
  ...['bool', 'int2', 'int4', 'int8', 'uuid', 'oid', 'macaddr', 'macaddr8', 'xid', 'char'].map(
    (name) => [name, 'text'] as const,
  ),
  ...['text', 'varchar', 'bpchar', 'name', 'inet', 'cidr', 'bit', 'varbit'].map((name) => [name, 'long-text'] as const),
  ['numeric', 'numeric'],
  ['float4', 'float'],
  ['float8', 'float'],
  ...['date', 'timestamp', 'timestamptz', 'time', 'bytea'].map((name) => [name, 'binary'] as const),
]);

function keyFormOf(column: RawColumn): KeyForm | undefined {
  if (column.baseType === 'e') return 'text';
  if (column.base.endsWith('.citext')) return 'folded';
  if (column.isArray || column.baseType !== 'b' || !column.deterministic) return undefined;
  if (!column.base.startsWith('pg_catalog.')) return undefined;
  return KEY_FORMS.get(column.base.slice('pg_catalog.'.length));
}
