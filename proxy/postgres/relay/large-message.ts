/** What can be told of a message of the client that is too large to be kept, while it passes in pieces. */
import { ClueSearch } from '../../binding/gid-clues.ts';
import { HEADER_BYTES } from '../wire/frames.ts';

/** Names are short; one that is longer than this is not waited for. */
const NAMES_BYTES_MAX = 16 * 1024;
const EMPTY: Buffer = Buffer.alloc(0);

export class LargeMessage {
  readonly #clues = new ClueSearch();
  /** The first bytes of the body. */
  #head: Buffer = EMPTY;
  #toSkip = HEADER_BYTES;

  /** Takes the next piece. The first begins with the message's type. */
  push(piece: Buffer): void {
    const body = piece.subarray(this.#toSkip);
    this.#toSkip = Math.max(0, this.#toSkip - piece.length);
    this.#clues.push(body);
    const room = NAMES_BYTES_MAX - this.#head.length;
    if (room > 0) this.#head = Buffer.concat([this.#head, body.subarray(0, room)]);
  }

  /** True when a word has passed that a gid can come with. */
  get hasClue(): boolean {
    return this.#clues.hasClue;
  }

  /**
   * One of the names that the body begins with, as latin1: `undefined` while it has not passed, `'endless'` when it is longer than
   * any name.
   */
  nameAt(position: 0 | 1): { readonly name: string } | 'endless' | undefined {
    let start = 0;
    for (let left: number = position; ; left -= 1) {
      const end = this.#head.indexOf(0, start);
      if (end < 0) return this.#head.length >= NAMES_BYTES_MAX ? 'endless' : undefined;
      if (left === 0) return { name: this.#head.toString('latin1', start, end) };
      start = end + 1;
    }
  }
}
