/** The second phase of undo branches in one database, with credentials of its own: commit in groups, rollback one by one. */
import pg from 'pg';
import type { Gid, Resolution } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { RowsInTheWay } from '../branch/diagnosis.ts';
import { CommitGroups, GROUPS_AT_ONCE } from '../branch/commit-groups.ts';
import { DirtyBranch, dirtyResult, endedOtherwise } from '../branch/dirty.ts';
import type { Finisher, FinishResult } from '../branch/finish.ts';
import { openOwnPool } from './own-pool.ts';
import { rowsInTheWay } from './rollback/diagnosis.ts';
import { forgetBranch, restoreBranch } from './undo/restore.ts';

export interface FinisherOptions {
  readonly connection: pg.PoolConfig;
  readonly log: Log;
  /** How long to wait for a local transaction that is still open on the branch, before the answer `ongoing`. Default 1,000. */
  readonly lockTimeoutMs?: number;
  /** How long one statement of a rollback may take. Default 30,000. */
  readonly statementTimeoutMs?: number;
}

/** More than groups of commits run at once, so that a rollback finds one. */
const CONNECTIONS_MAX = 2 * GROUPS_AT_ONCE;

/** A database or a role may say that every transaction begins as one that only reads. */
const READ_WRITE = { default_transaction_read_only: 'off' };

/** Opens a finisher on a small pool of connections. Connections are made when needed. */
export function createFinisher(options: FinisherOptions): Finisher {
  return new PoolFinisher(options);
}

class PoolFinisher implements Finisher {
  readonly #pool: pg.Pool;
  readonly #log: Log;
  readonly #commits: CommitGroups;

