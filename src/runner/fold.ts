/** Folds everything that has happened to one transaction into one decision, so that it costs one save. */
import type { CodedError } from '../contract/errors.ts';
import type { Instant } from '../contract/transaction.ts';
import type { Decision } from '../engine/decision.ts';
import type { Effect } from '../engine/effect.ts';
import type { Event } from '../engine/event.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Durability } from './ports.ts';
import { refusedByRule, tooManyBranches } from './refusals.ts';
import type { Outcome } from './runner.ts';

/** The function that judges; `decide` of the engine. */
export type Decide = (state: GlobalTransaction, event: Event, now: Instant) => Decision;

/** An event in a mailbox. One that somebody waits for has `settle`, which is called once. */
export interface Posted {
  readonly event: Event;
  readonly settle?: (outcome: Outcome<GlobalTransaction>) => void;
  /** How often the transaction was lost under this request. */
  readonly losses: number;
}

/** Something may be due. */
export const WOKEN: Posted = { event: { kind: 'woken' }, losses: 0 };

export interface Folded {
  readonly next: GlobalTransaction;
  /** What is due in `next`. */
  readonly effects: readonly Effect[];
  /** Per posted event: why it was refused. */
  readonly refused: readonly (CodedError | undefined)[];
  /** `soon` when only branches have got on. */
  readonly durability: Durability;
}

/** Takes the events in their order. No intermediate state is ever shown to anybody. */
export function fold(
  state: GlobalTransaction,
  batch: readonly Posted[],
  now: Instant,
  decide: Decide,
  branchesMax: number,
): Folded {
  let next = state;
  let effects: readonly Effect[] = [];
  let durability: Durability = 'soon';
  const refused: (CodedError | undefined)[] = [];
  for (const { event } of batch) {
    const wanted = decide(next, event, now);
    const overflows = wanted.next.branches.length > Math.max(branchesMax, next.branches.length);
    const decision = overflows ? decide(next, { kind: 'woken' }, now) : wanted;
    const isProgress = event.kind === 'replied' || event.kind === 'woken';
    if (decision.next !== next && (!isProgress || decision.next.status !== next.status)) durability = 'now';
    if (overflows) refused.push(tooManyBranches(next.gid, branchesMax));
    else refused.push(decision.refused && refusedByRule(decision.refused));
    next = decision.next;
    effects = decision.effects;
  }
  return { next, effects, refused, durability };
}
