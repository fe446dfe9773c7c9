/**
 * The barrier in PostgreSQL, with the credentials of the second phase. The rows are those of docs/barrier.md in the table
 * `atomesh.barrier`; `enter_operation` of the schema writes them in local transactions of the application.
 */
import type pg from 'pg';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { Log } from '../../src/platform/log.ts';
import { BATCH_ROWS, HALF, UNKNOWN_DAYS, barrierOf, type BarrierRows, type OldRow } from '../branch/barrier-rows.ts';
import type { Barrier } from '../branch/barrier.ts';
import { openOwnPool } from './own-pool.ts';

export interface BarrierOptions {
  readonly connection: pg.PoolConfig;
  /** Says which global transactions are over, before rows of theirs are deleted. */
  readonly coordinator: Pick<CoordinatorClient, 'read'>;
  readonly log: Log;
  /** How long one statement may take. Default 5,000. */
  readonly statementTimeoutMs?: number;
  /** How long one statement may wait for an open local transaction of the application. Default 500. */
  readonly lockTimeoutMs?: number;
}

/** What reads finds a connection however many wait for the application. */
const READING_MAX = 2;
const WRITING_MAX = 4;
/** One reading and one writing have snapshots of their own: the reading sees what the writing has waited for. */
const SETTINGS = { default_transaction_isolation: 'read committed', default_transaction_read_only: 'off' };

const INSERT = `INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
VALUES ($1, $2, $3, $4, '01', $5) ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING`;

/** The row of what is undone or confirmed first: an operation and what comes after it wait for each other at the same key. */
const INSERT_UNDONE = `WITH undone AS (${INSERT} RETURNING 1)
INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
SELECT $1, $2, $3, $5, '01', $5 FROM undone ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING`;

/** The row with the answer that goes with it, of which the first counts. */
const INSERT_ANSWERED = `WITH answered AS (INSERT INTO atomesh.operation_answer (gid, branch_id, op, status, headers, body)
  VALUES ($2, $3, $4, $6, $7, $8) ON CONFLICT DO NOTHING)
${INSERT}`;
const READ_ANSWER = `SELECT status, headers, body FROM atomesh.operation_answer WHERE gid = $1 AND branch_id = $2 AND op = $3`;

/** Rows, with their answers. */
const DELETE = `WITH gone AS (DELETE FROM atomesh.barrier WHERE id = ANY ($1::pg_catalog.int8[]) RETURNING gid, branch_id, op),
answers AS (DELETE FROM atomesh.operation_answer a USING gone g WHERE a.gid = g.gid AND a.branch_id = g.branch_id AND a.op = g.op)
SELECT FROM gone`;

const INSERT_HALF = `INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
VALUES ($1, $2, $3, $4, '${HALF}', '${HALF}') ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING`;

/** That it is half goes before all else. */
const READ = `SELECT reason FROM atomesh.barrier WHERE gid = $1 AND branch_id = $2 AND op = $3
AND barrier_id IN ('01', '${HALF}') ORDER BY barrier_id = '${HALF}' DESC LIMIT 1`;

/**
 * Rows of global transactions that have had no row for so long; in the order of age. Not under the names of the columns: ORDER BY would
 * take those of the result for them, and sort texts.
 */
const OLD = `SELECT o.id::text AS number, o.gid, o.create_time::text AS created, NOT EXISTS (SELECT FROM atomesh.barrier y
    WHERE y.gid = o.gid AND y.create_time >= pg_catalog.now() - pg_catalog.make_interval(days => ${UNKNOWN_DAYS})) AS ancient
FROM atomesh.barrier o
WHERE o.create_time < pg_catalog.now() - pg_catalog.make_interval(secs => $1::pg_catalog.float8 / 1000)
  AND NOT EXISTS (SELECT FROM atomesh.barrier y
    WHERE y.gid = o.gid AND y.create_time >= pg_catalog.now() - pg_catalog.make_interval(secs => $1::pg_catalog.float8 / 1000))
  AND ($2::pg_catalog.timestamptz IS NULL OR (o.create_time, o.id) > ($2::pg_catalog.timestamptz, $3::pg_catalog.int8))
ORDER BY o.create_time, o.id LIMIT ${BATCH_ROWS}`;

/** A barrier with connections of its own, made when needed; `close` ends them. */
export function createBarrier(options: BarrierOptions): Barrier & { close(): Promise<void> } {
  // What waits for nobody, and what may wait for a local transaction of the application.
  const [reading, writing] = [openPool(options, READING_MAX), openPool(options, WRITING_MAX)];
  const barrier = barrierOf(rowsIn(reading, writing), options.coordinator);
  return Object.assign(barrier, {
    async close() {
      await Promise.all([reading.end(), writing.end()]);
    },
  });
}

function rowsIn(reading: pg.Pool, writing: pg.Pool): BarrierRows<NumberedRow> {
  return {
    async insertUndone({ transType, gid, branch, op, origin }) {
      const inserted = await writing.query(INSERT_UNDONE, [transType, gid, branch, origin, op]).catch(busyOr);
      return inserted === 'busy' ? 'busy' : inserted.rowCount === 1;
    },
    async insert({ transType, gid, branch, op, reason }, answer) {
      const row = [transType, gid, branch, op, reason];
      const { rowCount } =
        answer === undefined
          ? await writing.query(INSERT, row)
          : await writing.query(INSERT_ANSWERED, [...row, answer.status, JSON.stringify(answer.headers), answer.body]);
      return rowCount === 1;
    },
    async insertHalf({ transType, gid, branch, op }) {
      await reading.query(INSERT_HALF, [transType, gid, branch, op]);
    },
    async reasonOf(gid, branch, op) {
      const { rows } = await reading.query<{ reason: string }>(READ, [gid, branch, op]);
      return rows[0]?.reason;
    },
    async answerOf(gid, branch, op) {
      const { rows } = await reading.query<StoredAnswer>(READ_ANSWER, [gid, branch, op]);
      const [row] = rows;
      return row && { status: row.status, headers: JSON.parse(row.headers) as string[], body: row.body };
    },
    async old(olderThanMs, after) {
      const { rows } = await reading.query<NumberedRow>(OLD, [
        olderThanMs,
        after?.created ?? null,
        after?.number ?? null,
      ]);
      return rows;
    },
    async delete(rows) {
      const { rowCount } = await reading.query(DELETE, [rows.map(({ number }) => number)]);
      return rowCount ?? 0;
    },
  };
}

function openPool(options: BarrierOptions, max: number): pg.Pool {
  const { connection, log, statementTimeoutMs = 5_000, lockTimeoutMs = 500 } = options;
  return openOwnPool({
    connection,
    purpose: 'barrier',
    max,
    statementTimeoutMs,
    lockTimeoutMs,
    settings: SETTINGS,
    log,
  });
}

/** 55P03 is lock_timeout: an open local transaction of the action has written its row, and may still commit it. */
function busyOr(error: unknown): 'busy' {
  if ((error as { code?: unknown }).code === '55P03') return 'busy';
  throw error;
}

interface StoredAnswer {
  readonly status: number;
  readonly headers: string;
  readonly body: Buffer;
}

interface NumberedRow extends OldRow {
  /** The id. */
  readonly number: string;
  /** As text: a date of JavaScript has no microseconds. */
  readonly created: string;
}
