/** The second phase of undo branches on one server, with credentials of its own: commit in groups, rollback one by one. */
import type { Gid, Resolution } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import { CommitGroups, GROUPS_AT_ONCE } from '../branch/commit-groups.ts';
import type { RowsInTheWay } from '../branch/diagnosis.ts';
import { DirtyBranch, dirtyResult, endedOtherwise } from '../branch/dirty.ts';
import type { Finisher, FinishResult } from '../branch/finish.ts';
import { isServerError, openOwnPool, type OwnConnection, type OwnLogin, type OwnPool } from './own-pool.ts';
import { rowsInTheWay } from './rollback/diagnosis.ts';
import { forgetBranch, forgetBranches, restoreBranch } from './rollback/restore.ts';

export interface FinisherOptions {
  readonly connection: OwnLogin;
  readonly log: Log;
  /** How long to wait for a local transaction that is still open on the branch, in whole seconds, before the answer `ongoing`. Default 1. */
  readonly lockTimeoutS?: number;
  /** How long one statement of a rollback may take. Default 30,000. */
  readonly statementTimeoutMs?: number;
}

/** More than groups of commits run at once, so that a rollback finds one. */
const CONNECTIONS_MAX = 2 * GROUPS_AT_ONCE;
const CLEANED_AT_ONCE = 1_000;

/** Opens a finisher on a small pool of connections. Connections are made when needed. */
export function createFinisher(options: FinisherOptions): Finisher {
  return new MysqlFinisher(options);
}

class MysqlFinisher implements Finisher {
  readonly #pool: OwnPool;
  readonly #log: Log;
  readonly #commits: CommitGroups;

