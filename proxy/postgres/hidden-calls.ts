/**
 * Parts of the catalogue query that follow what is called without being named: what an operator, a cast, a domain, an aggregate, a
 * default or a policy stands for. They keep the rule of catalog-sql.ts: everything says that it is the server's own.
 */

const operator = (name: string): string => `operator(pg_catalog.${name})`;
const EQ = operator('=');
const NE = operator('<>');
const GT = operator('>');
const GE = operator('>=');
const LE = operator('<=');
const LESS = operator('-');
const MATCHES = operator('~');
/** The text of an item of JSON. */
const AT = operator('->>');

const catalogue = (name: string): string => `'pg_catalog.${name}'::pg_catalog.regclass`;
const PROC = catalogue('pg_proc');
const OPERATOR = catalogue('pg_operator');
const TYPE = catalogue('pg_type');
const CLASS = catalogue('pg_class');
const REWRITE = catalogue('pg_rewrite');
const POLICY = catalogue('pg_policy');
const CONSTRAINT = catalogue('pg_constraint');

/** What is older came with the server. Source: PostgreSQL, src/include/access/transam.h (FirstNormalObjectId). */
const FIRST_OID = 16_384;

/** Functions of pg_catalog that write, run a text as SQL, or check a value of any domain, whatever they are declared as. */
const UNSAFE_BUILTINS =
  "'^(lo_.*|lowrite|lo_put|.*_to_xml.*|ts_stat|ts_rewrite|pg_logical_emit_message|pg_restore_.*|pg_clear_.*|binary_upgrade_.*|pg_file_.*|brin_.*|gin_clean_pending_list|pg_import_.*|pg_replication_.*|pg_create_.*|pg_drop_.*|pg_export_snapshot|pg_extension_config_dump|pg_input_.*|dblink.*)$'";

/** Extensions whose volatile functions only make values. */
const VALUE_EXTENSIONS = "'{uuid-ossp,pgcrypto,pg_uuidv7}'";

/** True for a function (pg_proc row `p`) that might change rows: volatile ones of the user, and the built-in ones named above. */
const IS_UNSAFE = `(case when p.pronamespace ${EQ} 'pg_catalog'::pg_catalog.regnamespace and not exists (
      select from pg_catalog.pg_depend d where d.classid ${EQ} ${PROC} and d.objid ${EQ} p.oid and d.deptype ${EQ} 'e')
    then p.proname ${MATCHES} ${UNSAFE_BUILTINS}
    else p.provolatile ${EQ} 'v' and not exists (
      select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid ${EQ} d.refobjid
      where d.classid ${EQ} ${PROC} and d.objid ${EQ} p.oid and d.deptype ${EQ} 'e'
        and d.refclassid ${EQ} 'pg_catalog.pg_extension'::pg_catalog.regclass and e.extname ${EQ} any (${VALUE_EXTENSIONS}::pg_catalog.name[])) end)`;

/**
 * What `part` calls when it is used, part being an object as pg_depend names it. Of what a function depends on, only its parts as an
 * aggregate and the defaults of its arguments count, and types that an argument may have to become: for its body its declaration
 * speaks. Of a type only domains do, and casts: input and output of a base type are written in C.
 */
const NEXT = `(select d.refclassid, d.refobjid from pg_catalog.pg_depend d where d.classid ${EQ} part.classid and d.objid ${EQ} part.objid
      and d.refclassid ${EQ} any (array[${PROC}, ${OPERATOR}, ${TYPE}, ${CLASS}]::pg_catalog.oid[])
      and (case when part.classid ${EQ} ${PROC} then d.refclassid ${EQ} ${TYPE}
          or exists (select from pg_catalog.pg_proc f where f.oid ${EQ} part.objid and (f.prokind ${EQ} 'a' or f.pronargdefaults ${GT} 0))
        when part.classid ${EQ} ${TYPE} then exists (select from pg_catalog.pg_type t where t.oid ${EQ} part.objid and t.typtype ${EQ} 'd')
        when d.refclassid ${EQ} ${CLASS} then part.classid ${EQ} any (array[${REWRITE}, ${POLICY}]::pg_catalog.oid[])
        else true end)
    union all select ${CONSTRAINT}, k.oid from pg_catalog.pg_constraint k where part.classid ${EQ} ${TYPE} and k.contypid ${EQ} part.objid
    union all select ${TYPE}, u.oid from pg_catalog.pg_type t cross join lateral (select t.typbasetype union all select t.typelem
        union all select a.atttypid from pg_catalog.pg_attribute a where t.typrelid ${NE} 0 and a.attrelid ${EQ} t.typrelid and a.attnum ${GT} 0 and a.atttypid ${GE} ${FIRST_OID}) u (oid)
      where part.classid ${EQ} ${TYPE} and t.oid ${EQ} part.objid and u.oid ${NE} 0
    union all select ${PROC}, k.castfunc from pg_catalog.pg_cast k where part.classid ${EQ} ${TYPE} and k.oid ${GE} ${FIRST_OID}
      and (k.casttarget ${EQ} part.objid or (k.castsource ${EQ} part.objid and k.castcontext ${EQ} 'i'))
    union all select ${REWRITE}, r.oid from pg_catalog.pg_rewrite r where part.classid ${EQ} ${CLASS} and r.ev_class ${EQ} part.objid
    union all select ${POLICY}, y.oid from pg_catalog.pg_policy y where part.classid ${EQ} ${CLASS} and y.polrelid ${EQ} part.objid)`;

