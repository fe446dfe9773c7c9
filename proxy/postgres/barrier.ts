/**
 * The barrier in PostgreSQL, with the credentials of the second phase. The rows are those of docs/barrier.md in the table
 * `atomesh.barrier`; `enter_operation` of the schema writes them in local transactions of the application.
 */
import type pg from 'pg';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { INITIATOR, isFinal, parseGid, type Gid } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import { originOf, type Barrier, type KeptAnswer, type OperationOf } from '../branch/barrier.ts';
import { transTypeOf } from '../sql/work.ts';
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
const BATCH_ROWS = 500;
/** Of one run of the cleaning; the next run goes on, for what is deleted is not met again. */
const BATCHES_MAX = 200;
const QUESTIONS_AT_ONCE = 8;
/**
 * The coordinator forgets what has ended, and clients of other coordinators may use the table too: a gid that ours does not know is
 * over only when no transaction can be that old. A deadline is at most 30 days away.
 */
const UNKNOWN_DAYS = 31;

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

/** Beside the row of an operation: another local transaction of it was refused. Libraries count their barriers and use no such id. */
const HALF = 'half';
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
  return new PostgresBarrier(options);
}

class PostgresBarrier implements Barrier {
  /** What waits for nobody. */
  readonly #reading: pg.Pool;
  /** What may wait for a local transaction of the application. */
  readonly #writing: pg.Pool;
  readonly #coordinator: Pick<CoordinatorClient, 'read'>;

  constructor(options: BarrierOptions) {
    this.#coordinator = options.coordinator;
    this.#reading = openPool(options, READING_MAX);
    this.#writing = openPool(options, WRITING_MAX);
  }

  async arrive({ gid, branch, task }: OperationOf): ReturnType<Barrier['arrive']> {
    if (task === 'confirm' || task === 'cancel' || task === 'compensate') {
      const values = [transTypeOf(task), gid, branch, originOf(task), task];
      const inserted = await this.#writing.query(INSERT_UNDONE, values).catch(busyOr);
      if (inserted === 'busy') return 'busy';
      if (inserted.rowCount === 1) return 'absorbed';
    }
    const reason = await this.#reasonOf(gid, branch, task);
    if (reason === undefined) return 'open';
    if (reason === HALF) return 'half';
    return reason === task ? 'done' : 'fenced';
  }

  async complete({ gid, branch, task }: OperationOf, answer?: KeptAnswer): ReturnType<Barrier['complete']> {
    const reason = await this.#settle(gid, branch, task, task, answer);
    if (reason === HALF) return 'half';
    return reason === task ? 'done' : 'fenced';
  }

  async answerOf({ gid, branch, task }: OperationOf): ReturnType<Barrier['answerOf']> {
    const { rows } = await this.#reading.query<StoredAnswer>(READ_ANSWER, [gid, branch, task]);
    const [row] = rows;
    return row && { status: row.status, headers: JSON.parse(row.headers) as string[], body: row.body };
  }

  async halve({ gid, branch, task }: OperationOf): Promise<void> {
    await this.#reading.query(INSERT_HALF, [transTypeOf(task), gid, branch, task]);
  }

  async backCheck(gid: Gid): ReturnType<Barrier['backCheck']> {
    return (await this.#settle(gid, INITIATOR, 'msg', 'rollback')) === 'rollback' ? 'rolled-back' : 'committed';
  }

  /**
   * A row is needed until its global transaction is over, however old it is: without it a compensation would find nothing to undo.
   * The age is that of the youngest row of the gid.
   */
  async cleanUp(olderThanMs: number): Promise<number> {
    let deleted = 0;
    let after: readonly (string | null)[] = [null, null];
    for (let batch = 0; batch < BATCHES_MAX; batch += 1) {
      const { rows } = await this.#reading.query<OldRow>(OLD, [olderThanMs, ...after]);
      const last = rows.at(-1);
      if (last === undefined) break;
      after = [last.created, last.number];
      const over = await this.#over(rows);
      const ids = rows.filter(({ gid }) => over.has(gid)).map(({ number }) => number);
      if (ids.length === 0) continue;
      const { rowCount } = await this.#reading.query(DELETE, [ids]);
      deleted += rowCount ?? 0;
    }
    return deleted;
  }

  async close(): Promise<void> {
    await Promise.all([this.#reading.end(), this.#writing.end()]);
  }

  /**
   * Writes the row unless its key is taken, after waiting for whoever is writing it; answers the reason of the row that stands, or that
   * the operation is half.
   */
  async #settle(
    gid: Gid,
    branch: string,
    task: OperationOf['task'] | 'msg',
    reason: string,
    answer?: KeptAnswer,
  ): Promise<string> {
    const row = [transTypeOf(task), gid, branch, task, reason];
    const { rowCount } =
      answer === undefined
        ? await this.#writing.query(INSERT, row)
        : await this.#writing.query(INSERT_ANSWERED, [
            ...row,
            answer.status,
            JSON.stringify(answer.headers),
            answer.body,
          ]);
    if (rowCount === 1) return reason;
    const standing = await this.#reasonOf(gid, branch, task);
    // Rows are deleted only when their global transaction is long over.
    if (standing === undefined)
      throw new Error(`the row of ${task} of branch ${branch} of ${gid} has just been deleted`);
    return standing;
  }

  async #reasonOf(gid: Gid, branch: string, task: string): Promise<string | undefined> {
    const { rows } = await this.#reading.query<{ reason: string }>(READ, [gid, branch, task]);
    return rows[0]?.reason;
  }

  /** The gids of the rows that are over. One question a transaction, a few at a time: there is time. */
  async #over(rows: readonly OldRow[]): Promise<ReadonlySet<string>> {
    const gids = [...new Map(rows.map((row) => [row.gid, row])).values()];
    const over = new Set<string>();
    for (let from = 0; from < gids.length; from += QUESTIONS_AT_ONCE) {
      const some = gids.slice(from, from + QUESTIONS_AT_ONCE);
      const answers = await Promise.all(some.map((row) => this.#isOver(row)));
      for (const [index, { gid }] of some.entries()) if (answers[index] === true) over.add(gid);
    }
    return over;
  }

  async #isOver({ gid: text, ancient }: OldRow): Promise<boolean> {
    const gid = parseGid(text);
    const transaction = gid === undefined ? undefined : await this.#coordinator.read(gid);
    return transaction === undefined ? ancient : isFinal(transaction.status);
  }
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

interface OldRow {
  /** The id. */
  readonly number: string;
  readonly gid: string;
  /** As text: a date of JavaScript has no microseconds. */
  readonly created: string;
  /** No transaction can be this old. */
  readonly ancient: boolean;
}
