/**
 * A run of a workflow against what earlier runs have recorded: which calls were answered already, and whether the program still
 * does the same. Pure: the decisions of the journal.
 *
 * Calls that the program makes at the same time may come in another order than before. So a call takes any recorded step of its
 * method, URL and body that this run has not come to yet; only when there is none, but one of the same method and URL with another
 * body, the two contradict each other.
 */
import type { StepView } from '../../src/contract/messages.ts';
import {
  callName,
  decodeStep,
  type CallIdentity,
  type PlacedCall,
  type ProgramEnd,
  type RecordedAnswer,
} from './step.ts';

/** What becomes of a call. */
export type Taken =
  | { readonly kind: 'recorded'; readonly call: PlacedCall; readonly answer: RecordedAnswer }
  /** Nobody has recorded it: it may go out, and is recorded in this place. */
  | { readonly kind: 'new'; readonly call: PlacedCall }
  /** Earlier runs called the same with other bodies, and this run has not come to those. */
  | { readonly kind: 'contradicted'; readonly message: string };

/** What earlier runs have left. */
export interface Recorded {
  /** How the program ended: nothing is left but to carry it out. */
  readonly end: ProgramEnd | undefined;
  /** Why no further run may begin: a call is in doubt that may not be repeated, or a step is not ours. */
  readonly obstacle: string | undefined;
  readonly replay: Replay;
}

interface FinishedCall {
  readonly call: PlacedCall;
  readonly answer: RecordedAnswer;
}

/** Reads the steps of a transaction. */
export function readSteps(steps: readonly StepView[]): Recorded {
  const started = new Map<string, PlacedCall>();
  const tried = new Set<string>();
  const finished = new Map<string, FinishedCall>();
  let end: ProgramEnd | undefined;
  let foreign: string | undefined;
  for (const view of steps) {
    const step = decodeStep(view);
    if (step === undefined) foreign = view.step;
    else if (step.kind === 'started') started.set(callName(step.call), step.call);
    else if (step.kind === 'tried') tried.add(callName(step.call));
    else if (step.kind === 'finished') finished.set(callName(step.call), step);
    else if (step.kind === 'answer') end = step;
  }
  const [doubtful] = [...started.keys()].filter((name) => !finished.has(name));
  const obstacle =
    foreign !== undefined
      ? `the step "${foreign}" was not recorded by this version of the sidecar`
      : doubtful !== undefined
        ? `nobody knows whether the call ${doubtful} took effect, and it may not be repeated`
        : undefined;
  return { end, obstacle, replay: new Replay(finished, tried) };
}

/** One run's way through the recorded steps. */
export class Replay {
  readonly #finished: Map<string, FinishedCall>;
  /** Recorded by earlier runs, and not made by this one yet. */
  readonly #ahead: Set<string>;
  readonly #taken = new Set<string>();
  /** Made by an earlier run, and not answered for good: the program goes on behind them as it did then. */
  readonly #tried: ReadonlySet<string>;

  constructor(finished: ReadonlyMap<string, FinishedCall>, tried: ReadonlySet<string>) {
    this.#finished = new Map(finished);
    this.#tried = tried;
    this.#ahead = new Set(finished.keys());
  }

  /** Gives a call its place. Every call of the run comes here once, `contradicted` ones as often as they like. */
  take(wanted: CallIdentity): Taken {
    for (let occurrence = 1; ; occurrence += 1) {
      const call = { ...wanted, occurrence };
      const name = callName(call);
      if (this.#taken.has(name)) continue;
      const known = this.#finished.get(name);
      const isUnheardOf = known === undefined && !this.#tried.has(name);
      const other = isUnheardOf ? this.#otherAhead(wanted) : undefined;
      if (other !== undefined)
        return { kind: 'contradicted', message: `${name} is called, where ${other} was recorded` };
      this.#taken.add(name);
      this.#ahead.delete(name);
      return known === undefined ? { kind: 'new', call } : { kind: 'recorded', call, answer: known.answer };
    }
  }

  /** A new call was answered for good. */
  finish(call: PlacedCall, answer: RecordedAnswer): void {
    this.#finished.set(callName(call), { call, answer });
  }

  /** The program has not heard how a call ended: its next try of it is the same step, as it is for a later run. */
  release(call: PlacedCall): void {
    this.#taken.delete(callName(call));
  }

  /** Recorded calls that this run has not made. A program that ends well without them is not the one that was recorded. */
  get ahead(): readonly string[] {
    return [...this.#ahead];
  }

  /**
   * A recorded call of the same method and URL with another body that this run has not come to. One with the same body is none: of
   * two equal calls at once, the second may have been answered and the first not.
   */
  #otherAhead({ method, url, hash }: CallIdentity): string | undefined {
    return [...this.#ahead].find((name) => {
      const call = this.#finished.get(name)?.call;
      return call?.method === method && call.url === url && call.hash !== hash;
    });
  }
}
