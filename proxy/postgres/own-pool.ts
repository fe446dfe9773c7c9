/** Connections of the sidecar's own, beside those of its clients: the second phase, the barrier, the lock view. */
import pg from 'pg';
import type { Log } from '../../src/platform/log.ts';

export interface OwnPoolOptions {
  readonly connection: pg.PoolConfig;
  /** What they are for: `pg_stat_activity` has it behind "atomesh", and so has the log. */
  readonly purpose: string;
  readonly max: number;
  /** How long one statement may take, in milliseconds. */
  readonly statementTimeoutMs: number;
  /** How long a connection that nobody uses is kept, in milliseconds. Default 60,000. */
  readonly idleTimeoutMs?: number;
  /** How long one statement may wait for a lock, in milliseconds. */
  readonly lockTimeoutMs?: number;
  /** Settings of the server, by name, in place of those that the database or the role has. Values may have spaces. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly log: Log;
}

const CONNECT_MS_MAX = 5_000;
const IDLE_MS_MAX = 60_000;
/** The server ends a statement by itself first; a connection that is silent for this much longer is given up. */
const SILENCE_MS_MAX = 3_000;

/** Connections are made when needed. A query rejects when its connection is lost, or has been silent for too long. */
export function openOwnPool(options: OwnPoolOptions): pg.Pool {
  const { connection, purpose, max, statementTimeoutMs, lockTimeoutMs, settings, log } = options;
  const pool = new pg.Pool({
    ...connection,
    max,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    idleTimeoutMillis: options.idleTimeoutMs ?? IDLE_MS_MAX,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + SILENCE_MS_MAX,
    application_name: `atomesh ${purpose}`,
    ...(lockTimeoutMs === undefined ? {} : { lock_timeout: lockTimeoutMs }),
    ...(settings === undefined ? {} : { options: optionsText(settings) }),
  });
  pool.on('error', (error) => log.warn({ err: error.message }, `an idle connection of the ${purpose} was lost`));
  // The pool listens only while a connection is idle; a loss that nobody hears of would end the process. The query that runs rejects.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** As the start-up parameter `options` has them: a backslash keeps a space in a value. */
function optionsText(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)
    .join(' ');
}
