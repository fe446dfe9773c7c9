/** Takes a branch's changes back: records and rows in reverse, each row only if it still is what the change left. */
import { DirtyBranch } from '../../branch/dirty.ts';
import type { Dirt } from '../../branch/finish.ts';
import { isServerError, type OwnConnection } from '../own-pool.ts';
import type { ChangedRow } from '../undo/record.ts';
import { eachRecord, type Branch } from './records.ts';
import {
  currentSql,
  deleteSql,
  insertSql,
  keyText,
  takenAlongSql,
  unlinkSql,
  updateSql,
  type RestorableTable,
} from './tables.ts';
import { imageText } from './text.ts';

/**
 * - `verified`: a row that is neither what the branch left nor what was before it makes the branch dirty.
 * - `forced`: what was before is written over whatever is there, as an operator has decided.
 */
export type RestoreWay = 'verified' | 'forced';

/** So many rows are read at once. */
const CHUNK_ROWS = 100;
const ER_DUP_ENTRY = 1062;
const ER_ROW_IS_REFERENCED_2 = 1451;
/** The last is ER_NO_REFERENCED_ROW_2: another row of the same statement may have to go first. */
const WAITS_FOR_ANOTHER: ReadonlySet<number> = new Set([ER_DUP_ENTRY, ER_ROW_IS_REFERENCED_2, 1452]);

/**
 * Restores what the branch changed and deletes its records and locks, in the local transaction that is open on `connection`.
 * Answers the number of rows written. A branch without records is restored already.
 * @throws DirtyBranch when something is in the way; the caller rolls the local transaction back.
 */
export async function restoreBranch(connection: OwnConnection, branch: Branch, way: RestoreWay): Promise<number> {
  let rows = 0;
  let waiting: readonly WaitingRows[] = [];
  await eachRecord(connection, branch, async (record, table) => {
    // An earlier change of a row is not taken back before a later one is.
    refuseWaiting(waiting.filter((each) => each.table.sqlName === table.sqlName));
    const reversed = record.rows.toReversed();
    for (let from = 0; from < reversed.length; from += CHUNK_ROWS) {
      const changed = await meetChanged(connection, table, reversed.slice(from, from + CHUNK_ROWS), way);
      rows += changed.length;
      waiting = await writeRows(connection, [...waiting, { table, rows: changed, obstacle: undefined }]);
    }
  });
  refuseWaiting(waiting);
  await forgetBranch(connection, branch);
  return rows;
}

/** Deletes the branch's records, locks and claims, in the local transaction that is open on `connection`. Answers the number of records. */
export async function forgetBranch(connection: OwnConnection, { gid, resource }: Branch): Promise<number> {
  const [records = 0] = await forgetBranches(connection, [gid], resource);
  return records;
}

/**
 * The same for several branches of one resource. They are found by their indexes alone, so that what others hold is not
 * met. Answers how many of each there were.
 */
export async function forgetBranches(
  connection: OwnConnection,
  gids: readonly string[],
  resource: string,
): Promise<readonly number[]> {
  const counts: number[] = [];
  for (const [table, index] of INDEXES) {
    const sql = `DELETE atomesh.${table} FROM atomesh.${table} FORCE INDEX (${index}) WHERE gid IN (?) AND resource = ?`;
    counts.push(await connection.change(sql, [gids, resource]));
  }
  return counts;
}

const INDEXES = [
  ['undo_record', 'PRIMARY'],
  ['row_lock', 'row_lock_gid'],
  ['parent_claim', 'parent_claim_gid'],
] as const;

/** A row, and what stands under its key. */
interface MetRow extends ChangedRow {
  readonly current: string | undefined;
}

/** Rows of a table that the database has not let be written yet, and what it said. */
interface WaitingRows {
  readonly table: RestorableTable;
  readonly rows: readonly MetRow[];
  readonly obstacle: unknown;
}

function refuseWaiting([first]: readonly WaitingRows[]): void {
  if (first !== undefined) throw first.obstacle;
}

/** Those rows of a record that are not as they were before. */
async function meetChanged(
  connection: OwnConnection,
  table: RestorableTable,
  rows: readonly ChangedRow[],
  way: RestoreWay,
): Promise<readonly MetRow[]> {
  const met = await meet(connection, table, rows);
  const changed = met.filter((row) => row.current !== row.before);
  if (way === 'verified') for (const row of changed) refuseChanged(table, row);
  return changed;
}

/**
 * Writes rows, and answers those that it could not write. The server looks at unique and foreign keys after each row: one that is in the
 * way of another, or that another refers to, has its turn again until none makes progress. The other one may be of another table, which
 * the same statement has changed and whose record comes next: DELETE of a parent with its children.
 */
async function writeRows(connection: OwnConnection, groups: readonly WaitingRows[]): Promise<readonly WaitingRows[]> {
  let pending = groups;
  for (;;) {
    const left: WaitingRows[] = [];
    let written = 0;
    for (const { table, rows } of pending) {
      const waiting = await writeGroup(connection, table, rows);
      if (waiting !== undefined) left.push(waiting);
      written += rows.length - (waiting?.rows.length ?? 0);
    }
    if (left.length === 0) return left;
    const next = written > 0 ? left : await makeWay(connection, left);
    if (next === undefined) return left;
    pending = next;
  }
}

