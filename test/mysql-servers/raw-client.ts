/** A client that says what it is told to, with the capabilities that it is told to have: for what no driver does. */
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createAnswers, type Answers } from '../../proxy/mysql/wire/answers.ts';
import { CAPABILITY, agreed, type Capabilities } from '../../proxy/mysql/wire/capabilities.ts';
import { encodeCommand, type Command } from '../../proxy/mysql/wire/commands.ts';
import { createFrameReader, encodePackets } from '../../proxy/mysql/wire/frames.ts';
import { decodeHandshake, encodeClientHello } from '../../proxy/mysql/wire/handshake.ts';
import { OUTCOME } from '../../proxy/mysql/wire/outcome.ts';
import { credentials, type Credentials } from './login.ts';
import { until } from '../../examples/support/until.ts';

export interface RawClient {
  readonly capabilities: Capabilities;
  /** Sends commands at once, and waits until all are answered. Resolves with the first packet of each answer. */
  ask(...commands: readonly Command[]): Promise<readonly Buffer[]>;
  /** All packets of the answers to what was asked last. */
  readonly packets: readonly Buffer[];
  close(): void;
}

/** Logs in. `wanted` is narrowed to what the server has. Rejects with the server's error. */
export async function rawClient(
  port: number,
  user: string,
  wanted: Capabilities,
  database: string,
  password: Credentials = credentials(Buffer.alloc(0)),
): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const login = new Login(socket, user, wanted, database, password);
  socket.on('data', (chunk) => login.read(chunk));
  socket.on('error', () => socket.destroy());
  const [answer] = await login.answered();
  if (answer?.[0] !== OUTCOME.error) return login;
  socket.destroy();
  throw new Error(answer.subarray(3).toString());
}

class Login implements RawClient {
  capabilities: Capabilities = 0n;
  packets: Buffer[] = [];
  readonly #socket: Socket;
  readonly #user: string;
  readonly #wanted: Capabilities;
  readonly #database: string;
  readonly #reader = createFrameReader({ holds: () => true, maxBytes: 1 << 26 });
  #answers: Answers<number> | undefined;
  #asked = 0;
  #firsts: (Buffer | undefined)[] = [];

  readonly #password: Credentials;

  constructor(socket: Socket, user: string, wanted: Capabilities, database: string, password: Credentials) {
    this.#password = password;
    this.#socket = socket;
    this.#user = user;
    this.#wanted = wanted;
    this.#database = database;
  }

  async ask(...commands: readonly Command[]): Promise<readonly Buffer[]> {
    this.#firsts = [];
    this.packets = [];
    this.#asked = 0;
    const payloads = commands.map((command) => encodeCommand(command, this.capabilities));
    for (const payload of payloads) this.#push(payload[0] as number);
    this.#socket.write(Buffer.concat(payloads.map((payload) => encodePackets(payload, 0))));
    return await this.answered();
  }

  async answered(): Promise<readonly Buffer[]> {
    await until('the server has answered', () =>
      Promise.resolve(this.#answers !== undefined && this.#answers.size === 0 ? 'answered' : undefined),
    );
    return this.#firsts.filter((first) => first !== undefined);
  }

  close(): void {
    this.#socket.destroy();
  }

  read(chunk: Buffer): void {
    this.#reader.push(chunk);
    while (this.#reader.next()) {
      const payload = Buffer.from(this.#reader.payload());
      if (this.#answers === undefined) this.#greet(payload);
      else this.#take(payload, this.#answers);
    }
  }

  #take(payload: Buffer, answers: Answers<number>): void {
    const index = answers.head();
    const role = answers.holds(this.#reader.type, this.#reader.length) ? answers.held(payload) : answers.passed();
    assert(typeof role === 'string');
    if (role === 'authentication') {
      if (answers.turn !== 'authentication') return;
      this.#socket.write(encodePackets(this.#password.next(payload), this.#reader.sequence));
      answers.said(false);
    } else if (index !== undefined) {
      this.#firsts[index] ??= payload;
      this.packets.push(payload);
    }
  }

  #greet(payload: Buffer): void {
    const handshake = decodeHandshake(payload);
    assert(handshake.kind === 'handshake');
    const base = CAPABILITY.protocol41 | CAPABILITY.secureConnection | CAPABILITY.pluginAuth | CAPABILITY.connectWithDb;
    this.capabilities = agreed(handshake.capabilities, base | this.#wanted);
    const isMysql = (this.capabilities & CAPABILITY.longPassword) !== 0n;
    this.#answers = createAnswers(this.capabilities);
    this.#push('login');
    const hello = encodeClientHello({
      kind: 'handshake-response',
      capabilities: this.capabilities,
      maxPacketBytes: 1 << 24,
      charset: 45,
      reserved: Buffer.alloc(isMysql ? 23 : 19),
      user: Buffer.from(this.#user),
      authResponse: this.#password.first(handshake.plugin?.toString() ?? '', handshake.challenge),
      database: Buffer.from(this.#database),
      plugin: handshake.plugin ?? Buffer.alloc(0),
      attributes:
        (this.capabilities & CAPABILITY.connectAttributes) === 0n
          ? undefined
          : [[Buffer.from('_client_name'), Buffer.from('raw')]],
      zstdLevel: undefined,
      trailing: Buffer.alloc(0),
    });
    this.#socket.write(encodePackets(hello, 1));
  }

  #push(command: number | 'login'): void {
    assert(this.#answers !== undefined);
    this.#answers.push(command, this.#asked);
    this.#asked += 1;
  }
}
