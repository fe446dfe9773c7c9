/** SQL for the keys under which rows and unique values are locked in MySQL: equal values have equal keys. */
import { createHash } from 'node:crypto';
import { assert } from '../../../src/platform/assert.ts';
import { columnOf, type ColumnFacts, type TableFacts, type UniqueFacts } from '../catalog.ts';
import { quoteName, tableName } from '../identifier.ts';
import { asciiSql } from './image.ts';
import { keptText } from '../kept-text.ts';

/** The locks that a changed row takes for one of its unique indexes. */
export interface LockKey {
  /** What its locks are filed under: the table for the key, else the index. At most 255 bytes. */
  readonly relation: string;
  /** The index that it is of. */
  readonly index: UniqueFacts;
  /**
   * The key of a row, whose columns are qualified with `row`: ASCII of at most 255 bytes. Empty where a column is NULL: nulls are never
   * equal. SQL NULL where the server could not build it.
   */
  readonly sql: (row: string) => string;
  /** The same, of values that stand elsewhere: SQL for the value of each column of the index. */
  readonly sqlOf: (value: (column: string) => string) => string;
  /** Rows of other tables may refer to the row by these columns. */
  readonly isReferred: boolean;
}

/** A lock of the row that a row refers to. */
export interface ParentKey {
  /** What the locks of those rows are filed under. */
  readonly relation: string;
  /** The key of the row that `row` refers to, as that row's own lock has it. Empty where it refers to none. */
  readonly sql: (row: string) => string;
}

/** Longer keys, and names of relations, are replaced by a hash. */
const BYTES_MAX = 255;
/** Collations with the attribute NO PAD, by their names; the others ignore blanks at the end. */
const COUNTS_BLANKS = /_0900_|nopad/;
/** Longest values, in characters, of which a weight is asked: an index entry of InnoDB has at most 3,072 bytes. */
const CHARACTERS_MAX = 3072;

/** The locks for each unique index whose values can be locked, that of the key first. */
export function lockKeys(facts: TableFacts): readonly LockKey[] {
  const key = keyIndex(facts);
  const others = facts.uniques.filter((index) => index !== key && isLockable(facts, index));
  return [...(key === undefined ? [] : [key]), ...others].map((index) => ({
    relation: relationOf(facts, index === key ? undefined : index.name),
    index,
    sql: keptText((row) => keySql(facts, index, (column) => `${row}.${quoteName(column)}`)),
    sqlOf: (value) => keySql(facts, index, value),
    isReferred: facts.children.some(({ columns }) =>
      isOver(
        index,
        columns.map(({ own }) => own),
      ),
    ),
  }));
}

/** True when the index is over these columns, and no others. */
export function isOver(index: UniqueFacts, columns: readonly string[]): boolean {
  const own = new Set(index.columns.map(({ name }) => name?.toLowerCase()));
  return own.size === columns.length && columns.every((name) => own.has(name.toLowerCase()));
}

/** The index that tells the rows apart: the primary key, or else a unique one over columns that are NOT NULL; undefined when there is none. */
export function keyIndex(facts: TableFacts): UniqueFacts | undefined {
  const candidates = facts.uniques.filter(
    (index) =>
      isLockable(facts, index) &&
      index.columns.every(({ name, prefix, isNullable }) => {
        const column = columnOf(facts, name ?? '');
        // A FLOAT is equal to no literal, and a generated column has no image.
        return prefix === undefined && !isNullable && column?.isGenerated === false && column.image?.form !== 'float';
      }),
  );
  return candidates.find(({ isPrimary }) => isPrimary) ?? candidates[0];
}

/** The unique indexes whose values cannot be locked: what frees one of them could not have it back for sure. */
export function unlockableUniques(facts: TableFacts): readonly UniqueFacts[] {
  return facts.uniques.filter((index) => !isLockable(facts, index));
}

/** What locks of a table, or of one of its unique indexes, are filed under. */
function relationOf(facts: TableFacts, index: string | undefined): string {
  const name = tableName(facts) + (index === undefined ? '' : `.${quoteName(index)}`);
  if (Buffer.byteLength(name) <= BYTES_MAX) return name;
  return `#${createHash('sha256').update(name).digest('hex')}`;
}

function isLockable(facts: TableFacts, index: UniqueFacts): boolean {
  return index.columns.every(({ name, prefix }) => {
    const column = name === undefined ? undefined : columnOf(facts, name);
    const form = column?.image?.form;
    if (column === undefined || form === undefined || form === 'json' || form === 'geometry') return false;
    return (prefix ?? column.lengthMax ?? 0) <= CHARACTERS_MAX;
  });
}

function keySql(facts: TableFacts, index: UniqueFacts, value: (column: string) => string): string {
  const parts = index.columns.map(({ name, prefix }) => {
    const column = columnOf(facts, name ?? '');
    assert(column !== undefined, 'an index is over columns of its table');
    return partSql(column, prefix, value(column.name));
  });
  const whole = asciiSql(`CONCAT(${parts.map(({ sql }) => sql).join(", ',', ")})`);
  const isShort = parts.every((part) => part.isShort) && parts.length < 6;
  const sql = isShort ? whole : `IF(LENGTH(${whole}) > ${BYTES_MAX}, CONCAT('#', SHA2(${whole}, 256)), ${whole})`;
  const nullable = index.columns.filter(({ isNullable }) => isNullable);
  const text = isShort ? sql : asciiSql(sql);
  if (nullable.length === 0) return text;
  const isNull = nullable.map(({ name }) => `${value(name ?? '')} IS NULL`);
  return `IF(${isNull.join(' OR ')}, '', ${text})`;
}

/** No part has a comma in it, which stands between the parts. */
function partSql(
  { image }: ColumnFacts,
  prefix: number | undefined,
  value: string,
): { readonly sql: string; readonly isShort: boolean } {
  assert(image !== undefined, 'a column that is locked has a form');
  const { form, type } = image;
  // Members of a SET or an ENUM are told apart by their number.
  if (form === 'bits' || form === 'enum' || type.startsWith('set(')) return { sql: `${value} + 0`, isShort: true };
  if (form === 'number') return { sql: value, isShort: !type.startsWith('decimal') };
  // -0 and 0 are equal.
  if (form === 'float') return { sql: `${value} * 1e0 + 0e0`, isShort: true };
  if (form === 'timestamp') return { sql: `UNIX_TIMESTAMP(${value})`, isShort: true };
  if (form === 'plain') return { sql: value, isShort: true };
  const counted = prefix === undefined ? value : `LEFT(${value}, ${prefix})`;
  if (form === 'bytes') return { sql: `HEX(${counted})`, isShort: false };
  // Weights, not characters: those of equal strings are the same.
  const weights = `HEX(WEIGHT_STRING(${counted}))`;
  if (COUNTS_BLANKS.test(image.collation ?? '')) return { sql: weights, isShort: false };
  const blank = `HEX(WEIGHT_STRING(CONVERT(' ' USING ${image.charset}) COLLATE ${image.collation}))`;
  return { sql: `TRIM(TRAILING ${blank} FROM ${weights})`, isShort: false };
}
