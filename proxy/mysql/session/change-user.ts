/**
 * COM_CHANGE_USER, where the sidecar has TLS on one side only: the packets of the login inside it are said anew, and numbered by
 * themselves on each side. Where both sides are equal they go through as they come.
 */
import { Exchange, type ExchangeParts } from '../login/exchange.ts';
import type { LoggedIn } from '../login/login.ts';
import { decodeCommand } from '../wire/commands.ts';
import { encodePackets } from '../wire/frames.ts';
import { claimOfConnection, type Claim } from './naming/carriers.ts';
import type { Refusal } from './refusals.ts';

export interface ChangeUserParts extends ExchangeParts {
  readonly toClient: (bytes: Buffer) => void;
  readonly toServer: (bytes: Buffer) => void;
  /** It cannot go on, and the session with it. */
  readonly refused: (refusal: Refusal) => void;
}

export class ChangeUser {
  readonly #exchange: Exchange;
  readonly #parts: ChangeUserParts;
  /** Numbers of the next packets: the command was 0. */
  readonly #next = { client: 1, server: 1 };

  constructor(parts: ChangeUserParts) {
    this.#parts = parts;
    this.#exchange = new Exchange(parts);
  }

  /** Why it is refused before the server hears of it. */
  get obstacle(): Refusal | undefined {
    return this.#exchange.obstacle;
  }

  /** What one side has said goes to the other, or an answer to it back. Says whose turn it is then. */
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

  /** The server's last word. */
  over(payload: Buffer): void {
    this.#say('client', payload);
  }

  /** The number of what the client hears next. */
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

/** What is to be done with a COM_CHANGE_USER: nothing has been said to anybody. `changing`: where the packets behind it are said anew. */
export type BegunChange =
  | { readonly kind: 'begun'; readonly claim: Claim | undefined; readonly changing: ChangeUser | undefined }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'malformed' };

/** Reads the command, whose attributes may name a global transaction. */
export function beginChange(
  payload: Buffer,
  { capabilities, sides, handshake, keys }: LoggedIn,
  io: Pick<ChangeUserParts, 'toClient' | 'toServer' | 'refused'>,
): BegunChange {
  const command = decodeCommand(payload, capabilities);
  if (command.kind !== 'change-user') return { kind: 'malformed' };
  const claim = claimOfConnection(command.attributes);
  if (claim?.kind === 'refused') return claim;
  if (sides.client === sides.server) return { kind: 'begun', claim, changing: undefined };
  const plugin = command.plugin?.toString('latin1') ?? '';
  const changing = new ChangeUser({ sides, keys, plugin, challenge: handshake.challenge, ...io });
  const { obstacle } = changing;
  return obstacle === undefined ? { kind: 'begun', claim, changing } : { kind: 'refused', refusal: obstacle };
}
