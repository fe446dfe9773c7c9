/**
 * The catalogue query of the planner and its parts. They run in the client's session, in its role and under its search_path: every
 * function, type and operator says that it is the server's own, or somebody's schema before pg_catalog could lend another. Plain
 * `IN`, `CASE x WHEN`, `NULLIF` and `IS DISTINCT FROM` look their operator up along the path as well, and do not stand here.
 */
import { UNSAFE_OF_NAME, UNSAFE_OF_RELATION } from './hidden-calls.ts';

const operator = (name: string): string => `operator(pg_catalog.${name})`;
const EQ = operator('=');
const NE = operator('<>');
const GT = operator('>');
const LE = operator('<=');
/** Concatenation. */
const CAT = operator('||');
/** The text of an item of JSON. */
const AT = operator('->>');
const BITS = operator('&');
const GE = operator('>=');
/** A regular expression matches. These operators all bind alike, weaker than arithmetic and stronger than AND. */
const MATCHES = operator('~');

const COLUMNS = `(select pg_catalog.json_agg(pg_catalog.json_build_object(
    'name', a.attname, 'typeSchema', tn.nspname, 'typeName', t.typname,
    'base', bn.nspname ${CAT} '.' ${CAT} b.typname, 'baseType', b.typtype, 'isArray', b.typlen ${EQ} -1 and b.typelem ${NE} 0 and b.typcategory ${EQ} 'A',
    'element', en.nspname ${CAT} '.' ${CAT} e.typname, 'elementType', e.typtype,
    'generated', a.attgenerated, 'identity', a.attidentity, 'deterministic', coalesce(l.collisdeterministic, true)) order by a.attnum)
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_type t on t.oid ${EQ} a.atttypid join pg_catalog.pg_namespace tn on tn.oid ${EQ} t.typnamespace
  join pg_catalog.pg_type b on b.oid ${EQ} case when t.typtype ${EQ} 'd' then t.typbasetype else t.oid end join pg_catalog.pg_namespace bn on bn.oid ${EQ} b.typnamespace
  left join pg_catalog.pg_type e on e.oid ${EQ} b.typelem and b.typelem ${NE} 0 left join pg_catalog.pg_namespace en on en.oid ${EQ} e.typnamespace
  left join pg_catalog.pg_collation l on l.oid ${EQ} a.attcollation
  where a.attrelid ${EQ} c.oid and a.attnum ${GT} 0 and not a.attisdropped)`;

/** SQL for the index that tells the rows of the relation `c` (a pg_class row) apart, its oid; null without one. */
export const KEY_INDEX_SQL = `(select i.indexrelid from pg_catalog.pg_index i where i.indrelid ${EQ} c.oid and i.indisunique and i.indisvalid and i.indimmediate
    and i.indpred is null and i.indexprs is null and not exists (select from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attrelid ${EQ} i.indrelid and a.attnum ${EQ} k.attnum where k.n ${LE} i.indnkeyatts and not a.attnotnull)
  order by i.indisprimary desc, i.indexrelid limit 1)`;

/** SQL for the fingerprint of the relation `c` (a pg_class row): the same text at planning and at restoring. */
export const FINGERPRINT_SQL = `pg_catalog.md5(pg_catalog.concat((select pg_catalog.string_agg(pg_catalog.concat_ws(',', pg_catalog.octet_length(a.attname::pg_catalog.text), a.attname, a.atttypid, a.atttypmod, a.attgenerated, a.attidentity), ';' order by a.attnum)
    from pg_catalog.pg_attribute a where a.attrelid ${EQ} c.oid and a.attnum ${GT} 0 and not a.attisdropped), '|',
  (select i.indkey::pg_catalog.text from pg_catalog.pg_index i where i.indexrelid ${EQ} ${KEY_INDEX_SQL})))`;

const versions = (catalogue: string, alias: string, owner: string): string =>
  `(select pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(${alias}.xmin::pg_catalog.text::pg_catalog.int8)) from pg_catalog.${catalogue} ${alias} where ${alias}.${owner} ${EQ} c.oid)`;

