/** The text of a row image, and the SQL that takes one and writes one back: the same under whatever settings a session has. */
import { assert } from '../../../src/platform/assert.ts';
import { quoteName } from '../identifier.ts';

/**
 * How the value of a column becomes text.
 * `number`: its digits; `bits`: those of the number that they are. `float`: those of the double that it is, for MySQL prints a FLOAT with six digits only. `plain`: a date, a time,
 * or an address, as printed. `timestamp`: seconds since 1970, which no time zone changes. `text`, `padded` (CHAR) and `bytes`: the
 * bytes in the column's own character set, in hexadecimal. `enum`: the same, or 0 for the value that is no member. `json`: the text
 * in UTF-8, in hexadecimal. `geometry`: the bytes that it is stored as.
 */
export type ImageForm =
  | 'number'
  | 'bits'
  | 'float'
  | 'plain'
  | 'timestamp'
  | 'text'
  | 'padded'
  | 'bytes'
  | 'enum'
  | 'json'
  | 'geometry';

/** A column as far as images are concerned. Generated columns have no image: the server computes them again. */
export interface ImageColumn {
  readonly name: string;
  /** As `information_schema.columns.column_type` says it: `decimal(65,30)`, `enum('a','b')`. */
  readonly type: string;
  readonly form: ImageForm;
  /** Present where values have a character set. */
  readonly charset?: string;
  readonly collation?: string;
}

/**
 * Settings of the session that writes images back: literals mean the same everywhere, zero dates and the value of an ENUM that is no
 * member can be written, and a zero in an AUTO_INCREMENT column stays one. It is not strict, so what was written must be read again
 * and compared.
 */
export const RESTORE_SETTINGS: string =
  "SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION', sql_safe_updates = 0";

/** Stands for NULL in an image: no value has this text. */
const NULL_TEXT = 'N';
/** In front of a JSON value whose text reads back as another value. */
const LOSSY = '!';

/**
 * The image of one row as one SQL expression: the texts of all columns with commas between them, in ASCII. `row` is what the columns
 * are qualified with (a quoted alias or `database.table`). The value is SQL NULL where the server cannot build it: it would be longer
 * than max_allowed_packet. `required`: names of columns that are never NULL.
 */
export function imageSql(columns: readonly ImageColumn[], row: string, required: readonly string[] = []): string {
  assert(columns.length > 0, 'a table has a column');
  const values = columns.map((column) => {
    const value = `${row}.${quoteName(column.name)}`;
    if (required.includes(column.name)) return textSql(column.form, value);
    // Not IFNULL around the text: a text that is too long is NULL as well.
    return `IF(${value} IS NULL, '${NULL_TEXT}', ${textSql(column.form, value)})`;
  });
  return asciiSql(values.length === 1 ? `CONCAT(${values[0]})` : `CONCAT(${values.join(", ',', ")})`);
}

/** ASCII in a binary string: whatever character_set_connection and character_set_results say, these bytes arrive. */
export function asciiSql(sql: string): string {
  return `CAST(CONVERT(${sql} USING ascii) AS BINARY)`;
}

function textSql(form: ImageForm, value: string): string {
  switch (form) {
    case 'number':
      return value;
    case 'bits':
      // A string of bytes until it is added to. A DECIMAL would lose digits by that.
      return `${value} + 0`;
    case 'float':
      // Multiplied, and not added to: that would turn -0 into 0.
      return `${value} * 1e0`;
    case 'plain':
      // As a string: beside a UUID or an INET6 the text for NULL would be taken for one of those, and be NULL.
      return `CONCAT(${value})`;
    case 'timestamp':
      // Of a column, and of nothing else, this is the stored value itself: the hour that a clock repeats is not ambiguous.
      return `UNIX_TIMESTAMP(${value})`;
    case 'padded':
      // The mode PAD_CHAR_TO_FULL_LENGTH shows blanks that are not stored.
      return `HEX(TRIM(TRAILING ' ' FROM ${value}))`;
    case 'text':
    case 'bytes':
    case 'geometry':
      return `HEX(${value})`;
    case 'enum':
      return `IF(${value} + 0 = 0, '0', HEX(${value}))`;
    case 'json':
      return jsonSql(value);
  }
}

