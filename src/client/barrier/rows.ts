/**
 * The rules of a barrier, free of any database: which rows an operation writes, and what the rows that were there already mean.
 * They are those of DTM's clients (client/dtmcli/barrier.go, `Call`), so that services in several languages can share a table.
 */
import { CodedError } from '../../contract/errors.ts';
import { INITIATOR, type Gid } from '../../contract/transaction.ts';
import type { BarrierChoice, BarrierOutcome, BranchIdentity, BranchOperation } from './types.ts';

/** A row of the barrier. (`gid`, `branchId`, `op`, `barrierId`) is unique; `reason` is the operation that wrote it. */
export interface BarrierRow {
  readonly transType: string;
  readonly gid: Gid;
  readonly branchId: string;
  readonly op: BranchOperation;
  readonly barrierId: string;
  readonly reason: BranchOperation;
}

/** The rows of one local transaction. */
export interface BarrierRows {
  /**
   * Writes the row unless its key is taken; answers whether it has. Waits until another transaction that is writing the same key
   * has ended.
   */
  insert(row: BarrierRow): Promise<boolean>;
  /** What the latest committed row of this key, or one of this transaction, says; undefined when there is none. */
  read(row: BarrierRow): Promise<{ readonly gid: string; readonly reason: string } | undefined>;
}

/** What an operation undoes. `rollback` is that of a workflow's branch and of an XA branch. */
const UNDONE_BY: Partial<Readonly<Record<BranchOperation, BranchOperation>>> = {
  cancel: 'try',
  compensate: 'action',
  rollback: 'action',
};

const FIRST_BARRIER = '01';
const BARRIER_ID = /^[A-Za-z0-9._-]{1,45}$/;
const TABLE_PART = /^[A-Za-z_][A-Za-z0-9_$]{0,62}$/;

/** Where DTM's scripts put the barrier, and where all its clients look. */
const BARRIER_TABLE = 'dtm_barrier.barrier';

/** The operation that `op` undoes; undefined when it undoes none. */
export function undoneBy(op: BranchOperation): BranchOperation | undefined {
  return UNDONE_BY[op];
}

/** Writes the operation's rows, does `work` if that is what they say, and answers what became of it. */
export async function passBarrier<T>(
  rows: BarrierRows,
  branch: BranchIdentity,
  choice: BarrierChoice,
  work: () => Promise<T>,
): Promise<BarrierOutcome<T>> {
  const barrierId = barrierIdOf(choice);
  const own: BarrierRow = { ...branch, barrierId, reason: branch.op };
  const undone = undoneBy(branch.op);
  // The undone operation's row first: an operation and its undoing then wait for each other at the same key.
  const isUnmatched = undone !== undefined && (await rows.insert({ ...own, op: undone }));
  if (await rows.insert(own)) {
    return isUnmatched ? { kind: 'absorbed' } : { kind: 'done', value: await work() };
  }
  return (await reasonOf(rows, own)) === branch.op ? { kind: 'repeated' } : { kind: 'fenced' };
}

/** Fences the local transaction of the message `gid` unless it has committed; answers which (barrier.go, `QueryPrepared`). */
export async function fenceMessage(rows: BarrierRows, gid: Gid): Promise<'committed' | 'rolled-back'> {
  const row: BarrierRow = {
    transType: 'msg',
    gid,
    branchId: INITIATOR,
    op: 'msg',
    barrierId: FIRST_BARRIER,
    reason: 'rollback',
  };
  if (await rows.insert(row)) return 'rolled-back';
  return (await reasonOf(rows, row)) === 'rollback' ? 'rolled-back' : 'committed';
}

/** The barrier that the caller chose. Throws `CodedError` `BAD_REQUEST` when the column cannot hold it. */
export function barrierIdOf({ barrierId = FIRST_BARRIER }: BarrierChoice): string {
  if (BARRIER_ID.test(barrierId)) return barrierId;
  throw new CodedError('BAD_REQUEST', `${JSON.stringify(barrierId.slice(0, 100))} is no barrier id`, {
    hint: 'Use 01, 02 and so on: 1 to 45 of A-Z a-z 0-9 . _ -',
  });
}

/**
 * A table's name as it goes into a statement, `schema.table` or `table`. Not quoted: DTM's clients do not quote it either, and all
 * of them have to mean the same table. Throws `CodedError` `BAD_REQUEST` for anything that would need quotes.
 */
export function tableName(name: string = BARRIER_TABLE): string {
  const parts = name.split('.');
  if (parts.length <= 2 && parts.every((part) => TABLE_PART.test(part))) return name;
  throw new CodedError('BAD_REQUEST', `${JSON.stringify(name.slice(0, 200))} cannot be the barrier's table`, {
    hint: 'Name it table or schema.table, of letters, digits, _ and $ only.',
  });
}

async function reasonOf(rows: BarrierRows, row: BarrierRow): Promise<string> {
  const found = await rows.read(row);
  if (found === undefined) {
    throw new CodedError('OUTCOME_UNKNOWN', `the barrier row of ${row.gid} was there and is gone`, {
      retry: 'safe',
      hint: 'It was cleaned up at this moment. Send the request again, and clean up later: see olderThanMs.',
    });
  }
  if (found.gid !== row.gid) {
    throw new CodedError('GID_CONFLICT', `the barrier takes ${row.gid} for ${found.gid}`, {
      hint: 'Give the column gid a collation that tells them apart, such as utf8mb4_bin.',
    });
  }
  return found.reason;
}
