/** The XA branches of one database of a service, as its second phase finds and ends them. Those of others are never touched. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { sharedList, type EndOfPrepared, type Prepared, type PreparedTransactions } from '../../branch/xa/prepared.ts';
import { isServerError, openOwnPool, type OwnLogin, type OwnPool } from '../own-pool.ts';
import { keepsPrepared, supportedVersion, type ServerVersion } from '../setup/version.ts';
import { isMarkerLocked, markerKey, READ_MARKER } from './marker.ts';
import { readXid, xidSql, type Xid } from './names.ts';
import { ParkedBranches, SETTLE_MS } from './parked.ts';
import { xaFailure, xaFinish, xaRecover, xidOfRow, type RecoverRow } from './statements.ts';

export interface PreparedOptions {
  /** `<service>/<database>`. */
  readonly database: string;
  readonly connection: OwnLogin;
  /** Connections that have prepared, which end what they have ahead of anybody else. Closed with the rest. */
  readonly parked?: ParkedBranches;
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
    return new MysqlPrepared(pool, options, flavour);
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

interface Found extends Prepared {
  readonly xid: Xid;
}

class MysqlPrepared implements PreparedTransactions {
  readonly list: () => Promise<readonly Prepared[]>;
  readonly #pool: OwnPool;
  readonly #database: string;
  readonly #parked: ParkedBranches;
  readonly #flavour: ServerVersion['flavour'];
  /** What was listed last. `since`: when it was seen first, for no server tells when it was prepared. */
  #known: ReadonlyMap<string, { readonly xid: Xid; readonly since: number }> = new Map();

  constructor(pool: OwnPool, { database, parked }: PreparedOptions, flavour: ServerVersion['flavour']) {
    this.#pool = pool;
    this.#database = database;
    this.#parked = parked ?? new ParkedBranches();
    this.#flavour = flavour;
    this.list = sharedList(async () => await this.#ask());
  }

  async end(verb: 'COMMIT' | 'ROLLBACK', prepared: Prepared): Promise<EndOfPrepared> {
    const { name } = prepared;
    const known = this.#known.get(name);
    if (known === undefined) return 'gone';
    const ended = await this.#parked.end(verb, name);
    if (ended !== 'elsewhere') return ended;
    await settled(known.since);
    try {
      await this.#pool.change(xaFinish(verb, known.xid));
    } catch (error) {
      return await this.#failed(verb, name, error);
    }
    return (await this.#isDone(verb, prepared, known.xid)) ? 'ended' : 'stuck';
  }

  async #failed(verb: 'COMMIT' | 'ROLLBACK', name: string, error: unknown): Promise<EndOfPrepared> {
    if (!isServerError(error)) throw error;
    const failure = xaFailure(error.errno);
    if (failure === 'busy') return 'busy';
    // It is over, in the way that was asked for.
    if (failure === 'rolled-back' && verb === 'ROLLBACK') return 'ended';
    if (failure !== 'unknown-here') throw error;
    const listed = await this.list();
    return listed.some((each) => each.name === name) ? 'busy' : 'gone';
  }

  /** An OK over another connection than that which has prepared says nothing: what was done shows in the marker. */
  async #isDone(verb: 'COMMIT' | 'ROLLBACK', { gid, resource }: Prepared, xid: Xid): Promise<boolean> {
    try {
      const rows = await this.#pool.rows(READ_MARKER, [markerKey(xid)]);
      if (verb === 'ROLLBACK' || rows.length > 0) return true;
      // Whoever ends the branch elsewhere may have taken the marker away meanwhile.
      return (await this.stateOf(gid, resource)) === 'committed';
    } catch (error) {
      if (isServerError(error) && isMarkerLocked(error.errno)) return false;
      throw error;
    }
  }

  async stateOf(gid: string, resource: string): Promise<string | undefined> {
    const sql = 'SELECT state FROM atomesh.branch_state WHERE gid = ? AND resource = ?';
    const [row] = await this.#pool.rows<{ state: string }>(sql, [gid, resource]);
    return row?.state;
  }

  async close(): Promise<void> {
    this.#parked.close();
    await this.#pool.end();
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
