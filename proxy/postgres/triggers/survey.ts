/** The tables of a database that may get triggers, and what the catalogue says of them. */
import type pg from 'pg';
import { assert } from '../../../src/platform/assert.ts';
import { factKey, factsParameters, readFacts, type RelationFacts } from '../catalog.ts';
import { FACTS_SQL } from '../catalog-sql.ts';
import { ALL_TRIGGER_NAMES, sqlName, type TriggerSources, type TriggerTable } from './generate.ts';
import { TRIGGER_SHAPE_SQL, TROUBLE_SQL } from './shape.ts';

/** Ordinary, partitioned and foreign tables of the user's; not those of extensions, nor temporary ones. */
const TABLES_SQL = `SELECT t.oid::int8::float8 AS oid, n.nspname AS schema, t.relname AS name, t.relkind::text AS relkind, ${TRIGGER_SHAPE_SQL} AS shape, ${TROUBLE_SQL} AS trouble,
  NOT t.relispartition AND t.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits h WHERE t.oid IN (h.inhrelid, h.inhparent)) AS inherits,
  coalesce(pg_partition_root(t.oid), t.oid)::oid::int8::float8 AS root,
  (SELECT coalesce(json_object_agg(a.attname, pg_get_expr(d.adbin, d.adrelid)), '{}') FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = t.oid AND a.attgenerated = 'v') AS virtuals,
  (SELECT coalesce(json_agg(json_build_object('name', g.tgname, 'isOn', g.tgenabled = 'O', 'shape', split_part(encode(g.tgargs, 'escape'), '\\000', 1))), '[]')
    FROM pg_trigger g WHERE g.tgrelid = t.oid AND g.tgname = ANY ($1)) AS triggers
FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE t.relkind IN ('r', 'p', 'f') AND t.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'atomesh')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = t.oid AND d.deptype = 'e')
ORDER BY n.nspname, t.relname`;

const FACTS_AT_ONCE = 100;

/** Reads them all, in the local transaction or session of `client`, whose search_path is empty of user schemas. */
export async function surveyTables(client: pg.ClientBase): Promise<readonly TriggerTable[]> {
  const { rows } = await client.query<TriggerTable>(TABLES_SQL, [ALL_TRIGGER_NAMES]);
  return rows;
}

/** What the triggers of these tables are made from; `all` are those of the database, for their roots. */
export async function surveySources(
  client: pg.ClientBase,
  tables: readonly TriggerTable[],
  all: readonly TriggerTable[],
): Promise<(table: TriggerTable) => TriggerSources> {
  const wanted = new Set(tables.flatMap(({ oid, root }) => [oid, root]));
  const asked = all.filter(({ oid }) => wanted.has(oid));
  const facts = new Map<number, RelationFacts>();
  for (let from = 0; from < asked.length; from += FACTS_AT_ONCE) {
    const names = asked.slice(from, from + FACTS_AT_ONCE);
    const { rows } = await client.query<[string]>({
      text: FACTS_SQL,
      values: factsParameters(names.map(factKey), [], []),
      rowMode: 'array',
    });
    for (const found of readFacts(rows).relations.values())
      if (found !== 'missing') facts.set(found.fact.oid, found.fact);
  }
  const locked = [...facts.values()].flatMap(({ uniqueIndexes, foreignKeys }) => [
    ...uniqueIndexes.map((index) => index.lockRelation),
    ...foreignKeys.flatMap(({ parent }) => parent?.lockRelation ?? []),
  ]);
  const { rows } = await client.query<{ oid: number; schema: string; name: string }>(
    'SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])',
    [[...new Set(locked)]],
  );
  const names = new Map(rows.map((row) => [row.oid, sqlName(row)]));
  const of = <T>(found: T | undefined): T => {
    assert(found !== undefined, 'a table that was listed is described');
    return found;
  };
  return ({ oid, root }) => ({
    facts: of(facts.get(oid)),
    root: of(facts.get(root)),
    nameOf: (relation) => of(names.get(relation)),
  });
}
