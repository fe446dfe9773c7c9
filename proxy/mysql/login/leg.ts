/** One side of a session that is logging in: its packets, which are numbered by themselves, since one side may have a packet more. */
import type { Socket } from 'node:net';
import { protocolBroken, serverBroken, type Refusal } from '../session/refusals.ts';
import { encodePackets } from '../wire/frames.ts';
import { nextPacket } from './packet-source.ts';
import { serverGone } from './refusals.ts';

/** The login is over, without a session. */
export class LoginOver extends Error {
  /** What the client is told, in words of ours or as an error of the server's; undefined: it has gone. */
  readonly said: Refusal | Buffer | undefined;
  readonly isBroken: boolean;

  constructor(said?: Refusal | Buffer, isBroken = false) {
    super('the login is over');
    this.name = 'LoginOver';
    this.said = said;
    this.isBroken = isBroken;
  }
}

export class Leg {
  socket: Socket;
  readonly #isServer: boolean;
  /** The number of the next packet, whoever sends it. */
  #sequence = 0;

  constructor(side: 'client' | 'server', socket: Socket) {
    this.socket = socket;
    this.#isServer = side === 'server';
  }

  /** The number of the next packet, as it is written. */
  get sequence(): number {
    return this.#sequence & 0xff;
  }

  send(payload: Buffer): void {
    this.socket.write(encodePackets(payload, this.sequence));
    this.#sequence += 1;
  }

  /** The next packet. Throws `LoginOver` when there is none, or one that cannot be. */
  async receive(): Promise<Buffer> {
    const packet = await nextPacket(this.socket);
    if (packet.kind === 'closed') throw new LoginOver(this.#isServer ? serverGone : undefined);
    const expected = this.sequence;
    if (packet.kind === 'packet' && packet.sequence === expected) {
      this.#sequence += 1;
      return packet.payload;
    }
    const broken =
      packet.kind === 'too-large'
        ? 'a packet is larger than any of a login'
        : `packets out of order: ${packet.sequence} where ${expected} was expected`;
    // MySQL source: ER_NET_PACKETS_OUT_OF_ORDER.
    throw new LoginOver(this.#isServer ? serverBroken(broken) : protocolBroken(broken, 1156, '08S01'), !this.#isServer);
  }
}