/**
 * Rows that one REPLACE has changed may have exchanged the values of a unique index, and each is in the way of another then. One of them is deleted, and
 * is written anew when it has its turn. Undefined when none can go.
 */
async function makeWay(
  connection: OwnConnection,
  groups: readonly WaitingRows[],
): Promise<readonly WaitingRows[] | undefined> {
  for (const group of groups) {
    if (!isServerError(group.obstacle) || group.obstacle.errno !== ER_DUP_ENTRY) continue;
    for (const row of group.rows) {
      if (row.current === undefined || row.before === undefined) continue;
      try {
        await restoreRow(connection, group.table, { ...row, before: undefined });
      } catch (error) {
        if (error instanceof DirtyBranch || (isServerError(error) && WAITS_FOR_ANOTHER.has(error.errno))) continue;
        throw error;
      }
      const rows = group.rows.map((each) => (each === row ? { ...each, current: undefined } : each));
      return groups.map((each) => (each === group ? { ...each, rows } : each));
    }
  }
  return undefined;
}

/** Tries each row once; undefined when all are written. */
async function writeGroup(
  connection: OwnConnection,
  table: RestorableTable,
  rows: readonly MetRow[],
): Promise<WaitingRows | undefined> {
  const waiting: MetRow[] = [];
  const written: MetRow[] = [];
  let obstacle: unknown;
  for (const row of rows) {
    try {
      await restoreRow(connection, table, row);
      written.push(row);
    } catch (error) {
      if (!isServerError(error) || !WAITS_FOR_ANOTHER.has(error.errno)) throw error;
      obstacle = error;
      waiting.push(row);
    }
  }
  for (const row of await meet(connection, table, written)) {
    if (row.current === row.before) continue;
    throw new DirtyBranch({
      reason: 'the row came back different: something in the database changes it on the way',
      ...dirtOf(table, row),
    });
  }
  return waiting.length === 0 ? undefined : { table, rows: waiting, obstacle };
}

/** Reads what is there, locked. */
async function meet(
  connection: OwnConnection,
  table: RestorableTable,
  rows: readonly ChangedRow[],
): Promise<readonly MetRow[]> {
  if (rows.length === 0) return [];
  const images = rows.map(({ before, after }) => after ?? before ?? '');
  const current = await connection.rows<{ image: Buffer | null }>(currentSql(table, images, 'FOR UPDATE'));
  const found = new Map<string, string>();
  for (const { image } of current) {
    if (image === null)
      throw new DirtyBranch({ reason: 'a row is longer than max_allowed_packet', table: table.sqlName });
    found.set(keyText(table, image.toString('latin1')), image.toString('latin1'));
  }
  return rows.map((row, index) => {
    const keys = [images[index] ?? '', row.before ?? row.after ?? ''].map((image) => keyText(table, image));
    return { ...row, current: keys.map((key) => found.get(key)).find((image) => image !== undefined) };
  });
}

function refuseChanged(table: RestorableTable, row: MetRow): void {
  if (row.current === row.after) return;
  throw new DirtyBranch({ reason: 'the row was changed by somebody else', ...dirtOf(table, row) });
}

function dirtOf({ sqlName, columns }: RestorableTable, { before, after, current }: MetRow): Omit<Dirt, 'reason'> {
  const text = (image: string): string => imageText(columns, image);
  return {
    table: sqlName,
    ...(current === undefined ? {} : { current: text(current) }),
    ...(before === undefined ? {} : { before: text(before) }),
    ...(after === undefined ? {} : { after: text(after) }),
  };
}

/** One statement, which touches what it must and nothing else. */
async function restoreRow(
  connection: OwnConnection,
  table: RestorableTable,
  { before, current }: MetRow,
): Promise<void> {
  if (current === undefined) {
    if (before === undefined) return;
    refuseTrigger(table, 'INSERT');
    await connection.change(insertSql(table, before));
    return;
  }
  refuseTrigger(table, before === undefined ? 'DELETE' : 'UPDATE');
  for (const sql of takenAlongSql(table, current, before)) {
    if ((await connection.rows(sql)).length === 0) continue;
    throw new DirtyBranch({
      reason: 'another row refers to it, and a foreign key would delete or change that one',
      table: table.sqlName,
      current: imageText(table.columns, current),
    });
  }
  if (before === undefined) await deleteRow(connection, table, current);
  else {
    const sql = updateSql(table, current, before);
    if (sql !== undefined) await connection.change(sql);
  }
}

/** InnoDB does not delete a row that refers to itself: its reference is taken away first. */
async function deleteRow(connection: OwnConnection, table: RestorableTable, image: string): Promise<void> {
  const sql = deleteSql(table, image);
  try {
    await connection.change(sql);
  } catch (error) {
    const unlink = unlinkSql(table, image);
    if (unlink === undefined || !isServerError(error) || error.errno !== ER_ROW_IS_REFERENCED_2) throw error;
    await connection.change(unlink);
    await connection.change(sql);
  }
}

/** No server of this kind can be told to leave triggers alone, and what one writes elsewhere would be written once more. */
function refuseTrigger({ triggers, sqlName }: RestorableTable, event: 'INSERT' | 'UPDATE' | 'DELETE'): void {
  const trigger = triggers.find((each) => each.event === event);
  if (trigger === undefined) return;
  throw new DirtyBranch({ reason: `the trigger ${trigger.name} would run once more`, table: sqlName });
}