  constructor(options: FinisherOptions) {
    this.#log = options.log;
    const { statementTimeoutMs = 30_000, lockTimeoutMs = 1_000, ...rest } = options;
    this.#pool = openOwnPool({
      ...rest,
      purpose: 'second phase',
      max: CONNECTIONS_MAX,
      statementTimeoutMs,
      lockTimeoutMs,
      settings: READ_WRITE,
    });
    this.#commits = new CommitGroups({
      failureOf,
      commit: async (gids, branchResource) => {
        const sql = 'SELECT atomesh.commit_branches($1, $2) AS contrary';
        const { rows } = await this.#pool.query<{ contrary: readonly string[] }>(sql, [gids, branchResource]);
        return new Set(rows[0]?.contrary);
      },
    });
  }

  async open(gid: Gid, resource: string): Promise<void> {
    try {
      await this.#pool.query(
        `INSERT INTO atomesh.branch_state (gid, resource, state) VALUES ($1, $2, 'active') ON CONFLICT (gid, resource) DO NOTHING`,
        [gid, resource],
      );
    } catch (error) {
      this.#log.warn({ gid, resource, err: (error as Error).message }, 'the branch could not be opened ahead');
    }
  }

  async discard(gid: Gid, resource: string): Promise<void> {
    const sql = `DELETE FROM atomesh.branch_state WHERE gid = $1 AND resource = $2 AND state = 'active'`;
    await this.#pool.query(sql, [gid, resource]).catch((error: unknown) => {
      this.#log.warn({ gid, resource, err: (error as Error).message }, 'the state of a refused branch stays behind');
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
        const records = await this.#inTransaction((client) => forgetBranch(client, branch));
        this.#log.warn({ ...branch, resolution, records }, 'rows of a dirty branch were kept as they are');
        return { result: 'success', detail: `${records} undo records forgotten` };
      }
      const how = resolution === undefined ? 'verified' : 'forced';
      const rows = await this.#inTransaction((client) => restoreBranch(client, branch, how));
      if (how === 'forced') this.#log.warn({ ...branch, resolution, rows }, 'rows of a dirty branch were overwritten');
      return { result: 'success', detail: `${rows} rows restored` };
    } catch (error) {
      if (error instanceof DirtyBranch) {
        const dirt = { ...error.dirt, ...(await this.#rowsInTheWay(gid, resource)) };
        this.#log.error(
          { gid, resource, reason: error.dirt.reason, table: error.dirt.table },
          'branch is dirty: nothing was restored',
        );
        return dirtyResult(dirt);
      }
      return failureOf(error);
    }
  }

  /** A transaction of its own: the branch stays closed even if it cannot be restored. False when it has committed. */
  async #fence(gid: Gid, resource: string): Promise<boolean> {
    await this.#pool.query(
      `INSERT INTO atomesh.branch_state AS b (gid, resource, state) VALUES ($1, $2, 'rolled_back')
       ON CONFLICT (gid, resource) DO UPDATE SET state = 'rolled_back', updated_at = pg_catalog.now() WHERE b.state = 'active'`,
      [gid, resource],
    );
    const { rows } = await this.#pool.query<{ state: string }>(
      'SELECT state FROM atomesh.branch_state WHERE gid = $1 AND resource = $2',
      [gid, resource],
    );
    return rows[0]?.state === 'rolled_back';
  }

  /** For the operator alone: that it cannot be read changes nothing. */
  async #rowsInTheWay(gid: Gid, resource: string): Promise<Partial<RowsInTheWay>> {
    try {
      const found = await this.#inTransaction((client) => rowsInTheWay(client, { gid, resource }));
      if (found === undefined || found.rows.length + found.rowsMore === 0) return {};
      return { rows: found.rows, ...(found.rowsMore === 0 ? {} : { rowsMore: found.rowsMore }) };
    } catch (error) {
      this.#log.info({ gid, resource, err: (error as Error).message }, 'the rows in the way could not be told apart');
      return {};
    }
  }

  async #inTransaction<T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      await client.query('BEGIN');
      const value = await work(client);
      await client.query('COMMIT');
      return value;
    } catch (error) {
      // What the server has not said itself came from a connection that is lost or silent: another statement would wait as long.
      if (error instanceof pg.DatabaseError || error instanceof DirtyBranch) {
        await client.query('ROLLBACK').catch((failure: Error) => {
          broken = failure;
        });
      } else {
        broken = error instanceof Error ? error : new Error(String(error));
      }
      throw asDirt(error);
    } finally {
      client.release(broken);
    }
  }

  async cleanUp(olderThanMs: number): Promise<number> {
    const { rowCount } = await this.#pool.query(
      // An active one that no transaction can belong to any more (a deadline is at most 30 days away) was left by a refused branch.
      `DELETE FROM atomesh.branch_state b
       WHERE b.updated_at < pg_catalog.now() - pg_catalog.make_interval(secs => $1::pg_catalog.float8 / 1000)
         AND (b.state <> 'active' OR b.updated_at < pg_catalog.now() - pg_catalog.make_interval(days => 31))
         AND NOT EXISTS (SELECT FROM atomesh.undo_record r WHERE r.gid = b.gid AND r.resource = b.resource)`,
      [olderThanMs],
    );
    return rowCount ?? 0;
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** 55P03 lock_timeout, 40P01 deadlock, 40001 serialization failure: somebody else is at work; later it will do. */
function isBusy(error: unknown): boolean {
  return ['55P03', '40P01', '40001'].includes(codeOf(error));
}

/**
 * SQLSTATE classes of errors that come back however often one tries, until somebody changes the data, the table or the rights:
 * values, constraints, triggers that raise, functions, permissions, limits. The others (connection, resources, shutdown,
 * locks) pass by themselves. Source: PostgreSQL, src/backend/utils/errcodes.txt.
 */
const LASTING = /^(?:0A|21|22|23|27|2F|38|39|3F|42|44|54|P0)/;

/** What is in the way of a row for good is as bad as a changed row: an operator must look. */
function asDirt(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError) || !LASTING.test(codeOf(error))) return error;
  const { message, table } = error;
  return new DirtyBranch({ reason: `the database refuses: ${message}`, table: table ?? 'unknown' });
}

function failureOf(error: unknown): FinishResult {
  const detail = error instanceof Error ? error.message : String(error);
  return { result: isBusy(error) ? 'ongoing' : 'unknown', detail };
}
