/**
 * The barrier in MySQL and MariaDB, with the credentials of the second phase. The rows are those of docs/barrier.md in the table
 * `atomesh.barrier`; `enter_operation` of the schema writes them in local transactions of the application.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { BATCH_ROWS, HALF, UNKNOWN_DAYS, barrierOf, type BarrierRows, type OldRow } from '../branch/barrier-rows.ts';
import type { Barrier } from '../branch/barrier.ts';
import { isServerError, openOwnPool, type OwnConnection, type OwnLogin, type OwnPool } from './own-pool.ts';

export interface BarrierOptions {
  readonly connection: OwnLogin;
  /** Says which global transactions are over, before rows of theirs are deleted. */
  readonly coordinator: Pick<CoordinatorClient, 'read'>;
  /** How long one statement may take. Default 5,000. */
  readonly statementTimeoutMs?: number;
  /** How long one statement may wait for an open local transaction of the application, in whole seconds. Default 1. */
  readonly lockTimeoutS?: number;
}

/** What reads finds a connection however many wait for the application. */
const READING_MAX = 2;
const WRITING_MAX = 4;

/**
 * Answers no changed row where the key is taken. IGNORE makes warnings of other errors too, but for values like these there are none:
 * each is shorter than its column.
 */
const INSERT = `INSERT IGNORE INTO atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason) VALUES (?, ?, ?, ?, ?, ?)`;
const INSERT_ANSWER = `INSERT IGNORE INTO atomesh.operation_answer (gid, branch_id, op, status, headers, body) VALUES (?, ?, ?, ?, ?, ?)`;
const READ_ANSWER =
  'SELECT status, headers, body FROM atomesh.operation_answer WHERE gid = ? AND branch_id = ? AND op = ?';

/** That it is half goes before all else. */
const READ = `SELECT reason FROM atomesh.barrier WHERE gid = ? AND branch_id = ? AND op = ?
AND barrier_id IN ('01', '${HALF}') ORDER BY barrier_id = '${HALF}' DESC LIMIT 1`;

/** The ages are compared in seconds of the server, whatever the zone: create_time is a TIMESTAMP. */
const OLD = `SELECT o.gid, o.id, o.branch_id, o.op, o.barrier_id,
  DATE_FORMAT(o.create_time, '%Y-%m-%d %H:%i:%s') AS created, NOT EXISTS (SELECT 1 FROM atomesh.barrier AS y
    WHERE y.gid = o.gid AND y.create_time >= NOW() - INTERVAL ${UNKNOWN_DAYS} DAY) AS ancient
FROM atomesh.barrier AS o
WHERE o.create_time < NOW() - INTERVAL ? SECOND
  AND NOT EXISTS (SELECT 1 FROM atomesh.barrier AS y WHERE y.gid = o.gid AND y.create_time >= NOW() - INTERVAL ? SECOND)
  AND (o.create_time > ? OR (o.create_time = ? AND o.id > ?))
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

function openPool({ connection, statementTimeoutMs = 5_000, lockTimeoutS = 1 }: BarrierOptions, max: number): OwnPool {
  return openOwnPool({ connection, purpose: 'barrier', max, statementTimeoutMs, lockTimeoutS });
}

/** A row as it is looked at for cleaning. */
interface KeyedRow extends OldRow {
  readonly id: string;
  readonly branch_id: string;
  readonly op: string;
  readonly barrier_id: string;
  /** As text: a date of JavaScript has a time zone. */
  readonly created: string;
}

/** Before any row, and before any time that the server has. */
const FIRST = { created: '1970-01-01 00:00:01', id: '-9223372036854775808' };

function rowsIn(reading: OwnPool, writing: OwnPool): BarrierRows<KeyedRow> {
  return {
    async insertUndone({ transType, gid, branch, op, origin }) {
      const written = writing.inTransaction(async (own) => {
        if ((await own.change(INSERT, [transType, gid, branch, origin, '01', op])) === 0) return false;
        await own.change(INSERT, [transType, gid, branch, op, '01', op]);
        return true;
      });
      return await written.catch(busyOr);
    },
    insert: ({ transType, gid, branch, op, reason }, answer) =>
      afterDeadlocks(() =>
        writing.inTransaction(async (own) => {
          // The row first: two who write the same wait for each other there.
          const isWritten = (await own.change(INSERT, [transType, gid, branch, op, '01', reason])) === 1;
          if (answer !== undefined) {
            const { status, headers, body } = answer;
            await own.change(INSERT_ANSWER, [gid, branch, op, status, JSON.stringify(headers), body]);
          }
          return isWritten;
        }),
      ),
    async insertHalf({ transType, gid, branch, op }) {
      await reading.change(INSERT, [transType, gid, branch, op, HALF, HALF]);
    },
    async reasonOf(gid, branch, op) {
      const [row] = await reading.rows<{ reason: string }>(READ, [gid, branch, op]);
      return row?.reason;
    },
    async answerOf(gid, branch, op) {
      const [row] = await reading.rows<StoredAnswer>(READ_ANSWER, [gid, branch, op]);
      return row && { status: row.status, headers: JSON.parse(row.headers) as string[], body: row.body };
    },
    async old(olderThanMs, after) {
      const { created, id } = after ?? FIRST;
      const age = Math.ceil(olderThanMs / 1000);
      const rows = await reading.rows<KeyedRow>(OLD, [age, age, created, created, id]);
      return rows.map((row) => ({ ...row, ancient: Number(row.ancient) === 1 }));
    },
    delete: (rows) => reading.inTransaction((own) => deleteRows(own, rows)),
  };
}

/** By all of their keys: a list of keys is looked for by reading the whole table on some servers, and meets what others hold. */
async function deleteRows(own: OwnConnection, rows: readonly KeyedRow[]): Promise<number> {
  let deleted = 0;
  for (const { gid, branch_id, op, barrier_id } of rows) {
    deleted += await own.change(
      'DELETE FROM atomesh.barrier WHERE gid = ? AND branch_id = ? AND op = ? AND barrier_id = ?',
      [gid, branch_id, op, barrier_id],
    );
    await own.change('DELETE FROM atomesh.operation_answer WHERE gid = ? AND branch_id = ? AND op = ?', [
      gid,
      branch_id,
      op,
    ]);
  }
  return deleted;
}

const LOCK_WAIT_TIMEOUT = 1205;
const DEADLOCK = 1213;
const ATTEMPTS = 5;

/** An open local transaction of the action has written its row, and may still commit it; or several have just waited for one that did not. */
function busyOr(error: unknown): 'busy' {
  if (isServerError(error) && [LOCK_WAIT_TIMEOUT, DEADLOCK].includes(error.errno)) return 'busy';
  throw error;
}

/** Several who wait for a row that is rolled back then wait for each other: the server gives all but one of them up. */
async function afterDeadlocks<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isServerError(error) || error.errno !== DEADLOCK || attempt === ATTEMPTS) throw error;
    }
  }
}

interface StoredAnswer {
  readonly status: number;
  readonly headers: string;
  readonly body: Buffer;
}
