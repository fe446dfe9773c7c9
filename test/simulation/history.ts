/** What was seen, and whether it may have been: the safety properties that can be checked the moment something happens. */
import type { Gid, Mode, Operation } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { outcomeOf, type Outcome } from '../../src/engine/status.ts';
import type { FaultKind, Situation } from './faults.ts';
import type { Time } from './time.ts';

/** A property does not hold. */
export class Violation extends Error {
  readonly property: string;

  constructor(property: string, message: string) {
    super(`${property}: ${message}`);
    this.name = 'Violation';
    this.property = property;
  }
}

export class History {
  readonly counts = new Map<FaultKind | Situation, number>();
  readonly lines: string[] = [];
  violation: Violation | undefined;
  readonly #time: Time;
  readonly #keepsLines: boolean;
  readonly #outcomes = new Map<Gid, { readonly outcome: Outcome; readonly where: string }>();
  #hash = 0x811c9dc5;
  #start: number;

  constructor(time: Time, keepsLines: boolean) {
    this.#time = time;
    this.#start = time.now;
    this.#keepsLines = keepsLines;
  }

  /** Two runs with the same hash did the same. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16);
  }

  note(text: string): void {
    const line = `${this.#time.now - this.#start} ${text}`;
    for (let index = 0; index < line.length; index += 1) {
      this.#hash = Math.imul(this.#hash ^ line.charCodeAt(index), 0x01000193);
    }
    if (this.#keepsLines) this.lines.push(line);
  }

  count(what: FaultKind | Situation): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
    this.note(`* ${what}`);
  }

  /** Notes that the property is broken; the first violation ends the run. */
  violated(property: string, message: string): void {
    this.note(`VIOLATION ${property}: ${message}`);
    this.violation ??= new Violation(property, message);
  }

  /** S1: whoever looks, wherever, sees the same outcome. */
  sawOutcome(gid: Gid, outcome: Outcome, where: string): void {
    if (outcome === 'undecided') return;
    const known = this.#outcomes.get(gid);
    if (known === undefined) this.#outcomes.set(gid, { outcome, where });
    else if (known.outcome !== outcome) {
      this.violated(
        'S1 decision agreement',
        `${gid} is ${outcome} for ${where}, and was ${known.outcome} for ${known.where}`,
      );
    }
  }

  sawTransaction(transaction: GlobalTransaction, where: string): void {
    this.sawOutcome(transaction.gid, outcomeOf(transaction), where);
  }
}

/** The outcome that stands when this is asked of a branch: none when a saga acts, or an initiator is asked. */
export function outcomeAskedBy(mode: Mode, operation: Operation): Outcome {
  switch (operation) {
    case 'rollback':
    case 'cancel':
    case 'compensate':
      return 'rollback';
    case 'msg':
    case 'workflow':
      return 'undecided';
    case 'action':
      return mode === 'saga' ? 'undecided' : 'commit';
    default:
      return 'commit';
  }
}
