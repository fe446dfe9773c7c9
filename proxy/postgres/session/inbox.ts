/** The client's messages that arrived while its session belongs to a global transaction, until they are served. */
import { assert } from '../../../src/platform/assert.ts';
import { SessionEnded } from './exchange.ts';
import type { ClientFrame } from './pass-watch.ts';

/** Beyond this many bytes the client is not read from. */
const BYTES_MAX = 1024 * 1024;

export class Inbox {
  #frames: ClientFrame[] = [];
  #bytes = 0;
  #wake: (() => void) | undefined;
  #isOver = false;
  #isDoomed = false;
  readonly #onRoom: () => void;

  /** `onRoom` is told when a full inbox has room again. */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom;
  }

  get isFull(): boolean {
    return this.#bytes >= BYTES_MAX;
  }

  /** The next message, if it has arrived. */
  get head(): ClientFrame | undefined {
    return this.#frames[0];
  }

  /** Everything has been served, and the client has the next word. */
  get isAwaited(): boolean {
    return this.#wake !== undefined && this.#frames.length === 0 && !this.#isDoomed;
  }

  add(frame: ClientFrame): void {
    this.#frames.push(frame);
    this.#bytes += frame.bytes.length;
    this.#wake?.();
  }

  /** Takes the next message out; there is one. */
  drop(): ClientFrame {
    const frame = this.#frames.shift();
    assert(frame !== undefined, 'only what has arrived is taken');
    const wasFull = this.isFull;
    this.#bytes -= frame.bytes.length;
    if (wasFull && !this.isFull) this.#onRoom();
    return frame;
  }

  /** The global transaction was rolled back: whoever takes the next message hears of it first. */
  doom(): void {
    this.#isDoomed = true;
    this.#wake?.();
  }

  /** The session is over: whoever waits is told. */
  end(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  /** The next message, waiting for it if need be; `undefined` in its place after `doom`. Rejects with `SessionEnded` after `end`. */
  async nextOrDoom(): Promise<ClientFrame | undefined> {
    for (;;) {
      if (this.#isOver) throw new SessionEnded();
      if (this.#isDoomed) {
        this.#isDoomed = false;
        return undefined;
      }
      if (this.#frames.length > 0) return this.drop();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  /** The next message, waiting for it if need be. */
  async next(): Promise<ClientFrame> {
    for (;;) {
      const frame = await this.nextOrDoom();
      if (frame !== undefined) return frame;
    }
  }

  /** Empties the inbox. */
  takeAll(): readonly ClientFrame[] {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    this.#isDoomed = false;
    return frames;
  }
}
