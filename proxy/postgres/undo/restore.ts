/** Takes a branch's changes back: records and rows in reverse, each row only if it still is what the change left. */
import { isDeepStrictEqual } from 'node:util';
import type pg from 'pg';
import { assert } from '../../../src/platform/assert.ts';
import { forceRecord } from '../rollback/force.ts';
import { DirtyBranch, eachRecord, type UndoRecord } from '../rollback/records.ts';
import { brokenConstraint } from '../triggers/verify.ts';
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

/** Deletes the branch's records and locks, in the local transaction that is open on `client`. Answers the number of records. */
export async function forgetBranch(
  client: pg.ClientBase,
  { gid, resource }: { readonly gid: string; readonly resource: string },
): Promise<number> {
  const forgotten = await client.query('DELETE FROM atomesh.undo_record WHERE gid = $1 AND resource = $2', [
    gid,
    resource,
  ]);
  await client.query('DELETE FROM atomesh.row_lock WHERE gid = $1 AND resource = $2', [gid, resource]);
  return forgotten.rowCount ?? 0;
}

/**
 * The rows of one record, last first. A row that refers to another row of its own table may have to wait for that one:
 * such a table's rows are tried again until none makes progress. What is left then, rows that refer to each other in a ring or
 * keys that were all renumbered, is restored by one statement, at the end of which the server looks at foreign keys.
 */
async function restoreRecord(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
): Promise<number> {
  const refersToItself = (statements.table.references ?? []).some((reference) => reference.isSelf);
  let pending = record.before_images.map((_, index) => index).toReversed();
  const together = record.source === 'settled' ? await tryTogether(client, statements, record, pending) : undefined;
  if (together !== undefined) return together;
  let rows = 0;
  while (pending.length > 0) {
    const waiting: number[] = [];
    for (const index of pending) {
      const before = record.before_images[index] ?? undefined;
      const after = record.after_images[index] ?? undefined;
      if (!refersToItself) {
        rows += await restoreRow(client, statements, before, after);
        continue;
      }
      await client.query('SAVEPOINT atomesh_row; SET CONSTRAINTS ALL DEFERRED');
      try {
        rows += await restoreRow(client, statements, before, after);
        await client.query('RELEASE SAVEPOINT atomesh_row');
      } catch (error) {
        // A row that waits may still have the unique value of this one.
        const mayPass = isForeignKeyViolation(error) || (waiting.length > 0 && codeOf(error) === '23505');
        if (!mayPass || pending.length === 1) throw error;
        await client.query('ROLLBACK TO SAVEPOINT atomesh_row; RELEASE SAVEPOINT atomesh_row');
        waiting.push(index);
      }
    }
    if (waiting.length === pending.length) return rows + (await restoreTogether(client, statements, record, waiting));
    pending = waiting;
  }
  return rows;
}

/**
 * The rows of a settled record, which are of one kind and in no order, by one statement. Undefined, with nothing written, when
 * something is in the way: row by row it is found out what.
 */
async function tryTogether(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
  places: readonly number[],
): Promise<number | undefined> {
  await client.query('SAVEPOINT atomesh_record');
  try {
    const rows = await restoreTogether(client, statements, record, places);
    await client.query('RELEASE SAVEPOINT atomesh_record');
    return rows;
  } catch (error) {
    if (!(error instanceof DirtyBranch)) throw error;
    await client.query('ROLLBACK TO SAVEPOINT atomesh_record; RELEASE SAVEPOINT atomesh_record');
    return undefined;
  }
}

/** The rows at these places of a record, by one statement. Answers the number of rows written. */
async function restoreTogether(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
  places: readonly number[],
): Promise<number> {
  const { table } = statements;
  const entangled = new DirtyBranch({
    reason: 'rows refer to each other in a way that cannot be restored',
    table: table.sqlName,
  });
  const imagesOf = (images: readonly (string | null)[]): readonly string[] =>
    places.flatMap((place) => images[place] ?? []);
  const [before, after] = [imagesOf(record.before_images), imagesOf(record.after_images)];
  const isOneKind = [before, after].every(({ length }) => length === 0 || length === places.length);
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
