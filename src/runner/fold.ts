/** Folds everything that has happened to one transaction into one decision, so that it costs one save. */
import type { CodedError } from '../contract/errors.ts';
import type { Instant } from '../contract/transaction.ts';
import type { Decision } from '../engine/decision.ts';
import type { Effect } from '../engine/effect.ts';
import type { Event } from '../engine/event.ts';
import type { Branch, GlobalTransaction } from '../engine/global-transaction.ts';
import { opensActions } from '../engine/branches/steps.ts';
import type { Durability } from './ports.ts';
import { refusedByRule, tooLarge, tooManyBranches } from './refusals.ts';
import type { Outcome } from './runner.ts';

/** The function that judges; `decide` of the engine. */
export type Decide = (state: GlobalTransaction, event: Event, now: Instant) => Decision;

/** What participants and runs may make one transaction grow to: it is in memory and written anew with each decision. Characters. */
const CHARACTERS_MAX = 16 * 1024 * 1024;

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
  /** Branches that were given up. */
  readonly abandoned: readonly Branch[];
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
  const abandoned: Branch[] = [];
  for (const { event } of batch) {
    const wanted = decide(next, event, now);
    const overflow = overflowOf(next, wanted.next, event, branchesMax);
    const decision = overflow === undefined ? wanted : decide(next, { kind: 'woken' }, now);
    const isProgress = event.kind === 'replied' || event.kind === 'woken';
    const isExpendable = isProgress && decision.next.status === next.status && !opensActions(next, decision.next);
    if (decision.next !== next && !isExpendable) durability = 'now';
    refused.push(overflow ?? (decision.refused && refusedByRule(decision.refused)));
    if (event.kind === 'replied' && event.result !== 'success') abandoned.push(...abandonedBy(next, decision.next));
    next = decision.next;
    effects = decision.effects;
  }
  return { next, effects, refused, durability, abandoned };
}

/** Why a transaction may not grow from `before` to `after`; undefined when it may. */
function overflowOf(
  before: GlobalTransaction,
  after: GlobalTransaction,
  { kind }: Event,
  branchesMax: number,
): CodedError | undefined {
  if (after === before) return undefined;
  if (countOf(after) > Math.max(branchesMax, countOf(before))) return tooManyBranches(before.gid, branchesMax);
  const isGrowing = kind === 'enlist' || kind === 'step';
  return isGrowing && charactersOf(after) > CHARACTERS_MAX ? tooLarge(before.gid, CHARACTERS_MAX) : undefined;
}

/** Branches and recorded steps: what grows with what participants send. */
function countOf({ branches, progress, steps }: GlobalTransaction): number {
  return branches.length + (progress?.length ?? 0) + (steps?.length ?? 0);
}

/** What steps and the requests of branches take, as far as it can be much. */
function charactersOf({ branches, steps = [] }: GlobalTransaction): number {
  let sum = 0;
  for (const { step, data } of steps) sum += step.length + data.length;
  for (const { payload, requests } of branches) {
    sum += payload?.length ?? 0;
    for (const { headers = {}, body = '' } of Object.values(requests ?? {})) {
      sum += body.length;
      for (const [name, value] of Object.entries(headers)) sum += name.length + value.length;
    }
  }
  return sum;
}

function abandonedBy(before: GlobalTransaction, after: GlobalTransaction): readonly Branch[] {
  return after.branches.filter(
    ({ status }, index) => status === 'abandoned' && before.branches[index]?.status !== 'abandoned',
  );
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
