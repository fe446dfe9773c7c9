/**
 * COM_CHANGE_USER. Where clients log in at the server and both sides are equal, the packets of the login inside it go through as they come.
 * Where the sidecar has TLS on one side only they are said anew, and numbered by themselves on each side; so they are where it manages logins.
 */
import { Exchange, type ExchangeParts } from '../login/exchange.ts';
import type { LoggedIn } from '../login/login.ts';
import { ManagedChange } from '../login/managed-change.ts';
import { decodeCommand } from '../wire/commands.ts';
import { encodePackets } from '../wire/frames.ts';
import { claimOfConnection, type Claim } from './naming/carriers.ts';
import type { Refusal } from './refusals.ts';

/** A login inside COM_CHANGE_USER whose packets are said anew on each side. */
export interface UserChange {
  /** The client has proved nothing yet: whatever it sends is taken for a part of the login. */
  readonly isOpen: boolean;
  /** What one side has said goes to the other, or an answer to it back. Says whose turn it is then. */
  heard(side: 'client' | 'server', payload: Buffer): 'client' | 'server';
  /** The server's last word. */
  over(payload: Buffer): void;
  /** The number of what the client hears next. */
  readonly sequence: number;
}

export interface ChangeUserParts {
  readonly toClient: (bytes: Buffer) => void;
  readonly toServer: (bytes: Buffer) => void;
  /** It cannot go on, and the session with it. */
  readonly refused: (refusal: Refusal) => void;
}

class RelayedChange implements UserChange {
  readonly isOpen = false;
  readonly #exchange: Exchange;
  readonly #parts: ChangeUserParts;
  /** Numbers of the next packets: the command was 0. */
  readonly #next = { client: 1, server: 1 };

  constructor(parts: ChangeUserParts & ExchangeParts) {
    this.#parts = parts;
    this.#exchange = new Exchange(parts);
  }

  /** Why it is refused before the server hears of it. */
  get obstacle(): Refusal | undefined {
    return this.#exchange.obstacle;
  }

  heard(side: 'client' | 'server', payload: Buffer): 'client' | 'server' {
    this.#next[side] += 1;
    const move = side === 'client' ? this.#exchange.client(payload) : this.#exchange.server(payload);
    if (move.kind === 'refuse') {
      this.#parts.refused(move.refusal);
      return 'server';
    }
    this.#say(move.to, move.payload);
    return move.next;
  }

  over(payload: Buffer): void {
    this.#say('client', payload);
  }

  get sequence(): number {
    return this.#next.client & 0xff;
  }

  #say(to: 'client' | 'server', payload: Buffer): void {
    const bytes = encodePackets(payload, this.#next[to] & 0xff);
    this.#next[to] += 1;
    if (to === 'client') this.#parts.toClient(bytes);
    else this.#parts.toServer(bytes);
  }
}

/**
 * What is to be done with a COM_CHANGE_USER: nothing has been said to anybody. `changing`: where the packets behind it are said anew.
 * `told`: what the server hears in place of it.
 */
export type BegunChange =
  | {
      readonly kind: 'begun';
      readonly claim: Claim | undefined;
      readonly changing: UserChange | undefined;
      readonly told: Buffer | undefined;
    }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'malformed' };

/** Reads the command, whose attributes may name a global transaction. */
export function beginChange(payload: Buffer, login: LoggedIn, io: ChangeUserParts): BegunChange {
  const { capabilities, sides, handshake, keys, managed, response } = login;
  const command = decodeCommand(payload, capabilities);
  if (command.kind !== 'change-user') return { kind: 'malformed' };
  const claim = claimOfConnection(command.attributes);
  if (claim?.kind === 'refused') return claim;
  if (managed !== undefined) {
    const { charset } = response;
    const isEncrypted = sides.server === 'tls';
    const changing = new ManagedChange({ session: managed, command, capabilities, charset, isEncrypted, ...io });
    return { kind: 'begun', claim, changing, told: changing.toldServer };
  }
  if (sides.client === sides.server) return { kind: 'begun', claim, changing: undefined, told: undefined };
  const plugin = command.plugin?.toString('latin1') ?? '';
  const changing = new RelayedChange({ sides, keys, plugin, challenge: handshake.challenge, ...io });
  const { obstacle } = changing;
  return obstacle === undefined
    ? { kind: 'begun', claim, changing, told: undefined }
    : { kind: 'refused', refusal: obstacle };
}
