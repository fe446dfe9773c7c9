/** Output of several processes on one terminal: every line says whose it is. */
import { Transform, type TransformCallback, type Readable, type Writable } from 'node:stream';

/** A line that is longer comes out in parts, so that output without line breaks is not kept. */
const LINE_BYTES_MAX = 64 * 1024;
const LINE_FEED = 0x0a;

/** Copies `source` to `target`, which stays open. When nobody reads `target` any more, `source` is read and thrown away. */
export function copyLines(source: Readable, target: Writable, prefix: string): void {
  const lines = source.pipe(new LinePrefix(prefix));
  lines.pipe(target, { end: false });
  target.once('close', () => lines.unpipe(target).resume());
}

/** Puts a prefix before each line, in bytes: characters that lie across two chunks stay whole. */
export class LinePrefix extends Transform {
  readonly #prefix: Buffer;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(prefix: string) {
    super();
    this.#prefix = Buffer.from(prefix);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#hold(chunk.subarray(start, end));
      this.#release();
      start = end + 1;
    }
    this.#hold(chunk.subarray(start));
    if (this.#heldBytes >= LINE_BYTES_MAX) this.#release();
    done();
  }

  override _flush(done: TransformCallback): void {
    if (this.#heldBytes > 0) this.#release();
    done();
  }

  #hold(part: Buffer): void {
    this.#held.push(part);
    this.#heldBytes += part.length;
  }

  #release(): void {
    this.push(Buffer.concat([this.#prefix, ...this.#held, Buffer.of(LINE_FEED)]));
    this.#held = [];
    this.#heldBytes = 0;
  }
}
