/**
 * What the rows of a barrier mean, whatever the database is that they are in: a file for each has the statements. The rows are those of
 * docs/barrier.md.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { INITIATOR, isFinal, parseGid, type Gid } from '../../src/contract/transaction.ts';
import { transTypeOf, type BarrierTask } from '../sql/work.ts';
import { originOf, type Barrier, type KeptAnswer, type OperationOf } from './barrier.ts';

/** A row with the id `01`, which local transactions of the application write as well. */
export interface BarrierRow {
  readonly transType: ReturnType<typeof transTypeOf>;
  readonly gid: Gid;
  readonly branch: string;
  readonly op: BarrierTask;
  readonly reason: string;
}

/** A row that is old enough to be looked at. */
export interface OldRow {
  readonly gid: string;
  /** No transaction can be this old. */
  readonly ancient: boolean;
}

/** The statements of one database. Each rejects when the database does. */
export interface BarrierRows<Row extends OldRow> {
  /**
   * Writes the row of what is undone or confirmed, and, if it was not there, the row of what comes after it: an operation and what comes
   * after it wait for each other at the same key. True when they were written; `busy` when an open local transaction has written the
   * first one, and may still commit it.
   */
  insertUndone(row: Omit<BarrierRow, 'reason'> & { readonly origin: BarrierTask }): Promise<boolean | 'busy'>;
  /** Writes a row unless its key is taken, after waiting for whoever is writing it; with the answer that goes with it, of which the first counts. */
  insert(row: BarrierRow, answer: KeptAnswer | undefined): Promise<boolean>;
  /** Writes, beside the row of an operation, that it is half. */
  insertHalf(row: Omit<BarrierRow, 'reason'>): Promise<void>;
  /** The reason of the row that stands, or `HALF`. */
  reasonOf(gid: Gid, branch: string, op: BarrierTask): Promise<string | undefined>;
  answerOf(gid: Gid, branch: string, op: BarrierTask): Promise<KeptAnswer | undefined>;
  /** Some rows of global transactions that have had no row for so long, in the order of age, behind the one that is given. */
  old(olderThanMs: number, after: Row | undefined): Promise<readonly Row[]>;
  /** Deletes rows with their answers; answers how many. */
  delete(rows: readonly Row[]): Promise<number>;
}

/** The reason, and the id, of the row beside that of an operation: another local transaction of it was refused. Libraries use no such id. */
export const HALF = 'half';
/**
 * The coordinator forgets what has ended, and clients of other coordinators may use the table too: a gid that ours does not know is
 * over only when no transaction can be that old. A deadline is at most 30 days away.
 */
export const UNKNOWN_DAYS = 31;
/** Most rows that `old` answers. */
export const BATCH_ROWS = 500;
/** Of one run of the cleaning; the next run goes on, for what is deleted is not met again. */
const BATCHES_MAX = 200;
const QUESTIONS_AT_ONCE = 8;

/** The barrier that these rows make. `coordinator` says which global transactions are over, before rows of theirs are deleted. */
export function barrierOf<Row extends OldRow>(
  rows: BarrierRows<Row>,
  coordinator: Pick<CoordinatorClient, 'read'>,
): Barrier {
  return new RowBarrier(rows, coordinator);
}

class RowBarrier<Row extends OldRow> implements Barrier {
  readonly #rows: BarrierRows<Row>;
  readonly #coordinator: Pick<CoordinatorClient, 'read'>;

  constructor(rows: BarrierRows<Row>, coordinator: Pick<CoordinatorClient, 'read'>) {
    this.#rows = rows;
    this.#coordinator = coordinator;
  }

  async arrive({ gid, branch, task }: OperationOf): ReturnType<Barrier['arrive']> {
    if (task === 'confirm' || task === 'cancel' || task === 'compensate') {
      const row = { transType: transTypeOf(task), gid, branch, op: task, origin: originOf(task) };
      const inserted = await this.#rows.insertUndone(row);
      if (inserted === 'busy') return 'busy';
      if (inserted) return 'absorbed';
    }
    const reason = await this.#rows.reasonOf(gid, branch, task);
    if (reason === undefined) return 'open';
    if (reason === HALF) return 'half';
    return reason === task ? 'done' : 'fenced';
  }

  async complete({ gid, branch, task }: OperationOf, answer?: KeptAnswer): ReturnType<Barrier['complete']> {
    const reason = await this.#settle(gid, branch, task, task, answer);
    if (reason === HALF) return 'half';
    return reason === task ? 'done' : 'fenced';
  }

  answerOf({ gid, branch, task }: OperationOf): ReturnType<Barrier['answerOf']> {
    return this.#rows.answerOf(gid, branch, task);
  }

  halve({ gid, branch, task }: OperationOf): Promise<void> {
    return this.#rows.insertHalf({ transType: transTypeOf(task), gid, branch, op: task });
  }

  async backCheck(gid: Gid): ReturnType<Barrier['backCheck']> {
    return (await this.#settle(gid, INITIATOR, 'msg', 'rollback')) === 'rollback' ? 'rolled-back' : 'committed';
  }

  /**
   * A row is needed until its global transaction is over, however old it is: without it a compensation would find nothing to undo.
   * The age is that of the youngest row of the gid.
   */
  async cleanUp(olderThanMs: number): Promise<number> {
    let deleted = 0;
    let last: Row | undefined;
    for (let batch = 0; batch < BATCHES_MAX; batch += 1) {
      const rows = await this.#rows.old(olderThanMs, last);
      last = rows.at(-1);
      if (last === undefined) break;
      const over = await this.#over(rows);
      const gone = rows.filter(({ gid }) => over.has(gid));
      if (gone.length > 0) deleted += await this.#rows.delete(gone);
    }
    return deleted;
  }

  /**
   * Writes the row unless its key is taken, after waiting for whoever is writing it; answers the reason of the row that stands, or that
   * the operation is half.
   */
  async #settle(gid: Gid, branch: string, op: BarrierTask, reason: string, answer?: KeptAnswer): Promise<string> {
    if (await this.#rows.insert({ transType: transTypeOf(op), gid, branch, op, reason }, answer)) return reason;
    const standing = await this.#rows.reasonOf(gid, branch, op);
    // Rows are deleted only when their global transaction is long over.
    if (standing === undefined) throw new Error(`the row of ${op} of branch ${branch} of ${gid} has just been deleted`);
    return standing;
  }

  /** The gids of the rows that are over. One question a transaction, a few at a time: there is time. */
  async #over(rows: readonly OldRow[]): Promise<ReadonlySet<string>> {
    const gids = [...new Map(rows.map((row) => [row.gid, row])).values()];
    const over = new Set<string>();
    for (let from = 0; from < gids.length; from += QUESTIONS_AT_ONCE) {
      const some = gids.slice(from, from + QUESTIONS_AT_ONCE);
      const answers = await Promise.all(some.map((row) => this.#isOver(row)));
      for (const [index, { gid }] of some.entries()) if (answers[index] === true) over.add(gid);
    }
    return over;
  }

  async #isOver({ gid: text, ancient }: OldRow): Promise<boolean> {
    const gid = parseGid(text);
    const transaction = gid === undefined ? undefined : await this.#coordinator.read(gid);
    return transaction === undefined ? ancient : isFinal(transaction.status);
  }
}
