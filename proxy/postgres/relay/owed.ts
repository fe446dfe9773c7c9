/**
 * What the server still owes to a client whose messages go through as they came: one ReadyForQuery for the start-up, for each
 * simple query or function call, and for each Sync that it does not throw away.
 * Source: PostgreSQL documentation, "Extended Query" (after an error everything up to the next Sync is dropped) and "COPY
 * Operations" (while it takes COPY data a server ignores Sync, and any other message ends the COPY with an error).
 */

const SIMPLE = 0;
const SYNC = 1;
/** One message of the extended protocol, or several in a row. Owed nothing by itself; after its error nothing is up to a Sync. */
const EXTENDED = 2;
/** CopyDone or CopyFail, while it is not known which COPY it ends. */
const COPY_END = 3;
type Entry = typeof SIMPLE | typeof SYNC | typeof EXTENDED | typeof COPY_END;

/** Used up entries are given back when there are this many: removing them one by one would cost the square of a long pipeline. */
const USED_MAX = 1024;
/** Nobody sends so much ahead. What is answered needs no such limit: a server that is not read from stops reading. */
const UNANSWERED_MAX = 100_000;

export class Owed {
  /** A session begins with its start-up, which ends like a query. */
  #entries: Entry[] = [SIMPLE];
  #first = 0;
  #count = 1;
  /** The server takes COPY data, and the client has not ended them. */
  #isCopying = false;
  /** A message of the extended protocol failed, and its Sync has not been sent. */
  #isSkipping = false;

  /** True when the server has answered everything that it answers with ReadyForQuery. */
  get isNothing(): boolean {
    return this.#count === 0;
  }

  /** Query or FunctionCall went to the server. */
  simple(): void {
    if (this.#isCopying) this.#isCopying = false;
    else if (!this.#isSkipping) this.#push(SIMPLE);
  }

  /** Sync went to the server. */
  sync(): void {
    if (this.#isCopying) return;
    this.#isSkipping = false;
    this.#push(SYNC);
  }

  /** Parse, Bind, Describe, Execute or Close went to the server. */
  extended(): void {
    if (this.#isCopying) this.#isCopying = false;
    else if (!this.#isSkipping && this.#entries.at(-1) !== EXTENDED) this.#push(EXTENDED);
  }

  /** CopyDone or CopyFail went to the server, which drops them when it takes no COPY data. */
  copyEnd(): void {
    if (this.#isCopying) this.#isCopying = false;
    else if (this.#first < this.#entries.length && !this.#isSkipping) this.#push(COPY_END);
  }

  /** What was counted since the last Query, FunctionCall or Sync was not sent after all. */
  takeBack(): void {
    while (this.#entries.length > this.#first && !isAnswered(this.#entries.at(-1))) this.#entries.pop();
  }

  /** The server answered ReadyForQuery. */
  onReady(): void {
    this.#isCopying = false;
    this.#isSkipping = false;
    while (this.#first < this.#entries.length && !isAnswered(this.#entries[this.#first])) this.#first += 1;
    if (this.#first < this.#entries.length) {
      this.#first += 1;
      this.#count -= 1;
    }
    // Of a COPY that failed before it began.
    while (this.#entries[this.#first] === COPY_END) this.#first += 1;
    if (this.#first === this.#entries.length || this.#first > USED_MAX) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The server answered ErrorResponse. */
  onError(): void {
    this.#isCopying = false;
    if (this.#entries[this.#first] !== EXTENDED) return;
    this.#dropWhile((entry) => entry !== SYNC);
    this.#isSkipping = this.#entries.length === 0;
  }

  /** The server answered CopyInResponse: what was sent behind the statement up to the end of its data is not answered. */
  onCopyIn(): void {
    const statement = this.#entries[this.#first];
    if (statement === undefined) return;
    this.#first += 1;
    if (isAnswered(statement)) this.#count -= 1;
    this.#dropWhile((entry) => entry === SYNC);
    const end = this.#entries[0];
    this.#isCopying = end === undefined;
    // The first message of an extended run ends the COPY and is dropped; those behind it are answered.
    if (end === COPY_END || end === SIMPLE) {
      this.#entries.shift();
      if (end === SIMPLE) this.#count -= 1;
    }
    this.#entries.unshift(statement);
    if (isAnswered(statement)) this.#count += 1;
  }

  #push(entry: Entry): void {
    if (isAnswered(entry)) this.#count += 1;
    else if (this.#entries.length - this.#first > UNANSWERED_MAX) return;
    this.#entries.push(entry);
  }

  #dropWhile(isDropped: (entry: Entry) => boolean): void {
    let first = this.#first;
    for (; first < this.#entries.length; first += 1) {
      const entry = this.#entries[first] as Entry;
      if (!isDropped(entry)) break;
      if (isAnswered(entry)) this.#count -= 1;
    }
    this.#entries = this.#entries.slice(first);
    this.#first = 0;
  }
}

function isAnswered(entry: Entry | undefined): boolean {
  return entry === SIMPLE || entry === SYNC;
}
