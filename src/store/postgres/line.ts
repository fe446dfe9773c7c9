/** One connection to the database that comes back by itself. What is asked together goes in one round trip and one transaction. */
import pg from 'pg';
import { CodedError } from '../../contract/errors.ts';
import type { Instant } from '../../contract/transaction.ts';
import { at, now } from '../../platform/clock.ts';
import type { Log } from '../../platform/log.ts';

/** A statement; those of one name have one text and are parsed once for each connection, others each time. */
export interface Query {
  readonly name?: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A row as an array of columns; 8-byte integers come as texts. */
export type Row = readonly unknown[];

/** A database, and what is said about it. */
export interface LineOptions {
  /** `postgres://user:password@host:port/database?sslmode=verify-full`. */
  readonly url: string;
  readonly log: Log;
  /** Called when the database no longer is what this program made of it. */
  readonly onBroken: (error: CodedError) => void;
}

const CONNECT_MS = 5000;
/** The longest that a batch may take; a connection that does not answer by then is given up. */
const ANSWER_MS = 15_000;
/**
 * The end of a batch follows its beginning at once, unless the network has lost it: then nobody else is to wait long for the rows,
 * who may be about to take them over.
 */
const UNFINISHED_MS = 2000;
/** So long what is asked waits for a connection that is lost. Nothing of it has been sent, so waiting is safe. */
const PATIENCE_MS = 5000;
const RECONNECT_MS_MAX = 1000;
const KEEP_ALIVE_MS = 10_000;
const ATTEMPTS_MAX = 6;

/** Nothing has taken effect, and the same may be sent again: serialization failure, deadlock (https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html). */
const ROLLED_BACK: ReadonlySet<string> = new Set(['40001', '40P01']);
/** The tables or the schema are not there any more, or have another form. */
const BROKEN: ReadonlySet<string> = new Set(['42P01', '42703', '3F000']);

/**
 * Settings of each connection. An engine that does not know one goes without it.
 * All that is done is done by index, whatever the planner believes of a table that grows faster than its statistics.
 */
const SETTINGS = [
  `SET statement_timeout = ${ANSWER_MS}`,
  `SET idle_in_transaction_session_timeout = ${UNFINISHED_MS}`,
  'SET enable_seqscan = off',
  'SET enable_hashjoin = off',
  'SET enable_mergejoin = off',
];

/** Everything that it rejects with is a `CodedError` STORE_FAILED. */
export class PostgresLine {
  readonly #options: LineOptions;
  #client: Promise<pg.Client> | undefined;
  #isClosed = false;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /**
   * Sends `queries` at once, and resolves with the rows of each once they are committed. Rejects when nothing was kept, and also
   * when nobody knows. What the database rolled back of its own accord is sent again.
   */
  async run(queries: readonly Query[]): Promise<readonly (readonly Row[])[]> {
    for (let attempt = 1; ; attempt += 1) {
      const connection = this.#connect();
      const client = await connection;
      try {
        return await (queries.length === 1 ? alone(client, queries) : together(client, queries));
      } catch (error) {
        const code = sqlState(error);
        const isUsable = queries.length === 1 && code !== undefined && /^(?:22|23|40|42|54)/.test(code);
        if (!isUsable) this.#discard(connection, client);
        if (code !== undefined && ROLLED_BACK.has(code) && attempt < ATTEMPTS_MAX) continue;
        throw this.#failure(error);
      }
    }
  }

