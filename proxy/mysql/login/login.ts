/**
 * The login of a client: from the server's first packet to its yes or no. What client and server say of themselves goes through, narrowed,
 * so that both sides have the same capabilities; TLS each has by itself. The client's proof goes through as well, or the sidecar asks for
 * it and then logs in by itself (managed.ts). Source: MySQL documentation, "Connection Phase".
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
import { takeLeave } from './leave.ts';
import { Leg, LoginOver } from './leg.ts';
import {
  addressOf,
  askClient,
  asRole,
  logInAsRole,
  newChallenge,
  ownGreeting,
  selectedOf,
  usualOf,
  type ManagedSession,
  type Manager,
} from './managed.ts';
import { encryptedAlready, noCompression, noTlsHere, onlyTls } from './refusals.ts';

export interface LoginParts {
  readonly database: MysqlDatabaseOptions;
  /** Undefined where the listener takes no TLS. */
  readonly clientTls: ClientTls | undefined;
  readonly keys: () => Promise<PasswordKeys>;
  /** Undefined where clients log in at the server. */
  readonly manager: Manager | undefined;
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
  /** What the client has said of itself, with the database that is selected. */
  readonly response: HandshakeResponse;
  readonly keys: PasswordKeys | undefined;
  /** The server's OK. */
  readonly ok: Buffer;
  /** Where the client has logged in at the sidecar. */
  readonly managed: ManagedSession | undefined;
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
    if (!(error instanceof LoginOver)) {
      upstream.destroy();
      throw error;
    }
    await login.end(error);
    return undefined;
  }
}

/** What both sides have said of themselves. */
interface Known {
  readonly handshake: Handshake;
  readonly response: HandshakeResponse;
  readonly sides: Sides;
  /** What the client was offered. */
  readonly offered: Capabilities;
}

type Outcome = Pick<LoggedIn, 'response' | 'keys' | 'ok' | 'managed'>;

const NOTHING: Buffer = Buffer.alloc(0);

class Login {
  readonly #parts: LoginParts;
  readonly #client: Leg;
  readonly #server: Leg;
  /** The client has gone. */
  readonly #leave = (): void => void this.#server.socket.destroy();
  /** The connection of the client, and where it has TLS that too. */
  readonly #clientSockets: Socket[] = [];
  #handshake: Handshake | undefined;
  /** The client can be told an SQLSTATE. */
  #hasState = false;

  constructor(client: Socket, upstream: Socket, parts: LoginParts) {
    this.#parts = parts;
    this.#client = new Leg('client', client);
    this.#server = new Leg('server', upstream);
    this.#clientSockets.push(client);
    this.#follow(true);
  }