/** The same for the tables that are partitions of it, or inherit from it, directly. */
const ofChildren = (catalogue: string, owner: string): string =>
  `(select pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(x.xmin::pg_catalog.text::pg_catalog.int8), ' ') from pg_catalog.pg_inherits h join pg_catalog.${catalogue} x on x.${owner} ${EQ} h.inhrelid where h.inhparent ${EQ} c.oid)`;

/** What is older came with the server. Source: PostgreSQL, src/include/access/transam.h (FirstNormalObjectId). */
const FIRST_OID = 16_384;

/** The same for the checks of the domains that its columns have. */
const OF_DOMAINS = `(select pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(k.xmin::pg_catalog.text::pg_catalog.int8)) from pg_catalog.pg_attribute a
  join pg_catalog.pg_constraint k on k.conrelid ${EQ} 0 and k.contypid ${EQ} a.atttypid where a.attrelid ${EQ} c.oid and a.attnum ${GT} 0 and a.atttypid ${GE} ${FIRST_OID})`;

/**
 * SQL for the versions of the catalogue rows that describe the relation `c` (a pg_class row): changes with every column,
 * trigger, foreign key, rule, policy, check, child and index of the relation, with triggers and indexes of its children, and with checks of
 * the domains of its columns.
 * Each change writes a row by a later transaction, so that count and sum tell any two states apart. TRUNCATE, VACUUM, ANALYZE
 * and rights to the table change nothing here.
 */
export const SHAPE_SQL: string = `pg_catalog.concat_ws(' ', c.relkind, c.relpersistence, c.relnatts, c.relchecks, c.relhasrules, c.relrowsecurity, c.relispartition, c.relhassubclass, ${versions('pg_attribute', 'a', 'attrelid')}, ${versions('pg_trigger', 'g', 'tgrelid')}, ${versions('pg_index', 'i', 'indrelid')}, ${OF_DOMAINS}, case when c.relhassubclass then ${ofChildren('pg_inherits', 'inhrelid')} ${CAT} ${ofChildren('pg_trigger', 'tgrelid')} ${CAT} ${ofChildren('pg_index', 'indrelid')} end)`;

/** Source: PostgreSQL, src/include/access/stratnum.h (BTEqualStrategyNumber). */
const BTREE_EQUAL = 3;

const INDEXES = `(select pg_catalog.json_agg(pg_catalog.json_build_object('oid', i.indexrelid::pg_catalog.int8, 'isPrimary', i.indisprimary,
    'isKey', coalesce(i.indexrelid ${EQ} ${KEY_INDEX_SQL}, false), 'lockRelation', (case when not coalesce(i.indexrelid ${EQ} ${KEY_INDEX_SQL}, false) then coalesce(pg_catalog.pg_partition_root(i.indexrelid)::pg_catalog.oid, i.indexrelid)
      else (select r.indrelid from pg_catalog.pg_index r where r.indexrelid ${EQ} coalesce(pg_catalog.pg_partition_root(i.indexrelid)::pg_catalog.oid, i.indexrelid)) end)::pg_catalog.int8,
    'columns', (select pg_catalog.json_agg(a.attname order by k.n) from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
      join pg_catalog.pg_attribute a on a.attrelid ${EQ} i.indrelid and a.attnum ${EQ} k.attnum where k.n ${LE} i.indnkeyatts),
    'equals', (select pg_catalog.json_agg((select 'OPERATOR(' ${CAT} pg_catalog.quote_ident(n.nspname) ${CAT} '.' ${CAT} o.oprname ${CAT} ')'
        from pg_catalog.pg_opclass f join pg_catalog.pg_amop m on m.amopfamily ${EQ} f.opcfamily and m.amopstrategy ${EQ} ${BTREE_EQUAL}
          and m.amoplefttype ${EQ} f.opcintype and m.amoprighttype ${EQ} f.opcintype
        join pg_catalog.pg_operator o on o.oid ${EQ} m.amopopr join pg_catalog.pg_namespace n on n.oid ${EQ} o.oprnamespace
        where f.oid ${EQ} k.class) order by k.n) from pg_catalog.unnest(i.indclass::pg_catalog.oid[]) with ordinality k(class, n)),
    'constraint', (select o.conname from pg_catalog.pg_constraint o where o.conindid ${EQ} i.indexrelid and o.contype ${EQ} any ('{p,u}'::pg_catalog."char"[]) limit 1),
    'nullsNotDistinct', coalesce((pg_catalog.to_jsonb(i) ${AT} 'indnullsnotdistinct')::pg_catalog.bool, false)) order by coalesce(i.indexrelid ${EQ} ${KEY_INDEX_SQL}, false) desc, i.indexrelid)
  from pg_catalog.pg_index i where i.indrelid ${EQ} c.oid and i.indisunique and i.indisvalid and i.indexprs is null)`;

