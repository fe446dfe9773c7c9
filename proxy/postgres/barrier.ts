/**
 * The barrier in PostgreSQL, with the credentials of the second phase. The rows are those of docs/barrier.md in the table
 * `atomesh.barrier`; `enter_operation` of the schema writes them in local transactions of the application.
 */
import pg from 'pg';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { INITIATOR, isFinal, parseGid, type Gid } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Barrier, OperationOf } from '../branch/barrier.ts';
import { transTypeOf } from '../sql/work.ts';

export interface BarrierOptions {
  readonly connection: pg.PoolConfig;
  /** Says which global transactions are over, before rows of theirs are deleted. */
  readonly coordinator: Pick<CoordinatorClient, 'read'>;
  readonly log: Log;
  /** How long one statement may take, waiting for an open local transaction included. Default 5,000. */
  readonly statementTimeoutMs?: number;
}

const CONNECTIONS_MAX = 6;
/** The server ends a statement by itself first; a connection that is silent for this much longer is given up. */
const SILENCE_MS_MAX = 3_000;
const BATCH_ROWS = 500;

/** What a compensation undoes. */
const ORIGIN = { cancel: 'try', compensate: 'action' } as const;

/** One reading and one writing have snapshots of their own: the reading sees what the writing has waited for. */
const READ_COMMITTED = '-c default_transaction_isolation=read\\ committed';

const INSERT = `INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
VALUES ($1, $2, $3, $4, '01', $5) ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING`;

/** The row of what is undone first: an operation and its compensation wait for each other at the same key. */
const INSERT_UNDONE = `WITH undone AS (${INSERT} RETURNING 1)
INSERT INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
SELECT $1, $2, $3, $5, '01', $5 FROM undone ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING`;

const READ = `SELECT reason FROM atomesh.barrier WHERE gid = $1 AND branch_id = $2 AND op = $3 AND barrier_id = '01'`;

/** Not under the names of the columns: ORDER BY would take those of the result for them, and sort texts. */
const OLD = `SELECT id::text AS number, gid, create_time::text AS created FROM atomesh.barrier
WHERE create_time < pg_catalog.now() - pg_catalog.make_interval(secs => $1::pg_catalog.float8 / 1000)
  AND ($2::pg_catalog.timestamptz IS NULL OR (create_time, id) > ($2::pg_catalog.timestamptz, $3::pg_catalog.int8))
ORDER BY create_time, id LIMIT ${BATCH_ROWS}`;

/** A barrier with connections of its own, made when needed; `close` ends them. */
export function createBarrier(options: BarrierOptions): Barrier & { close(): Promise<void> } {
  return new PostgresBarrier(options);
}

class PostgresBarrier implements Barrier {
  readonly #pool: pg.Pool;
  readonly #coordinator: Pick<CoordinatorClient, 'read'>;

  constructor({ connection, coordinator, log, statementTimeoutMs = 5_000 }: BarrierOptions) {
    this.#coordinator = coordinator;
    this.#pool = new pg.Pool({
      max: CONNECTIONS_MAX,
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
      idleTimeoutMillis: 60_000,
      statement_timeout: statementTimeoutMs,
      query_timeout: statementTimeoutMs + SILENCE_MS_MAX,
      options: READ_COMMITTED,
      ...connection,
      application_name: 'atomesh barrier',
    });
    this.#pool.on('error', (error) => log.warn({ err: error.message }, 'an idle connection of the barrier was lost'));
    // The pool listens only while a connection is idle; a loss that nobody hears of would end the process. The query that runs rejects.
    this.#pool.on('connect', (client) => client.on('error', () => undefined));
  }

  async arrive({ gid, branch, task }: OperationOf): ReturnType<Barrier['arrive']> {
    if (task === 'cancel' || task === 'compensate') {
      const { rowCount } = await this.#pool.query(INSERT_UNDONE, [transTypeOf(task), gid, branch, ORIGIN[task], task]);
      if (rowCount === 1) return 'absorbed';
    }
    const reason = await this.#reasonOf(gid, branch, task);
    if (reason === undefined) return 'open';
    return reason === task ? 'done' : 'fenced';
  }

  async complete({ gid, branch, task }: OperationOf): ReturnType<Barrier['complete']> {
    return (await this.#settle(gid, branch, task, task)) === task ? 'done' : 'fenced';
  }

  async backCheck(gid: Gid): ReturnType<Barrier['backCheck']> {
    return (await this.#settle(gid, INITIATOR, 'msg', 'rollback')) === 'rollback' ? 'rolled-back' : 'committed';
  }

  /**
   * A row is needed until its global transaction is over, however old it is: without it a compensation would find nothing to undo.
   * One that the coordinator does not know is over, and was forgotten after its retention time.
   */
  async cleanUp(olderThanMs: number): Promise<number> {
    let deleted = 0;
    let after: readonly (string | null)[] = [null, null];
    for (;;) {
      const { rows } = await this.#pool.query<OldRow>(OLD, [olderThanMs, ...after]);
      const last = rows.at(-1);
      if (last === undefined) return deleted;
      after = [last.created, last.number];
      const ids = await this.#over(rows);
      if (ids.length === 0) continue;
      const sql = 'DELETE FROM atomesh.barrier WHERE id = ANY ($1::pg_catalog.int8[])';
      deleted += (await this.#pool.query(sql, [ids])).rowCount ?? 0;
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  /** Writes the row unless its key is taken, after waiting for whoever is writing it; answers the reason of the row that stands. */
  async #settle(gid: Gid, branch: string, task: OperationOf['task'] | 'msg', reason: string): Promise<string> {
    const { rowCount } = await this.#pool.query(INSERT, [transTypeOf(task), gid, branch, task, reason]);
    if (rowCount === 1) return reason;
    const standing = await this.#reasonOf(gid, branch, task);
    // Rows are deleted only when their global transaction is long over.
    if (standing === undefined)
      throw new Error(`the row of ${task} of branch ${branch} of ${gid} has just been deleted`);
    return standing;
  }

  async #reasonOf(gid: Gid, branch: string, task: string): Promise<string | undefined> {
    const { rows } = await this.#pool.query<{ reason: string }>(READ, [gid, branch, task]);
    return rows[0]?.reason;
  }

  /** The ids of the rows whose global transactions are over. One question a transaction, one after the other: there is time. */
  async #over(rows: readonly OldRow[]): Promise<readonly string[]> {
    const known = new Map<string, boolean>();
    const ids: string[] = [];
    for (const { number, gid } of rows) {
      const isOver = known.get(gid) ?? (await this.#isOver(gid));
      known.set(gid, isOver);
      if (isOver) ids.push(number);
    }
    return ids;
  }

  async #isOver(text: string): Promise<boolean> {
    const gid = parseGid(text);
    if (gid === undefined) return false;
    const transaction = await this.#coordinator.read(gid);
    return transaction === undefined || isFinal(transaction.status);
  }
}

interface OldRow {
  /** The id. */
  readonly number: string;
  readonly gid: string;
  /** As text: a date of JavaScript has no microseconds. */
  readonly created: string;
}
