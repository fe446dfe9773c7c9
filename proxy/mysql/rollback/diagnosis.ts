/** Which rows keep a branch from being restored, column by column, for the operator who has to decide. Reads only. */
import { EXAMINED_MAX, shownRows, type RowsInTheWay } from '../../branch/diagnosis.ts';
import { columnDiagnosis } from '../../branch/dirty.ts';
import type { OwnConnection } from '../own-pool.ts';
import { valuesOf, type ImageColumn } from '../undo/image.ts';
import { eachRecord, type Branch } from './records.ts';
import { currentSql, keyText, type RestorableTable } from './tables.ts';
import { valueText } from './text.ts';

/** A row over all changes of the branch. An image is undefined where there is, or was, no such row. */
interface TouchedRow {
  readonly table: RestorableTable;
  readonly after: string | undefined;
  readonly current: string | undefined;
  before: string | undefined;
}

/**
 * Compares every row that the branch changed with what is there, in the local transaction that is open on `connection`. Undefined when
 * the branch is too large for that.
 * @throws DirtyBranch when its records cannot be read, and errors of the database.
 */
export async function rowsInTheWay(connection: OwnConnection, branch: Branch): Promise<RowsInTheWay | undefined> {
  /** By table and key: records come from the last to the first. */
  const touched = new Map<string, TouchedRow>();
  let examined = 0;
  await eachRecord(connection, branch, async (record, table) => {
    examined += record.rows.length;
    if (examined > EXAMINED_MAX) return;
    const current = await readCurrent(
      connection,
      table,
      record.rows.map(({ before, after }) => after ?? before ?? ''),
    );
    for (const { before, after } of record.rows.toReversed()) {
      const key = keyText(table, after ?? before ?? '');
      const id = `${table.sqlName} ${key}`;
      const known = touched.get(id);
      if (known === undefined) touched.set(id, { table, after, current: current.get(key), before });
      else known.before = before;
    }
  });
  if (examined > EXAMINED_MAX) return undefined;
  const inTheWay = [...touched.values()].filter(
    ({ before, after, current }) => current !== after && current !== before,
  );
  return await shownRows(inTheWay, (row) => ({ table: row.table.sqlName, columns: columnsOf(row) }));
}

/** What stands under the keys of these images, by key. */
async function readCurrent(
  connection: OwnConnection,
  table: RestorableTable,
  images: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await connection.rows<{ image: Buffer | null }>(currentSql(table, images, ''));
  const found = rows.flatMap(({ image }) => (image === null ? [] : [image.toString('latin1')]));
  return new Map(found.map((image) => [keyText(table, image), image]));
}

function columnsOf({ table, ...row }: TouchedRow): ReturnType<typeof columnDiagnosis>[] {
  const { columns } = table;
  const values = (image: string | undefined): ((index: number, column: ImageColumn) => string | null | undefined) => {
    const all = image === undefined ? undefined : valuesOf(columns, image);
    return (index, column) => (all === undefined ? undefined : valueText(column, all[index]));
  };
  const [before, after, current] = [values(row.before), values(row.after), values(row.current)];
  return columns.map((column, index) =>
    columnDiagnosis({
      name: column.name,
      before: before(index, column),
      after: after(index, column),
      current: current(index, column),
    }),
  );
}
