/** The query that tells all about one table of MySQL or MariaDB. */

/** The columns of the answer: all text. The first says what the row is about, the others are fields of `catalog.ts`. */
export const CATALOG_COLUMNS = 9;

/**
 * One query for a table: itself, its columns, unique indexes, foreign keys in both directions, and triggers. It must be asked by a user
 * who is shown all of these: without the right TRIGGER a table seems to have no triggers, and tables on which somebody has no right
 * at all seem not to refer to it. Names are as the client wrote them; those of the answer are as the server stores them.
 */
export function catalogSql(database: string, table: string): string {
  const isTable = (schema: string, name: string): string =>
    `${schema} = ${nameLiteral(database)} AND ${name} = ${nameLiteral(table)}`;
  const i = 'information_schema';
  return (
    [
      row(
        [
          'table',
          'table_schema',
          'table_name',
          'table_type',
          'engine',
          'create_options',
          '@@innodb_autoinc_lock_mode',
          '@@version',
        ],
        `${i}.tables WHERE ${isTable('table_schema', 'table_name')}`,
      ),
      row(
        [
          'column',
          'column_name',
          'data_type',
          'column_type',
          'character_set_name',
          'collation_name',
          'character_maximum_length',
          'extra',
          'is_nullable',
        ],
        `${i}.columns WHERE ${isTable('table_schema', 'table_name')}`,
        'ordinal_position',
      ),
      row(
        ['index', 'index_name', 'column_name', 'sub_part', 'nullable'],
        `${i}.statistics WHERE ${isTable('table_schema', 'table_name')} AND non_unique = 0`,
        'seq_in_index',
      ),
      row(
        [
          'parent',
          'k.constraint_name',
          'k.column_name',
          'k.referenced_table_schema',
          'k.referenced_table_name',
          'k.referenced_column_name',
          'r.update_rule',
          'r.delete_rule',
        ],
        `${foreignKeys(i)} WHERE ${isTable('k.table_schema', 'k.table_name')}`,
        'k.ordinal_position',
      ),
      row(
        [
          'child',
          'k.constraint_name',
          'k.referenced_column_name',
          'k.table_schema',
          'k.table_name',
          'k.column_name',
          'r.update_rule',
          'r.delete_rule',
        ],
        `${foreignKeys(i)} WHERE ${isTable('k.referenced_table_schema', 'k.referenced_table_name')}`,
        'k.ordinal_position',
      ),
      row(
        ['trigger', 'trigger_name', 'event_manipulation'],
        `${i}.triggers WHERE ${isTable('event_object_schema', 'event_object_table')}`,
      ),
    ].join(' UNION ALL ') + ' ORDER BY 10'
  );
}

function foreignKeys(i: string): string {
  return `${i}.key_column_usage AS k JOIN ${i}.referential_constraints AS r ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name`;
}

/** One arm of the union: the kind, the fields, and the place that its rows are put in order by. */
function row(fields: readonly string[], from: string, place = '0'): string {
  const [kind, ...names] = fields;
  const texts = [`'${kind}'`, ...names, ...Array<string>(CATALOG_COLUMNS - fields.length).fill('NULL')];
  // The columns of information_schema have several collations, which a union would not mix.
  const columns = texts.map((text) => `CONVERT(${text} USING utf8mb4) COLLATE utf8mb4_bin`);
  return `SELECT ${columns.join(', ')}, ${place} FROM ${from}`;
}

/** A name as a constant that no setting of the session reads otherwise. Names have no characters outside of UTF-8 with three bytes. */
function nameLiteral(name: string): string {
  return `_utf8 X'${Buffer.from(name, 'utf8').toString('hex')}'`;
}
