/**
 * Keeps global transactions in a PostgreSQL database that several coordinators share. Writes are fenced by version and owner, go in
 * batches, and are made only with instants of the coordinators: the database's clock is never read.
 */
import type { CodedError } from '../contract/errors.ts';
import type { Gid, Instant } from '../contract/transaction.ts';
import { dueFromBegin } from '../engine/deadline.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { agesFrom } from '../engine/retention.ts';
import type { Log } from '../platform/log.ts';
import { newId } from '../platform/random.ts';
import type { Lease, Records, Shared, Store, Stored, StoredRecord } from '../runner/ports.ts';
import { ROWS_MAX } from './postgres/batch.ts';
import { PostgresLine, type Query, type Row } from './postgres/line.ts';
import { Notices } from './postgres/notices.ts';
import { WriteQueue } from './postgres/queue.ts';
import { ReadQueue } from './postgres/reads.ts';
import { migrate } from './postgres/schema.ts';
import { statementsFor, type InsertRow, type SaveRow, type Statements } from './postgres/statements.ts';

/** A store that several coordinators share, and that can fail for good. */
export interface PostgresStore extends Store, Records, Shared {
  /**
   * Resolves when the tables are gone or have another form: the process should end. A database that cannot be reached is no such
   * failure; calls reject until it is back.
   */
  readonly failed: Promise<Error>;
  /** Batches of writes so far: each is one database transaction. */
  readonly batches: number;
}

export interface PostgresStoreOptions {
  /** `postgres://user:password@host:port/database?sslmode=verify-full`. A direct connection: a pooler that shares connections breaks prepared statements. */
  readonly url: string;
  /** The schema for the tables; made when it is not there. Default `atomesh_coordinator`. */
  readonly schema?: string;
}

const SCHEMA = 'atomesh_coordinator';
/** Of all schemas of the database: a name made of a schema's could be too long. What is said there begins with the schema. */
const CHANNEL = 'atomesh_due';

/**
 * Connects, and makes or brings up to date the tables. Rejects with `CodedError` STORE_FAILED when the database cannot be reached,
 * takes no writes, may not be used, or was written by a newer version. Everything that its methods reject with is STORE_FAILED too.
 */
export async function openPostgresStore(
  { url, schema = SCHEMA }: PostgresStoreOptions,
  log: Log,
): Promise<PostgresStore> {
  const failed = Promise.withResolvers<Error>();
  const onBroken = (error: CodedError): void => {
    log.fatal({ hint: error.hint }, `the store has failed for good: ${error.message}`);
    failed.resolve(error);
  };
  const openLine = (): PostgresLine => new PostgresLine({ url, log, onBroken });
  const writes = openLine();
  try {
    // The first connection waits for a database that is just starting, and says what is wrong with it.
    await writes.run([{ text: 'SELECT 1', values: [] }]);
    await migrate(url, schema);
  } catch (error) {
    await writes.close();
    throw error;
  }
  return new LinkedStore({ url, schema, log, writes, reads: openLine(), lists: openLine(), failed: failed.promise });
}

interface Links {
  readonly url: string;
  readonly schema: string;
  readonly log: Log;
  /** Three connections, so that a long list holds up no read, and no read a write. */
  readonly writes: PostgresLine;
  readonly reads: PostgresLine;
  readonly lists: PostgresLine;
  readonly failed: Promise<Error>;
}

class LinkedStore implements PostgresStore {
  readonly failed: Promise<Error>;
  readonly #links: Links;
  readonly #statements: Statements;
  readonly #writes: WriteQueue;
  readonly #reads: ReadQueue;
  readonly #notices: Notices;
  #onDue: (() => void) | undefined;

