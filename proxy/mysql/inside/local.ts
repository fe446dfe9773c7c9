/** What a session remembers of its local transaction while it belongs to a global one. */
import type { EnlistResult } from '../../branch/enlist.ts';
import type { RowLock } from '../undo/capture.ts';
import type { Beginning } from '../xa/local.ts';
import type { Xid } from '../xa/names.ts';

interface Savepoint {
  readonly name: string;
  /** How many row locks had been taken. */
  readonly locks: number;
}

/** Names of savepoints are equal whatever their case is (MySQL source: sql/transaction.cc, `find_savepoint`). */
const fold = (name: string): string => name.toLowerCase();

export class Local {
  /** Begun by XA START under this name. */
  xid: Xid | undefined;
  /** How it was begun, as long as nothing has been done in it. */
  begunAs: Beginning | undefined;
  /** What its beginning said of changes, which holds for the one that is chained to it. */
  access: Beginning['access'];
  /** Changes without images are in it: it is prepared at its end. */
  prepares = false;
  /** It was prepared, and the connection to the server with it: nothing more can be said there. */
  isPrepared = false;
  /** It holds changes: captured ones, those of an operation, or some without images. */
  changed = false;
  /** The branch was entered, or the row of the operation written, and no savepoint can have undone it. */
  entered = false;
  /** The branch has been entered before, or was found to be the first to write. */
  wasEntered = false;
  /** Rows were locked by reading them. */
  readRows = false;
  enlisting: Promise<EnlistResult> | undefined;

  #locks: string[] = [];
  #savepoints: Savepoint[] = [];

  /** Those of the locks that this local transaction does not hold yet. */
  without(locks: readonly RowLock[]): readonly RowLock[] {
    if (this.#locks.length === 0) return locks;
    const held = new Set(this.#locks);
    return locks.filter((lock) => !held.has(keyOf(lock)));
  }

  /** Row locks were taken. */
  took(locks: readonly RowLock[]): void {
    for (const lock of locks) this.#locks.push(keyOf(lock));
  }

  /** SAVEPOINT: one of the same name goes. */
  savepoint(name: string): void {
    this.#savepoints = this.#savepoints.filter((each) => each.name !== fold(name));
    this.#savepoints.push({ name: fold(name), locks: this.#locks.length });
  }

  /** ROLLBACK TO SAVEPOINT: rows that were written since are gone, and those of ours with them. */
  rolledBackTo(name: string): void {
    const at = this.#savepoints.findIndex((each) => each.name === fold(name));
    const found = this.#savepoints[at];
    this.#locks = this.#locks.slice(0, found?.locks ?? 0);
    this.#savepoints = this.#savepoints.slice(0, at + 1);
    this.entered = false;
  }

  /** RELEASE SAVEPOINT: with it go those behind it. */
  released(name: string): void {
    const at = this.#savepoints.findIndex((each) => each.name === fold(name));
    if (at >= 0) this.#savepoints = this.#savepoints.slice(0, at);
  }

  /** True when others may wait in the database for what it has locked. */
  get holdsLocks(): boolean {
    return this.changed || this.readRows;
  }
}

function keyOf({ relation, key }: RowLock): string {
  return `${relation} ${key}`;
}