  /** Waits for what is under way, then closes the connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const client = await this.#client?.catch(() => undefined);
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  #connect(): Promise<pg.Client> {
    if (this.#isClosed) return Promise.reject(storeFailed('the store is closed'));
    if (this.#client !== undefined) return this.#client;
    const connection = this.#connectInTime();
    this.#client = connection;
    connection.then(
      (client) => {
        client.on('error', (error) => {
          this.#options.log.warn({ err: error }, 'the connection to the database was lost');
          this.#discard(connection, client);
        });
      },
      () => this.#discard(connection),
    );
    return connection;
  }

  async #connectInTime(): Promise<pg.Client> {
    const until = now() + PATIENCE_MS;
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, RECONNECT_MS_MAX)) {
      try {
        return await openClient(this.#options.url);
      } catch (error) {
        if (this.#isClosed || now() + pauseMs > until || !isPassing(error)) throw this.#failure(error);
        await new Promise<void>((resolve) => at((now() + pauseMs) as Instant, resolve));
      }
    }
  }

  #discard(connection: Promise<pg.Client>, client?: pg.Client): void {
    if (this.#client === connection) this.#client = undefined;
    void client?.end().catch(() => undefined);
  }

  #failure(error: unknown): CodedError {
    if (error instanceof CodedError) return error;
    const code = sqlState(error);
    const text = error instanceof Error ? error.message : String(error);
    const failed = storeFailed(`the database failed${code === undefined ? '' : ` (${code})`}: ${text}`, error);
    if (code !== undefined && BROKEN.has(code)) this.#options.onBroken(failed);
    return failed;
  }
}

/** A connection with its settings made. Rejects with pg's own errors, or `CodedError` when the server takes no writes. */
export async function openClient(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'atomesh coordinator',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    // What is asked does not wait for what was asked before.
    pipeline: true,
  });
  // Whoever uses the connection learns of its end by its queries; an error that nobody hears would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await Promise.all(SETTINGS.map((text) => client.query(text).catch(ignoreUnknown)));
    const [readOnly, durable] = await Promise.all([
      client.query<[string]>({ text: 'SHOW transaction_read_only', rowMode: 'array' }),
      client.query<[string]>({ text: 'SHOW synchronous_commit', rowMode: 'array' }),
    ]);
    if (readOnly.rows[0]?.[0] === 'on')
      throw storeFailed('the database takes no writes: it is a standby, or read-only');
    // What was answered has to survive a crash, whatever the default of this database is.
    if (durable.rows[0]?.[0] === 'off') await client.query('SET synchronous_commit = on');
    return client;
  } catch (error) {
    void client.end().catch(() => undefined);
    throw error;
  }
}

async function alone(client: pg.Client, queries: readonly Query[]): Promise<readonly (readonly Row[])[]> {
  return Promise.all(queries.map(async (query) => (await client.query(forDriver(query))).rows));
}

/** Everything is on its way before the first answer is back. */
async function together(client: pg.Client, queries: readonly Query[]): Promise<readonly (readonly Row[])[]> {
  const sent = [
    client.query('BEGIN'),
    ...queries.map((query) => client.query(forDriver(query))),
    client.query('COMMIT'),
  ];
  const settled = await Promise.allSettled(sent);
  for (const result of settled) if (result.status === 'rejected') throw result.reason;
  const results = await Promise.all(sent);
  // After an error COMMIT answers ROLLBACK; that error was thrown above.
  if (results.at(-1)?.command !== 'COMMIT')
    throw storeFailed('the database rolled a transaction back without an error');
  return results.slice(1, -1).map(({ rows }) => rows as readonly Row[]);
}

function forDriver({ name, text, values }: Query): pg.QueryArrayConfig {
  return { ...(name === undefined ? {} : { name }), text, values: [...values], rowMode: 'array' };
}

/** The error code of the server (https://www.postgresql.org/docs/current/errcodes-appendix.html); undefined when the connection failed. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/** True when a later attempt to connect may succeed: nobody answered, or the server starts, stops or is full. */
function isPassing(error: unknown): boolean {
  const code = sqlState(error);
  return code === undefined || code.startsWith('57P') || code.startsWith('53');
}

function ignoreUnknown(error: unknown): void {
  if (sqlState(error) === undefined) throw error;
}

/** The error that callers get. */
export function storeFailed(message: string, cause?: unknown): CodedError {
  return new CodedError('STORE_FAILED', message, {
    retry: 'safe',
    hint: "Look at the database of the coordinator's option store.postgres.url, and at the network between; then send the same again.",
    cause,
  });
}
