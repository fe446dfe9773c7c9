/** The table that an undo record is about, as it is now, and the statements that take changes of its rows back. */
import { isDeepStrictEqual } from 'node:util';
import { DirtyBranch } from '../../branch/dirty.ts';
import { CATALOG_COLUMNS, catalogSql } from '../catalog-sql.ts';
import { imageColumns, readFacts, type ForeignKeyFacts, type TableFacts } from '../catalog.ts';
import { quoteName, tableName } from '../identifier.ts';
import type { OwnConnection } from '../own-pool.ts';
import { imageSql, isRestorable, literalSql, rowsSql, valuesOf, type ImageColumn } from '../undo/image.ts';
import type { UndoRecord } from '../undo/record.ts';

/** What is needed of a table to restore its rows. */
export interface RestorableTable {
  /** Database and table, quoted. */
  readonly sqlName: string;
  readonly columns: readonly ImageColumn[];
  readonly key: readonly string[];
  /** The index over the key. */
  readonly index: string;
  /** Foreign keys by which a deleted or changed row would take others along. */
  readonly taking: readonly ForeignKeyFacts[];
  readonly triggers: TableFacts['triggers'];
}

/** What a row is called in our statements. */
const ROW = 'atomesh_row';

/**
 * The table of a record.
 * @throws DirtyBranch when it is not the one any more that the images were taken of.
 */
export async function readTable(connection: OwnConnection, record: UndoRecord): Promise<RestorableTable> {
  const sqlName = tableName(record);
  const answer = await connection.lists(catalogSql(record.database, record.table));
  const facts = readFacts(answer.map((row) => row.slice(0, CATALOG_COLUMNS)));
  if (facts === undefined) throw new DirtyBranch({ reason: 'the table is gone', table: sqlName });
  const index = facts.uniques.find(
    ({ columns }) =>
      columns.length === record.key.length &&
      columns.every(({ name, prefix }) => prefix === undefined && name !== undefined && record.key.includes(name)),
  );
  const isSame = isDeepStrictEqual(imageColumns(facts), record.columns);
  if (!isSame || index === undefined || facts.engine !== 'InnoDB') {
    throw new DirtyBranch({ reason: 'the table was altered after the change', table: sqlName });
  }
  return {
    sqlName,
    columns: record.columns,
    key: record.key,
    index: index.name,
    taking: facts.children,
    triggers: facts.triggers,
  };
}

/** The text that tells the rows of a table apart. */
export function keyText({ columns, key }: Pick<RestorableTable, 'columns' | 'key'>, image: string): string {
  const values = valuesOf(columns, image);
  return key.map((name) => values[columns.findIndex((column) => column.name === name)] ?? '').join(',');
}

/** Images of the rows that stand under the keys of these, and, where they shall stay so, locked. By the index, so that no other row is met. */
export function currentSql(table: RestorableTable, images: readonly string[], lock: 'FOR UPDATE' | ''): string {
  return `SELECT ${imageSql(table.columns, ROW)} AS image FROM ${table.sqlName} AS ${ROW} FORCE INDEX (${quoteName(table.index)}) WHERE ${rowsSql(table, images, ROW)} ${lock}`;
}

/** Removes the row of this image. */
export function deleteSql(table: RestorableTable, image: string): string {
  return `DELETE FROM ${table.sqlName} WHERE ${rowsSql(table, [image], table.sqlName)}`;
}

/** Takes away what the row of this image refers to in its own table; undefined where nothing can, but in its key. */
export function unlinkSql(table: RestorableTable, image: string): string | undefined {
  const { sqlName, taking, key } = table;
  const own = taking.filter((foreignKey) => tableName(foreignKey) === sqlName);
  const columns = own.flatMap((foreignKey) => foreignKey.columns.map(({ other }) => other));
  const free = [...new Set(columns)].filter((name) => !key.includes(name));
  if (free.length === 0) return undefined;
  const sets = free.map((name) => `${quoteName(name)} = NULL`);
  return `UPDATE ${sqlName} SET ${sets.join(', ')} WHERE ${rowsSql(table, [image], sqlName)}`;
}

/**
 * Writes a row as this image has it.
 * @throws DirtyBranch when a value cannot be written back exactly.
 */
export function insertSql(table: RestorableTable, image: string): string {
  const { columns, sqlName } = table;
  const values = valuesOf(columns, image);
  for (const [index, { name }] of columns.entries()) refuseLossy(table, name, values[index]);
  const literals = columns.map((column, index) => literalSql(column, values[index]));
  return `INSERT INTO ${sqlName} (${columns.map(({ name }) => quoteName(name)).join(', ')}) VALUES (${literals.join(', ')})`;
}

/**
 * Changes the row of the image `from` into `to`: the columns that differ, and those that would otherwise set themselves. Undefined when
 * none differs.
 * @throws DirtyBranch when a value cannot be written back exactly.
 */
export function updateSql(table: RestorableTable, from: string, to: string): string | undefined {
  const { columns, sqlName } = table;
  const [old, values] = [valuesOf(columns, from), valuesOf(columns, to)];
  const sets = columns.flatMap((column, index) => {
    const differs = old[index] !== values[index];
    // ON UPDATE CURRENT_TIMESTAMP leaves a column alone that is assigned.
    if (!differs && !/^(?:timestamp|datetime)/.test(column.type)) return [];
    if (differs) refuseLossy(table, column.name, values[index]);
    return [`${quoteName(column.name)} = ${literalSql(column, values[index])}`];
  });
  if (from === to) return undefined;
  return `UPDATE ${sqlName} SET ${sets.join(', ')} WHERE ${rowsSql(table, [from], sqlName)}`;
}

function refuseLossy({ sqlName }: RestorableTable, column: string, value: string | undefined): void {
  if (isRestorable(value)) return;
  throw new DirtyBranch({
    reason: `the column ${column} holds a JSON value that cannot be written back exactly`,
    table: sqlName,
  });
}

/**
 * Questions whether other rows refer to that of the image by a foreign key that would delete them, or change them, with it: none may.
 * `to`: what it is changed into; undefined when it is deleted.
 */
export function takenAlongSql(table: RestorableTable, image: string, to: string | undefined): readonly string[] {
  const { columns, sqlName } = table;
  const values = valuesOf(columns, image);
  const after = to === undefined ? undefined : valuesOf(columns, to);
  return table.taking.flatMap((foreignKey) => {
    const rule = to === undefined ? foreignKey.onDelete : foreignKey.onUpdate;
    if (rule === 'restrict') return [];
    const places = foreignKey.columns.map(({ own }) =>
      columns.findIndex(({ name }) => name.toLowerCase() === own.toLowerCase()),
    );
    if (after !== undefined && places.every((place) => after[place] === values[place])) return [];
    const condition = foreignKey.columns.map(({ other }, index) => {
      const place = places[index] ?? -1;
      const column = columns[place];
      // What has no image is not compared: more rows are found then, and the branch is dirty rather than wrong.
      return column === undefined ? 'TRUE' : `${quoteName(other)} = ${literalSql(column, values[place])}`;
    });
    const child = tableName(foreignKey);
    // A row may refer to itself, and goes alone then.
    const isOther = child === sqlName ? ` AND NOT (${rowsSql(table, [image], sqlName)})` : '';
    return [`SELECT 1 FROM ${child} WHERE ${condition.join(' AND ')}${isOther} LIMIT 1`];
  });
}
