/** What cutting a connection's bytes into frames has in common, whatever the protocol: how frames, and pieces of them, are reported. */
import { assert } from '../../src/platform/assert.ts';

/** How frames are held that somebody wants whole. */
export interface HoldingOptions {
  /** The largest frame, in bytes with all its headers, that is held. Asked as soon as a length is known; does not limit frames that pass. */
  readonly maxBytes: number;
  /** Shall a frame pass that is too large to be held and has not come whole? Otherwise, and without this, it is a fault. */
  readonly passesLarge?: (type: number) => boolean;
}

/** A frame is good, but larger than `maxBytes`. Nothing of it is kept. */
export interface FrameTooLarge {
  readonly kind: 'too-large';
  readonly message: string;
}

/**
 * A cursor over frames. `push` a chunk, then call `next` until it says false; after each true the fields describe one piece: bytes
 * `start` to `end` of `bytes`. Between a held frame's first byte and its last, `next` reports nothing of it.
 */
export interface PieceReader<Fault> {
  /** The chunk before must have been read to its end. The reader keeps no chunk longer than that. Ignored after a fault. */
  push(chunk: Buffer): void;
  /** Moves to the next piece; false when the chunk is used up, or at a fault. */
  next(): boolean;
  readonly type: number;
  /** The pushed chunk itself, or a Buffer of its own for what came in several chunks. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** The piece begins the frame. */
  readonly isFirst: boolean;
  /** The piece ends the frame. A piece that is both first and last is a whole frame: always so for held ones. */
  readonly isLast: boolean;
  /** The piece is one of a frame that would have been held but for its size. */
  readonly isLarge: boolean;
  /** The last piece reported ended inside a frame: nothing may be put into the stream before the rest of that frame. */
  readonly isMidFrame: boolean;
  /** Set once the bytes cannot be frames. The pieces reported before are good; nothing after them is. */
  readonly fault: Fault | FrameTooLarge | undefined;
}

/** Up to here a held frame gets its whole room at once; beyond, room grows with what has arrived, not with what was announced. */
const ROOM_AT_ONCE_BYTES = 64 * 1024;

const EMPTY: Buffer = Buffer.alloc(0);

/** The part of a reader that knows no protocol: its chunk, what it reports, and the bytes of a frame that is held. */
export abstract class PieceCursor<Fault> implements PieceReader<Fault> {
  abstract type: number;
  bytes: Buffer = EMPTY;
  start = 0;
  end = 0;
  isFirst = false;
  isLast = false;
  isLarge = false;
  isMidFrame = false;
  fault: Fault | FrameTooLarge | undefined;

  protected chunk: Buffer = EMPTY;
  /** Where in the chunk to go on. */
  protected at = 0;
  /** What has come of a held frame. */
  protected assembly: Buffer = EMPTY;

  push(chunk: Buffer): void {
    if (this.fault !== undefined) return;
    assert(this.at === this.chunk.length, 'a chunk is pushed before the last one was read to its end');
    this.chunk = chunk;
    this.at = 0;
  }

  abstract next(): boolean;

  /** Keeps bytes of a held frame, which make it `filled` bytes long of `announced`. */
  protected keep(bytes: Buffer, filled: number, announced: number): void {
    const before = filled - bytes.length;
    if (this.assembly.length < filled) {
      const grown = Buffer.allocUnsafe(Math.min(announced, Math.max(ROOM_AT_ONCE_BYTES, filled * 2)));
      this.assembly.copy(grown, 0, 0, before);
      this.assembly = grown;
    }
    bytes.copy(this.assembly, before);
  }

  protected report(bytes: Buffer, start: number, end: number, isFirst: boolean, isLast: boolean): true {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.isFirst = isFirst;
    this.isLast = isLast;
    this.isMidFrame = !isLast;
    return true;
  }

  protected fail(fault: Fault | FrameTooLarge): false {
    this.fault = fault;
    return this.usedUp();
  }

  /** Lets go of the chunk: an idle connection must not keep its last 64 KiB. */
  protected usedUp(): false {
    this.chunk = EMPTY;
    this.at = 0;
    this.bytes = EMPTY;
    this.isFirst = false;
    this.isLast = false;
    if (this.fault !== undefined) this.assembly = EMPTY;
    return false;
  }
}
