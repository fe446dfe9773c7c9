/** Which calls may be in flight: so many in all, so many to one destination, and each destination in its turn. */

/** `total`: calls in flight. No destination gets more than a quarter of them, so that a dead one cannot starve the others. */
export class CallQueue<T> {
  readonly #total: number;
  readonly #perHost: number;
  readonly #start: (item: T) => Promise<void>;
  readonly #hosts = new Map<string, { inFlight: number; readonly waiting: T[] }>();
  #inFlight = 0;
  #isOpen = true;

  /** `start` makes the call; its promise ends with the call and never rejects. */
  constructor(total: number, start: (item: T) => Promise<void>) {
    this.#total = total;
    this.#perHost = Math.max(1, Math.ceil(total / 4));
    this.#start = start;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Starts the call now if there is room, else when its turn comes. */
  add(url: string, item: T): void {
    if (!this.#isOpen) return;
    const name = hostOf(url);
    const host = this.#hosts.get(name) ?? { inFlight: 0, waiting: [] };
    this.#hosts.set(name, host);
    if (this.#inFlight < this.#total && host.inFlight < this.#perHost && host.waiting.length === 0) {
      this.#run(name, item);
    } else {
      host.waiting.push(item);
    }
  }

  /** Starts nothing more. Answers what was waiting for its turn, which is forgotten. */
  close(): readonly T[] {
    this.#isOpen = false;
    return [...this.#hosts.values()].flatMap(({ waiting }) => waiting.splice(0));
  }

  #run(name: string, item: T): void {
    const host = this.#hosts.get(name);
    if (host === undefined) return;
    host.inFlight += 1;
    this.#inFlight += 1;
    void this.#start(item).then(() => {
      host.inFlight -= 1;
      this.#inFlight -= 1;
      if (host.inFlight === 0 && host.waiting.length === 0) this.#hosts.delete(name);
      this.#next();
    });
  }

  #next(): void {
    for (const [name, host] of this.#hosts) {
      if (this.#inFlight >= this.#total) return;
      if (host.inFlight >= this.#perHost) continue;
      const item = host.waiting.shift();
      if (item === undefined) continue;
      // To the back of the line: the next free place is another destination's.
      this.#hosts.delete(name);
      this.#hosts.set(name, host);
      this.#run(name, item);
    }
  }
}

/** Host and port, of a URL with a scheme or, as those of gRPC are, without. */
function hostOf(url: string): string {
  const scheme = url.indexOf('://');
  const from = scheme < 0 ? 0 : scheme + 3;
  const end = url.indexOf('/', from);
  return end < 0 ? url.slice(from) : url.slice(from, end);
}
