/** Prepared transactions of one database of a service, as its second phase finds and ends them. Those of others are never touched. */
import type { Gid } from '../../../src/contract/transaction.ts';

/** One of ours that is not ended. */
export interface Prepared {
  readonly name: string;
  readonly gid: Gid;
  /** The resource of its branch. */
  readonly resource: string;
  /** In milliseconds; where the server does not know it, as long as we have seen it. */
  readonly ageMs: number;
  /** The role that prepared it, where the role of the second phase has to take that on to end it. */
  readonly owner?: string;
}

/**
 * - `gone`: somebody else has ended it.
 * - `busy`: it is just being prepared or ended, or the connection that prepared it is not closed yet.
 * - `stuck`: the server has said yes, and done nothing. It lists it no more, and keeps its rows locked, until it is started again.
 */
export type EndOfPrepared = 'ended' | 'gone' | 'busy' | 'stuck';

export interface PreparedTransactions {
  /** All of this database. Whoever asks while a list is being made shares the next one. Rejects when the database cannot be asked. */
  list(): Promise<readonly Prepared[]>;
  /** Commits or rolls back one. Rejects when it cannot be ended now, or not by the role of the second phase. */
  end(verb: 'COMMIT' | 'ROLLBACK', prepared: Prepared): Promise<EndOfPrepared>;
  /** What the database knows of the branch; undefined when nothing. */
  stateOf(gid: Gid, resource: string): Promise<string | undefined>;
  close(): Promise<void>;
}

/**
 * Many ask at the same time, and one question serves them all. A list that is being made may have begun before what is asked about, so
 * it is the next one that is shared.
 */
export function sharedList<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> | undefined;
  let next: Promise<T> | undefined;
  return () => {
    next ??= (async () => {
      await running?.catch(() => undefined);
      const asked = ask();
      running = asked;
      next = undefined;
      return await asked;
    })();
    return next;
  };
}
