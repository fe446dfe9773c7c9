/** The other coordinators on the same store, as this one sees them. Types only; `src/peers` implements them. */
import type { Gid } from '../contract/transaction.ts';
import type { Event } from '../engine/event.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Outcome } from './runner.ts';

/** Given to the runner when other coordinators share its store. Without it, what another one holds is refused. */
export interface Peers {
  /**
   * Has the coordinator that holds the transaction let `event` happen to it. Undefined when nobody else holds it, and when the one who
   * does cannot do it now: it does not answer, is stopping, or has just lost the transaction. Never rejects. It may be asked again with
   * the same event, because every event is idempotent.
   */
  happen(gid: Gid, event: Event): Promise<Outcome<GlobalTransaction> | undefined>;
  /** Calls `listener` when another coordinator has left work. At most one listener. */
  onDue(listener: () => void): void;
}
