/** What the bank needs of a database server, of whatever make it is: databases of services, sessions, faults, and a look at the end. */
import type { Gid } from '../../src/contract/transaction.ts';
import type { Account, Movement } from './history.ts';

/** Every account begins with this balance. */
export const BALANCE = 1_000;
/** Accounts of each service: `<service> 1` and so on, which is how their lists are called too. */
export const ACCOUNTS_EACH = 3;
export const LISTS_EACH = 3;

/** How long an application waits for an answer, in milliseconds. */
export const QUERY_MS_MAX = 4_000;
/** How long it waits for a lock of the database: two databases cannot see that their clients wait for each other. */
export const LOCK_MS_MAX = 1_000;

/** The change of an account's balance, which a movement says beside it. */
export type Change = Pick<Movement, 'gid' | 'account' | 'amount'>;

/** An application's session through a sidecar. All of it rejects when the statement fails, and the session is of no use then. */
export interface Session {
  /** Nothing can be said any more. */
  readonly isLost: boolean;
  /** Begins a local transaction of the global one. */
  begin(gid: Gid): Promise<void>;
  /** Rejects unless all of it has committed, or is prepared. */
  commit(): Promise<void>;
  /** Reads an account and locks its row. */
  lock(account: string): Promise<void>;
  /** The balance of every account; all rows are locked. */
  balances(): Promise<readonly number[]>;
  /** Changes a balance and writes it down. */
  move(change: Change): Promise<void>;
  /** The same by a routine in the database, which has no row images. */
  moveByRoutine(change: Change): Promise<void>;
  append(list: string, value: number): Promise<void>;
  /** What is in a list; its row is locked. */
  items(list: string): Promise<readonly number[]>;
  /** Breaks the connection off. */
  drop(): void;
}

/** How a session's connection is known to be over, and is broken off. */
export interface Ends {
  readonly isLost: () => boolean;
  readonly drop: () => void;
}

/** What stands in a service's database. */
export interface Books {
  readonly accounts: readonly Account[];
  readonly movements: readonly Movement[];
  /** By name, first append first. */
  readonly lists: ReadonlyMap<string, readonly number[]>;
  /** How many there are of what no global transaction may leave behind, by what it is. */
  readonly leftovers: Readonly<Record<string, number>>;
  readonly states: readonly { readonly gid: string; readonly resource: string; readonly state: string }[];
}

export interface BankServer extends AsyncDisposable {
  readonly port: number;
  /** Makes a service's database with its tables and those of Atomesh, and runs `fault` in it: SQL of a build with a fault. */
  create(service: string, fault: string): Promise<void>;
  /** How a sidecar's configuration names a service's database when the server is at this port of 127.0.0.1. */
  upstream(service: string, port: number): object;
  /** A session by way of the sidecar that listens at this port. */
  connect(service: string, port: number): Promise<Session>;
  /** Read past the sidecar. */
  books(service: string): Promise<Books>;
  /** Kills the server as a power cut would, and starts it again with its data. */
  crash(): Promise<void>;
}
