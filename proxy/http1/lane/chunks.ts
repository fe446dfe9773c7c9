/** Reads a body in chunks (RFC 9112 §7.1), strictly, however its bytes are cut. */
import { HEADER_LINES, splitLines } from './lines.ts';

/** What comes next of a body. `more`: nothing, until further bytes are there. */
export type Piece =
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'end'; readonly trailers: readonly string[] }
  | { readonly kind: 'more' }
  | { readonly kind: 'fault'; readonly message: string };

/** Of a line with the size of a chunk, its extensions included. */
const SIZE_LINE_BYTES_MAX = 4_096;
const TRAILER_BYTES_MAX = 64 * 1024;
/** Extensions say nothing to us (RFC 9112 §7.1.1), but must not hide the end of a line. */
const SIZE_LINE = /^([0-9a-f]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/i;
const MORE: Piece = { kind: 'more' };

export class ChunkReader {
  private state: 'size' | 'data' | 'data-end' | 'trailers' = 'size';
  /** Bytes that the current chunk still has. */
  private left = 0;
  /** The beginning of a line, or of trailers, whose end has not come. */
  private begun = '';

  /** Bytes of `bytes` that have been read, after each `next`. */
  at = 0;

  /** The next piece of `bytes`, from `at` on; `data` is a view of them. A caller that has read all sets `at` to 0 and comes with others. */
  next(bytes: Buffer): Piece {
    while (this.at < bytes.byteLength) {
      switch (this.state) {
        case 'data': {
          const end = Math.min(bytes.byteLength, this.at + this.left);
          const piece = bytes.subarray(this.at, end);
          this.left -= piece.byteLength;
          this.at = end;
          if (this.left === 0) this.state = 'data-end';
          return { kind: 'data', bytes: piece };
        }
        case 'data-end': {
          const line = this.line(bytes, 2);
          if (line === undefined) continue;
          if (line !== '') return fault('a chunk is longer than it says');
          this.state = 'size';
          break;
        }
        case 'size': {
          const line = this.line(bytes, SIZE_LINE_BYTES_MAX);
          if (line === undefined) continue;
          const [, size] = SIZE_LINE.exec(line) ?? [];
          if (size === undefined) return fault('the size of a chunk is malformed');
          this.left = Number.parseInt(size, 16);
          this.state = this.left === 0 ? 'trailers' : 'data';
          break;
        }
        case 'trailers': {
          const lines = this.trailerLines(bytes);
          if (lines === undefined) continue;
          if (!HEADER_LINES.test(lines)) return fault('a trailer line is malformed');
          const trailers: string[] = [];
          splitLines(lines, (name, value) => trailers.push(name, value));
          return { kind: 'end', trailers };
        }
      }
    }
    return MORE;
  }

  /** The rest of a line without its end; undefined when that has not come. A line that is too long is given back broken, as no line can be. */
  private line(bytes: Buffer, bytesMax: number): string | undefined {
    const newline = bytes.indexOf(0x0a, this.at);
    const end = newline === -1 ? bytes.byteLength : newline + 1;
    const text = this.begun + bytes.toString('latin1', this.at, end);
    this.at = end;
    if (newline === -1 && text.length <= bytesMax) {
      this.begun = text;
      return undefined;
    }
    this.begun = '';
    return text.endsWith('\r\n') ? text.slice(0, -2) : '\n';
  }

  /** All trailer lines with their ends, once the empty line behind them has come. */
  private trailerLines(bytes: Buffer): string | undefined {
    for (;;) {
      const newline = bytes.indexOf(0x0a, this.at);
      const end = newline === -1 ? bytes.byteLength : newline + 1;
      this.begun += bytes.toString('latin1', this.at, end);
      this.at = end;
      const text = this.begun;
      if (text === '\r\n' || text.endsWith('\r\n\r\n')) {
        this.begun = '';
        return text.slice(0, -2);
      }
      if (text.length > TRAILER_BYTES_MAX || (newline !== -1 && !text.endsWith('\r\n'))) return '\n';
      if (newline === -1 || end === bytes.byteLength) return undefined;
    }
  }
}

function fault(message: string): Piece {
  return { kind: 'fault', message };
}
