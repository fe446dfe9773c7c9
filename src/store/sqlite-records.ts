/** The statements of the small records of the SQLite store. Runs inside a transaction that the caller opened. */
import type { DatabaseSync } from 'node:sqlite';
import type { NewRecord, StoredRecord } from '../runner/ports.ts';

/** The methods of `Records`, without their promises. */
export interface RecordStatements {
  read(category: string, key: string): StoredRecord | undefined;
  save(record: NewRecord, version: number, now: number): 'saved' | 'conflict';
  delete(category: string, key: string): boolean;
  list(category: string, after: string, limit: number): readonly StoredRecord[];
}

const COLUMNS = 'category, key, value, version, created_at AS createdAt, updated_at AS updatedAt';

/** Prepares every statement once. */
export function prepareRecords(database: DatabaseSync): RecordStatements {
  const read = database.prepare(`SELECT ${COLUMNS} FROM record WHERE category = ? AND key = ?`);
  const add = database.prepare(`INSERT INTO record (category, key, value, version, created_at, updated_at)
    VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO NOTHING`);
  const replace = database.prepare(`UPDATE record SET value = ?, version = version + 1, updated_at = ?
    WHERE category = ? AND key = ? AND version = ?`);
  const remove = database.prepare('DELETE FROM record WHERE category = ? AND key = ?');
  const list = database.prepare(`SELECT ${COLUMNS} FROM record WHERE category = ? AND key > ? ORDER BY key LIMIT ?`);
  return {
    read: (category, key) => read.get(category, key) as unknown as StoredRecord | undefined,
    save: ({ category, key, value }, version, now) => {
      const { changes } =
        version === 0 ? add.run(category, key, value, now, now) : replace.run(value, now, category, key, version);
      return changes === 1 ? 'saved' : 'conflict';
    },
    delete: (category, key) => remove.run(category, key).changes === 1,
    list: (category, after, limit) => list.all(category, after, limit) as unknown as readonly StoredRecord[],
  };
}