/** MySQL's JSON may hold dates, bytes, decimals, and doubles with 16 digits, of which the text may read back as something else. */
function jsonSql(value: string): string {
  const text = `CONVERT(${value} USING utf8mb4)`;
  const again = `CAST(${text} AS JSON)`;
  const isSame = `${again} = ${value} AND CAST(CONVERT(${again} USING utf8mb4) AS BINARY) = CAST(${text} AS BINARY)`;
  return `CONCAT(IF(${isSame}, '', '${LOSSY}'), HEX(${text}))`;
}

/** The texts of an image, one for each column; undefined for NULL. */
export function valuesOf(columns: readonly ImageColumn[], image: string): readonly (string | undefined)[] {
  const values = image.split(',');
  assert(values.length === columns.length, 'an image has a value for each column');
  return values.map((value) => (value === NULL_TEXT ? undefined : value));
}

/** True for a text that could be an image of these columns: records lie in a table that clients may write to. */
export function isImage(columns: readonly ImageColumn[], text: string): boolean {
  const values = text.split(',');
  return (
    values.length === columns.length &&
    columns.every(({ form }, index) => {
      const value = values[index] ?? '';
      return value === NULL_TEXT || SHAPES[form].test(form === 'json' ? value.replace(LOSSY, '') : value);
    })
  );
}

/** False when the value could not be written back exactly: a JSON with more in it than its text says. */
export function isRestorable(value: string | undefined): boolean {
  return !(value?.startsWith(LOSSY) ?? false);
}

/**
 * The SQL literal of a value of an image. In a comparison with its column, in any session, it is equal to the value; written into the
 * column under `RESTORE_SETTINGS` it is the value. `value` must be restorable.
 */
export function literalSql(column: ImageColumn, value: string | undefined): string {
  if (value === undefined) return 'NULL';
  assert(SHAPES[column.form].test(value), `${column.name} has an image of its form`);
  switch (column.form) {
    case 'number':
    case 'bits':
      return value;
    case 'float':
      // With an exponent it is a double from the start; without one it would be a DECIMAL first.
      return value.includes('e') ? value : `${value}e0`;
    case 'plain':
      return `'${value}'`;
    case 'timestamp':
      return Number(value) === 0 ? "'0000-00-00 00:00:00'" : `FROM_UNIXTIME(${value})`;
    case 'enum':
      return numberOf(column, value) ?? stringSql(column, value);
    case 'text':
    case 'padded':
      return stringSql(column, value);
    case 'bytes':
    case 'geometry':
      return `X'${value}'`;
    case 'json':
      return `CAST(_utf8mb4 X'${value}' AS JSON)`;
  }
}

/**
 * The member '' and the value that is no member have one text, so these two go by their numbers. In a list of several rows servers compare
 * such a number with names, so each stands in a condition of its own.
 */
function numberOf({ form, type }: ImageColumn, value: string | undefined): string | undefined {
  if (form !== 'enum' || (value !== '' && value !== '0')) return undefined;
  if (value === '0') return value;
  const members = [...type.matchAll(/'((?:[^']|'')*)'/g)];
  const number = members.findIndex(([, member]) => member === '') + 1;
  return number === 0 ? undefined : String(number);
}

/** With its collation: beside another condition for the column, MySQL compares the two constants with each other. */
function stringSql({ charset, collation }: ImageColumn, value: string): string {
  return `_${charset} X'${value}' COLLATE ${collation}`;
}

/** What the values of an image may be, form by form. */
const HEX = /^(?:[0-9A-F]{2})*$/;
const SHAPES: Readonly<Record<ImageForm, RegExp>> = {
  number: /^-?[0-9]+(?:\.[0-9]+)?$/,
  bits: /^[0-9]{1,20}$/,
  float: /^-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?$/,
  plain: /^[-0-9a-fA-F:. ]+$/,
  timestamp: /^[0-9]+(?:\.[0-9]{1,6})?$/,
  text: HEX,
  padded: HEX,
  bytes: HEX,
  geometry: HEX,
  json: HEX,
  enum: /^(?:0|(?:[0-9A-F]{2})*)$/,
};

