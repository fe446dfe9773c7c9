/**
 * Pairs the server's answers with what was sent. A database answers strictly in order, so a queue is enough, with one rule of
 * the extended protocol: after an error everything up to the next synchronising request goes unanswered.
 */

/** Something that was sent and will be answered, or bytes of our own that take an answer's place in the order. */
export interface Expected {
  /** It is answered even after an error: a Sync. */
  readonly synchronises: boolean;
}

/** The queue. `T` is what the wire side keeps of each request. */
export interface ExpectedReplies<T extends Expected> {
  /** Adds what was sent, or invented, last. */
  push(expected: T): void;
  /** What the next answer belongs to. */
  head(): T | undefined;
  /** The head has been answered in full. */
  done(): void;
  /** The head was answered by an error: it and all that the server will now skip leave the queue, and are returned in order. */
  takeFailed(): readonly T[];
  /** The server skips everything up to the next synchronising request: that leaves the queue, and is returned in order. */
  takeSkipped(): readonly T[];
  /** True when one that fits is waiting. */
  some(fits: (expected: T) => boolean): boolean;
  readonly size: number;
}

/** An empty queue. */
export function createExpectedReplies<T extends Expected>(): ExpectedReplies<T> {
  let queue: T[] = [];
  const takeUpTo = (next: number): readonly T[] => {
    const end = next < 0 ? queue.length : next;
    const taken = queue.slice(0, end);
    queue = queue.slice(end);
    return taken;
  };
  return {
    push: (expected) => void queue.push(expected),
    head: () => queue[0],
    done: () => void queue.shift(),
    takeFailed: () => takeUpTo(queue.findIndex((expected, index) => index > 0 && expected.synchronises)),
    takeSkipped: () => takeUpTo(queue.findIndex((expected) => expected.synchronises)),
    some: (fits) => queue.some(fits),
    get size() {
      return queue.length;
    },
  };
}
