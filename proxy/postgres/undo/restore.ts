/** Takes a branch's changes back: records and rows in reverse, each row only if it still is what the change left. */
import { isDeepStrictEqual } from 'node:util';
import type pg from 'pg';
import { assert } from '../../../src/platform/assert.ts';
import { forceRecord } from '../rollback/force.ts';
import { DirtyBranch } from '../../branch/dirty.ts';
import { eachRecord, type UndoRecord } from '../rollback/records.ts';
import { brokenConstraint } from '../triggers/verify.ts';
import { pairAlongKeys, type ChangedRow, type KeyMatch } from './pairs.ts';
import type { RestoreStatements } from './restore-statements.ts';

/**
 * Restores what the branch changed and deletes its records and locks, in the local transaction that is open on `client`.
 * Answers the number of rows written. A branch without records is restored already. `forced`: also where somebody else has changed
 * rows since, as an operator has decided.
 * @throws DirtyBranch when a row is not what the branch left; the caller rolls the local transaction back.
 */
export async function restoreBranch(
  client: pg.ClientBase,
  branch: { readonly gid: string; readonly resource: string },
  how: 'verified' | 'forced' = 'verified',
): Promise<number> {
  let rows = 0;
  await eachRecord(client, branch, async ({ record, statements }) => {
    rows += await (how === 'forced' ? forceRecord : restoreRecord)(client, statements, record);
  });
  const dirt = await brokenConstraint(client, branch);
  if (dirt !== undefined) throw new DirtyBranch(dirt);
  await forgetBranch(client, branch);
  return rows;
}

const FORGET_LOCKS_SQL = `WITH claims AS (DELETE FROM atomesh.parent_claim WHERE gid = $1 AND resource = $2)
DELETE FROM atomesh.row_lock WHERE gid = $1 AND resource = $2`;

/** Deletes the branch's records, locks and claims, in the local transaction that is open on `client`. Answers the number of records. */
export async function forgetBranch(
  client: pg.ClientBase,
  { gid, resource }: { readonly gid: string; readonly resource: string },
): Promise<number> {
  const forgotten = await client.query('DELETE FROM atomesh.undo_record WHERE gid = $1 AND resource = $2', [
    gid,
    resource,
  ]);
  await client.query(FORGET_LOCKS_SQL, [gid, resource]);
  return forgotten.rowCount ?? 0;
}

/**
 * The rows of one record, last first. A foreign key that the server looks at with each row may be in the way: a row that refers to another
 * row of its own table has to wait for that one, and a key that other rows refer to may not be missing on the way. Then all is
 * tried again with patience, each row from what has its key now.
 */
async function restoreRecord(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
): Promise<number> {
  const changed = record.before_images
    .map((before, index): ChangedRow => ({
      before: before ?? undefined,
      after: record.after_images[index] ?? undefined,
    }))
    .toReversed();
  if (record.source === 'settled') {
    // Its rows are of one kind and in no order. Where something is in the way, it is found out row by row what.
    const isDirty = (error: unknown): boolean => error instanceof DirtyBranch;
    const together = await unless(isDirty, client, () => restoreTogether(client, statements, changed));
    if (together !== undefined) return together;
  }
  const isReferredTo = (statements.table.references ?? []).length > 0;
  if (!isReferredTo || changed.length === 1) return restoreInOrder(client, statements, changed);
  const inOrder = await unless(isForeignKeyViolation, client, () => restoreInOrder(client, statements, changed));
  if (inOrder !== undefined) return inOrder;
  const { rows: matches } = await client.query<KeyMatch>(statements.keyMatches, [
    changed.map(({ before }) => before),
    changed.map(({ after }) => after),
  ]);
  return restorePatiently(client, statements, pairAlongKeys(changed, matches));
}

/** What `attempt` answers; undefined, with nothing written, when it fails with an error that `isExpected`. */
async function unless(
  isExpected: (error: unknown) => boolean,
  client: pg.ClientBase,
  attempt: () => Promise<number>,
): Promise<number | undefined> {
  await client.query('SAVEPOINT atomesh_record; SET CONSTRAINTS ALL DEFERRED');
  try {
    const rows = await attempt();
    await client.query('RELEASE SAVEPOINT atomesh_record');
    return rows;
  } catch (error) {
    if (!isExpected(error)) throw error;
    await client.query('ROLLBACK TO SAVEPOINT atomesh_record; RELEASE SAVEPOINT atomesh_record');
    return undefined;
  }
}

async function restoreInOrder(
  client: pg.ClientBase,
  statements: RestoreStatements,
  changed: readonly ChangedRow[],
): Promise<number> {
  let rows = 0;
  for (const { before, after } of changed) rows += await restoreRow(client, statements, before, after);
  return rows;
}

/**
 * Tries the rows again until none makes progress. What is left then, rows that refer to each other in a ring or keys that were all
 * renumbered, is restored by one statement, at the end of which the server looks at foreign keys.
 */
