/** The prepared transactions of one database of a service, as its second phase finds and ends them. Those of others are never touched. */
import pg from 'pg';
import type { Log } from '../../../src/platform/log.ts';
import { sharedList, type Prepared, type PreparedTransactions } from '../../branch/xa/prepared.ts';
import { quoteName, quoteText } from '../identifier.ts';
import { openOwnPool } from '../own-pool.ts';
import { preparedPrefix, readPreparedName, resourceOfPrepared } from './names.ts';

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
/** One that is just being prepared or ended. PG source: LockGXact, `object_not_in_prerequisite_state`. */
const BUSY = '55000';

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

  async function ask(): Promise<readonly Prepared[]> {
    const { rows } = await pool.query<Row>(LIST, [prefix]);
    return rows.flatMap(({ name, owner, age, own }) => {
      const read = readPreparedName(prefix, name);
      if (read === undefined) return [];
      const resource = resourceOfPrepared(database, read);
      return [{ name, gid: read.gid, resource, ageMs: age, ...(own ? {} : { owner }) }];
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
    list: sharedList(ask),
    async end(verb, { name, owner }) {
      try {
        await run(`${verb} PREPARED ${quoteText(name)}`, owner);
        return 'ended';
      } catch (error) {
        if (error instanceof pg.DatabaseError && error.code === NO_SUCH) return 'gone';
        if (error instanceof pg.DatabaseError && error.code === BUSY) return 'busy';
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
