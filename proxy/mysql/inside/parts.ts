/** What a session needs to take part in global transactions, beside the connection of its client: one of these for each database. */
import type { KeyObject } from 'node:crypto';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Enlistment } from '../../branch/enlist.ts';
import type { LockHolders } from '../../branch/lock-holders.ts';
import type { SessionOperations } from '../../branch/operation-rows.ts';
import type { LocalPreparation } from '../../branch/xa/preparation.ts';
import type { TableFacts } from '../catalog.ts';
import type { ViewFactsSource } from '../facts/view-facts.ts';
import type { ParkedBranches } from '../xa/parked.ts';
import type { Interrupter } from '../session/interrupting.ts';
import type { Contention } from './capture/contention.ts';
import type { RowLock } from '../undo/capture.ts';

export interface InsideParts {
  /** What the database's branches are called at the coordinator: `<service>/<database>`. */
  readonly resource: string;
  /** `undo`: changes are captured; `xa`: they are prepared. */
  readonly mode: 'undo' | 'xa';
  /** Local transactions that begin inside a global one are begun by XA START, so that one which holds changes without images can be prepared. */
  readonly escalates: boolean;
  readonly enlistment: Enlistment;
  readonly holders: LockHolders;
  /** But of tables whose rows the second phase may not put back, which is what `learn` says of them. */
  readonly facts: FactsSource;
  readonly allFacts: FactsSource;
  readonly views: Pick<ViewFactsSource, 'find' | 'learn'>;
  readonly rowLocks: LockReader;
  readonly contention: Contention;
  readonly interrupter: Interrupter;
  /** Of `readSealSecret`. */
  readonly sealSecret: KeyObject;
  /** Undefined where no local transaction is prepared. */
  readonly preparation: SessionPreparation | undefined;
  readonly operations: SessionOperations;
  readonly lockTimeoutMs: number;
  /** Most rows that one statement may change. */
  readonly maxRows: number;
}

/** Facts of tables, for all sessions of a database. */
export interface FactsSource {
  /** `none`: there is no such table; undefined: not known, or not any more. */
  known(database: string, table: string): TableFacts | 'none' | undefined;
  /** Asks for them. Rejects with a CodedError when the database cannot be asked. */
  learn(tables: readonly { readonly database: string; readonly table: string }[]): Promise<void>;
  /** A table is not what was planned for: all is forgotten. */
  moved(): void;
}

/** Reads who holds row locks, as committed, without waiting and without locking. Rejects with a CodedError when the database cannot be asked. */
export interface LockReader {
  holdersOf(locks: readonly RowLock[]): Promise<readonly HeldRow[]>;
  /** Who has claimed rows that his own have ceased to refer to. */
  claimantsOf(locks: readonly RowLock[]): Promise<readonly HeldRow[]>;
}

/** A row lock of a global transaction. */
export interface HeldRow extends RowLock {
  readonly holder: Gid;
}

/** What a session must know and say when it prepares. */
export interface SessionPreparation extends Pick<LocalPreparation, 'mayCommit' | 'prepared' | 'hasPrepared'> {
  /** Connections that have prepared, and end what they have. */
  readonly parked: Pick<ParkedBranches, 'reserve'>;
}
