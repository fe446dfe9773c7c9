/** The query that tells all about tables of MySQL or MariaDB. */

/** The columns of the answer: all text. The first says what the row is about, the others are fields of `catalog.ts`. */
export const CATALOG_COLUMNS = 10;

/** A table as the client calls it. */
export interface AskedTable {
  readonly database: string;
  readonly table: string;
}

/** The query of `catalogOfSql` for one table. */
export function catalogSql(database: string, table: string): string {
  return catalogOfSql([{ database, table }]);
}

/**
 * One query for some tables: themselves, their columns, unique indexes, triggers, and foreign keys in both directions. Behind the columns
 * of all but the last is the number of the table among those that were asked for, from 0. It must be asked by a user who is shown all of
 * these: without the right TRIGGER a table seems to have no triggers, and tables on which somebody has no right at all seem not to refer
 * to it. Names are as the client wrote them; those of the answer are as the server stores them.
 *
 * Who refers to a table is found out by a look at each table that the server has, on MariaDB always, and on MySQL up to 8.0.28 where there is
 * a foreign key: 7 and 10 ms where there are 300, and all the rest takes 2 ms. It is one look for both directions and all tables.
 */
export function catalogOfSql(tables: readonly AskedTable[]): string {
  const ends = tables.flatMap((each) => [
    isTable('r.constraint_schema', 'r.table_name', each),
    isTable('r.unique_constraint_schema', 'r.referenced_table_name', each),
  ]);
  return [
    ...tables.flatMap(ownRows),
    row(
      [
        'foreign key',
        'k.constraint_name',
        'k.table_schema',
        'k.table_name',
        'k.column_name',
        'k.referenced_table_schema',
        'k.referenced_table_name',
        'k.referenced_column_name',
        'r.update_rule',
        'r.delete_rule',
      ],
      `${FOREIGN_KEYS} WHERE ${ends.join(' OR ')}`,
      { place: 'k.ordinal_position' },
    ),
  ]
    .join(' UNION ALL ')
    .concat(` ORDER BY ${CATALOG_COLUMNS + 2}`);
}

/** What each table by itself can be asked for. With constants for its names, the servers look at no other one. */
function ownRows(name: AskedTable, number: number): readonly string[] {
  const i = 'information_schema';
  const itself = isTable('table_schema', 'table_name', name);
  return [
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
        '@@lower_case_table_names',
      ],
      `${i}.tables WHERE ${itself}`,
      { number },
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
      `${i}.columns WHERE ${itself}`,
      { number, place: 'ordinal_position' },
    ),
    row(
      ['index', 'index_name', 'column_name', 'sub_part', 'nullable'],
      `${i}.statistics WHERE ${itself} AND non_unique = 0`,
      { number, place: 'seq_in_index' },
    ),
    row(
      ['trigger', 'trigger_name', 'event_manipulation'],
      `${i}.triggers WHERE ${isTable('event_object_schema', 'event_object_table', name)}`,
      { number },
    ),
  ];
}

/**
 * The views of each of these databases, or of all where a name is empty: the number of the database among them, database, name, and
 * `lower_case_table_names`. With a constant for its name, the servers look at no other database.
 */
export function viewsOfSql(databases: readonly string[]): string {
  const columns = ['table_schema', 'table_name', '@@lower_case_table_names'].map(inUnicode).join(', ');
  return databases
    .map((database, number) => {
      const within = database === '' ? '' : ` AND table_schema = ${nameLiteral(database)}`;
      return `SELECT ${number}, ${columns} FROM information_schema.tables WHERE table_type = 'VIEW'${within}`;
    })
    .join(' UNION ALL ');
}

/** In this order: MySQL then makes the list of all columns of all keys only where there is a foreign key. */
const FOREIGN_KEYS =
  'information_schema.referential_constraints AS r STRAIGHT_JOIN information_schema.key_column_usage AS k ' +
  'ON k.constraint_schema = r.constraint_schema AND k.constraint_name = r.constraint_name ' +
  // A unique index may be called as a foreign key is.
  'AND k.table_schema = r.constraint_schema AND k.table_name = r.table_name AND k.referenced_column_name IS NOT NULL';

function isTable(schema: string, name: string, { database, table }: AskedTable): string {
  return `(${schema} = ${nameLiteral(database)} AND ${name} = ${nameLiteral(table)})`;
}

/** One arm of the union: the kind, the fields, the number of the table, and the place that its rows are put in order by. */
function row(
  fields: readonly string[],
  from: string,
  { number, place = '0' }: { readonly number?: number; readonly place?: string },
): string {
  const [kind, ...names] = fields;
  const texts = [`'${kind}'`, ...names, ...Array<string>(CATALOG_COLUMNS - fields.length).fill('NULL')];
  const columns = texts.map(inUnicode);
  return `SELECT ${columns.join(', ')}, ${number ?? 'NULL'}, ${place} FROM ${from}`;
}

/** The columns of information_schema have several collations, which a union would not mix. */
function inUnicode(text: string): string {
  return `CONVERT(${text} USING utf8mb4) COLLATE utf8mb4_bin`;
}

/** A name as a constant that no setting of the session reads otherwise. Names have no characters outside of UTF-8 with three bytes. */
function nameLiteral(name: string): string {
  return `_utf8 X'${Buffer.from(name, 'utf8').toString('hex')}'`;
}
