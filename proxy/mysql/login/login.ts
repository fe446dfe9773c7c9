/**
 * The login of a client at the database, through the sidecar: from the server's first packet to its yes or no. Both sides have the same
 * capabilities; TLS each has by itself. The packets of both are numbered by themselves, since one side may have a packet more.
 * Source: MySQL documentation, "Connection Phase".
 */
import type { Socket } from 'node:net';
import { encrypt, reasonOf } from '../../relay/upstream.ts';
import { hangUp } from '../../relay/hang-up.ts';
import type { MysqlDatabaseOptions } from '../../options.ts';
import { errorPacket, protocolBroken, serverBroken, unreachable, type Refusal } from '../session/refusals.ts';
import { upstreamAddress } from '../upstream.ts';
import { agreed, CAPABILITY, has, insistsOnCompression, type Capabilities } from '../wire/capabilities.ts';
import { encodePackets } from '../wire/frames.ts';
import {
  decodeClientHello,
  decodeHandshake,
  encodeClientHello,
  encodeHandshake,
  narrowHandshake,
  narrowResponse,
  type Handshake,
  type HandshakeResponse,
} from '../wire/handshake.ts';
import { OUTCOME } from '../wire/outcome.ts';
import type { ClientTls } from './client-tls.ts';
import { Exchange, type Move, type PasswordKeys, type Sides } from './exchange.ts';
import { nextPacket } from './packet-source.ts';
import { encryptedAlready, noCompression, noTlsHere, onlyTls } from './refusals.ts';

export interface LoginParts {
  readonly database: MysqlDatabaseOptions;
  /** Undefined where the listener takes no TLS. */
  readonly clientTls: ClientTls | undefined;
  readonly keys: () => Promise<PasswordKeys>;
  /** Why what a client says of itself is refused; undefined where it is not. */
  readonly examine: (response: HandshakeResponse) => Refusal | undefined;
  readonly onProtocolError: () => void;
  /** Ends TLS handshakes with the server. */
  readonly deadline: AbortSignal;
}

/** A session whose login has succeeded, as the client was told. Nothing behind that is read yet on either side. */
export interface LoggedIn {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly capabilities: Capabilities;
  readonly sides: Sides;
  readonly handshake: Handshake;
  /** What the client has said of itself. */
  readonly response: HandshakeResponse;
  readonly keys: PasswordKeys | undefined;
  /** The server's OK. */
  readonly ok: Buffer;
}

/**
 * Leads a client through its login. Undefined when it did not come about: the client was told why, by the server or by us, or has gone. Both
 * sockets must not be flowing, and are closed when the caller closes one of them.
 */
export async function logIn(client: Socket, upstream: Socket, parts: LoginParts): Promise<LoggedIn | undefined> {
  const login = new Login(client, upstream, parts);
  try {
    return await login.run();
  } catch (error) {
    if (!(error instanceof LoginOver)) throw error;
    login.end(error);
    return undefined;
  }
}

/** The login is over, without a session. */
class LoginOver extends Error {
  /** What the client is told, unless it was told by the server or has gone. */
  readonly refusal: Refusal | undefined;
  readonly isBroken: boolean;

  constructor(refusal?: Refusal, isBroken = false) {
    super('the login is over');
    this.name = 'LoginOver';
    this.refusal = refusal;
    this.isBroken = isBroken;
  }
}

interface Side {
  socket: Socket;
  /** The number of the next packet, whoever sends it. */
  sequence: number;
}

class Login {
  readonly #parts: LoginParts;
  readonly #client: Side;
  readonly #server: Side;
  /** The client can be told an SQLSTATE. */
  #hasState = false;

  constructor(client: Socket, upstream: Socket, parts: LoginParts) {
    this.#parts = parts;
    this.#client = { socket: client, sequence: 0 };
    this.#server = { socket: upstream, sequence: 0 };
  }