/** The columns are those of the index and those that its expressions are recorded to depend on; all of them where one takes the whole row. */
const OTHER_UNIQUES = `(select pg_catalog.json_agg(pg_catalog.json_build_object('name', x.relname, 'columns',
    (select coalesce(pg_catalog.json_agg(a.attname), '[]') from pg_catalog.pg_attribute a where a.attrelid ${EQ} c.oid and a.attnum ${GT} 0
       and (a.attnum ${EQ} any (i.indkey::pg_catalog.int2[]) or pg_catalog.concat(i.indexprs, i.indpred) ${MATCHES} ':varattno 0 '
         or exists (select from pg_catalog.pg_depend d where d.classid ${EQ} 'pg_catalog.pg_class'::pg_catalog.regclass
           and d.objid ${EQ} i.indexrelid and d.refclassid ${EQ} d.classid and d.refobjid ${EQ} c.oid and d.refobjsubid ${EQ} a.attnum)))))
  from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid ${EQ} i.indexrelid
  where i.indrelid ${EQ} c.oid and (i.indisexclusion or (i.indisunique and i.indexprs is not null)))`;

/** Triggers that are not the server's own for foreign keys and deferred uniqueness. Those of a partition are marked internal before 15. */
const IS_USERS = `g.tgenabled ${NE} 'D' and not exists (select from pg_catalog.pg_proc p where p.oid ${EQ} g.tgfoid
  and p.pronamespace ${EQ} 'pg_catalog'::pg_catalog.regnamespace and p.proname ${MATCHES} '^(RI_FKey_.*|unique_key_recheck)$')`;

/** Bits of pg_trigger.tgtype. Source: PostgreSQL, src/include/catalog/pg_trigger.h. */
const TRIGGERS = `(select pg_catalog.json_agg(pg_catalog.json_build_object('name', g.tgname, 'onInsert', (g.tgtype ${BITS} 4) ${GT} 0, 'onDelete', (g.tgtype ${BITS} 8) ${GT} 0, 'onUpdate', (g.tgtype ${BITS} 16) ${GT} 0) order by g.tgname)
  from pg_catalog.pg_trigger g where g.tgrelid ${EQ} c.oid and ${IS_USERS})`;

/** What the row locks of the key are filed under to which the foreign key `k` (a pg_constraint row) of the relation `c` leads, as above. */
const REFERRED = `(case when k.conindid ${EQ} ${KEY_INDEX_SQL}
        then (select r.indrelid from pg_catalog.pg_index r where r.indexrelid ${EQ} coalesce(pg_catalog.pg_partition_root(k.conindid)::pg_catalog.oid, k.conindid))
        else coalesce(pg_catalog.pg_partition_root(k.conindid)::pg_catalog.oid, k.conindid) end)::pg_catalog.int8`;

/**
 * `pairs` are in the order of the index that the foreign key relies on, each with what is known of the parent's column; `lockRelation` is
 * that of the index, as above. Of the parent no more is asked: planning this query is most of its cost.
 */
