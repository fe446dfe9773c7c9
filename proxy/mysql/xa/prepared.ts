/** The XA branches of one database of a service, as its second phase finds and ends them. Those of others are never touched. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { sharedList, type Prepared, type PreparedTransactions } from '../../branch/xa/prepared.ts';
import { isServerError, openOwnPool, type OwnLogin, type OwnPool } from '../own-pool.ts';
import { keepsPrepared, supportedVersion, type ServerVersion } from '../setup/version.ts';
import { readXid, xidSql, type Xid } from './names.ts';
import { xaFailure, xaFinish, xaRecover, xidOfRow, type RecoverRow } from './statements.ts';

export interface PreparedOptions {
  /** `<service>/<database>`. */
  readonly database: string;
  readonly connection: OwnLogin;
}

const CONNECTIONS_MAX = 3;
const STATEMENT_MS_MAX = 30_000;
const LOCK_SECONDS_MAX = 1;

/**
 * Asks the server whether it can prepare, and whether the account of the second phase may list what is.
 * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when it cannot be asked, BAD_REQUEST when it cannot, or the account may not.
 */
export async function openPreparedTransactions(options: PreparedOptions): Promise<PreparedTransactions> {
  const pool = openOwnPool({
    connection: options.connection,
    purpose: 'second phase',
    max: CONNECTIONS_MAX,
    statementTimeoutMs: STATEMENT_MS_MAX,
    lockTimeoutS: LOCK_SECONDS_MAX,
  });
  try {
    const [row] = await pool.rows<{ version: string; log: number }>('SELECT VERSION() AS version, @@log_bin AS log');
    const version = supportedVersion(row?.version ?? '');
    if (!keepsPrepared(version, Number(row?.log) === 1)) throw forgetful(row?.version ?? '');
    const { flavour } = version;
    await pool.rows(xaRecover(flavour));
    return new MysqlPrepared(pool, options.database, flavour);
  } catch (error) {
    await pool.end();
    throw startFailure(error, options.connection.user ?? '');
  }
}

/** MySQL answers XAER_RMERR to XA RECOVER without the right to it, later versions that access is denied. */
const NO_RIGHT: ReadonlySet<number> = new Set([1401, 1227]);

function startFailure(error: unknown, user: string): unknown {
  if (error instanceof CodedError) return error;
  if (isServerError(error) && NO_RIGHT.has(error.errno)) {
    return new CodedError('BAD_REQUEST', `the account ${user} may not list prepared transactions`, {
      hint: 'Run as an administrator: GRANT XA_RECOVER_ADMIN ON *.* TO this account. Without it nothing that is in doubt could be found after a crash.',
      cause: error,
    });
  }
  return new CodedError('UPSTREAM_UNREACHABLE', `the database cannot be asked what is prepared: ${String(error)}`, {
    retry: 'safe',
    hint: 'Check upstream, tls and credentials of this database.',
    cause: error,
  });
}

function forgetful(version: string): CodedError {
  return new CodedError(
    'BAD_REQUEST',
    `MySQL ${version} with a binary log forgets prepared transactions when it crashes`,
    {
      hint: 'Use MySQL 8.0.30 or later, or MariaDB, or switch the binary log off (skip-log-bin), or do without prepared transactions.',
    },
  );
}

/**
 * How long a branch is left after it was listed first, in milliseconds. While a server closes the connection that has prepared, there is a moment
 * in which it takes XA COMMIT and XA ROLLBACK from another one, answers OK, and has done nothing: the branch is listed no more, and its
 * rows stay locked until the server starts again (seen with MariaDB 10.11 and MySQL 8.0.15, in one of some hundred branches that were ended
 * at once). Sessions close theirs as soon as they have prepared, so this outlasts that moment.
 */
const SETTLE_MS = 100;

/**
 * XA_RBROLLBACK. MariaDB says so to XA COMMIT of a branch that had written nothing when the connection that prepared it was closed, and of
 * no other (MariaDB source: sql/xa.cc, trans_xa_detach).
 */
const WROTE_NOTHING = 1402;

interface Found extends Prepared {
  readonly xid: Xid;
}

class MysqlPrepared implements PreparedTransactions {
  readonly list: () => Promise<readonly Prepared[]>;
  readonly #pool: OwnPool;
  readonly #database: string;
  readonly #flavour: ServerVersion['flavour'];
  /** What was listed last. `since`: when it was seen first, for no server tells when it was prepared. */
  #known: ReadonlyMap<string, { readonly xid: Xid; readonly since: number }> = new Map();

  constructor(pool: OwnPool, database: string, flavour: ServerVersion['flavour']) {
    this.#pool = pool;
    this.#database = database;
    this.#flavour = flavour;
    this.list = sharedList(async () => await this.#ask());
  }

  async end(verb: 'COMMIT' | 'ROLLBACK', { name }: Prepared): Promise<'ended' | 'gone' | 'busy'> {
    const known = this.#known.get(name);
    if (known === undefined) return 'gone';
    await settled(known.since);
    try {
      await this.#pool.change(xaFinish(verb, known.xid));
      return 'ended';
    } catch (error) {
      if (!isServerError(error)) throw error;
      const failure = xaFailure(error.errno);
      if (failure === 'busy') return 'busy';
      // It is over, in the way that was asked for.
      if (failure === 'rolled-back' && verb === 'ROLLBACK') return 'ended';
      if (error.errno === WROTE_NOTHING && this.#flavour === 'mariadb') return 'ended';
      if (failure !== 'unknown-here') throw error;
      const listed = await this.list();
      return listed.some((each) => each.name === name) ? 'busy' : 'gone';
    }
  }

  async stateOf(gid: string, resource: string): Promise<string | undefined> {
    const sql = 'SELECT state FROM atomesh.branch_state WHERE gid = ? AND resource = ?';
    const [row] = await this.#pool.rows<{ state: string }>(sql, [gid, resource]);
    return row?.state;
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async #ask(): Promise<readonly Prepared[]> {
    const rows = await this.#pool.rows<RecoverRow>(xaRecover(this.#flavour));
    const at = now();
    const found = rows.flatMap((row): Found[] => {
      const xid = xidOfRow(row);
      const meaning = xid === undefined ? undefined : readXid(this.#database, xid);
      if (xid === undefined || meaning === undefined) return [];
      const name = xidSql(xid);
      const since = this.#known.get(name)?.since ?? at;
      return [{ name, ...meaning, ageMs: at - since, xid }];
    });
    this.#known = new Map(found.map(({ name, xid, ageMs }) => [name, { xid, since: at - ageMs }]));
    return found;
  }
}

/** Resolves once a branch that was listed first at `since` may be ended. */
async function settled(since: number): Promise<void> {
  const from = since + SETTLE_MS;
  if (now() < from) await new Promise<void>((resolve) => void at(from as Instant, resolve));
}
