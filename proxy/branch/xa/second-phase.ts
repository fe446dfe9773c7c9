/** The second phase of a database on whose server transactions may be prepared, and what looks after those that nobody ends. */
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { Finisher } from '../finish.ts';
import type { PreparedTransactions } from './prepared.ts';
import { createPreparedFinisher } from './prepared-finisher.ts';
import { startRecovery, type Recovery } from './recovery.ts';

export interface PreparedPhase {
  /** The second phase. Also ends what was prepared before the configuration changed. */
  wrap(undo: Finisher): Finisher;
  /** Starts to look after prepared transactions that nobody ends; undefined where there can be none. */
  recover(finisher: Finisher): Recovery | undefined;
}

/** `transactions` is undefined where none can be prepared. `everyMs`: how often they are looked after. */
export function preparedPhase(
  transactions: PreparedTransactions | undefined,
  {
    coordinator,
    everyMs,
    log,
  }: { readonly coordinator: CoordinatorClient; readonly everyMs: number; readonly log: Log },
): PreparedPhase {
  return {
    wrap: (undo) => (transactions === undefined ? undo : createPreparedFinisher(undo, transactions, log)),
    recover: (finisher) => transactions && startRecovery({ transactions, finisher, coordinator, everyMs, log }),
  };
}
