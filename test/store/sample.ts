/** Transactions to store. */
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';

/** A begun transaction without branches; `change` says what is different. */
export function transactionOf(gid: Gid, change: Partial<GlobalTransaction> = {}): GlobalTransaction {
  return {
    gid,
    mode: 'mesh',
    status: 'prepared',
    createdAt: 1000 as Instant,
    deadline: 61_000 as Instant,
    retryIntervalMs: 1000,
    requestTimeoutMs: 10_000,
    requestHash: 'hash',
    branches: [],
    ...change,
  };
}
