/** What is to be done with one statement that runs inside a global transaction. Free of any wire and any dialect. */

/** An error as a database client gets it. `code` is an SQLSTATE. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  /** What the user can do about it. */
  readonly hint: string;
  readonly detail?: string;
  /** The database's own error, which the client gets in its place. */
  readonly asReceived?: Buffer;
}

/** A parameter that the capturing statement has beside the client's own; they follow the client's in this order. */
export type OwnParameter =
  /** text: the gid. */
  | 'gid'
  /** text: the branch's resource name. */
  | 'resource'
  /** text[]: gids known to be committed, whose row locks may be taken over. */
  | 'committed-gids'
  /** text: TimeZone of the session, under which images are written. */
  | 'time-zone';

/**
 * One client statement rewritten so that it locks, changes, and writes its own undo record and row locks, in one statement.
 * With `returnsRows` its rows are the client's own rows (same names, types and order). Without, it returns one row with
 * one int8 column: the number of rows changed.
 */
export interface Capture {
  /** The command tag's word: `SELECT` for a query whose common table expressions change rows. */
  readonly command: 'INSERT' | 'UPDATE' | 'DELETE' | 'MERGE' | 'SELECT';
  /** Also enters the branch (`branch_state`): for the first change of a local transaction, and after a rollback to a savepoint. */
  readonly sql: string;
  /** The same without entering the branch: for the later changes of a local transaction. Same parameters. */
  readonly sqlWhenEntered: string;
  readonly returnsRows: boolean;
  /** How many parameters the client's own text has. */
  readonly clientParameters: number;
  /**
   * The client runs by SQL what it has prepared: EXECUTE with these arguments, as written, of which the capturing statement's own
   * follow. `types`: the oids of the prepared statement's parameters.
   */
  readonly execute?: { readonly arguments: string | undefined; readonly types: readonly number[] };
  readonly ownParameters: readonly OwnParameter[];
  /** What its row locks are filed under. */
  readonly locks?: readonly number[];
  /**
   * It locks rows that nobody else may hold: it enters no branch, and has no images. So does a change that is not captured and waits all the
   * same. `waits`: false where the client wants an error instead of waiting. `keepsLocks`: it may also lock rows that somebody else holds.
   * `takesValues`: it may take unique values, or refer to rows, that the rollback of somebody else's changes needs. `places`: where the
   * client's text has become another one.
   */
  readonly read?: {
    readonly waits: boolean;
    readonly keepsLocks: boolean;
    readonly takesValues?: boolean;
    readonly places: Places;
  };
  /** Present where triggers of the tables write images and locks: both texts are the client's own, and its answers are too. */
  readonly recorded?: Recorded;
}

/** What triggers are told of a local transaction before it changes rows. */
export interface Recorded {
  /** Most rows that one statement may change. */
  readonly rowsMax: number;
  /** The statement can neither end a local transaction by itself nor ask for one of its own. */
  readonly isPlain: boolean;
  /** As in the plan of a change. */
  readonly runsCode?: true;
}

export type TransactionVerb =
  | 'begin'
  | 'commit'
  | 'commit-and-chain'
  | 'rollback'
  | 'rollback-and-chain'
  | 'savepoint'
  | 'rollback-to'
  | 'release';

/** How a statement names, changes or drops the session variable `atomesh.gid`. */
export interface GidSetting {
  /** `local`: until the local transaction ends; `session`: until changed. */
  readonly scope: 'local' | 'session';
  /** The literal text of a mark, or the number of the parameter (from 1) that carries it; undefined when the variable is reset. */
  readonly value: string | number | undefined;
}

/**
 * What tells a position in the client's text from one in ours, in characters from 0. `ahead`: what the client's text has in front of ours;
 * `inserted`: what ours has and the client's has not, in order.
 */
export interface Places {
  readonly ahead: number;
  readonly inserted: readonly { readonly at: number; readonly length: number }[];
}

/** The plan for one statement inside a global transaction. */
export type StatementPlan =
  /**
   * Changes nothing that undo would have to restore: goes through as it came. `isByName`: as long as the name that it executes
   * stands for the same statement. `fetches`: the cursor whose query it runs.
   */
  | { readonly kind: 'pass'; readonly isByName?: true; readonly fetches?: string }
  /** Transaction control. `name`: the savepoint. */
  | { readonly kind: 'control'; readonly verb: TransactionVerb; readonly name?: string }
  | { readonly kind: 'set-gid'; readonly setting: GidSetting }
  | { readonly kind: 'capture'; readonly capture: Capture }
  /**
   * May change rows, and runs as it came: inside an operation once the row of the barrier is in, elsewhere once the branch is entered,
   * in a local transaction that is then prepared. `isPlain`: it can neither end a local transaction by itself nor ask for one of its
   * own, as procedures, DO blocks and VACUUM can. `recorded`: triggers write the images, so the local transaction is not prepared.
   * `runsCode`: it may run functions and blocks of the user's, behind which names may mean something else. `waits`: the same statement as
   * it waits for rows that an unfinished global transaction has changed; it has `read`.
   */
  | {
      readonly kind: 'change';
      readonly isPlain: boolean;
      readonly recorded?: Recorded;
      readonly runsCode?: true;
      readonly waits?: Capture;
    }
  /**
   * `isAlways`: it is refused for what it does to the session, and not for want of images.
   * `escalates`: it is refused for want of images alone. A local transaction that will be prepared, and not undone, could run it.
   */
  | {
      readonly kind: 'refuse';
      readonly refusal: Refusal;
      readonly isAlways?: true;
      readonly escalates?: true;
    };
