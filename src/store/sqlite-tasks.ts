/** The statements of the SQLite store: what each task reads and writes. Runs inside a transaction that the caller opened. */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { prepareList } from './sqlite-list.ts';
import type { Answer, Row, Task } from './sqlite-protocol.ts';
import { prepareRecords } from './sqlite-records.ts';

/** Prepares every statement once; the returned function performs a task. */
export function prepareTasks(database: DatabaseSync): (task: Task) => Answer {
  const statements = prepareStatements(database);
  const list = prepareList(database);
  const records = prepareRecords(database);
  return (task) => {
    switch (task[0]) {
      case 'insert': {
        const [, gid, ...columns] = task;
        return statements.insert.run(gid, ...columns).changes === 1 ? 'inserted' : 'exists';
      }
      case 'save': {
        const [, gid, version, owner, leaseUntil, dueAt, status, finishedAt, body] = task;
        const { changes } = statements.save.run(leaseUntil, dueAt, status, finishedAt, body, gid, version, owner);
        return changes === 1 ? 'saved' : 'conflict';
      }
      case 'read':
        return rowsOf(statements.read, task[1])[0];
      case 'claimDue': {
        const [, now, owner, leaseUntil, limit, ownUntil] = task;
        const due = statements.due.all(now, now, owner, ownUntil, limit) as unknown as (readonly [number, ...Row])[];
        return due.map(([id, body, version]): Row => {
          statements.take.run(owner, leaseUntil, id);
          return [body, version];
        });
      }
      case 'claim': {
        const [, gid, now, owner, leaseUntil] = task;
        const [claimed] = rowsOf(statements.claim, owner, leaseUntil, gid, now, owner);
        return claimed ?? (rowsOf(statements.read, gid).length === 0 ? 'unknown' : 'held');
      }
      case 'renew': {
        const [, gids, owner, leaseUntil] = task;
        return gids.filter((gid) => statements.renew.run(leaseUntil, gid, owner).changes === 0);
      }
      case 'list':
        return list(task[1]);
      case 'deleteFinished':
        return Number(statements.deleteFinished.run(task[1], task[2]).changes);
      case 'readRecord':
        return records.read(task[1], task[2]);
      case 'saveRecord':
        return records.save(task[1], task[2], task[3]);
      case 'deleteRecord':
        return records.delete(task[1], task[2]);
      case 'listRecords':
        return records.list(task[1], task[2], task[3]);
    }
  };
}

/** The rows of a statement that yields body and version. */
function rowsOf(statement: StatementSync, ...values: SQLInputValue[]): readonly Row[] {
  return statement.all(...values) as unknown as Row[];
}

function prepareStatements(database: DatabaseSync) {
  const rows = (sql: string): StatementSync => {
    const statement = database.prepare(sql);
    statement.setReturnArrays(true);
    return statement;
  };
  return {
    insert: database.prepare(`INSERT INTO global_transaction
      (gid, mode, created_at, version, owner, lease_until, due_at, status, finished_at, body)
      VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING`),
    save: database.prepare(`UPDATE global_transaction
      SET version = version + 1, lease_until = ?, due_at = ?, status = ?, finished_at = ?, body = ?
      WHERE gid = ? AND version = ? AND owner = ?`),
    read: rows('SELECT body, version FROM global_transaction WHERE gid = ?'),
    due: rows(`SELECT rowid, body, version FROM global_transaction INDEXED BY global_transaction_due
      WHERE finished_at IS NULL AND due_at IS NOT NULL AND due_at <= ?
        AND (lease_until <= ? OR (owner = ? AND lease_until <= ?))
      ORDER BY due_at LIMIT ?`),
    take: database.prepare('UPDATE global_transaction SET owner = ?, lease_until = ? WHERE rowid = ?'),
    claim: rows(`UPDATE global_transaction SET owner = ?, lease_until = ?
      WHERE gid = ? AND finished_at IS NULL AND (lease_until <= ? OR owner = ?)
      RETURNING body, version`),
    renew: database.prepare(
      'UPDATE global_transaction SET lease_until = ? WHERE gid = ? AND owner = ? AND finished_at IS NULL',
    ),
    deleteFinished: database.prepare(`DELETE FROM global_transaction WHERE rowid IN (
        SELECT rowid FROM global_transaction WHERE finished_at IS NOT NULL AND finished_at < ? ORDER BY finished_at LIMIT ?)`),
  };
}
