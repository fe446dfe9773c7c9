/** The statements that take one row of a table back, each locking, comparing, changing and reading it again at once. */
import { quoteName } from '../identifier.ts';

export interface RestorableTable {
  /** Schema and name, quoted by the server. */
  readonly sqlName: string;
  readonly fingerprint: string;
  readonly rowSecurity: boolean;
  readonly columns: readonly { readonly name: string; readonly generated: boolean; readonly identityAlways: boolean }[];
  /** Columns that tell the rows apart: of the primary key, or of a unique index in its place. */
  readonly key: readonly string[];
  /** Its rows lie in partitions, and are found through it. */
  readonly partitioned: boolean;
  /** Foreign keys of other tables (or of itself) to this one. */
  readonly references:
    | readonly {
        readonly table: string;
        readonly cascades: boolean;
        readonly isSelf: boolean;
        readonly columns: readonly { readonly from: string; readonly to: string }[];
      }[]
    | null;
}

/** Those that undo take arrays of images, and answer one row with `image` for each that was as expected and is restored. */
export interface RestoreStatements {
  readonly table: RestorableTable;
  /** $1: images after. Deletes the rows. */
  readonly undoInsert: string;
  /** $1: images before. Inserts the rows, but none whose key is taken. */
  readonly undoDelete: string;
  /** $1: images before, $2: images after, in the same order. */
  readonly undoUpdate: string;
  /**
   * $1: images before, $2: images after, NULL where there is none. Answers for each key that is on both sides, of one row before and of another
   * one after, their places from 0 as `before` and `after`.
   */
  readonly keyMatches: string;
  /** $1: an image; the row under its key, locked. */
  readonly readCurrent: string;
  /** $1: the image after. Rows that a cascading foreign key would delete or change together with the row; the row is locked first. */
  readonly referring: readonly string[];
}

/** The statements for one table. Generated columns are left to the server; what it makes of them is compared with the rest. */
export function restoreStatements(table: RestorableTable): RestoreStatements {
  const { sqlName } = table;
  const row = 'atomesh_row';
  const only = table.partitioned ? '' : 'ONLY ';
  const writable = table.columns.filter((column) => !column.generated);
  // A column GENERATED ALWAYS AS IDENTITY cannot be set by UPDATE; no captured statement changes one either.
  const settable = writable.filter((column) => !column.identityAlways);
  const image = (parameter: string, name: string): string => `${parameter}::pg_catalog.text::${sqlName} AS ${name}`;
  const images = (...parameters: readonly string[]): string =>
    `ROWS FROM (${parameters.map((parameter) => `pg_catalog.unnest(${parameter}::pg_catalog.text[])`).join(', ')})`;
  // OFFSET 0 keeps the server from reading the text again for every column.
  const one = `(SELECT ${image('$1', 'image')} OFFSET 0) AS i`;
  const each = `(SELECT u.text, ${image('u.text', 'image')} FROM ${images('$1')} AS u (text) OFFSET 0) AS i`;
  const both = `(SELECT u.after AS text, ${image('u.before', 'before')}, ${image('u.after', 'after')} FROM ${images('$1', '$2')} AS u (before, after) OFFSET 0) AS i`;
  const placed = (parameter: string): string =>
    `(SELECT u.place::pg_catalog.int4, ${image('u.text', 'image')} FROM pg_catalog.unnest(${parameter}::pg_catalog.text[]) WITH ORDINALITY AS u (text, place) OFFSET 0)`;
  const sameKey = table.key.map((key) => `(b.image).${quoteName(key)} = (a.image).${quoteName(key)}`).join(' AND ');
  const byKey = (name: string): string =>
    table.key.map((key) => `${row}.${quoteName(key)} = (i.${name}).${quoteName(key)}`).join(' AND ');
  const isAsLeft = (name: string): string => `${byKey(name)} AND ${row}.*::pg_catalog.text COLLATE "C" = i.text`;
  const list = writable.map((column) => quoteName(column.name)).join(', ');
  const values = (name: string): string => writable.map((column) => `(i.${name}).${quoteName(column.name)}`).join(', ');
  const sets = settable.map((column) => `${quoteName(column.name)} = (i.before).${quoteName(column.name)}`).join(', ');
  const current = `${row}.*::pg_catalog.text AS image`;
  const readCurrent = `SELECT ${current} FROM ${only}${sqlName} AS ${row}, ${one} WHERE ${byKey('image')} FOR UPDATE OF ${row}`;
  const cascading = (table.references ?? []).filter((reference) => reference.cascades);
  return {
    table,
    undoInsert: `DELETE FROM ${only}${sqlName} AS ${row} USING ${each} WHERE ${isAsLeft('image')} RETURNING ${current}`,
    undoDelete: `INSERT INTO ${sqlName} AS ${row} (${list}) OVERRIDING SYSTEM VALUE SELECT ${values('image')} FROM ${each}
  ON CONFLICT (${table.key.map(quoteName).join(', ')}) DO NOTHING RETURNING ${current}`,
    // Where the server makes every column, there is nothing to set; DEFAULT is all that a statement can have set them to.
    undoUpdate:
      settable.length === 0
        ? `SELECT ${current} FROM ${only}${sqlName} AS ${row}, ${both} WHERE ${isAsLeft('after')} FOR UPDATE OF ${row}`
        : `UPDATE ${only}${sqlName} AS ${row} SET ${sets} FROM ${both} WHERE ${isAsLeft('after')} RETURNING ${current}`,
    keyMatches: `SELECT b.place - 1 AS before, a.place - 1 AS after FROM ${placed('$1')} AS b, ${placed('$2')} AS a WHERE b.place <> a.place AND ${sameKey}`,
    readCurrent,
    referring: cascading.map((reference) => referringSql(readCurrent, reference, one)),
  };
}

/**
 * $1: images before, $2: images after. Answers `differs`: whether a row that has both differs in one of these columns.
 * Undefined when none of them counts: the server computes generated columns, no right is needed for those.
 */
export function differenceSql(table: RestorableTable, columns: ReadonlySet<string>): string | undefined {
  const counted = table.columns.filter((column) => !column.generated && columns.has(column.name));
  if (counted.length === 0) return undefined;
  const value = (image: string, name: string): string => `(i.${image}).${quoteName(name)}::pg_catalog.text COLLATE "C"`;
  const differing = counted.map(({ name }) => `${value('before', name)} IS DISTINCT FROM ${value('after', name)}`);
  return `SELECT pg_catalog.bool_or(${differing.join(' OR ')}) AS differs
  FROM (SELECT u.before::${table.sqlName} AS before, u.after::${table.sqlName} AS after
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS u (before, after)
    WHERE u.before IS NOT NULL AND u.after IS NOT NULL OFFSET 0) AS i`;
}

function referringSql(
  readCurrent: string,
  reference: NonNullable<RestorableTable['references']>[number],
  one: string,
): string {
  const match = reference.columns
    .map(({ from, to }) => `r.${quoteName(from)} = (i.image).${quoteName(to)}`)
    .join(' AND ');
  return `WITH l AS MATERIALIZED (${readCurrent}) SELECT 1 AS found FROM ${reference.table} AS r, ${one} WHERE ${match} AND (SELECT pg_catalog.count(*) FROM l) >= 0 LIMIT 1`;
}
