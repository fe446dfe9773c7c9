/** Reads of single transactions, gathered: those that are asked for while the sockets are read go as one statement. */
import { CodedError } from '../../contract/errors.ts';
import type { Gid } from '../../contract/transaction.ts';
import { storeFailed, type PostgresLine, type Row } from './line.ts';
import type { Statements } from './statements.ts';

const GIDS_MAX = 1000;
/** Reads that wait or are under way; beyond it callers are refused. */
const READS_MAX = 100_000;

interface Pending {
  readonly gid: Gid;
  readonly resolve: (row: Row | undefined) => void;
  readonly reject: (error: CodedError) => void;
}

/** Everything that it rejects with is a `CodedError` STORE_FAILED. */
export class ReadQueue {
  readonly #line: PostgresLine;
  readonly #statements: Statements;
  #waiting: Pending[] = [];
  #count = 0;

  constructor(line: PostgresLine, statements: Statements) {
    this.#line = line;
    this.#statements = statements;
  }

  /** The row of the transaction, as `Statements.read` has it. */
  read(gid: Gid): Promise<Row | undefined> {
    if (this.#count >= READS_MAX) return Promise.reject(storeFailed(`${READS_MAX} reads wait for the database`));
    this.#count += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ gid, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let from = 0; from < waiting.length; from += GIDS_MAX) void this.#send(waiting.slice(from, from + GIDS_MAX));
  }

  async #send(batch: readonly Pending[]): Promise<void> {
    try {
      const [rows = []] = await this.#line.run([this.#statements.read([...new Set(batch.map(({ gid }) => gid))])]);
      const byGid = new Map(rows.map((row) => [row[0], row]));
      for (const { gid, resolve } of batch) resolve(byGid.get(gid));
    } catch (error) {
      const failed = error instanceof CodedError ? error : storeFailed(String(error), error);
      for (const { reject } of batch) reject(failed);
    } finally {
      this.#count -= batch.length;
    }
  }
}