const FOREIGN_KEYS = `(select pg_catalog.json_agg(pg_catalog.json_build_object('to', k.confrelid::pg_catalog.int8,
    'restrictsLate', k.condeferrable and (k.confdeltype ${EQ} 'r' or k.confupdtype ${EQ} 'r'), 'columns',
    (select pg_catalog.json_agg(a.attname) from pg_catalog.pg_attribute a where a.attrelid ${EQ} c.oid and a.attnum ${EQ} any (k.conkey)),
    'pairs', (select pg_catalog.json_agg(pg_catalog.json_build_object('from', f.attname, 'to', pg_catalog.json_build_object(
        'name', a.attname, 'typeSchema', tn.nspname, 'typeName', t.typname, 'base', bn.nspname ${CAT} '.' ${CAT} b.typname, 'baseType', b.typtype,
        'isArray', b.typcategory ${EQ} 'A', 'deterministic', coalesce(l.collisdeterministic, true)))
        order by pg_catalog.array_position(i.indkey::pg_catalog.int2[], u.t))
      from rows from (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) as u (f, t)
      join pg_catalog.pg_index i on i.indexrelid ${EQ} k.conindid
      join pg_catalog.pg_attribute f on f.attrelid ${EQ} k.conrelid and f.attnum ${EQ} u.f join pg_catalog.pg_attribute a on a.attrelid ${EQ} k.confrelid and a.attnum ${EQ} u.t
      join pg_catalog.pg_type t on t.oid ${EQ} a.atttypid join pg_catalog.pg_namespace tn on tn.oid ${EQ} t.typnamespace
      join pg_catalog.pg_type b on b.oid ${EQ} case when t.typtype ${EQ} 'd' then t.typbasetype else t.oid end join pg_catalog.pg_namespace bn on bn.oid ${EQ} b.typnamespace
      left join pg_catalog.pg_collation l on l.oid ${EQ} a.attcollation),
    'lockRelation', (select ${REFERRED} from pg_catalog.pg_class c where c.oid ${EQ} k.confrelid)))
  from pg_catalog.pg_constraint k where k.conrelid ${EQ} c.oid and k.contype ${EQ} 'f')`;

/** The keys of the relation that foreign keys lead to. */
const REFERRED_KEYS = `(select pg_catalog.json_agg(pg_catalog.json_build_object('lockRelation', r.relation, 'isDeferrable', r.late))
  from (select ${REFERRED} as relation, pg_catalog.bool_or(k.condeferrable) as late from pg_catalog.pg_constraint k
    where k.confrelid ${EQ} c.oid and k.contype ${EQ} 'f' group by 1) r)`;

/** What a partition may have of its own, which the partitioned table does not show; null when there is nothing of the kind. */
const PARTITION_TROUBLE = `(select pg_catalog.min(w.trouble ${CAT} ' (' ${CAT} l.relname ${CAT} ')')
  from pg_catalog.pg_partition_tree(c.oid) t join pg_catalog.pg_class l on l.oid ${EQ} t.relid
  cross join lateral (select case
      when l.relkind ${EQ} 'f' then 'a foreign partition' when l.relpersistence ${NE} c.relpersistence then 'an unlogged partition' when l.relhasrules then 'a partition with rules'
      when exists (select from pg_catalog.pg_trigger g where g.tgrelid ${EQ} l.oid and g.tgparentid ${EQ} 0 and ${IS_USERS} and not g.tgname ${MATCHES} '^atomesh_') then 'a partition with triggers'
      when exists (select from pg_catalog.pg_index i where i.indrelid ${EQ} l.oid and (i.indisunique or i.indisexclusion)
        and not exists (select from pg_catalog.pg_inherits h where h.inhrelid ${EQ} i.indexrelid)) then 'a partition with a unique index of its own'
      when exists (select from pg_catalog.pg_constraint k where k.conrelid ${EQ} l.oid and k.contype ${EQ} 'c' and k.coninhcount ${EQ} 0) then 'a partition with a check of its own'
      when exists (select from pg_catalog.pg_constraint k where k.confrelid ${EQ} l.oid and k.contype ${EQ} 'f' and k.conparentid ${EQ} 0) then 'a partition that foreign keys refer to'
    end as trouble) w
  where t.level ${GT} 0)`;

/** Foreign keys to the relation whose action (columns confdeltype, confupdtype) changes rows of the other table. */
const CASCADES = `from pg_catalog.pg_constraint k where k.confrelid ${EQ} c.oid and k.contype ${EQ} 'f'`;

/**
 * Functions that a check calls and that may look up names along the search path as they run: those that read tables, by their
 * declaration, with neither a path of their own nor a body whose names were looked up when they were made.
 */
