/** What the trigger function of a table depends on, as one text: another text, and the triggers are stale. */
import { FINGERPRINT_SQL } from '../catalog-sql.ts';

/** Grows when generated functions change: triggers that an earlier version has installed are stale then. */
const GENERATION = 2;

/**
 * SQL for why changes of the relation `t` (a pg_class row) cannot be recorded by triggers, as far as the catalogue alone tells; null
 * when nothing is in the way. What is restored is written while triggers and foreign keys are silent: what the server checks by a
 * trigger, or what would fire all the same, has to be known.
 */
export const TROUBLE_SQL = `CASE
  WHEN t.relkind = 'f' THEN 'a foreign table'
  WHEN t.relpersistence <> 'p' THEN 'an unlogged table, which a crash would empty'
  WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.oid AND g.tgenabled IN ('A', 'R')) THEN 'a table with a trigger that is ENABLE ALWAYS or ENABLE REPLICA'
  WHEN EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = t.oid AND r.ev_enabled IN ('A', 'R')) THEN 'a table with a rule that is ENABLE ALWAYS or ENABLE REPLICA'
  WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'x' AND k.condeferrable) THEN 'a table with a deferrable exclusion constraint'
  WHEN EXISTS (SELECT FROM pg_constraint k WHERE t.oid IN (k.conrelid, k.confrelid) AND k.contype = 'f' AND (to_jsonb(k) ->> 'conperiod')::bool) THEN 'a table with a foreign key over periods'
  ELSE (SELECT min(w.trouble || ' (' || l.relname || ')')
    FROM pg_partition_tree(coalesce(pg_partition_root(t.oid), t.oid)) p JOIN pg_class l ON l.oid = p.relid CROSS JOIN LATERAL (SELECT CASE
      WHEN l.relkind = 'f' THEN 'a table with a foreign partition'
      WHEN l.relpersistence <> 'p' THEN 'a table with an unlogged partition'
      WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = l.oid AND g.tgenabled IN ('A', 'R')) THEN 'a table with a partition whose trigger is ENABLE ALWAYS or ENABLE REPLICA'
      WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid AND (i.indisunique OR i.indisexclusion)
        AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)) THEN 'a table with a partition that has a unique index of its own'
      WHEN EXISTS (SELECT FROM pg_constraint k WHERE l.oid IN (k.conrelid, k.confrelid) AND k.contype = 'f' AND k.conparentid = 0) THEN 'a table with a partition that has a foreign key of its own'
    END AS trouble) w WHERE p.level > 0)
END`;

/**
 * SQL for the shape of the relation `t` (a pg_class row). Free of object ids of tables: it stays the same in a restored dump. Foreign keys
 * that carry a change on are a part of it: a new one may lead to a table that has no triggers yet. Of the others, which keys they lead to.
 */
export const TRIGGER_SHAPE_SQL = `md5(concat_ws('|', ${GENERATION}, t.relnamespace::regnamespace, t.relname, t.relkind, ${TROUBLE_SQL},
  EXISTS (SELECT FROM pg_inherits h WHERE t.oid IN (h.inhrelid, h.inhparent)), coalesce(pg_partition_root(t.oid), t.oid)::regclass,
  (SELECT ${FINGERPRINT_SQL} FROM pg_class c WHERE c.oid = coalesce(pg_partition_root(t.oid), t.oid)),
  (SELECT string_agg(concat_ws(',', a.attname, a.attcollation, a.attnotnull, pg_get_expr(d.adbin, d.adrelid)), ';' ORDER BY a.attnum) FROM pg_attribute a
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> '' WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT string_agg(pg_get_constraintdef(k.oid), ';' ORDER BY k.conname) FROM pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'f'),
  (SELECT string_agg(concat_ws(',', k.conrelid::regclass, k.conname), ';' ORDER BY k.conrelid::regclass::text, k.conname) FROM pg_constraint k
     WHERE k.confrelid = t.oid AND k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))),
  (SELECT string_agg(DISTINCT concat_ws(',', k.conindid::regclass, k.condeferrable), ';') FROM pg_constraint k WHERE k.confrelid = t.oid AND k.contype = 'f'),
  (SELECT string_agg(concat_ws(',', i.indexrelid::regclass, pg_partition_root(i.indexrelid)::regclass, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indimmediate), ';' ORDER BY i.indexrelid::regclass::text)
     FROM pg_index i WHERE i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion))))`;