/**
 * The condition that finds exactly the rows of these images. The literals are equal to the columns in any session, but for a TIMESTAMP
 * in an hour that the session's clock repeats: there the stored value is compared as well, and no other row is found.
 */
export function rowsSql(
  { columns, key }: { readonly columns: readonly ImageColumn[]; readonly key: readonly string[] },
  images: readonly string[],
  row: string,
): string {
  if (images.length === 0) return 'FALSE';
  const places = key.map((name) => columns.findIndex((column) => column.name === name));
  const parts = places.map((place) => columns[place]).filter((column) => column !== undefined);
  assert(parts.length === key.length && key.length > 0, 'a key is of columns that have images');
  const values = images.map((image) => {
    const all = valuesOf(columns, image);
    return places.map((place) => all[place]);
  });
  const name = (column: ImageColumn): string => `${row}.${quoteName(column.name)}`;
  const isOdd = (each: (typeof values)[number]): boolean =>
    parts.some(
      (column, index) => numberOf(column, each[index]) !== undefined || oddDate(column, each[index]) !== undefined,
    );
  const odd = values.filter(isOdd).map((each) => {
    const conditions = parts.map((column, index) => equalSql(column, name(column), each[index]));
    return `(${conditions.join(' AND ')})`;
  });
  const plain = odd.length === 0 ? values : values.filter((each) => !isOdd(each));
  if (plain.length === 0) return `(${odd.join(' OR ')})`;
  const listed = (left: (column: ImageColumn) => string, right: typeof literalSql): string => {
    const tuple = (items: readonly string[]): string => (items.length === 1 ? items.join() : `(${items.join(', ')})`);
    const rights = plain.map((each) => tuple(parts.map((column, index) => right(column, each[index]))));
    return `${tuple(parts.map(left))} IN (${rights.join(', ')})`;
  };
  const rest = odd.map((condition) => ` OR ${condition}`).join('');
  const found = listed(name, literalSql);
  if (!parts.some(({ form }) => form === 'timestamp')) return odd.length === 0 ? found : `(${found}${rest})`;
  const stored = listed(
    (column) => (column.form === 'timestamp' ? `UNIX_TIMESTAMP(${name(column)})` : name(column)),
    (column, value) => (column.form === 'timestamp' ? (value ?? 'NULL') : literalSql(column, value)),
  );
  return odd.length === 0 ? `${found} AND ${stored}` : `(${found} AND ${stored}${rest})`;
}

/**
 * What a date that is in no calendar has to be compared with: MySQL finds it by no text under NO_ZERO_DATE and NO_ZERO_IN_DATE, and one
 * like February 31 in a SELECT by none at all; but each by a number of its digits, all by itself. `isComputed`: only of the value as a
 * number, for which no index serves. Undefined for other values. Source: MySQL documentation, "Conversion Between Date and Time Types".
 */
function oddDate(
  { form, type }: ImageColumn,
  value: string | undefined,
): { readonly digits: string; readonly isComputed: boolean } | undefined {
  if (form === 'timestamp') return Number(value ?? 1) === 0 ? { digits: '0', isComputed: false } : undefined;
  if (form !== 'plain' || value === undefined || !/^date/i.test(type)) return undefined;
  const [, year = '', month = '', day = ''] = /^(\d{4})-(\d{2})-(\d{2})/.exec(value) ?? [];
  const isWhole = month !== '00' && day !== '00';
  const days = new Date(Date.UTC(2000 + (Number(year) % 400), Number(month), 0)).getUTCDate();
  if (isWhole && Number(day) <= days) return undefined;
  return { digits: value.replaceAll(/[-: ]/g, '').replace(/^0+(?=\d)/, ''), isComputed: isWhole };
}

function equalSql(column: ImageColumn, name: string, value: string | undefined): string {
  const odd = oddDate(column, value);
  const equal =
    odd === undefined
      ? `${name} = ${literalSql(column, value)}`
      : `${name}${odd.isComputed ? ' + 0' : ''} = ${odd.digits}`;
  return column.form === 'timestamp' ? `${equal} AND UNIX_TIMESTAMP(${name}) = ${value ?? 'NULL'}` : equal;
}
