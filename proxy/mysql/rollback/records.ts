/** What a rollback reads: the undo records of a branch, and the tables that they are about. */
import type { KeyObject } from 'node:crypto';
import { assert } from '../../../src/platform/assert.ts';
import { DirtyBranch } from '../../branch/dirty.ts';
import type { OwnConnection } from '../own-pool.ts';
import { isSealed, readSealSecret } from '../seal.ts';
import { decodeRecord, type UndoRecord } from '../undo/record.ts';
import { keyText, readTable, type RestorableTable } from './tables.ts';

export interface Branch {
  readonly gid: string;
  readonly resource: string;
}

interface Place {
  readonly position: string;
  readonly server: number | string;
}

interface StoredRecord {
  readonly body: string;
  readonly seal: Buffer;
}

/**
 * Hands the records of a branch to `visit`, the last one first, each with its table as it is now.
 * @throws DirtyBranch when a record may not be applied: nobody with the right to it has written it, its table is gone or another by now,
 * or nobody can tell in which order rows were changed.
 */
export async function eachRecord(
  connection: OwnConnection,
  { gid, resource }: Branch,
  visit: (record: UndoRecord, table: RestorableTable) => Promise<void>,
): Promise<void> {
  // Put in order here: read backwards, the server would meet, and wait for, the record in front of them, which is another branch's.
  const found = await connection.rows<Place>(
    'SELECT position, server FROM atomesh.undo_record FORCE INDEX (PRIMARY) WHERE gid = ? AND resource = ? FOR UPDATE',
    [gid, resource],
  );
  const places = found.toSorted((a, b) => Number(BigInt(b.position) - BigInt(a.position)));
  if (places.length === 0) return;
  const secret = await readSealSecret(connection);
  const read = async ({ position, server }: Place): Promise<UndoRecord> => {
    const [stored] = await connection.rows<StoredRecord>(
      'SELECT body, seal FROM atomesh.undo_record WHERE gid = ? AND resource = ? AND position = ? AND server = ?',
      [gid, resource, position, server],
    );
    assert(stored !== undefined, 'a locked record stays');
    return openRecord(secret, { gid, resource }, stored);
  };
  if (new Set(places.map(({ server }) => Number(server))).size > 1) await refuseUnordered(places, read);
  const tables = new Map<string, { readonly record: UndoRecord; readonly table: RestorableTable }>();
  for (const place of places) {
    const record = await read(place);
    const key = JSON.stringify([record.database, record.table, record.columns, record.key]);
    const known = tables.get(key) ?? { record, table: await readTable(connection, record) };
    tables.set(key, known);
    await visit(record, known.table);
  }
}

function openRecord(secret: KeyObject, branch: Branch, { body, seal }: StoredRecord): UndoRecord {
  if (!isSealed(secret, { ...branch, body }, seal)) {
    throw new DirtyBranch({ reason: 'an undo record was not written by a sidecar', table: 'atomesh.undo_record' });
  }
  const record = decodeRecord(body);
  if (record === undefined) {
    throw new DirtyBranch({
      reason: 'an undo record is not in the form of this version',
      table: 'atomesh.undo_record',
    });
  }
  return record;
}

/**
 * Numbers of two servers do not follow each other, as before and after a failover. Where both have changed the same row, nobody can tell
 * which of them was last (docs/decisions/0033).
 */
async function refuseUnordered(places: readonly Place[], read: (place: Place) => Promise<UndoRecord>): Promise<void> {
  const serverOf = new Map<string, number>();
  for (const place of places) {
    const record = await read(place);
    for (const { before, after } of record.rows) {
      const key = JSON.stringify([record.database, record.table, keyText(record, before ?? after ?? '')]);
      const server = Number(place.server);
      if ((serverOf.get(key) ?? server) !== server) {
        throw new DirtyBranch({
          reason: 'the row was changed through two servers, and nobody can tell in which order',
          table: `${record.database}.${record.table}`,
        });
      }
      serverOf.set(key, server);
    }
  }
}
