/** What `GET /locks` of a sidecar's admin listener answers: the row locks that unfinished global transactions hold. */
import type { Gid } from './transaction.ts';

/** One row lock, or one claim. */
export interface LockView {
  readonly database: string;
  /** Who holds it. */
  readonly gid: Gid;
  /** The holder's branch. */
  readonly resource: string;
  /** The table, with its schema; an object id where it is gone. */
  readonly table: string;
  /** The columns whose values are locked: of the primary key, or of another unique index. Empty where that is gone. */
  readonly columns: readonly string[];
  /** Their values in the form that locks are compared in, or one that is equal to it and can be read; long ones are hashes. */
  readonly values: readonly string[];
  /** True for a claim on a row that a changed row has ceased to refer to: any number of holders may have one, and it keeps out only who frees the key. */
  readonly shared: boolean;
  /** Since when the branch has changed rows; milliseconds since the epoch. Absent once that is not recorded any more. */
  readonly since?: number;
  /** Who waits for it in this sidecar, those who have waited longest first. The gid is empty for a statement outside any global transaction. */
  readonly waiting: readonly { readonly gid: Gid; readonly since: number }[];
}

/** The locks of one page. */
export interface LockPage {
  readonly locks: readonly LockView[];
  /** Pass as `after` for the next page; absent at the end. */
  readonly next?: string;
}