  constructor({ connection, log, lockTimeoutS = 1, statementTimeoutMs = 30_000 }: FinisherOptions) {
    this.#log = log;
    this.#pool = openOwnPool({
      connection,
      purpose: 'second phase',
      max: CONNECTIONS_MAX,
      statementTimeoutMs,
      lockTimeoutS,
    });
    this.#commits = new CommitGroups({
      failureOf,
      commit: (gids, resource) => this.#pool.inTransaction((own) => commitBranches(own, gids, resource)),
    });
  }

  async open(gid: Gid, resource: string): Promise<void> {
    try {
      // Not INSERT IGNORE, which takes other errors for warnings too; and this locks a state that exists for itself.
      await this.#pool.change(
        "INSERT INTO atomesh.branch_state (gid, resource, state) VALUES (?, ?, 'active') ON DUPLICATE KEY UPDATE gid = gid",
        [gid, resource],
      );
    } catch (error) {
      this.#log.warn({ gid, resource, err: messageOf(error) }, 'the branch could not be opened ahead');
    }
  }

  async discard(gid: Gid, resource: string): Promise<void> {
    const sql = "DELETE FROM atomesh.branch_state WHERE gid = ? AND resource = ? AND state = 'active'";
    await this.#pool.change(sql, [gid, resource]).catch((error: unknown) => {
      this.#log.warn({ gid, resource, err: messageOf(error) }, 'the state of a refused branch stays behind');
    });
  }

  commit(gid: Gid, resource: string): Promise<FinishResult> {
    return this.#commits.commit(gid, resource);
  }

  async rollback(gid: Gid, resource: string, resolution?: Resolution): Promise<FinishResult> {
    const branch = { gid, resource };
    try {
      if (!(await this.#fence(gid, resource))) return endedOtherwise('committed');
      if (resolution === 'keep-current') {
        const records = await this.#pool.inTransaction((own) => forgetBranch(own, branch));
        this.#log.warn({ ...branch, resolution, records }, 'rows of a dirty branch were kept as they are');
        return { result: 'success', detail: `${records} undo records forgotten` };
      }
      const way = resolution === undefined ? 'verified' : 'forced';
      const rows = await this.#pool.inTransaction((own) => restoreBranch(own, branch, way).catch(throwAsDirt));
      if (way === 'forced') this.#log.warn({ ...branch, resolution, rows }, 'rows of a dirty branch were overwritten');
      return { result: 'success', detail: `${rows} rows restored` };
    } catch (error) {
      if (!(error instanceof DirtyBranch)) return failureOf(error);
      const { reason, table } = error.dirt;
      this.#log.error({ gid, resource, reason, table }, 'branch is dirty: nothing was restored');
      return dirtyResult({ ...error.dirt, ...(await this.#rowsInTheWay(gid, resource)) });
    }
  }

  /** A transaction of its own: the branch stays closed even if it cannot be restored. False when it has committed. */
  async #fence(gid: Gid, resource: string): Promise<boolean> {
    await this.#pool.change(END_BRANCHES, [[[gid, resource, 'rolled_back']]]);
    const sql = 'SELECT state FROM atomesh.branch_state WHERE gid = ? AND resource = ?';
    const [row] = await this.#pool.rows<{ state: string }>(sql, [gid, resource]);
    return row?.state === 'rolled_back';
  }

  /** For the operator alone: that it cannot be read changes nothing. */
  async #rowsInTheWay(gid: Gid, resource: string): Promise<Partial<RowsInTheWay>> {
    try {
      const found = await this.#pool.inTransaction((own) => rowsInTheWay(own, { gid, resource }));
      if (found === undefined || found.rows.length + found.rowsMore === 0) return {};
      return { rows: found.rows, ...(found.rowsMore === 0 ? {} : { rowsMore: found.rowsMore }) };
    } catch (error) {
      this.#log.info({ gid, resource, err: messageOf(error) }, 'the rows in the way could not be told apart');
      return {};
    }
  }

  async cleanUp(olderThanMs: number): Promise<number> {
    let deleted = 0;
    let batch: number;
    do {
      // An active one that no transaction can belong to any more (a deadline is at most 30 days away) was left by a refused branch.
      batch = await this.#pool.change(
        `DELETE FROM atomesh.branch_state WHERE updated_at < UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND
  AND (state <> 'active' OR updated_at < UTC_TIMESTAMP(6) - INTERVAL 31 DAY)
  AND NOT EXISTS (SELECT 1 FROM atomesh.undo_record AS r WHERE r.gid = branch_state.gid AND r.resource = branch_state.resource)
  ORDER BY updated_at LIMIT ${CLEANED_AT_ONCE}`,
        [olderThanMs * 1_000],
      );
      deleted += batch;
    } while (batch === CLEANED_AT_ONCE);
    return deleted;
  }

  close(): Promise<void> {
    return this.#pool.end();
  }
}

/** A list of gid, resource and state. What has ended already stays as it is. */
const END_BRANCHES = `INSERT INTO atomesh.branch_state (gid, resource, state) VALUES ?
ON DUPLICATE KEY UPDATE updated_at = IF(branch_state.state = 'active', UTC_TIMESTAMP(6), branch_state.updated_at),
  state = IF(branch_state.state = 'active', VALUES(state), branch_state.state)`;

/**
 * Ends branches by commit, in the local transaction that is open: the tombstones stay, and those that had been rolled back are answered.
 */
async function commitBranches(
  own: OwnConnection,
  gids: readonly Gid[],
  resource: string,
): Promise<ReadonlySet<string>> {
  // In one order, so that two who end the same branches do not wait for each other.
  const sorted = [...new Set(gids)].toSorted();
  await own.change(END_BRANCHES, [sorted.map((gid) => [gid, resource, 'committed'])]);
  const states = await own.rows<{ gid: string; state: string }>(
    'SELECT gid, state FROM atomesh.branch_state FORCE INDEX (PRIMARY) WHERE gid IN (?) AND resource = ?',
    [sorted, resource],
  );
  const committed = states.filter(({ state }) => state === 'committed').map(({ gid }) => gid);
  if (committed.length > 0) await forgetBranches(own, committed, resource);
  const done = new Set(committed);
  return new Set(sorted.filter((gid) => !done.has(gid)));
}

/**
 * Somebody else is at work, and later it will do: ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_CHECKREAD. Source of the numbers: MySQL,
 * "Server Error Message Reference"; MariaDB, "MariaDB Error Codes".
 */
const BUSY: ReadonlySet<number> = new Set([1205, 1213, 1020]);

/**
 * Classes of SQLSTATE whose errors come back however often one tries, until somebody changes the data, the table or the rights; and the
 * numbers of such errors that have no class: a column without a default, a wrong value, a CHECK constraint, a trigger that changes its
 * own table.
 */
const LASTING = /^(?:0A|21|22|23|42|44|45)/;
const LASTING_NUMBERS: ReadonlySet<number> = new Set([1364, 1366, 1442, 3819]);
/** In one of these classes, and gone in an hour: limits of connections and of statements for a user. */
const PASSING_NUMBERS: ReadonlySet<number> = new Set([1203, 1226]);

/** What is in the way of a row for good is as bad as a changed row: an operator must look. */
function throwAsDirt(error: unknown): never {
  if (!isServerError(error) || PASSING_NUMBERS.has(error.errno)) throw error;
  if (!LASTING.test(error.sqlState) && !LASTING_NUMBERS.has(error.errno)) throw error;
  throw new DirtyBranch({ reason: `the database refuses: ${error.message}`, table: 'unknown' });
}

function failureOf(error: unknown): FinishResult {
  const isBusy = isServerError(error) && BUSY.has(error.errno);
  return { result: isBusy ? 'ongoing' : 'unknown', detail: messageOf(error) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
