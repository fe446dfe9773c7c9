/** Serves commands of a session one at a time, where that takes its time: the client is not read meanwhile. */
import { Inside } from '../inside/inside.ts';
import { SessionOver } from '../inside/seat.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Work } from '../../sql/work.ts';
import { CAPABILITY, has } from '../wire/capabilities.ts';
import { ClientSeat, type SeatOptions } from './client-seat.ts';
import type { InsideParts } from '../inside/parts.ts';
import type { Interrupter } from './interrupting.ts';
import type { SessionParts } from './open-session.ts';

export interface ServingOptions {
  readonly seat: Omit<SeatOptions, 'hangUp' | 'takesSeveral'>;
  /** The number of the connection to the server. */
  readonly connection: number;
  /** It has begun. Answers the number of the first packet of the answer. */
  readonly onBegin: () => number;
  /** It is done: the client is read on, or the session ends where `endsSession`. */
  readonly onDone: (endsSession: boolean) => void;
  /** A defect of ours. */
  readonly onFailed: (error: unknown) => void;
}

/** How often a statement is interrupted whose global transaction was rolled back, and the milliseconds between. */
const INTERRUPTIONS_MAX = 5;
const INTERRUPTED_AGAIN_MS = 100;

export class Serving {
  /** Undefined where nothing can be changed inside a global transaction. */
  readonly inside: Inside | undefined;
  readonly #seat: ClientSeat;
  readonly #options: ServingOptions;
  #endsSession = false;
  #isBusy = false;
  /** How many commands have been served. */
  #served = 0;
  /** Which of them, by that count, is being interrupted. */
  #interrupted: number | undefined;
  readonly #parts: InsideParts | undefined;
  #takesSeveral: boolean;

  constructor(options: ServingOptions, { inside, count }: SessionParts) {
    this.#options = options;
    this.#takesSeveral = has(options.seat.capabilities, CAPABILITY.multiStatements);
    this.#seat = new ClientSeat({
      ...options.seat,
      hangUp: () => (this.#endsSession = true),
      takesSeveral: () => this.#takesSeveral,
    });
    this.#parts = inside;
    this.inside = inside && new Inside(this.#seat, inside, count);
  }

  /** The client has sent COM_SET_OPTION: whether texts of several statements are taken. */
  optionSet(payload: Buffer): void {
    const option = payload.length > 2 ? payload.readUInt16LE(1) : undefined;
    // Of another one the server says that there is none, and all stays as it is.
    if (option === 0 || option === 1) this.#takesSeveral = option === 0;
  }

  /** A command of the client goes on to the server next. */
  ungrant(): void {
    this.#seat.ungrant();
  }

  /** Something is being served. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Every command has to be looked at: the client believes to be in a local transaction that is over. */
  get isDoomed(): boolean {
    return this.inside?.isDoomed === true;
  }

  /** Begins. Nothing else may be being served. */
  start(serve: (inside: Inside) => Promise<void>): void {
    if (this.inside === undefined) return;
    this.#isBusy = true;
    this.#seat.begin(this.#options.onBegin());
    serve(this.inside)
      .then(() => this.#seat.free())
      .then(() => {
        this.#isBusy = false;
        this.#served += 1;
        this.#options.onDone(this.#endsSession);
      })
      .catch((error: unknown) => {
        if (!(error instanceof SessionOver)) this.#options.onFailed(error);
      });
  }

  /** Rolls back what is carried out for `work`: now where `isQuiet`, otherwise when what is served is done, which is interrupted. */
  abandon(work: Work, isQuiet: boolean): void {
    const place = this.inside?.abandon(work, this.#isBusy);
    if (isQuiet && !this.#isBusy) this.start((inside) => inside.rollBackAbandoned());
    else if (place !== undefined && this.#interrupted !== this.#served && this.#parts !== undefined)
      void this.#interrupt(this.#parts.interrupter, place);
  }

  /** It may wait for somebody else's lock. Between two statements the server takes no notice. */
  async #interrupt(interrupter: Interrupter, place: string): Promise<void> {
    const served = this.#served;
    const isServed = (): boolean => this.#isBusy && this.#served === served;
    this.#interrupted = served;
    let mayHelp = true;
    for (let left = INTERRUPTIONS_MAX; left > 0 && mayHelp && isServed(); left -= 1) {
      const target = { connection: this.#options.connection, place };
      mayHelp = await interrupter.interrupt(target, {
        isWanted: () => isServed() && this.#seat.isInterruptible,
        onSaid: (over) => this.#seat.expectInterruption(over),
      });
      await new Promise<void>((resolve) => at((now() + INTERRUPTED_AGAIN_MS) as Instant, resolve));
    }
    if (this.#interrupted === served) this.#interrupted = undefined;
  }

  /** The connection is gone. */
  over(): void {
    this.#seat.over();
  }
}
