/**
 * Cuts a connection's bytes into frames: a type byte, an Int32 length that counts itself, a body. One reader a direction.
 * Frames that nobody asked to hold are reported in pieces as their bytes arrive, so that a row of 1 GB is never kept.
 * Source: PostgreSQL documentation, "Message Formats".
 */
import { assert } from '../../../src/platform/assert.ts';
import { PieceCursor, type HoldingOptions, type PieceReader } from '../../wire/pieces.ts';
import { protocolFault, type ProtocolFault } from './body.ts';

/** Type bytes of what a client sends. */
export const FRONTEND = {
  bind: 0x42, // B
  close: 0x43, // C
  describe: 0x44, // D
  execute: 0x45, // E
  functionCall: 0x46, // F
  flush: 0x48, // H
  parse: 0x50, // P
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  /** p: PasswordMessage, SASLInitialResponse, SASLResponse or GSSResponse, by what the server asked for. */
  authenticationResponse: 0x70,
} as const;

/** Type bytes of what a server sends. */
export const BACKEND = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notification: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  error: 0x45, // E
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  emptyQueryResponse: 0x49, // I
  backendKeyData: 0x4b, // K
  notice: 0x4e, // N
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  functionCallResponse: 0x56, // V
  copyBothResponse: 0x57, // W
  readyForQuery: 0x5a, // Z
  copyDone: 0x63, // c
  copyData: 0x64, // d
  noData: 0x6e, // n
  portalSuspended: 0x73, // s
  parameterDescription: 0x74, // t
  negotiateProtocolVersion: 0x76, // v
} as const;

/** Who sends: `frontend` is the client, `backend` the server. */
export type Direction = 'frontend' | 'backend';

/** Bytes of a frame before its body: the type and the length. */
export const HEADER_BYTES = 5;

export interface FrameReaderOptions extends HoldingOptions {
  readonly direction: Direction;
  /**
   * Asked once for each frame, when its type byte is reached and the frames before it have been handled: shall the frame be
   * held until all of it has arrived? `() => false` is pure passing on, `() => true` gives complete frames only.
   */
  readonly holds: (type: number) => boolean;
}

/** A cursor over frames. A piece that is first begins with the type byte. */
export interface FrameReader extends PieceReader<ProtocolFault> {
  /** A view of the body of a whole frame. */
  body(): Buffer;
}

/** A reader at the first byte behind the startup packets. */
export function createFrameReader(options: FrameReaderOptions): FrameReader {
  return new Reader(options);
}

const KNOWN: Readonly<Record<Direction, Uint8Array>> = {
  frontend: typeTable(Object.values(FRONTEND)),
  backend: typeTable(Object.values(BACKEND)),
};
const EMPTY: Buffer = Buffer.alloc(0);
/** The int32 length counts itself. */
const LENGTH_MIN = 4;
/** PG source: PQ_LARGE_MESSAGE_LIMIT, the most that a server takes. */
const LENGTH_MAX = 0x3fff_fffe;

class Reader extends PieceCursor<ProtocolFault> implements FrameReader {
  type = 0;

  readonly #options: FrameReaderOptions;
  readonly #known: Uint8Array;
  /** Of a frame that the fast path could not take whole: */
  #isHeld = false;
  /** how many of its bytes have been read; 0 between frames, */
  #seen = 0;
  /** and its length field, as far as it has been read. */
  #length = 0;

  constructor(options: FrameReaderOptions) {
    super();
    this.#options = options;
    this.#known = KNOWN[options.direction];
  }

  next(): boolean {
    const chunk = this.chunk;
    const at = this.at;
    if (this.fault !== undefined || at === chunk.length) return this.usedUp();
    if (this.#seen > 0) return this.#continueFrame();

    const type = chunk[at] as number;
    if (this.#known[type] === 0) return this.#invalid(`invalid ${this.#options.direction} message type ${type}`);
    this.type = type;
    this.#isHeld = this.#options.holds(type);
    this.isLarge = false;
    if (chunk.length - at < HEADER_BYTES) return this.#continueFrame();
    const length =
      ((chunk[at + 1] as number) << 24) |
      ((chunk[at + 2] as number) << 16) |
      ((chunk[at + 3] as number) << 8) |
      (chunk[at + 4] as number);
    const end = at + 1 + length;
    if (end > chunk.length) return this.#continueFrame();
    if (!this.#isAcceptable(length)) return false;
    this.at = end;
    return this.report(chunk, at, end, true, true);
  }

  body(): Buffer {
    assert(this.isFirst && this.isLast, 'the body of a piece of a frame is asked for');
    return this.bytes.subarray(this.start + HEADER_BYTES, this.end);
  }

  /** Takes what this chunk has of a frame that is not whole in it. */
  #continueFrame(): boolean {
    const chunk = this.chunk;
    const start = this.at;
    const isFirst = this.#seen === 0;
    let at = start;
    if (isFirst) {
      at += 1;
      this.#seen = 1;
      this.#length = 0;
    }
    while (this.#seen < HEADER_BYTES && at < chunk.length) {
      this.#length = (this.#length << 8) | (chunk[at] as number);
      at += 1;
      this.#seen += 1;
      if (this.#seen === HEADER_BYTES && !this.#isAcceptable(this.#length)) return false;
    }
    if (this.isLarge && !isFirst && this.assembly.length > 0) return this.#reportHeader(at);
    let isLast = false;
    if (this.#seen >= HEADER_BYTES) {
      const taken = Math.min(this.#length + 1 - this.#seen, chunk.length - at);
      at += taken;
      this.#seen += taken;
      isLast = this.#seen === this.#length + 1;
    }
    this.at = at;
    const seen = this.#seen;
    if (isLast) this.#seen = 0;
    if (!this.#isHeld) return this.report(chunk, start, at, isFirst, isLast);

    this.keep(chunk.subarray(start, at), seen, seen < HEADER_BYTES ? HEADER_BYTES : this.#length + 1);
    if (!isLast) return this.usedUp();
    const frame = this.assembly;
    this.assembly = EMPTY;
    return this.report(frame, 0, seen, true, true);
  }

  /** The header of a large frame came in several chunks, and was kept until it told the length. */
  #reportHeader(at: number): true {
    const header = Buffer.alloc(HEADER_BYTES);
    header[0] = this.type;
    header.writeInt32BE(this.#length, 1);
    this.assembly = EMPTY;
    this.at = at;
    const isLast = this.#length === LENGTH_MIN;
    if (isLast) this.#seen = 0;
    return this.report(header, 0, HEADER_BYTES, true, isLast);
  }

  #isAcceptable(length: number): boolean {
    if (length < LENGTH_MIN || (this.#isHeld && length > LENGTH_MAX)) {
      return this.#invalid(`invalid message length ${length}`);
    }
    const { maxBytes, passesLarge } = this.#options;
    if (!this.#isHeld || length < maxBytes) return true;
    if (passesLarge?.(this.type) !== true) {
      const message = `a message of ${length + 1} bytes is larger than the limit of ${maxBytes}`;
      return this.fail({ kind: 'too-large', message });
    }
    // What is here as a whole takes no more room by being held.
    if (this.#seen === 0) return true;
    this.#isHeld = false;
    this.isLarge = true;
    return true;
  }

  #invalid(message: string): false {
    return this.fail(protocolFault(message));
  }
}

function typeTable(types: readonly number[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const type of types) table[type] = 1;
  return table;
}