  async run(): Promise<LoggedIn> {
    const { manager, database } = this.#parts;
    const handshake = await this.#reachServer();
    this.#handshake = handshake;
    // While a client has to prove itself, its end shows where it is read.
    if (manager !== undefined) this.#follow(false);
    const offered = this.#offerOf(handshake);
    const greeting = manager === undefined ? offered : ownGreeting(offered, newChallenge());
    this.#client.send(encodeHandshake(greeting));
    const { response, isSecure } = await this.#hear();
    if (insistsOnCompression(offered.capabilities, response.capabilities)) throw new LoginOver(noCompression);
    const refusal = this.#parts.examine(response);
    if (refusal !== undefined) throw new LoginOver(refusal);
    const isServerSecure = database.tls.mode !== 'disable';
    const sides = { client: isSecure ? 'tls' : 'plain', server: isServerSecure ? 'tls' : 'plain' } as const;
    const known: Known = { handshake, response, sides, offered: offered.capabilities };
    const over =
      manager === undefined ? await this.#passThrough(known) : await this.#manage(manager, known, greeting.challenge);
    const capabilities = agreed(offered.capabilities, response.capabilities);
    const [client, upstream] = [this.#client.socket, this.#server.socket];
    // From here on the session says what becomes of the two.
    this.#follow(false);
    return { client, upstream, capabilities, sides, handshake, ...over };
  }

  /** Tells the client why, and closes both sides. */
  async end({ said, isBroken }: LoginOver): Promise<void> {
    if (isBroken) this.#parts.onProtocolError();
    const { socket, sequence } = this.#client;
    const bytes = Buffer.isBuffer(said)
      ? encodePackets(said, sequence)
      : said && errorPacket(said, sequence, this.#hasState);
    hangUp(socket, bytes);
    const handshake = this.#parts.manager && this.#handshake;
    // The server has greeted, and heard nothing yet.
    if (handshake !== undefined && this.#server.sequence === 1) await takeLeave(this.#server, handshake);
    this.#server.socket.destroy();
  }

  /** Whether the end of the client's side is that of the server's. */
  #follow(isOn: boolean): void {
    for (const socket of this.#clientSockets) {
      if (!isOn) socket.off('close', this.#leave);
      else if (socket.destroyed) this.#leave();
      else socket.once('close', this.#leave);
    }
  }

  /** The client logs in at the server. */
  async #passThrough({ handshake, response, sides, offered }: Known): Promise<Outcome> {
    const keys = sides.client === 'plain' && sides.server === 'tls' ? await this.#parts.keys() : undefined;
    const plugin = (response.plugin ?? handshake.plugin)?.toString('latin1') ?? '';
    const exchange = new Exchange({ sides, plugin, challenge: handshake.challenge, keys });
    if (exchange.obstacle !== undefined) throw new LoginOver(exchange.obstacle);
    const narrowed = narrowResponse(response, offered);
    if (narrowed.kind === 'fault') throw new LoginOver(serverBroken(narrowed.message));
    await this.#answerServer(handshake, narrowed);
    return { response, keys, ok: await this.#carry(exchange), managed: undefined };
  }

  /** The client logs in here, and then the sidecar at the server. */
  async #manage(manager: Manager, { handshake, response, sides, offered }: Known, challenge: Buffer): Promise<Outcome> {
    const usual = usualOf(handshake);
    const { role, welcome } = await askClient(this.#client, response, { manager, challenge, usual });
    this.#follow(true);
    const narrowed = narrowResponse({ ...response, authResponse: NOTHING }, offered);
    if (narrowed.kind === 'fault') throw new LoginOver(serverBroken(narrowed.message));
    const database = selectedOf(response, manager.database);
    const ok = await logInAsRole(this.#server, {
      manager,
      role,
      handshake,
      isEncrypted: sides.server === 'tls',
      answer: (method, answer) => this.#answerServer(handshake, asRole(narrowed, role, { method, answer, database })),
    });
    if (welcome !== undefined) this.#client.send(welcome);
    this.#client.send(ok);
    return {
      response: { ...response, database },
      keys: undefined,
      ok,
      managed: { manager, challenge, usual, address: addressOf(this.#client.socket) },
    };
  }

  /** The server's first packet; its error ends everything. */
  async #reachServer(): Promise<Handshake> {
    const payload = await this.#server.receive();
    if (payload[0] === OUTCOME.error) throw new LoginOver(payload);
    const handshake = decodeHandshake(payload);
    if (handshake.kind === 'fault') throw new LoginOver(serverBroken(handshake.message));
    return handshake;
  }

  #offerOf(handshake: Handshake): Handshake {
    return narrowHandshake(handshake, { tls: this.#parts.clientTls !== undefined });
  }

  /** The client's answer, ahead of which it may ask for TLS. */
  async #hear(): Promise<{ readonly response: HandshakeResponse; readonly isSecure: boolean }> {
    const { clientTls } = this.#parts;
    let isSecure = false;
    for (;;) {
      const hello = decodeClientHello(await this.#client.receive());
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
      secure.on('error', () => secure.destroy());
      secure.allowHalfOpen = true;
      this.#client.socket = secure;
      this.#clientSockets.push(secure);
      if (this.#parts.manager === undefined) secure.once('close', this.#leave);
      isSecure = true;
    }
  }

  /** The answer to its handshake goes to the server, behind TLS where the configuration asks for it. */
  async #answerServer(handshake: Handshake, narrowed: HandshakeResponse): Promise<void> {
    const { tls } = this.#parts.database;
    const plain = narrowed.capabilities & ~CAPABILITY.ssl;
    if (tls.mode === 'disable') {
      return this.#server.send(encodeClientHello({ ...narrowed, capabilities: plain }));
    }
    if (!has(handshake.capabilities, CAPABILITY.ssl)) throw new LoginOver(unreachable('the server does not offer TLS'));
    const capabilities = plain | CAPABILITY.ssl;
    const { maxPacketBytes, charset, reserved } = narrowed;
    const request = { kind: 'ssl-request', capabilities, maxPacketBytes, charset, reserved } as const;
    this.#server.send(encodeClientHello(request));
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
    return this.#server.send(encodeClientHello({ ...narrowed, capabilities }));
  }

  /** Carries what both say to each other until the server has said OK, which the client has been told then. */
  async #carry(exchange: Exchange): Promise<Buffer> {
    for (let next: 'client' | 'server' = 'server'; ;) {
      const payload = await (next === 'server' ? this.#server : this.#client).receive();
      if (next === 'server' && payload[0] === OUTCOME.error) throw new LoginOver(payload);
      if (next === 'server' && payload[0] === OUTCOME.ok) {
        this.#client.send(payload);
        return payload;
      }
      const move: Move = next === 'server' ? exchange.server(payload) : exchange.client(payload);
      if (move.kind === 'refuse') throw new LoginOver(move.refusal);
      (move.to === 'server' ? this.#server : this.#client).send(move.payload);
      next = move.next;
    }
  }
}
