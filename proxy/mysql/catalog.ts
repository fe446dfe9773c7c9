/** What the planner must know about a table of MySQL or MariaDB, read from the answer to the query of catalog-sql.ts. */
import { assert } from '../../src/platform/assert.ts';
import { CATALOG_COLUMNS } from './catalog-sql.ts';
import type { ImageColumn, ImageForm } from './undo/image.ts';

export interface ColumnFacts {
  readonly name: string;
  /** Type, character set and form; undefined where values of the type cannot be written back. */
  readonly image: ImageColumn | undefined;
  /** The server computes it: it has no image, and cannot be assigned. */
  readonly isGenerated: boolean;
  readonly isAutoIncrement: boolean;
  /** INVISIBLE: a statement that lists no columns gives it no value. */
  readonly isInvisible?: boolean;
  /** False where no row has NULL in it. */
  readonly isNullable?: boolean;
  /** Characters, or bytes, that a value has at most; undefined where that means nothing. */
  readonly lengthMax: number | undefined;
}

export interface UniqueFacts {
  readonly name: string;
  readonly isPrimary: boolean;
  readonly columns: readonly {
    /** Undefined where the index is over an expression. */
    readonly name: string | undefined;
    /** Only so many characters, or bytes, of the value count. */
    readonly prefix: number | undefined;
    readonly isNullable: boolean;
  }[];
}

/** What a foreign key does to rows that refer, when the row that they refer to is deleted, or its key changed. */
export type Rule = 'restrict' | 'cascade' | 'set';

/** A foreign key. Columns stand in pairs: of the referring table, and of the one that it refers to. */
export interface ForeignKeyFacts {
  readonly name: string;
  /** The table at the other end. */
  readonly database: string;
  readonly table: string;
  readonly columns: readonly { readonly own: string; readonly other: string }[];
  readonly onUpdate: Rule;
  readonly onDelete: Rule;
}

export interface TableFacts {
  readonly database: string;
  readonly table: string;
  readonly kind: 'table' | 'view' | 'other';
  readonly engine: string;
  readonly columns: readonly ColumnFacts[];
  readonly uniques: readonly UniqueFacts[];
  /** Those of the table itself. */
  readonly parents: readonly ForeignKeyFacts[];
  /** Those by which other tables, or the table itself, refer to this one. */
  readonly children: readonly ForeignKeyFacts[];
  readonly triggers: readonly { readonly name: string; readonly event: 'INSERT' | 'UPDATE' | 'DELETE' }[];
  /** With 0 and 1 the numbers that INSERT … SELECT is given follow each other; with 2 they need not. */
  readonly autoIncrementMode: number;
  readonly isMariadb: boolean;
}

type Row = readonly (string | null | undefined)[];

/** The facts of each of the tables that were asked for together, in their order; undefined for one that there is not. */
export function readTables(rows: readonly Row[], count: number): readonly (TableFacts | undefined)[] {
  const groups = Array.from({ length: count }, (): Row[] => []);
  for (const row of rows) {
    const number = row[CATALOG_COLUMNS];
    // Those of foreign keys have no number: they name both tables.
    if (number === null || number === undefined) for (const group of groups) group.push(row);
    else groups[Number(number)]?.push(row);
  }
  return groups.map(readFacts);
}

/** The facts of the rows about one table; undefined when there is no such table. */
export function readFacts(rows: readonly Row[]): TableFacts | undefined {
  const of = (kind: string): readonly Row[] => rows.filter(([first]) => first === kind);
  const [table] = of('table');
  if (table === undefined) return undefined;
  const [, database, name, type, engine, , mode, version, lowerCase] = table;
  // MariaDB finds by names that differ in case or accents, even where it tells such names apart.
  const fold = (each: string | null | undefined): string => (lowerCase === '0' ? text(each) : text(each).toLowerCase());
  const itself = [database, name].map(fold);
  const isItself = (...other: Row): boolean => other.every((each, index) => fold(each) === itself[index]);
  const keys = of('foreign key');
  return {
    database: text(database),
    table: text(name),
    kind: type === 'BASE TABLE' ? 'table' : (type ?? '').endsWith('VIEW') ? 'view' : 'other',
    engine: engine ?? '',
    columns: of('column').map(readColumn),
    uniques: readUniques(of('index')),
    parents: readForeignKeys(
      keys
        .filter(([, , schema, from]) => isItself(schema, from))
        .map(([, key, , , own, schema, to, other, ...rules]) => [key, own, schema, to, other, ...rules]),
    ),
    children: readForeignKeys(
      keys
        .filter(([, , , , , schema, to]) => isItself(schema, to))
        .map(([, key, schema, from, other, , , own, ...rules]) => [key, own, schema, from, other, ...rules]),
    ),
    triggers: of('trigger').map(([, trigger, event]) => ({
      name: text(trigger),
      event: event === 'INSERT' || event === 'UPDATE' ? event : 'DELETE',
    })),
    autoIncrementMode: Number(mode ?? 2),
    isMariadb: /mariadb/i.test(version ?? ''),
  };
}

