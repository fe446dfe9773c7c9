/** Writes the rows of a record as they were before the change, over whatever is there: what `apply-before` means. */
import type pg from 'pg';
import { isDeepStrictEqual } from 'node:util';
import { quoteName } from '../identifier.ts';
import type { RestorableTable, RestoreStatements } from '../undo/restore-statements.ts';
import { DirtyBranch } from '../../branch/dirty.ts';
import type { UndoRecord } from './records.ts';

interface ImageRow {
  readonly image: string | null;
}

/**
 * Afterwards the rows that the change had met stand as they were before it, and those that it left under other keys are gone.
 * Answers how many rows were written. Read again, they must be the images: triggers that meddle are still an obstacle, and so are
 * rows of others that a cascading foreign key would take along.
 * @throws DirtyBranch with what is in the way.
 */
export async function forceRecord(
  client: pg.ClientBase,
  statements: RestoreStatements,
  record: UndoRecord,
): Promise<number> {
  const { table } = statements;
  const before = record.before_images.filter((image) => image !== null);
  const after = record.after_images.filter((image) => image !== null);
  await client.query('SET CONSTRAINTS ALL DEFERRED');
  const surplus = await client.query<ImageRow>(surplusSql(table), [after, before]);
  const images = surplus.rows.map(({ image }) => image ?? '');
  for (const sql of statements.referring) {
    for (const image of images) {
      const referring = await client.query(sql, [image]);
      if (referring.rows.length === 0) continue;
      throw new DirtyBranch({
        reason: 'another row refers to the inserted one, and a foreign key would delete or change it',
        table: table.sqlName,
        current: image,
      });
    }
  }
  await client.query(statements.undoInsert, [images]);
  const updated = await client.query<ImageRow>(overwriteSql(table), [before]);
  const inserted = await client.query<ImageRow>(statements.undoDelete, [before]);
  const written = [...updated.rows, ...inserted.rows].map(({ image }) => image ?? '');
  if (isDeepStrictEqual(written.toSorted(), before.toSorted())) return written.length + images.length;
  const missing = before.find((image) => !written.includes(image));
  throw new DirtyBranch({
    reason: 'a row came back different: something in the database changes it on the way',
    table: table.sqlName,
    ...(missing === undefined ? {} : { before: missing }),
  });
}

const ROW = 'atomesh_row';

function imagesOf(table: RestorableTable, parameter: string, name: string): string {
  return `(SELECT u.text::${table.sqlName} AS image FROM pg_catalog.unnest(${parameter}::pg_catalog.text[]) AS u (text) OFFSET 0) AS ${name}`;
}

function rowsOf(table: RestorableTable): string {
  return `${table.partitioned ? '' : 'ONLY '}${table.sqlName} AS ${ROW}`;
}

function byKey(table: RestorableTable, name: string): string {
  return table.key.map((key) => `${ROW}.${quoteName(key)} = (${name}.image).${quoteName(key)}`).join(' AND ');
}

/** $1: images after, $2: images before. The rows, locked, that stand under keys which the change has made. */
function surplusSql(table: RestorableTable): string {
  return `SELECT ${ROW}.*::pg_catalog.text AS image FROM ${rowsOf(table)}, ${imagesOf(table, '$1', 'a')}
  WHERE ${byKey(table, 'a')} AND NOT EXISTS (SELECT FROM ${imagesOf(table, '$2', 'b')} WHERE ${byKey(table, 'b')}) FOR UPDATE OF ${ROW}`;
}

/** $1: images before. Generated columns are the server's; what it makes of them is compared with the rest. */
function overwriteSql(table: RestorableTable): string {
  const settable = table.columns.filter(({ generated, identityAlways }) => !generated && !identityAlways);
  const current = `${ROW}.*::pg_catalog.text AS image`;
  const images = imagesOf(table, '$1', 'b');
  if (settable.length === 0) {
    return `SELECT ${current} FROM ${rowsOf(table)}, ${images} WHERE ${byKey(table, 'b')} FOR UPDATE OF ${ROW}`;
  }
  const sets = settable.map(({ name }) => `${quoteName(name)} = (b.image).${quoteName(name)}`).join(', ');
  return `UPDATE ${rowsOf(table)} SET ${sets} FROM ${images} WHERE ${byKey(table, 'b')} RETURNING ${current}`;
}
