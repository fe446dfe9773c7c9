/** How a coordinator is made wrong: through the parameters of the runner, so that nothing of it knows of this. */
import type { Instant } from '../../../src/contract/transaction.ts';
import { decide } from '../../../src/engine/decide.ts';
import type { Decision } from '../../../src/engine/decision.ts';
import type { Event } from '../../../src/engine/event.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import type { Store, Transport } from '../../../src/runner/ports.ts';
import type { Story, Variant } from '../coordinator.ts';

export interface Mutant {
  readonly wrong: string;
  /** What it is wrong about; absent: anything. */
  readonly only?: Story;
  /** A fresh one for each seed: some remember things. */
  readonly variant: () => Variant;
}

/** What a participant is said to have answered. */
export type Reply = Extract<Event, { kind: 'replied' }>;

/** Decides as the engine does, but hears another answer than was given. */
export function hearing(change: (reply: Reply) => Event): () => Variant {
  return () => ({
    decide: (state, event, now) => decide(state, event.kind === 'replied' ? change(event) : event, now),
  });
}

/** Decides as the engine does, and then spoils the decision. */
export function spoiling(
  spoil: (decision: Decision, state: GlobalTransaction, event: Event, now: Instant) => Decision,
): () => Variant {
  return () => ({ decide: (state, event, now) => spoil(decide(state, event, now), state, event, now) });
}

/** A store that is used wrongly, or lies. */
export function withStore(change: (store: Store) => Partial<Store>): () => Variant {
  return () => ({ store: (store) => ({ ...store, ...change(store) }) });
}

/** A transport that is used wrongly, or lies. */
export function withTransport(change: (transport: Transport) => Transport): () => Variant {
  return () => ({ transport: change });
}

/** What is due in `next`, after it was changed. */
export function redone(decision: Decision, next: GlobalTransaction, now: Instant): Decision {
  return { ...decision, next, effects: decide(next, { kind: 'woken' }, now).effects };
}

/** A final state, whatever is left to do. */
export function ended(state: GlobalTransaction, status: 'succeed' | 'failed', now: Instant): Decision {
  return { next: { ...state, status, finishedAt: now }, effects: [] };
}
