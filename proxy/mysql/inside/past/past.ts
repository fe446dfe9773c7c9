/** What a session has been told so far that lasts, as far as what is done inside a global transaction depends on it. */
import type { Settings } from '../settings.ts';
import type { Seat } from '../seat.ts';
import { lastingOf, type Lasting } from './lasting.ts';

/**
 * A stretch of a session in which the same database is selected and texts are read alike. What is prepared in it means what it means there;
 * the numbers tell one from another.
 */
export interface Epoch {
  /** How often another database may have been selected. */
  readonly databases: number;
  /** How often `sql_mode` or a character set may have been set. */
  readonly readings: number;
  /** What is selected in it; undefined as long as nobody has told. `isOfLogin`: the client asked for it, and the server might have selected another one. */
  selected: { readonly database: string | undefined; readonly isOfLogin: boolean } | undefined;
}

/** A name of which every server makes the same. */
const PLAIN_NAME = /^[\w$-]+$/;

export class Past {
  readonly #seat: Pick<Seat, 'binding' | 'isMariadb' | 'takesSeveral'>;
  #epoch: Epoch = { databases: 0, readings: 0, selected: undefined };
  /** The local transactions behind so many have an isolation level of their own, which nobody tells. */
  #level: { readonly from: number; readonly to: number } | undefined;

  constructor(seat: Pick<Seat, 'binding' | 'isMariadb' | 'takesSeveral'>) {
    this.#seat = seat;
  }

  /** What is prepared now is prepared under this. */
  get epoch(): Epoch {
    return this.#epoch;
  }

  /** The session is like new. What was prepared since that was asked for is prepared in an epoch of its own (`lastingOfCommand`). */
  reset(): void {
    this.#level = undefined;
  }

  /** The client has asked for this database when it logged in; undefined when for none. */
  loggedInto(name: Buffer | undefined): void {
    const database = name?.toString('latin1') ?? '';
    if (PLAIN_NAME.test(database)) this.#epoch.selected = { database, isOfLogin: true };
  }

  /** The server has told the settings as they are now: all that was said before is carried out. */
  learned({ database }: Settings): void {
    this.#epoch.selected = { database, isOfLogin: false };
  }

  /** A text goes to the server, which `bytes` has from `start` to `end`. */
  said(bytes: Buffer, start = 0, end = bytes.length): void {
    this.leaves(lastingOf(bytes, start, end, this.#seat.takesSeveral));
  }

  /** Something goes to the server that may leave this behind. */
  leaves({ database, reading, level, calls }: Lasting): void {
    const selects = database || (calls && this.#seat.isMariadb);
    if (selects || reading) {
      const { databases, readings, selected } = this.#epoch;
      this.#epoch = {
        databases: databases + (selects ? 1 : 0),
        readings: readings + (reading ? 1 : 0),
        selected: selects ? undefined : selected,
      };
    }
    const { ended } = this.#seat.binding;
    // What a procedure does may end a local transaction before it sets the level of the next.
    if (level) this.#level = { from: ended, to: Math.max(ended + (calls ? 1 : 0), this.#level?.to ?? 0) };
  }

  /** True when names of what was prepared under `epoch` may mean another database than the one that is selected. `now`: as last learned. */
  hasMoved({ databases, selected }: Epoch, now: Settings): boolean {
    if (databases === this.#epoch.databases) return false;
    const isKnown = selected !== undefined && (!selected.isOfLogin || now.isPlainLogin);
    return !isKnown || selected.database !== now.database;
  }

  /** True when what was prepared under `epoch` may have been read otherwise than it would be now. */
  isReadOtherwise({ readings }: Epoch): boolean {
    return readings !== this.#epoch.readings;
  }

  /** The local transaction that is open, or is next, may have an isolation level of its own. */
  get hasLevel(): boolean {
    const { ended } = this.#seat.binding;
    return this.#level !== undefined && this.#level.from <= ended && ended <= this.#level.to;
  }

  /** The next local transaction has the isolation level of this one. */
  keepsLevel(): void {
    const { ended } = this.#seat.binding;
    this.#level = { from: ended, to: ended };
  }
}
