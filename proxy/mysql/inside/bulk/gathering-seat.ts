/** The seat of a session while one of several rows is served: what the client would hear is kept. */
import type { Binding } from '../../session/binding.ts';
import type { Refusal } from '../../session/refusals.ts';
import type { Effect, Heard } from '../../session/transaction.ts';
import type { Capabilities } from '../../wire/capabilities.ts';
import type { ParkedConnection } from '../../xa/parked-connection.ts';
import type { Context } from '../context.ts';
import type { Reply } from '../reply.ts';
import type { Own, Seat } from '../seat.ts';

/** What has been said to the client about the last row. */
export type Said =
  | { readonly kind: 'packets'; readonly packets: readonly Buffer[] }
  | { readonly kind: 'refusal'; readonly refusal: Refusal };

export class GatheringSeat implements Seat {
  readonly #seat: Seat;
  said: Said | undefined;

  constructor(seat: Seat) {
    this.#seat = seat;
  }

  get binding(): Binding {
    return this.#seat.binding;
  }

  get capabilities(): Capabilities {
    return this.#seat.capabilities;
  }

  get isMariadb(): boolean {
    return this.#seat.isMariadb;
  }

  get takesSeveral(): boolean {
    return this.#seat.takesSeveral;
  }

  ask(statements: readonly Own[]): Promise<readonly Reply[]> {
    return this.#seat.ask(statements);
  }

  script(statements: readonly Own[]): Promise<readonly Reply[]> {
    return this.#seat.script(statements);
  }

  relay(effect: Effect): Promise<Heard | undefined> {
    return this.#seat.relay(effect);
  }

  collect(effect: Effect): Promise<Reply> {
    return this.#seat.collect(effect);
  }

  answer(packets: readonly Buffer[]): void {
    this.said = { kind: 'packets', packets };
  }

  refuse(refusal: Refusal): void {
    this.said = { kind: 'refusal', refusal };
  }

  keepServer(isKept: boolean): void {
    this.#seat.keepServer(isKept);
  }

  takeServer(): ParkedConnection | undefined {
    return this.#seat.takeServer();
  }

  hangUp(): void {
    this.#seat.hangUp();
  }
}

/** The same session, in another seat. */
export function seated(c: Context, seat: Seat): Context {
  const { parts, settings, hasLevel, tables, memory, work } = c;
  return {
    seat,
    parts,
    settings,
    hasLevel,
    tables,
    memory,
    work,
    get local() {
      return c.local;
    },
    get last() {
      return c.last;
    },
    set last(value) {
      c.last = value;
    },
    isAbandoned: () => c.isAbandoned(),
  };
}
