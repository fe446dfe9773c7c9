/** The second phase of undo branches in one database, with credentials of its own: commit in groups, rollback one by one. */
import pg from 'pg';
import type { Gid, Resolution } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Dirt, Finisher, FinishResult } from '../branch/finish.ts';
import { openOwnPool } from './own-pool.ts';
import { rowsInTheWay, type RowsInTheWay } from './rollback/diagnosis.ts';
import { DirtyBranch } from './rollback/records.ts';
import { forgetBranch, restoreBranch } from './undo/restore.ts';

export interface FinisherOptions {
  readonly connection: pg.PoolConfig;
  readonly log: Log;
  /** How long to wait for a local transaction that is still open on the branch, before the answer `ongoing`. Default 1,000. */
  readonly lockTimeoutMs?: number;
  /** How long one statement of a rollback may take. Default 30,000. */
  readonly statementTimeoutMs?: number;
}

const GROUP_MAX = 1_000;
const WAITING_MAX = 10_000;
/** So that a connection which has gone silent holds up its own group alone; fewer than connections, so that a rollback finds one. */
const GROUPS_AT_ONCE = 3;
const CONNECTIONS_MAX = 6;

/** A database or a role may say that every transaction begins as one that only reads. */
const READ_WRITE = { default_transaction_read_only: 'off' };

/** Opens a finisher on a small pool of connections. Connections are made when needed. */
export function createFinisher(options: FinisherOptions): Finisher {
  return new PoolFinisher(options);
}

interface WaitingCommit {
  readonly gid: Gid;
  readonly resource: string;
  readonly answer: (result: FinishResult) => void;
}

class PoolFinisher implements Finisher {
  readonly #pool: pg.Pool;
  readonly #log: Log;
  #waiting: WaitingCommit[] = [];
  #groupsRunning = 0;

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
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.resolve({ result: 'unknown', detail: 'too many commits are waiting' });
    }
    return new Promise((answer) => {
      this.#waiting.push({ gid, resource, answer });
      void this.#commitWaiting();
    });
  }

  /** A few groups at a time; what arrives meanwhile makes the next. */
  async #commitWaiting(): Promise<void> {
    if (this.#groupsRunning >= GROUPS_AT_ONCE) return;
    this.#groupsRunning += 1;
    try {
      for (let group = this.#nextGroup(); group.length > 0; group = this.#nextGroup()) {
        await this.#commitGroup(group);
      }
    } finally {
      this.#groupsRunning -= 1;
    }
  }

  /** The waiting commits of the resource that has waited longest. */
  #nextGroup(): readonly WaitingCommit[] {
    const resource = this.#waiting[0]?.resource;
    const group = this.#waiting.filter((item) => item.resource === resource).slice(0, GROUP_MAX);
    const taken = new Set(group);
    this.#waiting = this.#waiting.filter((item) => !taken.has(item));
    return group;
  }

  async #commitGroup(group: readonly WaitingCommit[]): Promise<void> {
    const resource = group[0]?.resource ?? '';
    try {
      const { rows } = await this.#pool.query<{ contrary: readonly string[] }>(
        'SELECT atomesh.commit_branches($1, $2) AS contrary',
        [group.map((item) => item.gid), resource],
      );
      const contrary = new Set(rows[0]?.contrary);
      for (const item of group)
        item.answer(contrary.has(item.gid) ? endedOtherwise('rolled back') : { result: 'success' });
    } catch (error) {
      // One branch that is still in use must not hold up the others.
      if (isBusy(error) && group.length > 1) {
        for (const item of group) await this.#commitGroup([item]);
        return;
      }
      const result = failureOf(error);
      for (const item of group) item.answer(result);
    }
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
        return { result: 'dirty', detail: diagnosis(dirt), dirt };
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

function endedOtherwise(ended: 'committed' | 'rolled back'): FinishResult {
  return {
    result: 'unknown',
    detail: `the branch is already ${ended}; the two decisions contradict each other`,
    ended,
  };
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

const DETAIL_CHARACTERS_MAX = 2_000;

function diagnosis(dirt: Dirt): string {
  const show = (image: string | undefined): string => image ?? 'no row';
  return `${dirt.reason}; table ${dirt.table}; current ${show(dirt.current)}; before ${show(dirt.before)}; after ${show(dirt.after)}`.slice(
    0,
    DETAIL_CHARACTERS_MAX,
  );
}
