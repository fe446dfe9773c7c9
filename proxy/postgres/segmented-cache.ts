/**
 * A bounded cache whose known entries a flood of others does not push out. What is new is on probation; what is asked for again
 * is known from then on. Each kind has a share, and within it the one that was not used for longest goes first (a segmented LRU:
 * Karedla, Love and Wherry, "Caching strategies to improve disk system performance", 1994).
 */

/** How much a cache may keep. */
export interface CacheLimits {
  readonly entries: number;
  readonly bytes: number;
}

/** What is kept under a key. */
export interface CacheEntry<Value> {
  readonly value: Value;
  /** What it takes, about. */
  readonly bytes: number;
  /** From this moment of the caller's clock on, in milliseconds, it is not given out any more. */
  readonly untilMs: number;
}

/** How much of the limits known entries may take; at least the rest is left for new ones to become known in. */
const KNOWN_SHARE = 0.8;

interface Segment<Key, Value> {
  /** In the order of last use. */
  readonly entries: Map<Key, CacheEntry<Value>>;
  bytes: number;
}

export class SegmentedCache<Key, Value> {
  readonly #limits: CacheLimits;
  readonly #onDropped: (value: Value) => void;
  readonly #new: Segment<Key, Value> = { entries: new Map(), bytes: 0 };
  readonly #known: Segment<Key, Value> = { entries: new Map(), bytes: 0 };

  /** `onDropped` hears of what has to make room for others, or takes too much itself. */
  constructor(limits: CacheLimits, onDropped: (value: Value) => void = () => undefined) {
    this.#limits = limits;
    this.#onDropped = onDropped;
  }

  get size(): number {
    return this.#new.entries.size + this.#known.entries.size;
  }

  get bytes(): number {
    return this.#new.bytes + this.#known.bytes;
  }

  /** The value under the key; undefined when there is none, or when it is too old. Using it makes the key known. */
  get(key: Key, nowMs: number): Value | undefined {
    const entry = this.#known.entries.get(key) ?? this.#new.entries.get(key);
    if (entry === undefined || entry.untilMs <= nowMs) return undefined;
    this.#take(key);
    add(this.#known, key, entry);
    // What is known for longest without use is one of the new again, the youngest of them.
    while (this.#isTooMuch(this.#known)) {
      const [oldest] = this.#known.entries;
      if (oldest === undefined) break;
      this.#take(oldest[0]);
      add(this.#new, ...oldest);
    }
    return entry.value;
  }

  /** Keeps a value under the key, in place of an older one. A key that is known stays known. */
  set(key: Key, entry: CacheEntry<Value>): void {
    const segment = this.#known.entries.has(key) ? this.#known : this.#new;
    this.#take(key);
    // One that is larger than all may be is not worth the others.
    if (entry.bytes > this.#limits.bytes) return this.#onDropped(entry.value);
    add(segment, key, entry);
    for (const { entries } of [this.#new, this.#known]) {
      for (const [old, { value }] of entries) {
        if (this.size <= this.#limits.entries && this.bytes <= this.#limits.bytes) return;
        this.#take(old);
        this.#onDropped(value);
      }
    }
  }

  clear(): void {
    for (const segment of [this.#new, this.#known]) {
      segment.entries.clear();
      segment.bytes = 0;
    }
  }

  #isTooMuch({ entries, bytes }: Segment<Key, Value>): boolean {
    return entries.size > KNOWN_SHARE * this.#limits.entries || bytes > KNOWN_SHARE * this.#limits.bytes;
  }

  #take(key: Key): void {
    for (const segment of [this.#new, this.#known]) {
      const entry = segment.entries.get(key);
      if (entry === undefined) continue;
      segment.entries.delete(key);
      segment.bytes -= entry.bytes;
    }
  }
}

function add<Key, Value>(segment: Segment<Key, Value>, key: Key, entry: CacheEntry<Value>): void {
  segment.entries.set(key, entry);
  segment.bytes += entry.bytes;
}