  constructor(links: Links) {
    const { url, schema, log, writes, reads, failed } = links;
    this.failed = failed;
    this.#links = links;
    this.#statements = statementsFor(schema);
    const ours = `${schema} ${newId()}`;
    const onNotice = (text: string | undefined): void => {
      if (text === undefined || (text !== ours && text.startsWith(`${schema} `))) this.#onDue?.();
    };
    this.#notices = new Notices({ url, channel: CHANNEL, log, onNotice });
    const notification = this.#statements.notify(CHANNEL, ours);
    this.#writes = new WriteQueue(writes, this.#statements, () =>
      this.#notices.isSupported ? notification : undefined,
    );
    this.#reads = new ReadQueue(reads, this.#statements);
  }

  get batches(): number {
    return this.#writes.batches;
  }

  async insert(transaction: GlobalTransaction, lease: Lease): Promise<'inserted' | 'exists'> {
    const row = insertRow(transaction, lease);
    const isDone = await this.#writes.add<boolean>('now', (settle) => ({ kind: 'insert', row, settle }));
    return isDone ? 'inserted' : 'exists';
  }

  async save(...[next, version, lease, dueAt, durability]: Parameters<Store['save']>): Promise<'saved' | 'conflict'> {
    const row = saveRow(next, version, lease, dueAt);
    const isDone = await this.#writes.add<boolean>(durability, (settle) => ({ kind: 'save', row, settle }));
    return isDone ? 'saved' : 'conflict';
  }

  async read(gid: Gid): Promise<Stored | undefined> {
    const row = await this.#reads.read(gid);
    return row === undefined ? undefined : storedOf(row[1], row[2]);
  }

  async holderOf(gid: Gid, now: Instant): Promise<string | undefined> {
    const row = await this.#reads.read(gid);
    return typeof row?.[3] === 'string' && Number(row[4]) > now ? row[3] : undefined;
  }

  async claimDue(
    now: Instant,
    lease: Lease,
    limit: number,
    ownUntil: number = Number.MAX_SAFE_INTEGER,
  ): Promise<readonly Stored[]> {
    const rows = await this.#ask(this.#links.reads, this.#statements.claimDue(now, lease, limit, ownUntil));
    return rows.toSorted((a, b) => Number(a[3]) - Number(b[3])).map(([, version, body]) => storedOf(version, body));
  }

  async claim(gid: Gid, now: Instant, { owner, until }: Lease): Promise<Stored | 'held' | 'unknown'> {
    const answer = await this.#writes.add<readonly [unknown, unknown] | 'held' | 'unknown'>('now', (settle) => ({
      kind: 'claim',
      row: [gid, now, owner, until],
      settle,
    }));
    return typeof answer === 'string' ? answer : storedOf(answer[0], answer[1]);
  }

  async renew(gids: readonly Gid[], { owner, until }: Lease): Promise<readonly Gid[]> {
    const rows = [...new Set(gids)].map((gid) => [gid, owner, until] as const);
    const parts: Promise<readonly Gid[]>[] = [];
    for (let from = 0; from < rows.length; from += ROWS_MAX) {
      const part = rows.slice(from, from + ROWS_MAX);
      parts.push(this.#writes.add('now', (settle) => ({ kind: 'renew', rows: part, settle })));
    }
    return (await Promise.all(parts)).flat();
  }

  async list(...[filter]: Parameters<Store['list']>): Promise<readonly Stored[]> {
    const rows = await this.#ask(this.#links.lists, this.#statements.list(filter));
    return rows.map(([, version, body]) => storedOf(version, body));
  }

  async deleteFinished(before: Instant, limit: number): Promise<number> {
    return (await this.#ask(this.#links.lists, this.#statements.deleteFinished(before, limit))).length;
  }

  async readRecord(category: string, key: string): Promise<StoredRecord | undefined> {
    const [row] = await this.#ask(this.#links.reads, this.#statements.readRecord(category, key));
    return row === undefined ? undefined : recordOf(row);
  }

  async saveRecord(...[record, version, now]: Parameters<Records['saveRecord']>): Promise<'saved' | 'conflict'> {
    const { addRecord, replaceRecord } = this.#statements;
    const query = version === 0 ? addRecord(record, now) : replaceRecord(record, version, now);
    return (await this.#ask(this.#links.reads, query)).length === 1 ? 'saved' : 'conflict';
  }

  async deleteRecord(category: string, key: string): Promise<boolean> {
    return (await this.#ask(this.#links.reads, this.#statements.deleteRecord(category, key))).length === 1;
  }

  async listRecords(category: string, after: string, limit: number): Promise<readonly StoredRecord[]> {
    return (await this.#ask(this.#links.lists, this.#statements.listRecords(category, after, limit))).map(recordOf);
  }

  onDue(listener: () => void): void {
    this.#onDue = listener;
    void this.#notices.open();
  }

  async close(): Promise<void> {
    const { writes, reads, lists } = this.#links;
    await this.#writes.close();
    await Promise.all([writes.close(), reads.close(), lists.close(), this.#notices.close()]);
  }

  async #ask(line: PostgresLine, query: Query): Promise<readonly Row[]> {
    const [rows = []] = await line.run([query]);
    return rows;
  }
}

function insertRow(transaction: GlobalTransaction, { owner, until }: Lease): InsertRow {
  const { gid, mode, createdAt, status } = transaction;
  const dueAt = dueFromBegin(transaction) ?? null;
  const finishedAt = agesFrom(transaction) ?? null;
  return [gid, mode, createdAt, owner, until, dueAt, status, finishedAt, JSON.stringify(transaction)];
}

function saveRow(next: GlobalTransaction, version: number, lease: Lease, dueAt: Instant | undefined): SaveRow {
  const { gid, status } = next;
  const { owner, until } = lease;
  return [gid, version, owner, until, dueAt ?? null, status, agesFrom(next) ?? null, JSON.stringify(next)];
}

/** The body is our own JSON: what was stored is what comes back. */
function storedOf(version: unknown, body: unknown): Stored {
  return { transaction: JSON.parse(String(body)) as GlobalTransaction, version: Number(version) };
}

function recordOf([category, key, value, version, createdAt, updatedAt]: Row): StoredRecord {
  return {
    category: String(category),
    key: String(key),
    value: String(value),
    version: Number(version),
    createdAt: Number(createdAt) as Instant,
    updatedAt: Number(updatedAt) as Instant,
  };
}