  async run(): Promise<LoggedIn> {
    const handshake = await this.#greet();
    const { response, isSecure } = await this.#hear();
    const offered = narrowHandshake(handshake, { tls: this.#parts.clientTls !== undefined }).capabilities;
    if (insistsOnCompression(offered, response.capabilities)) throw new LoginOver(noCompression);
    const refusal = this.#parts.examine(response);
    if (refusal !== undefined) throw new LoginOver(refusal);
    const isServerSecure = this.#parts.database.tls.mode !== 'disable';
    const sides = { client: isSecure ? 'tls' : 'plain', server: isServerSecure ? 'tls' : 'plain' } as const;
    const keys = sides.client === 'plain' && sides.server === 'tls' ? await this.#parts.keys() : undefined;
    const plugin = (response.plugin ?? handshake.plugin)?.toString('latin1') ?? '';
    const exchange = new Exchange({ sides, plugin, challenge: handshake.challenge, keys });
    if (exchange.obstacle !== undefined) throw new LoginOver(exchange.obstacle);
    await this.#answerServer(handshake, response, offered);
    const ok = await this.#carry(exchange);
    const capabilities = agreed(offered, response.capabilities);
    const { socket: client } = this.#client;
    return { client, upstream: this.#server.socket, capabilities, sides, handshake, response, keys, ok };
  }

  /** Tells the client why, and closes both sides. */
  end({ refusal, isBroken }: LoginOver): void {
    if (isBroken) this.#parts.onProtocolError();
    const { socket, sequence } = this.#client;
    hangUp(socket, refusal && errorPacket(refusal, sequence & 0xff, this.#hasState));
    this.#server.socket.destroy();
  }

  /** The server's first packet, narrowed, goes to the client; or its error, which ends everything. */
  async #greet(): Promise<Handshake> {
    const payload = await this.#receive(this.#server);
    if (payload[0] === OUTCOME.error) this.#turnAway(payload);
    const handshake = decodeHandshake(payload);
    if (handshake.kind === 'fault') throw new LoginOver(serverBroken(handshake.message));
    this.#send(this.#client, encodeHandshake(narrowHandshake(handshake, { tls: this.#parts.clientTls !== undefined })));
    return handshake;
  }

  /** The client's answer, ahead of which it may ask for TLS. */
  async #hear(): Promise<{ readonly response: HandshakeResponse; readonly isSecure: boolean }> {
    const { clientTls } = this.#parts;
    let isSecure = false;
    for (;;) {
      const hello = decodeClientHello(await this.#receive(this.#client));
      this.#hasState = true;
      if (hello.kind === 'fault') throw new LoginOver(protocolBroken(hello.message, hello.errno, hello.sqlState), true);
      if (hello.kind === 'handshake-response') {
        if (clientTls?.isRequired === true && !isSecure) throw new LoginOver(onlyTls);
        return { response: hello, isSecure };
      }
      if (isSecure) throw new LoginOver(encryptedAlready, true);
      if (clientTls === undefined) throw new LoginOver(noTlsHere);
      const secure = await clientTls.secure(this.#client.socket);
      if (secure === undefined) throw new LoginOver();
      secure.on('error', () => secure.destroy()).once('close', () => this.#server.socket.destroy());
      secure.allowHalfOpen = true;
      this.#client.socket = secure;
      isSecure = true;
    }
  }

  /** The client's answer goes to the server, behind TLS where the configuration asks for it. */
  async #answerServer(handshake: Handshake, response: HandshakeResponse, offered: Capabilities): Promise<void> {
    const { tls } = this.#parts.database;
    const narrowed = narrowResponse(response, offered);
    if (narrowed.kind === 'fault') throw new LoginOver(serverBroken(narrowed.message));
    const plain = narrowed.capabilities & ~CAPABILITY.ssl;
    if (tls.mode === 'disable') {
      return this.#send(this.#server, encodeClientHello({ ...narrowed, capabilities: plain }));
    }
    if (!has(handshake.capabilities, CAPABILITY.ssl)) throw new LoginOver(unreachable('the server does not offer TLS'));
    const capabilities = plain | CAPABILITY.ssl;
    const { maxPacketBytes, charset, reserved } = narrowed;
    const request = { kind: 'ssl-request', capabilities, maxPacketBytes, charset, reserved } as const;
    this.#send(this.#server, encodeClientHello(request));
    const { host } = upstreamAddress(this.#parts.database.upstream);
    try {
      const { deadline } = this.#parts;
      const secure = await encrypt(this.#server.socket, host, { tls, deadline });
      const raw = this.#server.socket;
      secure.once('close', () => raw.destroy());
      this.#server.socket = secure;
    } catch (error) {
      throw new LoginOver(unreachable(`no TLS with the database at ${host}: ${reasonOf(error)}`));
    }
    return this.#send(this.#server, encodeClientHello({ ...narrowed, capabilities }));
  }

  /** Carries what both say to each other until the server has said OK, which the client has been told then. */
  async #carry(exchange: Exchange): Promise<Buffer> {
    for (let next: 'client' | 'server' = 'server'; ;) {
      const payload = await this.#receive(next === 'server' ? this.#server : this.#client);
      if (next === 'server' && payload[0] === OUTCOME.error) this.#turnAway(payload);
      if (next === 'server' && payload[0] === OUTCOME.ok) {
        this.#send(this.#client, payload);
        return payload;
      }
      const move: Move = next === 'server' ? exchange.server(payload) : exchange.client(payload);
      if (move.kind === 'refuse') throw new LoginOver(move.refusal);
      this.#send(move.to === 'server' ? this.#server : this.#client, move.payload);
      next = move.next;
    }
  }

  /** The server has said no. */
  #turnAway(error: Buffer): never {
    this.#send(this.#client, error);
    throw new LoginOver();
  }

  #send(side: Side, payload: Buffer): void {
    side.socket.write(encodePackets(payload, side.sequence & 0xff));
    side.sequence += 1;
  }

  async #receive(side: Side): Promise<Buffer> {
    const isServer = side === this.#server;
    const packet = await nextPacket(side.socket);
    if (packet.kind === 'closed') throw new LoginOver(isServer ? serverGone : undefined);
    const expected = side.sequence & 0xff;
    if (packet.kind === 'packet' && packet.sequence === expected) {
      side.sequence += 1;
      return packet.payload;
    }
    const broken =
      packet.kind === 'too-large'
        ? 'a packet is larger than any of a login'
        : `packets out of order: ${packet.sequence} where ${expected} was expected`;
    // MySQL source: ER_NET_PACKETS_OUT_OF_ORDER.
    throw new LoginOver(isServer ? serverBroken(broken) : protocolBroken(broken, 1156, '08S01'), !isServer);
  }
}

const serverGone: Refusal = {
  errno: 1429,
  code: '08001',
  message: 'the database has closed the connection during the login',
  hint: 'Look into its log; it may be starting, or have no connection left.',
};
