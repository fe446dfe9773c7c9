/** The prepared transactions of one database of a service, as its second phase finds and ends them. Those of others are never touched. */
import pg from 'pg';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import { quoteName, quoteText } from '../identifier.ts';
import { openOwnPool } from '../own-pool.ts';
import { preparedPrefix, readPreparedName, resourceOfPrepared } from './names.ts';

/** One of ours that is not ended. */
export interface Prepared {
  readonly name: string;
  readonly gid: Gid;
  /** The resource of its branch. */
  readonly resource: string;
  readonly ageMs: number;
  /** The role that prepared it. */
  readonly owner: string;
  /** The role of the second phase may end it as it is. */
  readonly isOwn: boolean;
}

export interface PreparedTransactions {
  /** All of this database. Whoever asks while a list is being made shares the next one. Rejects when the database cannot be asked. */
  list(): Promise<readonly Prepared[]>;
  /**
   * Commits or rolls back one. `gone`: somebody else has ended it. Rejects when it cannot be ended now, or not by the role of the
   * second phase.
   */
  end(verb: 'COMMIT' | 'ROLLBACK', prepared: Prepared): Promise<'ended' | 'gone'>;
  /** What the database knows of the branch; undefined when nothing. */
  stateOf(gid: Gid, resource: string): Promise<string | undefined>;
  close(): Promise<void>;
}

export interface PreparedOptions {
  /** `<service>/<database>`. */
  readonly database: string;
  readonly connection: pg.PoolConfig;
  readonly log: Log;
}

const CONNECTIONS_MAX = 3;
const STATEMENT_MS_MAX = 30_000;
/** PG source: src/backend/utils/errcodes.txt, `undefined_object`. */
const NO_SUCH = '42704';

const LIST = `SELECT p.gid AS name, p.owner, (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p.prepared) * 1000)::pg_catalog.float8 AS age,
 p.owner = current_user OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS own
FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database() AND pg_catalog.starts_with(p.gid, $1) ORDER BY p.prepared`;

interface Row {
  readonly name: string;
  readonly owner: string;
  readonly age: number;
  readonly own: boolean;
}

/** Connections are made when needed. */
export function openPreparedTransactions(options: PreparedOptions): PreparedTransactions {
  const { database, log } = options;
  const prefix = preparedPrefix(database);
  const pool = openOwnPool({
    connection: options.connection,
    purpose: 'second phase',
    max: CONNECTIONS_MAX,
    statementTimeoutMs: STATEMENT_MS_MAX,
    log,
  });

  let running: Promise<unknown> | undefined;
  let next: Promise<readonly Prepared[]> | undefined;

  async function ask(): Promise<readonly Prepared[]> {
    const { rows } = await pool.query<Row>(LIST, [prefix]);
    return rows.flatMap(({ name, owner, age, own }) => {
      const read = readPreparedName(prefix, name);
      if (read === undefined) return [];
      const resource = resourceOfPrepared(database, read);
      return [{ name, gid: read.gid, resource, ageMs: age, owner, isOwn: own }];
    });
  }

  async function run(text: string, role: string | undefined): Promise<void> {
    const client = await pool.connect();
    let isFit = false;
    try {
      // Alone in their messages: what ends a prepared transaction may not stand in a block, and several statements are one.
      if (role !== undefined) await client.query(`SET ROLE ${quoteName(role)}`);
      await client.query(text);
      if (role !== undefined) await client.query('RESET ROLE');
      isFit = true;
    } catch (error) {
      isFit = role === undefined && error instanceof pg.DatabaseError;
      throw error;
    } finally {
      client.release(!isFit);
    }
  }

  return {
    list() {
      // A list that is being made may have begun before what is asked about.
      next ??= (async () => {
        await running?.catch(() => undefined);
        const asked = ask();
        running = asked;
        next = undefined;
        return await asked;
      })();
      return next;
    },
    async end(verb, { name, owner, isOwn }) {
      try {
        await run(`${verb} PREPARED ${quoteText(name)}`, isOwn ? undefined : owner);
        return 'ended';
      } catch (error) {
        if (error instanceof pg.DatabaseError && error.code === NO_SUCH) return 'gone';
        throw error;
      }
    },
    async stateOf(gid, resource) {
      const sql = 'SELECT state FROM atomesh.branch_state WHERE gid = $1 AND resource = $2';
      const { rows } = await pool.query<{ state: string }>(sql, [gid, resource]);
      return rows[0]?.state;
    },
    close: () => pool.end(),
  };
}

/**
 * How many transactions the server can keep prepared; 0 where that is switched off.
 * Rejects when the database cannot be asked.
 */
export async function readPreparedMax(connection: pg.ClientConfig): Promise<number> {
  const client = new pg.Client({ connectionTimeoutMillis: 10_000, statement_timeout: 10_000, ...connection });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ max_prepared_transactions: string }>('SHOW max_prepared_transactions');
    return Number(rows[0]?.max_prepared_transactions ?? 0);
  } finally {
    await client.end().catch(() => undefined);
  }
}
