/**
 * Cuts a connection's bytes into frames: one or more packets, each a 3-byte length, a sequence id and a part of the payload; a packet
 * of 16,777,215 bytes is continued by the next. One reader a direction. Frames that nobody asked to hold are reported in pieces as
 * their bytes arrive, so that a row of 1 GB is never kept.
 * Source: MySQL documentation, "MySQL Packets".
 */
import { assert } from '../../../src/platform/assert.ts';
import { PieceCursor, type HoldingOptions, type PieceReader } from '../../wire/pieces.ts';
import type { ProtocolFault } from './body.ts';

/** Bytes of a packet before its part of the payload: the length and the sequence id. */
export const HEADER_BYTES = 4;

/** The most that one packet carries. A packet of exactly this size has a successor, which may be empty. */
export const PACKET_BYTES_MAX = 0xff_ffff;

/** What stands for the first byte of a payload that has none: the end of a file for LOAD DATA LOCAL, mostly. */
export const NO_TYPE = -1;

export interface FrameReaderOptions extends HoldingOptions {
  /**
   * Asked once for each frame, when its first byte is known and the frames before it have been handled: shall the frame be held until
   * all of it has arrived? `type` is the first byte of the payload, or NO_TYPE; `length` the bytes of the payload, of which only the
   * first 16,777,215 are known.
   */
  readonly holds: (type: number, length: number) => boolean;
}

/**
 * A cursor over frames. Nothing is reported of a frame before its first five bytes have come, nor of a held one before its last. A piece
 * that is first begins with the first header.
 */
export interface FrameReader extends PieceReader<ProtocolFault> {
  /** The first byte of the frame's payload, or NO_TYPE. */
  readonly type: number;
  /** Bytes of the payload; for a frame of several packets, of the packets that have begun. */
  readonly length: number;
  /** The payload of a whole frame: a view, unless it came in several packets. */
  payload(): Buffer;
  /** The sequence id that the next packet will have if it follows the last, as the sender counts. */
  readonly sequence: number;
  /**
   * What the next packet's sequence id must be, or undefined to take any for the first packet of a frame. Counted on from packet to
   * packet. Another id is a fault: a packet was lost, or comes from elsewhere. Change it between frames only.
   */
  expects: number | undefined;
  /**
   * Added to the sequence id of every packet from the next frame on, in the chunk itself: what the sender counts is not what the
   * receiver does once packets were put between them or taken out. Change it between frames only.
   */
  shift: number;
  /** What has been pushed and not read yet. The reader forgets it: behind an SSLRequest it is no longer packets, but TLS. */
  takeRest(): Buffer;
}

/** A reader at the first packet of a direction. */
export function createFrameReader(options: FrameReaderOptions): FrameReader {
  return new Reader(options);
}

/** The packets of a payload, the first with the given sequence id. */
export function encodePackets(payload: Buffer, sequence: number): Buffer {
  const packets = Math.floor(payload.length / PACKET_BYTES_MAX) + 1;
  const bytes = Buffer.allocUnsafe(payload.length + packets * HEADER_BYTES);
  for (let index = 0, from = 0, to = 0; index < packets; index += 1) {
    const length = Math.min(PACKET_BYTES_MAX, payload.length - from);
    to = bytes.writeUIntLE(length, to, 3);
    to = bytes.writeUInt8((sequence + index) & 0xff, to);
    to += payload.copy(bytes, to, from, from + length);
    from += length;
  }
  return bytes;
}

/** Packets in a frame of so many bytes of payload: what the sequence id has moved on by behind it. */
export function packetsIn(payloadBytes: number): number {
  return Math.floor(payloadBytes / PACKET_BYTES_MAX) + 1;
}

const EMPTY: Buffer = Buffer.alloc(0);
/** The header and the first byte of the payload: what must be known before anything can be said of a frame. */
const HEAD_BYTES = HEADER_BYTES + 1;
const SEQUENCE_AT = 3;

class Reader extends PieceCursor<ProtocolFault> implements FrameReader {
  type = NO_TYPE;
  length = 0;
  sequence = 0;
  expects: number | undefined;
  shift = 0;

