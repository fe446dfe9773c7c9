/** The statements of the PostgreSQL store. One of each kind does the work of a whole batch: its arguments are arrays, a column each. */
import type { Instant } from '../../contract/transaction.ts';
import type { Lease, ListFilter, NewRecord } from '../../runner/ports.ts';
import type { Query } from './line.ts';
import { quoted } from './schema.ts';

/** A new transaction, column by column. */
export type InsertRow = readonly [
  gid: string,
  mode: string,
  createdAt: number,
  owner: string,
  leaseUntil: number,
  dueAt: number | null,
  status: string,
  finishedAt: number | null,
  body: string,
];

/** A transaction at its next version, column by column. */
export type SaveRow = readonly [
  gid: string,
  version: number,
  owner: string,
  leaseUntil: number,
  dueAt: number | null,
  status: string,
  finishedAt: number | null,
  body: string,
];

export type ClaimRow = readonly [gid: string, now: number, owner: string, leaseUntil: number];
export type RenewRow = readonly [gid: string, owner: string, leaseUntil: number];

/** The statements over one schema. Each says what its rows are. */
export type Statements = ReturnType<typeof statementsFor>;

/** Nothing here is particular to PostgreSQL: CockroachDB and YugabyteDB read the same statements. */
export function statementsFor(schema: string) {
  const table = `${quoted(schema)}.global_transaction`;
  return {
    /** Rows: the gids that were added. */
    insert: (rows: readonly InsertRow[]): Query => ({
      name: 'insert',
      text: `INSERT INTO ${table}
        (gid, mode, created_at, version, owner, lease_until, due_at, status, finished_at, body)
        SELECT n.gid, n.mode, n.created_at, 1, n.owner, n.lease_until, n.due_at, n.status, n.finished_at, n.body
        FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::int8[], $6::int8[], $7::text[], $8::int8[], $9::text[])
          AS n (gid, mode, created_at, owner, lease_until, due_at, status, finished_at, body)
        ON CONFLICT (gid) DO NOTHING RETURNING gid`,
      values: columns(rows, 9),
    }),
    /** Rows: the gids that were saved. */
    save: (rows: readonly SaveRow[]): Query => ({
      name: 'save',
      text: `UPDATE ${table} AS t
        SET version = t.version + 1, lease_until = n.lease_until, due_at = n.due_at, status = n.status,
          finished_at = n.finished_at, body = n.body
        FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::int8[], $6::text[], $7::int8[], $8::text[])
          AS n (gid, version, owner, lease_until, due_at, status, finished_at, body)
        WHERE t.gid = n.gid AND t.version = n.version AND t.owner = n.owner RETURNING t.gid`,
      values: columns(rows, 8),
    }),
    /** Rows: gid, version and body of those that were taken; the next statement tells what the others are. */
    claim: (rows: readonly ClaimRow[]): Query => ({
      name: 'claim',
      text: `UPDATE ${table} AS t SET owner = n.owner, lease_until = n.lease_until
        FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[]) AS n (gid, now, owner, lease_until)
        WHERE t.gid = n.gid AND t.finished_at IS NULL AND (t.lease_until <= n.now OR t.owner = n.owner)
        RETURNING t.gid, t.version, t.body`,
      values: columns(rows, 4),
    }),
    /** Rows: the gids that there are. */
    known: (gids: readonly string[]): Query => ({
      name: 'known',
      text: `SELECT gid FROM ${table} WHERE gid = ANY ($1::text[])`,
      values: [gids],
    }),
    /** Rows: the gids that are still owned. */
    renew: (rows: readonly RenewRow[]): Query => ({
      name: 'renew',
      text: `UPDATE ${table} AS t SET lease_until = n.lease_until
        FROM unnest($1::text[], $2::text[], $3::int8[]) AS n (gid, owner, lease_until)
        WHERE t.gid = n.gid AND t.owner = n.owner AND t.finished_at IS NULL RETURNING t.gid`,
      values: columns(rows, 3),
    }),
    /** Rows: gid, version, body, and the owner whose lease ends when; the last two null for a finished transaction. */
    read: (gids: readonly string[]): Query => ({
      name: 'read',
      text: `SELECT gid, version, body, CASE WHEN finished_at IS NULL THEN owner END, lease_until
        FROM ${table} WHERE gid = ANY ($1::text[])`,
      values: [gids],
    }),
    /** Rows: gid, version, body, due instant, in no order. A row that somebody else is just writing is passed over. */
    claimDue: (now: Instant, lease: Lease, limit: number, ownUntil: number): Query => ({
      name: 'claim due',
      text: `WITH due AS (
          SELECT gid FROM ${table}
          WHERE finished_at IS NULL AND due_at <= $1 AND (lease_until <= $1 OR (owner = $2 AND lease_until <= $5))
          ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED)
        UPDATE ${table} AS t SET owner = $2, lease_until = $3 FROM due WHERE t.gid = due.gid
        RETURNING t.gid, t.version, t.body, t.due_at`,
      values: [now, lease.owner, lease.until, limit, ownUntil],
    }),
    /** Rows: the gids that are gone. */
    deleteFinished: (before: Instant, limit: number): Query => ({
      name: 'delete finished',
      text: `DELETE FROM ${table} WHERE gid IN (
        SELECT gid FROM ${table} WHERE finished_at IS NOT NULL AND finished_at < $1
        ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING gid`,
      values: [before, limit],
    }),
    list: (filter: ListFilter): Query => listQuery(table, filter),
    /** Tells the other coordinators that work was left. */
    notify: (channel: string, owner: string): Query => ({
      name: 'notify',
      text: 'SELECT pg_notify($1, $2)',
      values: [channel, owner],
    }),
    ...recordStatements(`${quoted(schema)}.record`),
  };
}

