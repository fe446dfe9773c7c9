/** What was done, what its clients were told, and what is there in the end: what the checker judges. Data. */

/** What a client knows of a global transaction when it goes on to the next. */
export type Told = 'committed' | 'rolled back' | 'unknown';

/** In the order of the client. A read was made with FOR UPDATE inside the global transaction; a failed statement is no operation. */
export type Operation =
  /** The account's balance changes by `amount`. */
  | { readonly kind: 'move'; readonly account: string; readonly amount: number }
  /** The sum of all balances. */
  | { readonly kind: 'total'; readonly total: number }
  | { readonly kind: 'append'; readonly key: string; readonly value: number }
  | { readonly kind: 'read'; readonly key: string; readonly items: readonly number[] };

/** One global transaction. */
export interface Attempt {
  readonly gid: string;
  readonly told: Told;
  /** Those that were tried: of changes it is not known whether they were carried out. */
  readonly operations: readonly Operation[];
}

/** A row that each change of an account leaves beside it. */
export interface Movement {
  readonly gid: string;
  readonly account: string;
  readonly amount: number;
  /** How often the account had been changed then, this time included. */
  readonly version: number;
  /** The balance afterwards. */
  readonly balance: number;
}

export interface Account {
  readonly account: string;
  readonly version: number;
  readonly balance: number;
}

export interface History {
  readonly attempts: readonly Attempt[];
  /** What the coordinator says at last, by gid: `succeed`, `failed`, or what it is instead. */
  readonly ended: ReadonlyMap<string, string>;
  /** Every account begins with this balance. */
  readonly balanceAtFirst: number;
  readonly accounts: readonly Account[];
  readonly movements: readonly Movement[];
  /** By key, first append first. */
  readonly lists: ReadonlyMap<string, readonly number[]>;
  /** Undo records, row locks and prepared transactions that are left, in words; empty when there are none. */
  readonly leftovers: readonly string[];
}