  readonly #options: FrameReaderOptions;
  /** The first bytes of a packet that the chunk before had too few of. */
  readonly #head: Buffer = Buffer.alloc(HEAD_BYTES);
  #headFilled = 0;
  /** Of the frame that is being read: is it begun, is it held, has a piece of it been reported, */
  #isInside = false;
  #isHeld = false;
  #isReported = false;
  /** how many bytes its packet still lacks, whether another follows that, */
  #packetLeft = 0;
  #isContinued = false;
  /** and how much of it is kept, if it is held. */
  #filled = 0;

  constructor(options: FrameReaderOptions) {
    super();
    this.#options = options;
  }

  next(): boolean {
    if (!this.#isInside && this.#headFilled === 0) {
      const at = this.at;
      const chunk = this.chunk;
      if (at + HEAD_BYTES <= chunk.length) {
        const length = lengthAt(chunk, at);
        const end = at + HEADER_BYTES + length;
        if (length > 0 && length < PACKET_BYTES_MAX && end <= chunk.length)
          return this.#takeWhole(chunk, at, end, length);
      }
    }
    while (this.fault === undefined && this.at < this.chunk.length) {
      if (this.#packetLeft > 0 ? this.#takeBody(this.at) : this.#takeHead()) return true;
    }
    return this.usedUp();
  }

  payload(): Buffer {
    assert(this.isFirst && this.isLast, 'the payload of a piece of a frame is asked for');
    if (this.length < PACKET_BYTES_MAX) return this.bytes.subarray(this.start + HEADER_BYTES, this.end);
    const parts: Buffer[] = [];
    for (let at = this.start; at < this.end;) {
      const end = at + HEADER_BYTES + lengthAt(this.bytes, at);
      parts.push(this.bytes.subarray(at + HEADER_BYTES, end));
      at = end;
    }
    return Buffer.concat(parts);
  }

  takeRest(): Buffer {
    assert(!this.#isInside, 'the rest is taken inside a frame');
    const rest = Buffer.concat([this.#head.subarray(0, this.#headFilled), this.chunk.subarray(this.at)]);
    this.#headFilled = 0;
    this.usedUp();
    return rest;
  }

  /** The usual case: a frame of one packet that the chunk has all of. */
  #takeWhole(chunk: Buffer, at: number, end: number, length: number): boolean {
    const type = chunk[at + HEADER_BYTES] as number;
    const { holds, maxBytes, passesLarge } = this.#options;
    this.type = type;
    this.isLarge = false;
    // What is here as a whole takes no more room by being held.
    if (holds(type, length) && end - at > maxBytes && passesLarge?.(type) !== true) return this.#tooLarge(end - at);
    this.length = 0;
    if (!this.#beginPacket(chunk, at, length)) return false;
    this.#packetLeft = 0;
    this.at = end;
    return this.report(chunk, at, end, true, true);
  }

  /** Reads the head of a packet, at the reader's place or collected from several chunks. True when there is a piece to report. */
  #takeHead(): boolean {
    const chunk = this.chunk;
    if (this.#headFilled === 0 && isHead(chunk, this.at, chunk.length, this.#isInside)) {
      const at = this.at;
      const length = lengthAt(chunk, at);
      if (!this.#isInside) this.#beginFrame(chunk, at, length);
      if (this.#makesTooLarge(length)) return this.#reportKept();
      if (this.fault !== undefined || !this.#beginPacket(chunk, at, length)) return false;
      return this.#takeBody(at + HEADER_BYTES);
    }
    const head = this.#head;
    while (!isHead(head, 0, this.#headFilled, this.#isInside)) {
      if (this.at === chunk.length) return false;
      head[this.#headFilled] = chunk[this.at] as number;
      this.#headFilled += 1;
      this.at += 1;
    }
    const length = lengthAt(head, 0);
    if (!this.#isInside) this.#beginFrame(head, 0, length);
    if (this.#makesTooLarge(length)) return this.#reportKept();
    if (this.fault !== undefined || !this.#beginPacket(head, 0, length)) return false;
    const bytes = Buffer.from(head.subarray(0, this.#headFilled));
    this.#packetLeft -= this.#headFilled - HEADER_BYTES;
    this.#headFilled = 0;
    return this.#piece(bytes, 0, bytes.length);
  }

  /** Takes what the chunk has of the packet's part of the payload, from `from` on, along with a head that stands before it. */
  #takeBody(from: number): boolean {
    const start = this.at;
    const taken = Math.min(this.#packetLeft, this.chunk.length - from);
    this.#packetLeft -= taken;
    this.at = from + taken;
    return this.#piece(this.chunk, start, this.at);
  }

  #beginFrame(bytes: Buffer, at: number, length: number): void {
    this.type = length === 0 ? NO_TYPE : (bytes[at + HEADER_BYTES] as number);
    this.length = 0;
    this.isLarge = false;
    this.#isInside = true;
    this.#isReported = false;
    this.#filled = 0;
    this.#isHeld = this.#options.holds(this.type, length);
  }

  /**
   * Checks a held frame that is about to grow by a packet against the cap. One that is let go although it was held has its kept
   * bytes reported first, which true says; the head is then read again.
   */
  #makesTooLarge(length: number): boolean {
    const { maxBytes, passesLarge } = this.#options;
    const total = this.#filled + HEADER_BYTES + length;
    if (!this.#isHeld || total <= maxBytes) return false;
    if (passesLarge?.(this.type) !== true) return this.#tooLarge(total);
    this.#isHeld = false;
    this.isLarge = true;
    return this.#filled > 0;
  }

  #tooLarge(bytes: number): false {
    const message = `a packet of ${bytes - HEADER_BYTES} bytes or more is larger than the limit of ${this.#options.maxBytes}`;
    return this.fail({ kind: 'too-large', message });
  }

  /** Takes a packet's header: counts its sequence id, and moves it. False at a fault. */
  #beginPacket(bytes: Buffer, at: number, length: number): boolean {
    const sequence = bytes[at + SEQUENCE_AT] as number;
    const expected = this.#isContinued ? this.sequence : this.expects;
    if (expected !== undefined && sequence !== expected) {
      const message = `packets out of order: ${sequence} where ${expected} was expected`;
      return this.fail({ kind: 'fault', errno: 1156, sqlState: '08S01', message });
    }
    if (this.shift !== 0) bytes[at + SEQUENCE_AT] = (sequence + this.shift) & 0xff;
    this.sequence = (sequence + 1) & 0xff;
    if (this.expects !== undefined) this.expects = this.sequence;
    this.length += length;
    this.#packetLeft = length;
    this.#isContinued = length === PACKET_BYTES_MAX;
    return true;
  }

  /** Reports a piece, or keeps it when the frame is held. */
  #piece(bytes: Buffer, start: number, end: number): boolean {
    const isLast = this.#packetLeft === 0 && !this.#isContinued;
    if (isLast) this.#isInside = false;
    if (!this.#isHeld || (isLast && this.#filled === 0)) {
      const isFirst = !this.#isReported;
      this.#isReported = true;
      return this.report(bytes, start, end, isFirst, isLast);
    }
    this.#filled += end - start;
    this.keep(bytes.subarray(start, end), this.#filled, this.#filled + this.#packetLeft);
    if (!isLast) return false;
    const frame = this.assembly.subarray(0, this.#filled);
    this.assembly = EMPTY;
    return this.report(frame, 0, frame.length, true, true);
  }

  /** What was kept of a frame that is too large after all. */
  #reportKept(): true {
    const kept = this.assembly.subarray(0, this.#filled);
    this.assembly = EMPTY;
    this.#filled = 0;
    this.#isReported = true;
    return this.report(kept, 0, kept.length, true, false);
  }
}

/** Do the bytes from `at` to `end` hold a packet's header and, for the first packet of a frame, the first byte of its payload? */
function isHead(bytes: Buffer, at: number, end: number, isInside: boolean): boolean {
  const left = end - at;
  if (left < HEADER_BYTES) return false;
  return left >= HEAD_BYTES || isInside || lengthAt(bytes, at) === 0;
}

function lengthAt(bytes: Buffer, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
}
