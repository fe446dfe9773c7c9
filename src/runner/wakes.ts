/** One timer for all transactions: a heap of instants, of which only the earliest is armed. */
import { assert } from '../platform/assert.ts';
import type { Gid, Instant } from '../contract/transaction.ts';
import type { Clock } from './ports.ts';

interface Entry {
  readonly gid: Gid;
  at: Instant;
  index: number;
}

/** At most one wake for each gid; setting it again replaces it. */
export class Wakes {
  readonly #clock: Clock;
  readonly #fire: (gid: Gid) => void;
  readonly #heap: Entry[] = [];
  readonly #entries = new Map<Gid, Entry>();
  #armed: { readonly at: Instant; readonly cancel: () => void } | undefined;

  constructor(clock: Clock, fire: (gid: Gid) => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  /** When `gid` is to be woken, if at all. */
  at(gid: Gid): Instant | undefined {
    return this.#entries.get(gid)?.at;
  }

  set(gid: Gid, at: Instant): void {
    const known = this.#entries.get(gid);
    if (known !== undefined) {
      known.at = at;
      this.#place(known);
    } else {
      const entry: Entry = { gid, at, index: this.#heap.length };
      this.#entries.set(gid, entry);
      this.#heap.push(entry);
      this.#place(entry);
    }
    this.#arm();
  }

  remove(gid: Gid): void {
    const entry = this.#entries.get(gid);
    if (entry === undefined) return;
    this.#entries.delete(gid);
    const last = this.#heap.pop();
    assert(last !== undefined, 'the heap of wakes holds what its map holds');
    if (last === entry) return;
    last.index = entry.index;
    this.#heap[last.index] = last;
    this.#place(last);
  }

  /** Forgets every wake. */
  clear(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
    this.#heap.length = 0;
    this.#entries.clear();
  }

  #arm(): void {
    const first = this.#heap[0];
    // A timer that is armed too early does no harm: it finds nothing and arms the next.
    if (first === undefined || (this.#armed !== undefined && this.#armed.at <= first.at)) return;
    this.#armed?.cancel();
    this.#armed = { at: first.at, cancel: this.#clock.at(first.at, () => this.ring()) };
  }

  /** Fires what is due. The timer does, and whoever finds that the clock may have been set forward: a timer does not hear of that. */
  ring(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
    const now = this.#clock.now();
    // All first, then their work: what is set anew meanwhile waits for its own timer, and never holds up everything else.
    const due: Gid[] = [];
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      this.remove(first.gid);
      due.push(first.gid);
    }
    for (const gid of due) this.#fire(gid);
    this.#arm();
  }

  #place(entry: Entry): void {
    const heap = this.#heap;
    let { index } = entry;
    for (;;) {
      const above = heap[(index - 1) >> 1];
      if (index === 0 || above === undefined || above.at <= entry.at) break;
      heap[index] = above;
      above.index = index;
      index = (index - 1) >> 1;
      heap[index] = entry;
      entry.index = index;
    }
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      const least = left !== undefined && right !== undefined && right.at < left.at ? right : left;
      if (least === undefined || least.at >= entry.at) break;
      const below = least.index;
      heap[index] = least;
      least.index = index;
      index = below;
      heap[index] = entry;
      entry.index = index;
    }
  }
}
