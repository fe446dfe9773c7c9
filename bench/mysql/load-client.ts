/** A client of MySQL that does as little as possible, so that the load costs less than what it measures. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { CAPABILITY } from '../../proxy/mysql/wire/capabilities.ts';
import { createAnswers, type Answers } from '../../proxy/mysql/wire/answers.ts';
import { COMMAND } from '../../proxy/mysql/wire/commands.ts';
import { createFrameReader, encodePackets, HEADER_BYTES } from '../../proxy/mysql/wire/frames.ts';
import { encodeClientHello } from '../../proxy/mysql/wire/handshake.ts';

const CAPABILITIES =
  CAPABILITY.longPassword |
  CAPABILITY.protocol41 |
  CAPABILITY.secureConnection |
  CAPABILITY.pluginAuth |
  CAPABILITY.connectWithDb |
  CAPABILITY.deprecateEof;

/** One connection, logged in as the tests' user. */
export class LoadClient {
  readonly #socket: Socket;
  readonly #reader = createFrameReader({ holds: () => true, maxBytes: 1 << 20 });
  readonly #answers: Answers<undefined> = createAnswers(CAPABILITIES);
  #isGreeted = false;
  #statement = 0;
  #error: Error | undefined;
  #resolve: (() => void) | undefined;
  #reject: ((error: Error) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#reject?.(new Error('the server closed the connection')));
  }

  /** Rejects when the server does not let it in. */
  static async open(port: number): Promise<LoadClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const client = new LoadClient(socket);
    await once(socket, 'connect');
    await client.#answered();
    return client;
  }

  /** Prepares the only statement that `execute` runs, of one parameter. */
  prepare(sql: string): Promise<void> {
    return this.#send([packetOf(COMMAND.stmtPrepare, Buffer.from(sql))]);
  }

  /** Texts in one write, whose answers come in their order. Rejects with the last error of the server when all are answered. */
  say(...texts: readonly string[]): Promise<void> {
    return this.#send(texts.map((text) => packetOf(COMMAND.query, Buffer.from(text))));
  }

  /** COM_STMT_EXECUTE: no cursor, once, one parameter that is not NULL, a LONG. */
  execute(row: number): Promise<void> {
    const bytes = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0]);
    bytes.writeUInt32LE(this.#statement, 0);
    bytes.writeInt32LE(row, bytes.length - 4);
    return this.#send([packetOf(COMMAND.stmtExecute, bytes)]);
  }

  /** Nothing may be unanswered. */
  end(): void {
    this.#reject = undefined;
    this.#socket.destroy();
  }

  #send(packets: readonly Buffer[]): Promise<void> {
    for (const packet of packets) this.#answers.push(packet[HEADER_BYTES] as number, undefined);
    this.#socket.write(packets.length === 1 ? (packets[0] as Buffer) : Buffer.concat(packets));
    return this.#answered();
  }

  #answered(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  #receive(chunk: Buffer): void {
    const reader = this.#reader;
    reader.push(chunk);
    while (reader.next()) {
      if (!this.#isGreeted) this.#greet();
      else {
        const isHeld = this.#answers.holds(reader.type, reader.length);
        const role = isHeld ? this.#answers.held(reader.payload()) : this.#answers.passed();
        if (role === 'prepared') this.#statement = reader.payload().readUInt32LE(1);
        if (role === 'error') this.#error = new Error(reader.payload().subarray(3).toString());
      }
    }
    if (!this.#isGreeted || this.#answers.size > 0) return;
    const error = this.#error;
    this.#error = undefined;
    if (error === undefined) this.#resolve?.();
    else this.#reject?.(error);
  }

  #greet(): void {
    this.#isGreeted = true;
    this.#answers.push('login', undefined);
    const hello = encodeClientHello({
      kind: 'handshake-response',
      capabilities: CAPABILITIES,
      maxPacketBytes: 1 << 24,
      charset: 45,
      reserved: Buffer.alloc(23),
      user: Buffer.from('atomesh'),
      authResponse: Buffer.alloc(0),
      database: Buffer.from('bench'),
      plugin: Buffer.from('mysql_native_password'),
      attributes: undefined,
      zstdLevel: undefined,
      trailing: Buffer.alloc(0),
    });
    this.#socket.write(encodePackets(hello, 1));
  }
}

function packetOf(code: number, rest: Buffer): Buffer {
  return encodePackets(Buffer.concat([Buffer.from([code]), rest]), 0);
}
