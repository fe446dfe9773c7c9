/** Neighbouring pieces of a chunk go on in one write. */

export class Passage {
  readonly #write: (bytes: Buffer) => void;
  #bytes: Buffer | undefined;
  #start = 0;
  #end = 0;

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
  }

  /** Bytes `start` to `end` of `bytes` go on, at `flush` at the latest. */
  add(bytes: Buffer, start: number, end: number): void {
    if (this.#bytes === bytes && this.#end === start) {
      this.#end = end;
      return;
    }
    this.flush();
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  /** Writes what was added. To be called at the end of a chunk, and before anything else is written. */
  flush(): void {
    const bytes = this.#bytes;
    if (bytes === undefined) return;
    this.#bytes = undefined;
    this.#write(this.#start === 0 && this.#end === bytes.length ? bytes : bytes.subarray(this.#start, this.#end));
  }
}