async function restorePatiently(
  client: pg.ClientBase,
  statements: RestoreStatements,
  changed: readonly ChangedRow[],
): Promise<number> {
  let rows = 0;
  let pending = changed;
  while (pending.length > 0) {
    const waiting: ChangedRow[] = [];
    let obstacle: unknown;
    const mayPass = (error: unknown): boolean => {
      obstacle ??= error;
      // A row that waits may still have the unique value of another one.
      const isPassing = isForeignKeyViolation(error) || (waiting.length > 0 && codeOf(error) === '23505');
      return isPassing && pending.length > 1;
    };
    for (const row of pending) {
      const restored = await unless(mayPass, client, () => restoreRow(client, statements, row.before, row.after));
      if (restored === undefined) waiting.push(row);
      else rows += restored;
    }
    if (waiting.length === pending.length) {
      // Rows of others that would go along go along with one statement too.
      if (obstacle instanceof DirtyBranch) throw obstacle;
      return rows + (await restoreTogether(client, statements, waiting));
    }
    pending = waiting;
  }
  return rows;
}

/** Rows that were all inserted, all deleted or all updated, by one statement. Answers the number of rows written. */
async function restoreTogether(
  client: pg.ClientBase,
  statements: RestoreStatements,
  changed: readonly ChangedRow[],
): Promise<number> {
  const { table } = statements;
  const entangled = new DirtyBranch({
    reason: 'rows refer to each other in a way that cannot be restored',
    table: table.sqlName,
  });
  const before = changed.flatMap((row) => row.before ?? []);
  const after = changed.flatMap((row) => row.after ?? []);
  const isOneKind = [before, after].every(({ length }) => length === 0 || length === changed.length);
  // Deleted together, rows would take with them what a foreign key lets go with each.
  if (!isOneKind || (before.length === 0 && statements.referring.length > 0)) throw entangled;
  const { rows } = await apply(client, statements, before, after);
  const restored = rows.map(({ image }) => image ?? '').toSorted();
  const wanted = before.length === 0 ? after : before;
  if (!isDeepStrictEqual(restored, wanted.toSorted())) throw entangled;
  return rows.length;
}

/** 23503; or 23001, by which PostgreSQL 18 tells a foreign key that says RESTRICT. */
function isForeignKeyViolation(error: unknown): boolean {
  if (error instanceof DirtyBranch) return error.dirt.reason === REFERRED;
  return ['23503', '23001'].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : '';
}

const REFERRED = 'another row refers to the inserted one, and a foreign key would delete or change it';

async function restoreRow(
  client: pg.ClientBase,
  statements: RestoreStatements,
  before: string | undefined,
  after: string | undefined,
): Promise<number> {
  const { table } = statements;
  if (before === undefined) {
    assert(after !== undefined, 'a changed row has an image');
    for (const sql of statements.referring) {
      const referring = await client.query(sql, [after]);
      if (referring.rows.length > 0) throw new DirtyBranch({ reason: REFERRED, table: table.sqlName, after });
    }
  }
  const result = await apply(
    client,
    statements,
    before === undefined ? [] : [before],
    after === undefined ? [] : [after],
  );
  const [row] = result.rows;
  if (row !== undefined) {
    if (before === undefined || row.image === before) return 1;
    const current = row.image ?? undefined;
    throw new DirtyBranch({
      reason: 'the row came back different: something in the database changes it on the way',
      table: table.sqlName,
      before,
      ...(current === undefined ? {} : { current }),
      ...(after === undefined ? {} : { after }),
    });
  }
  const current = await readCurrent(client, statements, before, after);
  if (current === before) return 0;
  throw new DirtyBranch({
    reason: 'the row was changed by somebody else',
    table: table.sqlName,
    ...(current === undefined ? {} : { current }),
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  });
}

interface ImageRow {
  readonly image: string | null;
}

/** Restores rows that were all inserted (no images before), all deleted (none after), or all updated. */
function apply(
  client: pg.ClientBase,
  statements: RestoreStatements,
  before: readonly string[],
  after: readonly string[],
): Promise<pg.QueryResult<ImageRow>> {
  if (before.length === 0) return client.query<ImageRow>(statements.undoInsert, [after]);
  if (after.length === 0) return client.query<ImageRow>(statements.undoDelete, [before]);
  return client.query<ImageRow>(statements.undoUpdate, [before, after]);
}

/** The row as it is: under the key that the change left, or under the key that it had before. */
async function readCurrent(
  client: pg.ClientBase,
  statements: RestoreStatements,
  before: string | undefined,
  after: string | undefined,
): Promise<string | undefined> {
  for (const image of [after, before]) {
    if (image === undefined) continue;
    const { rows } = await client.query<ImageRow>(statements.readCurrent, [image]);
    const current = rows[0]?.image ?? undefined;
    if (current !== undefined) return current;
  }
  return undefined;
}
