/** The connection of a session, as what happens inside a global transaction uses it. All before the command that is served is answered. */
import type { Binding } from '../session/binding.ts';
import type { Refusal } from '../session/refusals.ts';
import type { Effect, Heard } from '../session/transaction.ts';
import type { Capabilities } from '../wire/capabilities.ts';
import type { ParkedConnection } from '../xa/parked-connection.ts';
import type { Reply } from './reply.ts';

/** A statement of the sidecar's own. */
export interface Own {
  /** One character for each byte. */
  readonly sql: string;
  /** What it does to a local transaction; by default nothing. */
  readonly effect?: Effect;
}

export interface Seat {
  readonly binding: Binding;
  readonly capabilities: Capabilities;
  readonly isMariadb: boolean;
  /** The client may send several statements in one text. */
  readonly takesSeveral: boolean;
  /** Statements of our own, all in one write: each is carried out, whatever became of those before. Rejects with `SessionOver`. */
  ask(statements: readonly Own[]): Promise<readonly Reply[]>;
  /**
   * Statements of our own in one text, each with one result, of which the server carries out none behind the first that fails: so many
   * replies there are, the last of them with the error. Rejects with `SessionOver`.
   */
  script(statements: readonly Own[]): Promise<readonly Reply[]>;
  /** The client's command as it came, whose answer the client gets as it comes. Says how that has ended. */
  relay(effect: Effect): Promise<Heard | undefined>;
  /** The client's command as it came, whose answer nobody gets yet. */
  collect(effect: Effect): Promise<Reply>;
  /** The client hears these packets next. */
  answer(packets: readonly Buffer[]): void;
  /** The client hears an error, and values that it has sent ahead of the command are dropped. */
  refuse(refusal: Refusal): void;
  /** As long as `isKept`, the connection to the server outlives the client. */
  keepServer(isKept: boolean): void;
  /** The connection to the server is the caller's: the session has to be hung up. Undefined where it has ended. */
  takeServer(): ParkedConnection | undefined;
  /** Ends the session once the client has heard what it was answered. */
  hangUp(): void;
}

/** The connection is gone while something was waited for: nothing more can be said to anybody. */
export class SessionOver extends Error {
  constructor() {
    super('the connection to the database, or that of the client, has ended');
  }
}
