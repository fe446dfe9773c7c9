/** An undo record: the images of the rows that one statement changed in one table, and their form as JSON. */
import { isImage, type ImageColumn, type ImageForm } from './image.ts';

/** One changed row. Without `before` it was inserted, without `after` deleted. Both images have the same key. */
export interface ChangedRow {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

export interface UndoRecord {
  readonly database: string;
  readonly table: string;
  /** The columns that images have a value for, in the order of the values: those of the table, without generated ones. */
  readonly columns: readonly ImageColumn[];
  /** Names of the columns that tell the rows apart. A record holds no row twice. */
  readonly key: readonly string[];
  /** In the order in which they were changed, as far as that is known: undone in reverse. */
  readonly rows: readonly ChangedRow[];
}

/** The first thing in a record's JSON: another number is another form. */
const VERSION = 1;

/** The JSON text of a record. Arrays in place of objects: the names of its fields would be longer than what most records say. */
export function encodeRecord(record: UndoRecord): string {
  const { database, table, columns, key, rows } = record;
  const images = JSON.stringify(rows.map(({ before, after }) => [before ?? null, after ?? null]));
  return `[${VERSION},${JSON.stringify(database)},${JSON.stringify(table)},${columnsText(columns)},${JSON.stringify(key)},${images}]`;
}

const columnTexts = new WeakMap<readonly ImageColumn[], string>();

/** Of the columns of a table, which are most of a record and the same in all of its records. */
function columnsText(columns: readonly ImageColumn[]): string {
  const known = columnTexts.get(columns);
  if (known !== undefined) return known;
  const text = JSON.stringify(
    columns.map(({ name, type, form, charset, collation }) => [name, type, form, charset ?? null, collation ?? null]),
  );
  columnTexts.set(columns, text);
  return text;
}

/** The record of a JSON text; undefined where it is none: whoever may write records may write anything. */
export function decodeRecord(json: string): UndoRecord | undefined {
  let read: unknown;
  try {
    read = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (!Array.isArray(read) || read.length !== 6 || read[0] !== VERSION) return undefined;
  const [, database, table, columns, key, rows] = read as readonly unknown[];
  if (typeof database !== 'string' || typeof table !== 'string') return undefined;
  const decoded = {
    columns: listOf(columns, decodeColumn),
    key: listOf(key, (name) => (typeof name === 'string' ? name : undefined)),
    rows: listOf(rows, decodeRow),
  };
  if (decoded.columns === undefined || decoded.key === undefined || decoded.rows === undefined) return undefined;
  const names = new Set(decoded.columns.map(({ name }) => name));
  if (decoded.key.length === 0 || !decoded.key.every((name) => names.has(name))) return undefined;
  const record = { database, table, columns: decoded.columns, key: decoded.key, rows: decoded.rows };
  const images = record.rows.flatMap(({ before, after }) => [before, after]).filter((image) => image !== undefined);
  return images.every((image) => isImage(record.columns, image)) ? record : undefined;
}

const FORMS: ReadonlySet<unknown> = new Set<ImageForm>([
  'number',
  'bits',
  'float',
  'plain',
  'timestamp',
  'text',
  'padded',
  'bytes',
  'enum',
  'json',
  'geometry',
]);
/** Those whose literals name the character set. */
const WITH_CHARSET: ReadonlySet<unknown> = new Set<ImageForm>(['text', 'padded', 'enum']);
/** Becomes a part of SQL. */
const CHARSET = /^[a-z0-9_]{1,64}$/;

function decodeColumn(read: unknown): ImageColumn | undefined {
  if (!Array.isArray(read) || read.length !== 5) return undefined;
  const [name, type, form, charset, collation] = read as readonly unknown[];
  if (typeof name !== 'string' || typeof type !== 'string' || !FORMS.has(form)) return undefined;
  if ((charset === null || collation === null) && WITH_CHARSET.has(form)) return undefined;
  if (charset !== null && (typeof charset !== 'string' || !CHARSET.test(charset))) return undefined;
  if (collation !== null && (typeof collation !== 'string' || !CHARSET.test(collation))) return undefined;
  return {
    name,
    type,
    form: form as ImageForm,
    ...(charset === null ? {} : { charset }),
    ...(collation === null ? {} : { collation }),
  };
}

function decodeRow(read: unknown): ChangedRow | undefined {
  if (!Array.isArray(read) || read.length !== 2) return undefined;
  const [before, after] = read as readonly unknown[];
  if (before === null && after === null) return undefined;
  if (!isTextOrNull(before) || !isTextOrNull(after)) return undefined;
  return { before: before ?? undefined, after: after ?? undefined };
}

function isTextOrNull(read: unknown): read is string | null {
  return read === null || typeof read === 'string';
}

/** Each element decoded; undefined when it is no list, or when one of them is not what it should be. */
function listOf<T>(read: unknown, decode: (element: unknown) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(read)) return undefined;
  const decoded = read.map(decode).filter((element) => element !== undefined);
  return decoded.length === read.length ? decoded : undefined;
}
