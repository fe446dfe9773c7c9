/** A client that sends the bytes it is told, in pieces of a given size, and keeps every frame that it gets. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { decodeReport, readReport, type ReportTexts } from '../../../proxy/postgres/wire/error.ts';
import { BACKEND, createFrameReader, HEADER_BYTES } from '../../../proxy/postgres/wire/frames.ts';
import { encodeFrontend, type FrontendMessage } from '../../../proxy/postgres/wire/messages.ts';
import { encodeStartupPacket, type StartupParameter } from '../../../proxy/postgres/wire/startup.ts';

/** Ends every wait that would last for ever. */
const DEADLINE_MS = 60_000;

export interface RawClientOptions {
  readonly port: number;
  /** How many bytes go out at once, each in its own turn of the event loop. Default: all that there are. */
  readonly chunkBytes?: number;
}

/** A frame of the server. */
export interface Received {
  /** The type byte as a letter. */
  readonly type: string;
  readonly bytes: Buffer;
}

export class RawClient {
  readonly socket: Socket;
  /** Everything that was received. */
  readonly frames: Received[] = [];
  /** The server's side has ended. */
  isEnded = false;
  isClosed = false;
  /** What the server sent is not frames. */
  fault: string | undefined;

  readonly #chunkBytes: number;
  readonly #reader = createFrameReader({ direction: 'backend', holds: () => true, maxBytes: 64 * 1024 * 1024 });
  #wake: (() => void) | undefined;
  #plain: ((byte: number) => void) | undefined;

  constructor(options: RawClientOptions) {
    this.#chunkBytes = options.chunkBytes ?? Number.POSITIVE_INFINITY;
    this.socket = connect({ host: '127.0.0.1', port: options.port, noDelay: true, allowHalfOpen: true });
    this.socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.socket.on('error', () => undefined);
    this.socket.on('end', () => {
      this.isEnded = true;
      this.#wake?.();
      this.socket.end();
    });
    this.socket.on('close', () => {
      this.isClosed = true;
      this.#wake?.();
    });
  }

  /** Sends bytes or messages. Does not wait until they are read. */
  async send(what: Buffer | readonly FrontendMessage[]): Promise<void> {
    const bytes = Buffer.isBuffer(what) ? what : Buffer.concat(what.map(encodeFrontend));
    for (let at = 0; at < bytes.length; at += this.#chunkBytes) {
      if (this.isClosed) return;
      this.socket.write(bytes.subarray(at, Math.min(bytes.length, at + this.#chunkBytes)));
      // The next turn reads what this one wrote; without the pause the kernel would put the pieces together again.
      if (bytes.length > this.#chunkBytes) await turn();
    }
  }

  /** Sends a start-up packet. */
  startUp(parameters: Readonly<Record<string, string>>, protocol = 196_608): Promise<void> {
    return this.send(startupPacket(parameters, protocol));
  }

  /** Logs in without a password. */
  async logIn(database: string, parameters: Readonly<Record<string, string>> = {}, protocol?: number): Promise<this> {
    await this.startUp({ user: 'postgres', database, ...parameters }, protocol);
    await this.ready();
    return this;
  }

  /** Sends a request for encryption and gives the one byte of the answer, as a letter. */
  async ask(packet: 'ssl-request' | 'gssenc-request'): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#plain = resolve;
    await this.send(encodeStartupPacket({ kind: packet }));
    return String.fromCharCode(await promise);
  }

  /** A simple query, and its answer up to ReadyForQuery. */
  async query(text: string): Promise<readonly Received[]> {
    const from = this.frames.length;
    await this.send([{ kind: 'query', text: Buffer.from(text) }]);
    await this.ready(1, from);
    return this.frames.slice(from);
  }

  /** Waits for `count` frames of ReadyForQuery behind the frame number `from`, or for the end of the stream. */
  async ready(count = 1, from = 0): Promise<void> {
    await this.until(`${count} ReadyForQuery`, () => this.count('Z', from) >= count || this.isEnded);
  }

  /** How many frames of a type came behind the frame number `from`. */
  count(type: string, from = 0): number {
    let count = 0;
    for (let index = from; index < this.frames.length; index += 1) if (this.frames[index]?.type === type) count += 1;
    return count;
  }

  async until(what: string, isThere: () => boolean): Promise<void> {
    const late = AbortSignal.timeout(DEADLINE_MS);
    const wake = (): void => this.#wake?.();
    late.addEventListener('abort', wake);
    try {
      while (!isThere()) {
        if (late.aborted) throw new Error(`no ${what} within ${DEADLINE_MS} ms; there is ${this.types}`);
        if (this.isClosed) throw new Error(`closed before ${what}; there is ${this.types}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      late.removeEventListener('abort', wake);
    }
  }

  /** Waits until the connection is closed. */
  async closed(): Promise<void> {
    if (!this.isClosed) await once(this.socket, 'close', { signal: AbortSignal.timeout(DEADLINE_MS) });
  }

  /** The types of the frames, in order. */
  get types(): string {
    return this.frames.map(({ type }) => type).join('');
  }

  /** The fields of the ErrorResponse frames. */
  get errors(): readonly ReportTexts[] {
    return this.frames.filter(({ type }) => type === 'E').map(({ bytes }) => textsOf(bytes));
  }

  /** The process id of the key data. */
  get processId(): number {
    return this.keyData.readInt32BE(0);
  }

  /** Process id and secret. */
  get keyData(): Buffer {
    const key = this.frames.find(({ type }) => type === 'K');
    if (key === undefined) throw new Error('no key data');
    return key.bytes.subarray(HEADER_BYTES);
  }

  destroy(): void {
    this.socket.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #receive(chunk: Buffer): void {
    let rest = chunk;
    const plain = this.#plain;
    if (plain !== undefined) {
      this.#plain = undefined;
      plain(chunk.readUInt8(0));
      rest = chunk.subarray(1);
      if (rest.length === 0) return;
    }
    const reader = this.#reader;
    reader.push(rest);
    while (reader.next()) {
      const bytes = Buffer.from(reader.bytes.subarray(reader.start, reader.end));
      this.frames.push({ type: String.fromCharCode(reader.type), bytes });
    }
    this.fault ??= reader.fault?.message;
    this.#wake?.();
  }
}

/** A start-up packet. Parameters come in their order. */
export function startupPacket(parameters: Readonly<Record<string, string>>, protocol = 196_608): Buffer {
  const pairs = Object.entries(parameters).map(([name, value]): StartupParameter => [
    Buffer.from(name),
    Buffer.from(value),
  ]);
  return encodeStartupPacket({ kind: 'startup', protocol, parameters: pairs });
}

/** The fields of an ErrorResponse or a NoticeResponse. */
export function textsOf(frame: Buffer): ReportTexts {
  const report = decodeReport('error', frame.subarray(HEADER_BYTES));
  if (report.kind === 'fault') throw new Error(report.message);
  return readReport(report);
}

/** The values of the DataRow frames, as text. */
export function rowsOf(frames: readonly Received[]): readonly (readonly (string | null)[])[] {
  return frames.filter(({ bytes }) => bytes[0] === BACKEND.dataRow).map(({ bytes }) => valuesOf(bytes));
}

function valuesOf(frame: Buffer): readonly (string | null)[] {
  const values: (string | null)[] = [];
  let at = HEADER_BYTES + 2;
  for (let left = frame.readInt16BE(HEADER_BYTES); left > 0; left -= 1) {
    const length = frame.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : frame.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return values;
}
