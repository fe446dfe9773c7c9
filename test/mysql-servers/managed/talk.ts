/** A client that says packet by packet what it is told to. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { nextPacket } from '../../../proxy/mysql/login/packet-source.ts';
import { CAPABILITY, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import { encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { decodeHandshake, encodeClientHello, scrambleOf, type Handshake } from '../../../proxy/mysql/wire/handshake.ts';
import { decodeError } from '../../../proxy/mysql/wire/outcome.ts';
import { cachingSha2Password, nativePassword } from '../../../proxy/mysql/wire/scramble.ts';
import { CUSTOMER } from './stage.ts';

export const CACHING_SHA2 = 'caching_sha2_password';
export const NATIVE = 'mysql_native_password';
const BASE = CAPABILITY.longPassword | CAPABILITY.protocol41 | CAPABILITY.secureConnection | CAPABILITY.connectWithDb;

export interface Answer {
  readonly user?: string;
  readonly method?: string;
  /** Default: what the method makes of the customer's password. */
  readonly answer?: Buffer;
  readonly database?: string;
  /** Beside those that every client has. */
  readonly capabilities?: Capabilities;
}

/** What a client of the method answers to a challenge. */
export function proof(method: string, challenge: Buffer, password: string = CUSTOMER): Buffer {
  const make = method === NATIVE ? nativePassword : cachingSha2Password;
  return make(Buffer.from(password), scrambleOf(challenge));
}

export class Talk {
  readonly socket: Socket;
  /** The number of the next packet. */
  sequence = 0;

  constructor(port: number, host = '127.0.0.1') {
    this.socket = connect(port, host);
    this.socket.on('error', () => this.socket.destroy());
  }

  /** The next packet; undefined at the end of the connection. */
  async next(): Promise<Buffer | undefined> {
    const packet = await nextPacket(this.socket);
    if (packet.kind !== 'packet') return undefined;
    this.sequence = (packet.sequence + 1) & 0xff;
    return packet.payload;
  }

  async greeting(): Promise<Handshake> {
    const handshake = decodeHandshake((await this.next()) ?? Buffer.alloc(0));
    if (handshake.kind === 'fault') throw new Error(handshake.message);
    return handshake;
  }

  say(payload: Buffer, sequence: number = this.sequence): void {
    this.socket.write(encodePackets(payload, sequence));
  }

  /** Answers a greeting. */
  answer(handshake: Handshake, how: Answer = {}): void {
    const { user = 'orders', method = CACHING_SHA2, database = 'k', capabilities = CAPABILITY.pluginAuth } = how;
    const isNamed = (capabilities & CAPABILITY.pluginAuth) !== 0n;
    const hello = encodeClientHello({
      kind: 'handshake-response',
      capabilities: BASE | capabilities,
      maxPacketBytes: 1 << 24,
      charset: 45,
      reserved: Buffer.alloc(23),
      user: Buffer.from(user),
      authResponse: how.answer ?? proof(method, handshake.challenge),
      database: Buffer.from(database),
      plugin: isNamed ? Buffer.from(method) : undefined,
      attributes: (capabilities & CAPABILITY.connectAttributes) === 0n ? undefined : [],
      zstdLevel: undefined,
      trailing: Buffer.alloc(0),
    });
    this.say(hello);
  }

  /** What comes until the end of the connection: packets by their first byte, errors as number, state and text. */
  async rest(): Promise<readonly string[]> {
    const heard: string[] = [];
    for (let payload = await this.next(); payload !== undefined; payload = await this.next()) {
      const error = payload[0] === 0xff ? decodeError(payload, 0n) : undefined;
      heard.push(
        error?.kind === 'error'
          ? [error.errno, error.sqlState?.toString(), error.message.toString()].join(' ')
          : `${payload[0]}`,
      );
    }
    return heard;
  }

  async closed(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket.resume(), 'close');
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