const SEEKING_CHECKS = `(select pg_catalog.json_agg(distinct p.proname) from pg_catalog.pg_constraint k
  join pg_catalog.pg_depend d on d.classid ${EQ} 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.objid ${EQ} k.oid and d.refclassid ${EQ} 'pg_catalog.pg_proc'::pg_catalog.regclass
  join pg_catalog.pg_proc p on p.oid ${EQ} d.refobjid
  where k.conrelid ${EQ} c.oid and k.contype ${EQ} 'c' and p.provolatile ${EQ} 's' and p.prosqlbody is null and p.pronamespace ${NE} 'pg_catalog'::pg_catalog.regnamespace
    and not exists (select from pg_catalog.unnest(p.proconfig) s(setting) where s.setting ${MATCHES} '^search_path='))`;

/**
 * Constraints that hold for what is written and that rows may break which were there before (NOT VALID): such a row can be changed or
 * deleted, and not be written back. A check of the whole row has a column 0 there. Before PostgreSQL 18 every constraint is enforced.
 */
const UNVALIDATED = `(select pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname, 'columns',
    (select coalesce(pg_catalog.json_agg(a.attname), '[]') from pg_catalog.pg_attribute a where a.attrelid ${EQ} c.oid and a.attnum ${GT} 0
       and (a.attnum ${EQ} any (k.conkey) or 0 ${EQ} any (k.conkey)))) order by k.conname)
  from pg_catalog.pg_constraint k where k.conrelid ${EQ} c.oid and not k.convalidated and k.contype ${EQ} any ('{c,f,n}'::pg_catalog."char"[])
    and coalesce((pg_catalog.to_jsonb(k) ${AT} 'conenforced')::pg_catalog.bool, true))`;

/** Functions of pg_catalog that are STABLE and answer by the clock, the session, its rights or the catalogue, and not by settings that images are written under. */
const OF_THE_MOMENT =
  "'^(now|age|(transaction|statement)_timestamp|current_.*|session_user|getpgusername|version|inet_.*|row_security_active|has_.*|to_reg.*|txid_.*|.*_description|getdatabaseencoding|pg_(?!typeof$|column_size$).*)$'";

/**
 * True where the check `k` (a pg_constraint row) may say of the same row one thing now and another later, or elsewhere: by the clock, or by
 * who asks. The server records no dependence on its own functions, so they are found in the expression.
 * Source: PostgreSQL, src/include/nodes/primnodes.h (SQLValueFunction is CURRENT_DATE, CURRENT_USER and their like).
 */
const IS_OF_THE_MOMENT = `(k.conbin::pg_catalog.text ${MATCHES} '[{]SQLVALUEFUNCTION |[{]COERCEVIAIO :arg ([{]RELABELTYPE :arg )?[{]CONST ' or exists (
    select from pg_catalog.regexp_matches(k.conbin::pg_catalog.text, ':(?:op)?funcid ([0-9]+)', 'g') m(found)
    join pg_catalog.pg_proc p on p.oid ${EQ} m.found[1]::pg_catalog.oid
    where p.pronamespace ${EQ} 'pg_catalog'::pg_catalog.regnamespace and (p.provolatile ${EQ} 'v'
      or (p.provolatile ${EQ} 's' and p.proname ${MATCHES} ${OF_THE_MOMENT} and not (p.proname ${EQ} 'age' and p.pronargs ${GT} 1)))))`;

/** The types of the user's that a value of the relation holds, at any depth. */
const OWN_TYPES = `(with recursive part(oid) as (
    select a.atttypid from pg_catalog.pg_attribute a where a.attrelid ${EQ} c.oid and a.attnum ${GT} 0 and a.atttypid ${GE} ${FIRST_OID}
    union select u.oid from part join pg_catalog.pg_type t on t.oid ${EQ} part.oid cross join lateral (select t.typbasetype union all select t.typelem
      union all select g.rngsubtype from pg_catalog.pg_range g where g.rngtypid ${EQ} t.oid
      union all select a.atttypid from pg_catalog.pg_attribute a where t.typrelid ${NE} 0 and a.attrelid ${EQ} t.typrelid and a.attnum ${GT} 0 and not a.attisdropped) u(oid)
    where u.oid ${GE} ${FIRST_OID}) select part.oid from part)`;

