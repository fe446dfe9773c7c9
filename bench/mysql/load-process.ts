/**
 * A client of MySQL that does as little as possible, in a process of its own: a text or a prepared statement, one at a time. A question is
 * a `Load` as JSON, its answer a `LoadAnswer`.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { closedLoop, medianOf } from '../measure.ts';
import { CAPABILITY } from '../../proxy/mysql/wire/capabilities.ts';
import { createAnswers, type Answers } from '../../proxy/mysql/wire/answers.ts';
import { COMMAND } from '../../proxy/mysql/wire/commands.ts';
import { createFrameReader, encodePackets } from '../../proxy/mysql/wire/frames.ts';
import { encodeClientHello } from '../../proxy/mysql/wire/handshake.ts';

export interface Load {
  readonly port: number;
  readonly clients: number;
  readonly seconds: number;
  /** `text`: a row by a text of its own; `prepared`: by a statement with a parameter. */
  readonly kind: 'text' | 'prepared';
}

export interface LoadAnswer {
  readonly perSecond: number;
  /** Median time of one statement, in milliseconds. */
  readonly medianMs: number;
}

const CAPABILITIES =
  CAPABILITY.longPassword |
  CAPABILITY.protocol41 |
  CAPABILITY.secureConnection |
  CAPABILITY.pluginAuth |
  CAPABILITY.connectWithDb |
  CAPABILITY.deprecateEof;
const ROWS = 10_000;
const PREPARE = 'select balance from account where id = ?';

class LoadClient {
  readonly #socket: Socket;
  readonly #reader = createFrameReader({ holds: () => true, maxBytes: 1 << 20 });
  readonly #answers: Answers<undefined> = createAnswers(CAPABILITIES);
  #isGreeted = false;
  #statement = 0;
  #resolve: (() => void) | undefined;
  #reject: ((error: Error) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#reject?.(new Error('the server closed the connection')));
  }

  static async open(port: number): Promise<LoadClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const client = new LoadClient(socket);
    await once(socket, 'connect');
    await client.#answered();
    await client.send(COMMAND.stmtPrepare, Buffer.from(PREPARE));
    return client;
  }

  send(code: number, rest: Buffer): Promise<void> {
    this.#answers.push(code, undefined);
    this.#socket.write(encodePackets(Buffer.concat([Buffer.from([code]), rest]), 0));
    return this.#answered();
  }

  /** COM_STMT_EXECUTE: no cursor, once, one parameter that is not NULL, a LONG. */
  execute(row: number): Promise<void> {
    const bytes = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0]);
    bytes.writeUInt32LE(this.#statement, 0);
    bytes.writeInt32LE(row, bytes.length - 4);
    return this.send(COMMAND.stmtExecute, bytes);
  }

  end(): void {
    this.#reject = undefined;
    this.#socket.destroy();
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
        if (role === 'error') this.#reject?.(new Error(reader.payload().subarray(3).toString()));
      }
    }
    if (this.#isGreeted && this.#answers.size === 0) this.#resolve?.();
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

async function run({ port, clients: count, seconds, kind }: Load): Promise<LoadAnswer> {
  const clients = await Promise.all(Array.from({ length: count }, () => LoadClient.open(port)));
  const times: number[] = [];
  let row = 0;
  try {
    const done = await closedLoop(count, { seconds }, async (place) => {
      row = (row % ROWS) + 1;
      const start = performance.now();
      if (kind === 'prepared') await clients[place]?.execute(row);
      else await clients[place]?.send(COMMAND.query, Buffer.from(PREPARE.replace('?', String(row))));
      times.push(performance.now() - start);
    });
    return { perSecond: done.count / done.seconds, medianMs: medianOf(times) };
  } finally {
    for (const client of clients) client.end();
  }
}

process.on('message', (question) => {
  run(JSON.parse(String(question)) as Load).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
