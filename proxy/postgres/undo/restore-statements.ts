/** The statements that take one row of a table back, each locking, comparing, changing and reading it again at once. */
import { quoteName } from '../identifier.ts';

export interface RestorableTable {
  /** Schema and name, quoted by the server. */
  readonly sqlName: string;
  readonly fingerprint: string;
  readonly rowSecurity: boolean;
  readonly columns: readonly { readonly name: string; readonly generated: boolean; readonly identityAlways: boolean }[];
  readonly primaryKey: readonly string[];
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

/** All but `readCurrent` answer one row with `image` when they did it, and none when the row is not as expected. */
export interface RestoreStatements {
  readonly table: RestorableTable;
  /** $1: the image after. Deletes the row. */
  readonly undoInsert: string;
  /** $1: the image before. Inserts the row unless its key is taken. */
  readonly undoDelete: string;
  /** $1: the image before, $2: the image after. */
  readonly undoUpdate: string;
  /** $1: an image; the row under its key, locked. */
  readonly readCurrent: string;
  /** $1: the image after. Rows that a cascading foreign key would delete or change together with the row; the row is locked first. */
  readonly referring: readonly string[];
}

/** The statements for one table. Generated columns are left to the server; what it makes of them is compared with the rest. */
export function restoreStatements(table: RestorableTable): RestoreStatements {
  const { sqlName } = table;
  const row = 'atomesh_row';
  const writable = table.columns.filter((column) => !column.generated);
  // A column GENERATED ALWAYS AS IDENTITY cannot be set by UPDATE; no captured statement changes one either.
  const settable = writable.filter((column) => !column.identityAlways);
  const image = (parameter: string, name: string): string => `${parameter}::pg_catalog.text::${sqlName} AS ${name}`;
  // OFFSET 0 keeps the server from reading the text again for every column.
  const one = `(SELECT ${image('$1', 'image')} OFFSET 0) AS i`;
  const two = `(SELECT ${image('$1', 'before')}, ${image('$2', 'after')} OFFSET 0) AS i`;
  const byKey = (name: string): string =>
    table.primaryKey.map((key) => `${row}.${quoteName(key)} = (i.${name}).${quoteName(key)}`).join(' AND ');
  const same = (parameter: string): string => `${row}.*::pg_catalog.text COLLATE "C" = ${parameter}`;
  const list = writable.map((column) => quoteName(column.name)).join(', ');
  const values = (name: string): string => writable.map((column) => `(i.${name}).${quoteName(column.name)}`).join(', ');
  const sets = settable.map((column) => `${quoteName(column.name)} = (i.before).${quoteName(column.name)}`).join(', ');
  const returned = `RETURNING ${row}.*::pg_catalog.text AS image`;
  const readCurrent = `SELECT ${row}.*::pg_catalog.text AS image FROM ONLY ${sqlName} AS ${row}, ${one} WHERE ${byKey('image')} FOR UPDATE OF ${row}`;
  const cascading = (table.references ?? []).filter((reference) => reference.cascades);
  return {
    table,
    undoInsert: `DELETE FROM ONLY ${sqlName} AS ${row} USING ${one} WHERE ${byKey('image')} AND ${same('$1')} ${returned}`,
    undoDelete: `INSERT INTO ${sqlName} AS ${row} (${list}) OVERRIDING SYSTEM VALUE SELECT ${values('image')} FROM ${one}
  ON CONFLICT (${table.primaryKey.map(quoteName).join(', ')}) DO NOTHING ${returned}`,
    undoUpdate: `UPDATE ONLY ${sqlName} AS ${row} SET ${sets} FROM ${two} WHERE ${byKey('after')} AND ${same('$2')} ${returned}`,
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