/**
 * Checks that rows which are there may fail when they are written back, whatever was changed of them. Of a table those whose word is that
 * of the moment: a change of a row is refused by every check, so where one is NOT VALID its columns say more. Of a domain those that are NOT
 * VALID too: an image is a row of the table as soon as it is read.
 */
const UNSTEADY_CHECKS = `(select pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname, 'isOfMoment', m.found,
    'domain', (select t.typname from pg_catalog.pg_type t where t.oid ${EQ} k.contypid)) order by k.conname)
  from pg_catalog.pg_constraint k cross join lateral (select ${IS_OF_THE_MOMENT}) m(found)
  where k.contype ${EQ} 'c' and (m.found or (k.conrelid ${EQ} 0 and not k.convalidated)) and coalesce((pg_catalog.to_jsonb(k) ${AT} 'conenforced')::pg_catalog.bool, true)
    and (k.conrelid ${EQ} c.oid or (k.conrelid ${EQ} 0 and k.contypid ${EQ} any (array(select o.oid from ${OWN_TYPES} o)))))`;

/** The relation (pg_class row `c`) that the name `q.name` means in this session: schema or null, name. */
const MEANT = `left join pg_catalog.pg_class c on c.oid ${EQ} pg_catalog.to_regclass(case when q.name ${AT} 0 is null then pg_catalog.quote_ident(q.name ${AT} 1)
      else pg_catalog.quote_ident(q.name ${AT} 0) ${CAT} '.' ${CAT} pg_catalog.quote_ident(q.name ${AT} 1) end)`;

/** The versions of the functions of the name `q.name`, in whatever schema: changes with each that comes, goes or becomes another. */
const FUNCTIONS_VERSION = `(select pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(p.xmin::pg_catalog.text::pg_catalog.int8)) from pg_catalog.pg_proc p where p.proname ${EQ} (q.name ${AT} 1))
  ${CAT} case when q.name ${AT} 1 ${EQ} 'pg_event_trigger' then (select pg_catalog.concat(' ', pg_catalog.count(*), ':', pg_catalog.sum(g.xmin::pg_catalog.text::pg_catalog.int8), ':', pg_catalog.sum(p.xmin::pg_catalog.text::pg_catalog.int8))
    from pg_catalog.pg_event_trigger g join pg_catalog.pg_proc p on p.oid ${EQ} g.evtfoid) else '' end`;

/** What DDL writes, as far as facts are read from it. */
const CATALOGUES =
  'class attribute attrdef collation constraint depend event_trigger extension index inherits namespace opclass amop operator policy proc rewrite trigger type cast'
    .split(' ')
    .map((name) => `pg_catalog.pg_${name}`)
    .join(',');
const COUNTS = ['inserted', 'updated', 'deleted'].map((what) => `pg_catalog.pg_stat_get_xact_tuples_${what}(r)`);

/**
 * True where the catalogue looks to this local transaction as it does to everybody: its statements see what was committed before
 * each of them, and it has changed nothing there itself. The server counts what a transaction has written; what the one before wrote
 * may be counted in for some seconds, at worst a question too many is asked. Source: PostgreSQL, src/backend/utils/activity/pgstat_relation.c.
 */
const IS_COMMON = `pg_catalog.current_setting('transaction_isolation') ${EQ} 'read committed' and case
    when pg_catalog.pg_current_xact_id_if_assigned() is null then true when pg_catalog.current_setting('track_counts') ${NE} 'on' then false
    else (select pg_catalog.sum(${COUNTS.join(` ${operator('+')} `)}) from pg_catalog.unnest('{${CATALOGUES}}'::pg_catalog.regclass[]::pg_catalog.oid[]) r) ${EQ} 0 end`;

/** Where an answer was read, and for whom it holds. The path is that along which names are found, with the schemas that no setting names. */
const READING = `'database', pg_catalog.current_database(), 'path', pg_catalog.current_schemas(true), 'isCommon', ${IS_COMMON}`;