/** The columns that images have a value for; undefined when one of them is of a type that has no image. */
export function imageColumns({ columns }: TableFacts): readonly ImageColumn[] | undefined {
  const stored = columns.filter(({ isGenerated }) => !isGenerated);
  const images = stored.map(({ image }) => image).filter((image) => image !== undefined);
  return images.length === stored.length && images.length > 0 ? images : undefined;
}

/** Names of columns are equal whatever their case is. */
export function columnOf(facts: TableFacts, name: string): ColumnFacts | undefined {
  const folded = name.toLowerCase();
  return facts.columns.find((column) => column.name.toLowerCase() === folded);
}

const FORMS: Readonly<Record<string, ImageForm>> = {
  tinyint: 'number',
  smallint: 'number',
  mediumint: 'number',
  int: 'number',
  bigint: 'number',
  decimal: 'number',
  year: 'number',
  bit: 'bits',
  float: 'float',
  double: 'float',
  date: 'plain',
  time: 'plain',
  datetime: 'plain',
  uuid: 'plain',
  inet4: 'plain',
  inet6: 'plain',
  timestamp: 'timestamp',
  char: 'padded',
  varchar: 'text',
  tinytext: 'text',
  text: 'text',
  mediumtext: 'text',
  longtext: 'text',
  set: 'text',
  enum: 'enum',
  binary: 'bytes',
  varbinary: 'bytes',
  tinyblob: 'bytes',
  blob: 'bytes',
  mediumblob: 'bytes',
  longblob: 'bytes',
  json: 'json',
  geometry: 'geometry',
  point: 'geometry',
  linestring: 'geometry',
  polygon: 'geometry',
  multipoint: 'geometry',
  multilinestring: 'geometry',
  multipolygon: 'geometry',
  geometrycollection: 'geometry',
  geomcollection: 'geometry',
};

function readColumn(row: Row): ColumnFacts {
  const [, name, dataType, type, charset, collation, length, extra, nullable] = row;
  const form = FORMS[(dataType ?? '').toLowerCase()];
  const image =
    form === undefined
      ? undefined
      : {
          name: text(name),
          type: text(type),
          form,
          ...(charset === null || charset === undefined ? {} : { charset }),
          ...(collation === null || collation === undefined ? {} : { collation }),
        };
  return {
    name: text(name),
    image,
    // MySQL says DEFAULT_GENERATED of a column whose default is an expression.
    isGenerated: /\b(?:VIRTUAL|STORED|PERSISTENT)\b/i.test(extra ?? ''),
    isAutoIncrement: /\bauto_increment\b/i.test(extra ?? ''),
    isInvisible: /\bINVISIBLE\b/i.test(extra ?? ''),
    isNullable: nullable !== 'NO',
    lengthMax: length === null || length === undefined ? undefined : Number(length),
  };
}

function readUniques(rows: readonly Row[]): readonly UniqueFacts[] {
  return [...groups(rows)].map(([name, columns]) => ({
    name,
    isPrimary: name === 'PRIMARY',
    columns: columns.map(([, , column, prefix, nullable]) => ({
      name: column ?? undefined,
      prefix: prefix === null || prefix === undefined ? undefined : Number(prefix),
      isNullable: nullable === 'YES',
    })),
  }));
}

/** Rows of name, own column, database and table at the other end, its column, and the rules for updates and deletions. */
function readForeignKeys(rows: readonly Row[]): readonly ForeignKeyFacts[] {
  // Another table's may have the same name.
  const keys = groups(rows, ([name, , database, table]) => JSON.stringify([name, database, table]));
  return [...keys.values()].map((columns) => {
    const [first] = columns;
    assert(first !== undefined, 'a group has a row');
    const [name, , database, table, , onUpdate, onDelete] = first;
    return {
      name: text(name),
      database: text(database),
      table: text(table),
      columns: columns.map(([, own, , , other]) => ({ own: text(own), other: text(other) })),
      onUpdate: ruleOf(onUpdate),
      onDelete: ruleOf(onDelete),
    };
  });
}

function ruleOf(rule: string | null | undefined): Rule {
  if (rule === 'CASCADE') return 'cascade';
  return rule === 'RESTRICT' || rule === 'NO ACTION' ? 'restrict' : 'set';
}

function groups(rows: readonly Row[], keyOf: (row: Row) => string = ([, name]) => text(name)): Map<string, Row[]> {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const key = keyOf(row);
    found.set(key, [...(found.get(key) ?? []), row]);
  }
  return found;
}

function text(value: string | null | undefined): string {
  assert(typeof value === 'string', 'the catalogue names what it speaks of');
  return value;
}
