/** Lists of transactions in the SQLite store: one statement for each form of filter, with the index that suits it. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { ListFilter } from '../runner/ports.ts';
import type { Row } from './sqlite-protocol.ts';

/** Prepares each form when it is first asked for; there are fewer than a hundred. */
export function prepareList(database: DatabaseSync): (filter: ListFilter) => readonly Row[] {
  const statements = new Map<string, StatementSync>();
  return (filter) => {
    const { sql, values } = listQuery(filter);
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = database.prepare(sql);
      statement.setReturnArrays(true);
      statements.set(sql, statement);
    }
    return statement.all(...values) as unknown as readonly Row[];
  };
}

/** The statement for a filter. Exported for the test that looks at its plan: no list reads the bodies that it does not answer. */
export function listQuery(filter: ListFilter): { readonly sql: string; readonly values: (string | number)[] } {
  const { status, mode, createdFrom, createdBefore, dueAfter, after, limit } = filter;
  const conditions: string[] = [];
  const values: (string | number)[] = [];
  const where = (condition: string, value: string | number | undefined): void => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  // The planner takes a partial index only when its condition stands in the query word for word.
  if (dueAfter !== undefined) conditions.push('finished_at IS NULL AND due_at IS NOT NULL');
  where('due_at > ?', dueAfter);
  if (status !== undefined && status !== 'succeed') conditions.push("status <> 'succeed'");
  where('status = ?', status);
  where('mode = ?', mode);
  where('created_at >= ?', createdFrom);
  where('created_at < ?', createdBefore);
  where('gid > ?', after);
  values.push(limit);
  const condition = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  return {
    sql: `SELECT body, version FROM global_transaction WHERE rowid IN (
        SELECT rowid FROM global_transaction ${indexFor(filter)} ${condition} ORDER BY gid LIMIT ?) ORDER BY gid`,
    values,
  };
}

/** Few transactions are unfinished or failed; the index by begin holds mode and gid besides, and no body. */
function indexFor({ status, mode, createdFrom, createdBefore, dueAfter }: ListFilter): string {
  if (status !== undefined && status !== 'succeed') return 'INDEXED BY global_transaction_status';
  if (dueAfter !== undefined) return 'INDEXED BY global_transaction_due';
  const isByBirth = mode !== undefined || createdFrom !== undefined || createdBefore !== undefined;
  return isByBirth ? 'INDEXED BY global_transaction_created' : '';
}