function recordStatements(table: string) {
  const all = 'category, key, value, version, created_at, updated_at';
  return {
    /** Rows: all columns of the record. */
    readRecord: (category: string, key: string): Query => ({
      name: 'read record',
      text: `SELECT ${all} FROM ${table} WHERE category = $1 AND key = $2`,
      values: [category, key],
    }),
    /** Rows: one when it was added. */
    addRecord: ({ category, key, value }: NewRecord, now: Instant): Query => ({
      name: 'add record',
      text: `INSERT INTO ${table} (${all}) VALUES ($1, $2, $3, 1, $4, $4) ON CONFLICT DO NOTHING RETURNING version`,
      values: [category, key, value, now],
    }),
    /** Rows: one when it was replaced. */
    replaceRecord: ({ category, key, value }: NewRecord, version: number, now: Instant): Query => ({
      name: 'replace record',
      text: `UPDATE ${table} SET value = $3, version = version + 1, updated_at = $5
        WHERE category = $1 AND key = $2 AND version = $4 RETURNING version`,
      values: [category, key, value, version, now],
    }),
    /** Rows: one when there was one. */
    deleteRecord: (category: string, key: string): Query => ({
      name: 'delete record',
      text: `DELETE FROM ${table} WHERE category = $1 AND key = $2 RETURNING version`,
      values: [category, key],
    }),
    /** Rows: all columns, in the order of the keys. */
    listRecords: (category: string, after: string, limit: number): Query => ({
      name: 'list records',
      text: `SELECT ${all} FROM ${table} WHERE category = $1 AND key > $2 ORDER BY key LIMIT $3`,
      values: [category, after, limit],
    }),
  };
}

/** Rows: gid, version, body in the order of the gids. Not named: there are many forms, and none is asked for often. */
function listQuery(table: string, filter: ListFilter): Query {
  const { status, mode, createdFrom, createdBefore, dueAfter, after, limit } = filter;
  const conditions: string[] = [];
  const values: unknown[] = [];
  const where = (condition: string, value: string | number | undefined): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(`${condition} $${values.length}`);
  };
  // The planner takes a partial index only when its condition stands in the query.
  const isUnfinished = status === 'prepared' || status === 'submitted' || status === 'aborting';
  if (isUnfinished || dueAfter !== undefined) conditions.push('finished_at IS NULL');
  if (status === 'failed') conditions.push("status = 'failed'");
  else where('status =', status);
  where('mode =', mode);
  where('created_at >=', createdFrom);
  where('created_at <', createdBefore);
  where('due_at >', dueAfter);
  where('gid >', after);
  values.push(limit);
  const condition = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  return {
    text: `SELECT gid, version, body FROM ${table} ${condition} ORDER BY gid LIMIT $${values.length}`,
    values,
  };
}

/** From rows to columns. */
function columns(rows: readonly (readonly unknown[])[], count: number): unknown[][] {
  return Array.from({ length: count }, (_, column) => rows.map((row) => row[column]));
}