/** What was prepared under the names of $3. */
const PREPARED = `case when $3::pg_catalog.text ${NE} '[]' then (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'facts',
      (select pg_catalog.json_build_object('statement', s.statement, 'fromSql', s.from_sql, 'types', pg_catalog.array_to_json(s.parameter_types::pg_catalog.oid[]::pg_catalog.int8[]))
       from pg_catalog.pg_prepared_statements s where s.name ${EQ} q.name)))
    from pg_catalog.json_array_elements_text($3::pg_catalog.text::pg_catalog.json) q(name)) end`;

/**
 * One row, one text column: everything about the relations ($1) and what is called ($2), both JSON arrays of [schema or null, name],
 * and what was prepared under the names of a third ($3), mostly of none. Independent of search_path apart from the names that
 * the client itself leaves unqualified.
 */
export const FACTS_SQL: string = `select pg_catalog.json_build_object(${READING},
  'relations', (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'facts', case when c.oid is null then null else
    pg_catalog.json_build_object('oid', c.oid::pg_catalog.int8, 'schema', n.nspname, 'name', c.relname, 'relkind', c.relkind, 'persistence', c.relpersistence,
      'isPartition', c.relispartition, 'hasHeirs', c.relkind ${EQ} 'r' and exists (select from pg_catalog.pg_inherits h where h.inhparent ${EQ} c.oid),
      'partitionTrouble', case when c.relkind ${EQ} 'p' then ${PARTITION_TROUBLE} end,
      'rowSecurity', c.relrowsecurity, 'rules', c.relkind ${EQ} any ('{r,p}'::pg_catalog."char"[]) and exists (select from pg_catalog.pg_rewrite r where r.ev_class ${EQ} c.oid),
      'triggers', ${TRIGGERS}, 'foreignKeys', ${FOREIGN_KEYS}, 'referred', ${REFERRED_KEYS},
      'cascadesOnDelete', exists (select ${CASCADES} and k.confdeltype ${EQ} any ('{c,n,d}'::pg_catalog."char"[])),
      'cascadesOnUpdateOf', (select pg_catalog.json_agg(distinct a.attname) from pg_catalog.pg_attribute a where a.attrelid ${EQ} c.oid
         and exists (select ${CASCADES} and k.confupdtype ${EQ} any ('{c,n,d}'::pg_catalog."char"[]) and a.attnum ${EQ} any (k.confkey))),
      'columns', ${COLUMNS}, 'uniqueIndexes', ${INDEXES}, 'otherUniques', ${OTHER_UNIQUES}, 'unsafe', ${UNSAFE_OF_RELATION}, 'seekingChecks', ${SEEKING_CHECKS}, 'unvalidated', ${UNVALIDATED}, 'unsteadyChecks', ${UNSTEADY_CHECKS}, 'fingerprint', ${FINGERPRINT_SQL}, 'shape', ${SHAPE_SQL}) end))
    from pg_catalog.json_array_elements($1::pg_catalog.text::pg_catalog.json) q(name)
    ${MEANT}
    left join pg_catalog.pg_namespace n on n.oid ${EQ} c.relnamespace),
  'functions', (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'unsafe',
      ${UNSAFE_OF_NAME}, 'version', ${FUNCTIONS_VERSION}))
    from pg_catalog.json_array_elements($2::pg_catalog.text::pg_catalog.json) q(name)),
  'prepared', ${PREPARED})::pg_catalog.text`;

/**
 * The same parameters, and a tenth of the time: which relations the names mean and of what shape they are, and the versions of
 * functions. It tells whether the facts that another session has read are those of this one.
 */
export const NAMES_SQL: string = `select pg_catalog.json_build_object(${READING},
  'relations', (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'oid', c.oid::pg_catalog.int8, 'shape', case when c.oid is not null then ${SHAPE_SQL} end))
    from pg_catalog.json_array_elements($1::pg_catalog.text::pg_catalog.json) q(name)
    ${MEANT}),
  'functions', (select pg_catalog.json_agg(pg_catalog.json_build_object('asked', q.name, 'version', ${FUNCTIONS_VERSION}))
    from pg_catalog.json_array_elements($2::pg_catalog.text::pg_catalog.json) q(name)),
  'prepared', ${PREPARED})::pg_catalog.text`;
