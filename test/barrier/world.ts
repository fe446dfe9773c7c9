/** What the barrier's laws ask of a database, and the words that they are written in. */
import type { Gid } from '../../src/contract/transaction.ts';
import { newGid } from '../../src/platform/random.ts';
import type { BarrierStore, BranchIdentity, BranchOperation } from '../../src/client/barrier/types.ts';

export type Isolation = 'read committed' | 'repeatable read' | 'serializable';

export interface BarrierSettings {
  readonly table?: string;
  readonly isolation?: Isolation;
  readonly attempts?: number;
}

/** A real database with DTM's barrier table, another table `custom_barrier` of that shape, and a ledger. */
export interface World<Tx = unknown> {
  barrier(settings?: BarrierSettings): BarrierStore<Tx>;
  /** Adds to the ledger of `gid` inside the transaction; the ledger of each gid is there before, and 0. */
  add(tx: Tx, gid: Gid, amount: number): Promise<void>;
  /** Makes the ledger of a gid, committed. */
  open(gid: Gid): Promise<void>;
  total(gid: Gid): Promise<number>;
  /** The rows of a gid as `trans_type branch_id op barrier_id reason`, in the order in which they were written. */
  rows(gid: Gid, table?: string): Promise<readonly string[]>;
  /** Runs statements that answer nothing. */
  run(statements: string): Promise<void>;
  /** How many rows a count in SQL says. */
  count(query: string): Promise<number>;
  /** How many sessions wait for a lock. */
  waiting(): Promise<number>;
  /** A connection outside of any transaction; `close` gives it back. */
  connect(): Promise<{
    readonly tx: Tx;
    readonly query: (text: string) => Promise<void>;
    readonly close: () => void;
  }>;
}

/** Which operation of branch 01. */
export function branch(gid: Gid, op: BranchOperation): BranchIdentity {
  const transType = op === 'try' || op === 'confirm' || op === 'cancel' ? 'tcc' : op === 'msg' ? 'msg' : 'saga';
  return { gid, transType, branchId: op === 'msg' ? '00' : '01', op };
}

/** A gid with a ledger of its own. */
export async function opened(world: World): Promise<Gid> {
  const gid = newGid();
  await world.open(gid);
  return gid;
}

/** Something that another place waits for. */
export function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { passed: promise, open: resolve };
}
