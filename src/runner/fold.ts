/** Folds everything that has happened to one transaction into one decision, so that it costs one save. */
import type { CodedError } from '../contract/errors.ts';
import type { Instant } from '../contract/transaction.ts';
import type { Decision } from '../engine/decision.ts';
import type { Effect } from '../engine/effect.ts';
import type { Event } from '../engine/event.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { opensActions } from '../engine/branches/steps.ts';
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
  /** Another coordinator asks, because it believes that we hold the transaction: nobody else is asked in turn. */
  readonly isForwarded?: true;
  /** How long the request goes on trying while somebody else has the lease and does not answer. */
  readonly patience?: Instant;
}

/** Something may be due. */
export const WOKEN: Posted = { event: { kind: 'woken' }, losses: 0 };

export interface Folded {
  readonly next: GlobalTransaction;
  /** What is due in `next`. */
  readonly effects: readonly Effect[];
  /** Per posted event: why it was refused. */
  readonly refused: readonly (CodedError | undefined)[];
  /** `soon` when only branches have got on, so that forgetting it costs no more than a repeated call. */
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
    const overflows = sizeOf(wanted.next) > Math.max(branchesMax, sizeOf(next));
    const decision = overflows ? decide(next, { kind: 'woken' }, now) : wanted;
    const isProgress = event.kind === 'replied' || event.kind === 'woken';
    const isExpendable = isProgress && decision.next.status === next.status && !opensActions(next, decision.next);
    if (decision.next !== next && !isExpendable) durability = 'now';
    if (overflows) refused.push(tooManyBranches(next.gid, branchesMax));
    else refused.push(decision.refused && refusedByRule(decision.refused));
    next = decision.next;
    effects = decision.effects;
  }
  return { next, effects, refused, durability };
}

/** Branches and recorded steps: what grows with what participants send. */
function sizeOf({ branches, progress }: GlobalTransaction): number {
  return branches.length + (progress?.length ?? 0);
}

/** Whether the decision is to be written before it is performed. `before` is the state that it was made on. */
export function needsSave(before: GlobalTransaction, batch: readonly Posted[], folded: Folded): boolean {
  if (folded.next === before) return false;
  if (folded.durability === 'now') return true;
  // A branch has succeeded, and the decision that is saved has others called, at once or in their turn: written with the
  // next answer, or when the lease is tended. Should we die before that, it is asked once more.
  const isBehind =
    batch.every(({ event }) => event.kind !== 'replied' || event.result === 'success') &&
    folded.effects.length > 0 &&
    folded.effects.every((effect) => effect.kind === 'call');
  return !isBehind;
}

/** Answers everybody who waits for one of the events: what the decision says of it. */
export function settleAll(batch: readonly Posted[], folded: Folded): void {
  for (const [index, { settle }] of batch.entries()) {
    const error = folded.refused[index];
    settle?.(error === undefined ? { ok: true, value: folded.next } : { ok: false, error });
  }
}

/** Answers everybody who waits for one of the events that it did not happen. */
export function refuseAll(batch: readonly Posted[], error: CodedError): void {
  for (const { settle } of batch) settle?.({ ok: false, error });
}
