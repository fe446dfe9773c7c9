/**
 * What this sidecar knows of the operations that it serves and of the rows that its sessions write for them. The barrier's table says
 * that some local transaction of an operation has committed; only here can be told whether it was one of the same call.
 */
import { markText } from '../../src/contract/transaction.ts';
import { newId } from '../../src/platform/random.ts';
import type { BarrierOperation } from '../sql/work.ts';
import type { OperationOf } from './barrier.ts';

export interface OperationRows {
  /** The application is called for the operation. To be told, once, that it has answered: until then it may be at work. */
  serve(operation: BarrierOperation): () => void;
  /** A number for the row that a session is about to write in a local transaction, by which it is known again. */
  add(operation: BarrierOperation): string;
  /** The row was not written, because its local transaction only reads. */
  takeBack(operation: BarrierOperation, row: string): void;
  /** True when a row was sent for the operation by a session here and not taken back, whatever became of its local transaction. */
  has(operation: BarrierOperation): boolean;
  /**
   * True when a local transaction is kept out by a row that stands already, and that row is another local transaction's of the same
   * call. Where no call is being carried out here, or two are, because the first was given up, nobody can tell: then false.
   */
  isHalf(operation: BarrierOperation, standing: string): boolean;
  /** The operation is decided: nothing more is asked about it. */
  forget(operation: BarrierOperation): void;
}

/** What a session does with the marks of operations. */
export interface SessionOperations {
  /** `off`: they mean nothing to the database, because the application has a barrier of its own. */
  readonly isOff: boolean;
  readonly rows: OperationRows;
  /** Remembers durably that an operation is half done. Never rejects: what fails is logged. */
  halve(operation: OperationOf): Promise<void>;
}

interface Known {
  readonly rows: Set<string>;
  /** Calls that the application has not answered. */
  calls: number;
}

/** Beyond, what was not used for longest is forgotten: its repetitions are then plain ones. */
const OPERATIONS_MAX = 20_000;
const ROWS_MAX = 64;

/** Knows nothing yet. */
export function openOperationRows(): OperationRows {
  /** In the order of use. */
  const byMark = new Map<string, Known>();

  const known = ({ gid, branch, task }: BarrierOperation): Known => {
    const key = markText({ gid, operation: { branch, task } });
    const found = byMark.get(key) ?? { rows: new Set(), calls: 0 };
    byMark.delete(key);
    byMark.set(key, found);
    for (const [oldest] of byMark) {
      if (byMark.size <= OPERATIONS_MAX) break;
      byMark.delete(oldest);
    }
    return found;
  };
  const peek = ({ gid, branch, task }: BarrierOperation): Known | undefined =>
    byMark.get(markText({ gid, operation: { branch, task } }));

  return {
    serve(operation) {
      const found = known(operation);
      found.calls += 1;
      return () => {
        found.calls -= 1;
      };
    },
    add(operation) {
      const { rows } = known(operation);
      // Below zero, where the table's own counting never comes; 62 bits of chance.
      const row = String(-1n - (BigInt(`0x${newId()}`) >> 2n));
      const [oldest] = rows;
      if (rows.size >= ROWS_MAX && oldest !== undefined) rows.delete(oldest);
      rows.add(row);
      return row;
    },
    takeBack: (operation, row) => void peek(operation)?.rows.delete(row),
    has: (operation) => (peek(operation)?.rows.size ?? 0) > 0,
    isHalf(operation, standing) {
      const found = peek(operation);
      return found !== undefined && found.calls === 1 && found.rows.has(standing);
    },
    forget({ gid, branch, task }) {
      byMark.delete(markText({ gid, operation: { branch, task } }));
    },
  };
}
