/**
 * Every way that a small transaction can go, to the last: each call is answered in each way, repeated, late or never, somebody submits,
 * aborts or comes too late, the deadline passes, and the coordinator dies, at every point at which that can happen.
 *
 * What a coordinator forgets when it dies are its calls. Those go astray: they may still arrive, once each, at any time.
 */
import { INITIATOR, isFinal, type BranchId, type Operation } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Event } from '../../src/engine/event.ts';
import type { Branch, GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { outcomeOf } from '../../src/engine/status.ts';

/** What a participant that keeps a barrier has done for a branch. */
export interface Work {
  readonly done: boolean;
  readonly undone: boolean;
  readonly confirmed: boolean;
}

interface Call {
  readonly branch: BranchId;
  readonly operation: Operation;
}

/** What is gone through. */
export interface Journey {
  readonly first: GlobalTransaction;
  /** What clients ask, at any time and any number of times. */
  readonly requests: readonly Event[];
  /** The initiator of a message commits its local transaction at any time, or is asked before that, and submits or aborts accordingly. */
  readonly hasLocalTransaction?: boolean;
  /** Branches whose first phase is done. */
  readonly wasDone?: readonly string[];
  /** The engine's own unless a wrong one is to be found. */
  readonly judge?: typeof decide;
}

/** One situation. */
export interface Situation {
  readonly state: GlobalTransaction;
  readonly isLate: boolean;
  readonly inFlight: readonly Call[];
  /** Calls of a coordinator that has died. */
  readonly astray: readonly Call[];
  readonly work: Readonly<Record<string, Work>>;
}

export interface Ways {
  /** Situations that differ in more than counts and pauses. */
  readonly situations: number;
  readonly ends: readonly Situation[];
  /** Situations from which no end can be reached any more. */
  readonly stuck: readonly Situation[];
}

/** No more calls are astray at once. */
const ASTRAY_MAX = 2;
const SITUATIONS_MAX = 200_000;
const NOTHING: Work = { done: false, undone: false, confirmed: false };

/**
 * Goes every way. Throws at the first step that breaks a promise: an outcome that changes, or work that an outcome forbids. What must
 * hold of the ends is for the caller to say.
 */
export function goEveryWay(journey: Journey): Ways {
  const { first, requests, wasDone = [], judge = decide, hasLocalTransaction = false } = journey;
  const work = Object.fromEntries(wasDone.map((id) => [id, { ...NOTHING, done: true }]));
  const happen = (situation: Situation, event: Event): Situation => afterEvent(situation, event, judge);
  const start = happen({ state: first, isLate: false, inFlight: [], astray: [], work }, { kind: 'woken' });
  const known = new Map<string, Situation>([[keyOf(start), start]]);
  const before = new Map<string, string[]>();
  const open = [start];
  for (let situation = open.pop(); situation !== undefined; situation = open.pop()) {
    const from = keyOf(situation);
    const asked = hasLocalTransaction ? [...requests, ...initiatorsWord(situation)] : requests;
    const later = hasLocalTransaction ? committedLocally(situation) : [];
    for (const next of [...nextOf(situation, asked, happen), ...later]) {
      const key = keyOf(next);
      before.set(key, [...(before.get(key) ?? []), from]);
      if (known.has(key)) continue;
      known.set(key, next);
      open.push(next);
      if (known.size > SITUATIONS_MAX) throw new Error(`more than ${SITUATIONS_MAX} situations`);
    }
  }
  const ends = [...known.values()].filter(({ state }) => isFinal(state.status));
  const reaching = new Set(ends.map(keyOf));
  const back = [...reaching];
  for (let key = back.pop(); key !== undefined; key = back.pop()) {
    for (const earlier of before.get(key) ?? []) {
      if (reaching.has(earlier)) continue;
      reaching.add(earlier);
      back.push(earlier);
    }
  }
  const stuck = [...known].filter(([key]) => !reaching.has(key)).map(([, situation]) => situation);
  return { situations: known.size, ends, stuck };
}

/** What an initiator that knows how its local transaction ended tells the coordinator. */
function initiatorsWord({ work }: Situation): readonly Event[] {
  const local = work[INITIATOR] ?? NOTHING;
  if (local.done) return [{ kind: 'submit' }];
  return local.undone ? [{ kind: 'abort', reason: 'r' }] : [];
}

/** Whoever has asked before has made sure that it does not commit any more. */
function committedLocally(situation: Situation): readonly Situation[] {
  const local = situation.work[INITIATOR] ?? NOTHING;
  if (local.done || local.undone) return [];
  return [{ ...situation, work: { ...situation.work, [INITIATOR]: { ...local, done: true } } }];
}

function keyOf(situation: Situation): string {
  return JSON.stringify(situation);
}

type Happen = (situation: Situation, event: Event) => Situation;

function nextOf(situation: Situation, requests: readonly Event[], happen: Happen): readonly Situation[] {
  const { state, isLate, inFlight, astray } = situation;
  const next = requests.map((event) => happen(situation, event));
  for (const call of inFlight) next.push(...answers(situation, call, happen));
  for (const [index, call] of astray.entries()) {
    next.push({ ...situation, astray: astray.toSpliced(index, 1), work: perform(situation, call).work });
  }
  if (!isLate && state.deadline !== undefined) next.push(happen({ ...situation, isLate: true }, { kind: 'woken' }));
  if (inFlight.length > 0) {
    const forgotten = [...astray, ...inFlight].slice(-ASTRAY_MAX);
    next.push(happen({ ...situation, inFlight: [], astray: forgotten }, { kind: 'woken' }));
  }
  return next;
}

/** The call does its work and says so, or nobody hears it, or it never arrives; an action may refuse instead. */
function answers(situation: Situation, call: Call, happen: Happen): readonly Situation[] {
  const others = situation.inFlight.filter((other) => other !== call);
  const rest = { ...situation, inFlight: others };
  const { work, result } = perform(situation, call);
  const reply = (answer: 'success' | 'failure' | 'unknown'): Event => ({ kind: 'replied', ...call, result: answer });
  const next = [
    happen({ ...rest, work }, reply(result)),
    happen({ ...rest, work }, reply('unknown')),
    happen(rest, reply('unknown')),
  ];
  const isDone = situation.work[call.branch]?.done === true;
  if (call.operation === 'action' && !isDone) next.push(happen(rest, reply('failure')));
  return next;
}

function perform(
  { work }: Situation,
  { branch, operation }: Call,
): Pick<Situation, 'work'> & { result: 'success' | 'failure' } {
  const known = work[branch] ?? NOTHING;
  const changed = (next: Work): ReturnType<typeof perform> => ({
    work: { ...work, [branch]: next },
    result: 'success',
  });
  switch (operation) {
    case 'msg':
      return known.done ? { work, result: 'success' } : { ...changed({ ...known, undone: true }), result: 'failure' };
    case 'action':
      return known.undone ? { work, result: 'failure' } : changed({ ...known, done: true });
    case 'confirm':
    case 'commit':
      if (known.undone || !known.done) throw new Error(`${operation} ${branch}, and there is nothing to confirm`);
      return changed({ ...known, confirmed: true });
    default:
      if (known.confirmed) throw new Error(`${operation} ${branch}, which is confirmed`);
      return changed({ ...known, undone: true });
  }
}

/** What the coordinator makes of the event, its calls made. */
function afterEvent(situation: Situation, event: Event, judge: typeof decide): Situation {
  const { state: before, isLate } = situation;
  const now = isLate ? (before.deadline ?? before.createdAt) : before.createdAt;
  const decision = judge(before, event, now);
  const state = withoutCounts(decision.next);
  const known = outcomeOf(before);
  if (known !== 'undecided' && outcomeOf(state) !== known) throw new Error(`${known} became ${outcomeOf(state)}`);
  // A pause is over at some time: then the call is made.
  const { effects } = judge(state, { kind: 'woken' }, now);
  const inFlight = [...situation.inFlight];
  for (const effect of effects) {
    if (effect.kind !== 'call' || inFlight.some(({ branch }) => branch === effect.branch)) continue;
    inFlight.push({ branch: effect.branch, operation: effect.operation });
  }
  inFlight.sort((a, b) => (a.branch < b.branch ? -1 : 1));
  return { ...situation, state, inFlight: isFinal(state.status) ? [] : inFlight };
}

/** Tries and pauses aside, so that there is an end of situations. */
function withoutCounts(state: GlobalTransaction): GlobalTransaction {
  const { reason: _, finishedAt, retries, ...rest } = state;
  const withoutTries = (branch: Branch): Branch => {
    const { notBefore: __, lastError: ___, ...kept } = branch;
    return { ...kept, attempts: 0 };
  };
  const { callback } = state;
  return {
    ...rest,
    branches: state.branches.map(withoutTries),
    ...(callback === undefined ? {} : { callback: withoutTries(callback) }),
    ...(finishedAt === undefined ? {} : { finishedAt: state.createdAt }),
    ...(retries === undefined || state.retryLimit === undefined ? {} : { retries }),
  };
}
