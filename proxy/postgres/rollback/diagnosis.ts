/** Which rows keep a branch from being restored, column by column, for the operator who has to decide. Reads only. */
import type pg from 'pg';
import type { ColumnDiagnosis } from '../../../src/contract/messages.ts';
import { EXAMINED_MAX, shownRows, type RowsInTheWay } from '../../branch/diagnosis.ts';
import { columnDiagnosis } from '../../branch/dirty.ts';
import { quoteName } from '../identifier.ts';
import type { RestorableTable, RestoreStatements } from '../undo/restore-statements.ts';
import { eachRecord, type UndoRecord } from './records.ts';

/** A row over all changes of the branch. An image is undefined where there is, or was, no such row. */
interface TouchedRow {
  readonly statements: RestoreStatements;
  readonly after: string | undefined;
  readonly current: string | undefined;
  before: string | undefined;
}

/**
 * Compares every row that the branch changed with what is there, in the transaction that is open on `client`. Undefined when the
 * branch is too large for that.
 * @throws DirtyBranch when its records cannot be read, and errors of the database.
 */
export async function rowsInTheWay(
  client: pg.ClientBase,
  branch: { readonly gid: string; readonly resource: string },
): Promise<RowsInTheWay | undefined> {
  const touched: TouchedRow[] = [];
  /** By relation and the key before the earliest change seen so far: records come from the last to the first. */
  const earliest = new Map<string, TouchedRow>();
  let examined = 0;
  await eachRecord(client, branch, async ({ record, statements }) => {
    examined += record.before_images.length;
    if (examined > EXAMINED_MAX) return;
    const rows = await readRows(client, statements, record);
    // All are looked up before any is filed: rows of one statement may have exchanged their keys.
    const found = rows.map((row): TouchedRow => {
      const id = `${record.relation} ${row.keyAfter ?? row.keyBefore}`;
      const known = earliest.get(id);
      earliest.delete(id);
      if (known !== undefined) return known;
      const next = { statements, after: row.after ?? undefined, current: row.current ?? undefined, before: undefined };
      touched.push(next);
      return next;
    });
    for (const [index, row] of rows.entries()) {
      const entry = found[index];
      if (entry === undefined) continue;
      entry.before = row.before ?? undefined;
      earliest.set(`${record.relation} ${row.keyBefore}`, entry);
    }
  });
  if (examined > EXAMINED_MAX) return undefined;
  const inTheWay = touched.filter(({ before, after, current }) => current !== after && current !== before);
  return await shownRows(inTheWay, async (row) => ({
    table: row.statements.table.sqlName,
    columns: await columnsOf(client, row),
  }));
}

interface ReadRow {
  readonly keyBefore: string;
  readonly keyAfter: string | null;
  readonly before: string | null;
  readonly after: string | null;
  readonly current: string | null;
}

/** The rows of a record, with what stands under the key that the change left, last first. */
async function readRows(
  client: pg.ClientBase,
  { table }: RestoreStatements,
  record: UndoRecord,
): Promise<readonly ReadRow[]> {
  const keyText = (name: string): string =>
    `ROW(${table.key.map((key) => `(i.${name}).${quoteName(key)}`).join(', ')})::pg_catalog.text`;
  const byKey = (name: string): string =>
    table.key.map((key) => `r.${quoteName(key)} = (i.${name}).${quoteName(key)}`).join(' AND ');
  const standing = (name: string): string =>
    `(SELECT r.*::pg_catalog.text FROM ${table.partitioned ? '' : 'ONLY '}${table.sqlName} AS r WHERE ${byKey(name)})`;
  const { rows } = await client.query<ReadRow>(
    `SELECT CASE WHEN i.b IS NULL THEN ${keyText('after')} ELSE ${keyText('before')} END AS "keyBefore",
  CASE WHEN i.a IS NOT NULL THEN ${keyText('after')} END AS "keyAfter", i.b AS before, i.a AS after,
  CASE WHEN i.a IS NULL THEN ${standing('before')} ELSE COALESCE(${standing('after')}, ${standing('before')}) END AS current
  FROM (SELECT u.b, u.a, u.n, u.b::${table.sqlName} AS before, u.a::${table.sqlName} AS after
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) WITH ORDINALITY AS u (b, a, n) OFFSET 0) AS i
  ORDER BY i.n DESC`,
    [record.before_images, record.after_images],
  );
  return rows;
}

type Values = readonly (string | null)[];

async function columnsOf(client: pg.ClientBase, row: TouchedRow): Promise<readonly ColumnDiagnosis[]> {
  const { table } = row.statements;
  const values = (name: string): string =>
    `ARRAY[${table.columns.map((column) => `(i.${name}).${quoteName(column.name)}::pg_catalog.text`).join(', ')}]::pg_catalog.text[] AS ${name}`;
  const image = (parameter: string, name: string): string =>
    `${parameter}::pg_catalog.text::${table.sqlName} AS ${name}`;
  const { rows } = await client.query<Record<'before' | 'after' | 'current', Values>>(
    `SELECT ${values('before')}, ${values('after')}, ${values('current')}
  FROM (SELECT ${image('$1', 'before')}, ${image('$2', 'after')}, ${image('$3', 'current')} OFFSET 0) AS i`,
    [row.before ?? null, row.after ?? null, row.current ?? null],
  );
  return columnDiagnoses(table, rows[0], row);
}

function columnDiagnoses(
  table: RestorableTable,
  values: Record<'before' | 'after' | 'current', Values> | undefined,
  row: TouchedRow,
): readonly ColumnDiagnosis[] {
  return table.columns.map(({ name }, index) => {
    const of = (side: 'before' | 'after' | 'current'): string | null | undefined =>
      row[side] === undefined ? undefined : (values?.[side][index] ?? null);
    const [before, after, current] = [of('before'), of('after'), of('current')];
    return columnDiagnosis({ name, before, after, current });
  });
}