/** The functions that might change rows among all that `roots` call: rows of a class, an oid, and whether reading calls it as well. */
const unsafeFrom = (roots: string, result: string): string => `(with recursive part(classid, objid, reads) as (${roots}
    union select x.classid, x.objid, part.reads from part cross join lateral ${NEXT} x (classid, objid))
  select ${result} from part join pg_catalog.pg_proc p on part.classid ${EQ} ${PROC} and p.oid ${EQ} part.objid where ${IS_UNSAFE})`;

/**
 * SQL for the names of functions that might change rows and that the relation `c` (a pg_class row) calls: `always` when it is read,
 * by a view or a policy, `written` then or when it is written, by rules, defaults, checks, and what its columns turn values into.
 */
export const UNSAFE_OF_RELATION: string = unsafeFrom(
  `select ${REWRITE}::pg_catalog.oid, r.oid, c.relkind ${NE} all ('{r,p}'::pg_catalog."char"[]) from pg_catalog.pg_rewrite r where r.ev_class ${EQ} c.oid
    union select ${POLICY}, y.oid, true from pg_catalog.pg_policy y where c.relrowsecurity and y.polrelid ${EQ} c.oid
    union select ${catalogue('pg_attrdef')}, f.oid, false from pg_catalog.pg_attrdef f where f.adrelid ${EQ} c.oid
    union select ${CONSTRAINT}, k.oid, false from pg_catalog.pg_constraint k where k.conrelid ${EQ} c.oid
    union select ${TYPE}, a.atttypid, false from pg_catalog.pg_attribute a where c.relkind ${EQ} any ('{r,p}'::pg_catalog."char"[])
      and a.attrelid ${EQ} c.oid and a.attnum ${GT} 0 and a.atttypid ${GE} ${FIRST_OID}
    union select ${PROC}, k.castfunc, false from pg_catalog.pg_cast k join pg_catalog.pg_attribute a on a.atttypid ${EQ} k.casttarget
      where k.oid ${GE} ${FIRST_OID} and k.castcontext ${NE} 'e' and a.attrelid ${EQ} c.oid and a.attnum ${GT} 0`,
  `pg_catalog.json_build_object('written', pg_catalog.json_agg(distinct p.proname), 'always', pg_catalog.json_agg(distinct p.proname) filter (where part.reads))`,
);

/** Whether the object is the one that the name `q.name` of the question means: in its schema, or along the search path. */
const isMeant = (namespace: string, isVisible: string): string =>
  `case when q.name ${AT} 0 is null then ${isVisible} else ${namespace} ${EQ} (select n.oid from pg_catalog.pg_namespace n where n.nspname ${EQ} (q.name ${AT} 0)) end`;

/** A function that may stand behind a dot like a column, `a.f`: its one argument takes a row. */
const TAKES_A_ROW = `p.pronargs ${GT} 0 and p.pronargs ${LESS} p.pronargdefaults ${LE} 1
        and exists (select from pg_catalog.pg_type t where t.oid ${EQ} p.proargtypes[0] and t.typtype ${EQ} any ('{c,p,d}'::pg_catalog."char"[]))`;

/**
 * SQL for the names of functions that might change rows and that a name (`q.name`: schema or null, name, and `attribute` where it
 * stands behind a dot) may call: a function, an operator, or a type that a value is cast to. A type looks like a function in `t('x')`. The
 * name of the catalogue of event triggers stands for those that CREATE TABLE fires.
 */
export const UNSAFE_OF_NAME: string = unsafeFrom(
  `select ${PROC}::pg_catalog.oid, p.oid, true from pg_catalog.pg_proc p where p.proname ${EQ} (q.name ${AT} 1)
      and ${isMeant('p.pronamespace', 'pg_catalog.pg_function_is_visible(p.oid)')} and (q.name ${AT} 2 is null or (${TAKES_A_ROW}))
    union select ${OPERATOR}, o.oid, true from pg_catalog.pg_operator o where q.name ${AT} 2 is null and o.oprname ${EQ} (q.name ${AT} 1) and o.oid ${GE} ${FIRST_OID}
      and ${isMeant('o.oprnamespace', 'pg_catalog.pg_operator_is_visible(o.oid)')}
    union select ${TYPE}, t.oid, true from pg_catalog.pg_type t where q.name ${AT} 2 is null and t.typname ${EQ} (q.name ${AT} 1)
      and ${isMeant('t.typnamespace', 'pg_catalog.pg_type_is_visible(t.oid)')}
    union select ${PROC}, g.evtfoid, true from pg_catalog.pg_event_trigger g where q.name ${AT} 0 ${EQ} 'pg_catalog' and q.name ${AT} 1 ${EQ} 'pg_event_trigger'
      and g.evtenabled ${EQ} any ('{O,A}'::pg_catalog."char"[]) and g.evtevent ${MATCHES} '^ddl_command_' and (g.evttags is null or 'CREATE TABLE' ${EQ} any (g.evttags))`,
  'pg_catalog.json_agg(distinct p.proname)',
);
