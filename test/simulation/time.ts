/** Virtual time: a queue of what is to happen, in the order of time and then of planning. */

/** More happenings than this at one instant are a loop. */
const AT_ONCE_MAX = 2000;

interface Planned {
  readonly at: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export class Time {
  #now = 1_700_000_000_000;
  #order = 0;
  readonly #heap: Planned[] = [];

  get now(): number {
    return this.#now;
  }

  /** Plans `run` for `at`, or for now if that has passed. The returned function cancels it. */
  at(at: number, run: () => void): () => void {
    const planned: Planned = { at: Math.max(at, this.#now), order: this.#order, run };
    this.#order += 1;
    this.#push(planned);
    return () => {
      planned.run = undefined;
    };
  }

  after(ms: number, run: () => void): () => void {
    return this.at(this.#now + ms, run);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets things happen until `until`, or until `isDone`. Between two of them every promise that can go on does. */
  async run(until: number, isDone: () => boolean): Promise<void> {
    await everythingSettled();
    let atOnce = 0;
    while (!isDone()) {
      const first = this.#heap[0];
      if (first === undefined || first.at > until) {
        this.#now = Math.max(this.#now, until);
        return;
      }
      this.#pop();
      if (first.run === undefined) continue;
      atOnce = first.at === this.#now ? atOnce + 1 : 0;
      if (atOnce > AT_ONCE_MAX) throw new Error('something goes round in circles without any time passing');
      this.#now = first.at;
      first.run();
      await everythingSettled();
    }
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let index = heap.push(planned) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, planned)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = planned;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      const isRight = left !== undefined && right !== undefined && isBefore(right, left);
      const least = isRight ? right : left;
      if (least === undefined || isBefore(last, least)) break;
      heap[index] = least;
      index = 2 * index + (isRight ? 2 : 1);
    }
    heap[index] = last;
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Nothing here does real I/O, so once an immediate runs, no promise has anything left to do. */
function everythingSettled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
