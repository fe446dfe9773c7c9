/** What readers and writers of the fields of a message have in common, whatever the protocol. Integers and lists are the protocol's own. */
import { assert } from '../../src/platform/assert.ts';

const EMPTY: Buffer = Buffer.alloc(0);

/**
 * Takes fields from the front of a message's body. Byte fields are views of the body, not copies. A field that the body does not
 * hold reads as zero or empty and is remembered: `end` then gives the fault, so that a decoder checks once, at its end.
 */
export abstract class FieldReader<Fault> {
  protected readonly body: Buffer;
  /** Where the next field begins. */
  protected at = 0;
  /** The first rule that was broken. */
  protected broken: string | undefined;
  readonly #what: string;

  /** `what` names the message in faults. */
  constructor(what: string, body: Buffer) {
    this.#what = what;
    this.body = body;
  }

  /** How many bytes are left; 0 after a fault. */
  get left(): number {
    return this.broken === undefined ? this.body.length - this.at : 0;
  }

  /** Where the next field begins. */
  get offset(): number {
    return this.at;
  }

  /** The bytes before the next NUL, which is skipped. */
  cstring(): Buffer {
    const end = this.broken === undefined ? this.body.indexOf(0, this.at) : -1;
    if (end < 0) {
      this.fail('a string is not ended by NUL');
      return EMPTY;
    }
    const text = this.body.subarray(this.at, end);
    this.at = end + 1;
    return text;
  }

  bytes(length: number): Buffer {
    return this.skip(length) ? this.body.subarray(this.at - length, this.at) : EMPTY;
  }

  /** Everything that is left. */
  rest(): Buffer {
    return this.bytes(this.left);
  }

  /** Remembers a broken rule; the first one counts. */
  fail(rule: string): void {
    this.broken ??= rule;
  }

  /** `value`, or the fault if a field was broken or bytes are left over. */
  end<T>(value: T): T | Fault {
    if (this.broken === undefined && this.left > 0) this.fail(`${this.left} bytes too many`);
    return this.broken === undefined ? value : this.fault(this.#what, this.broken);
  }

  /** The fault of a message with this name that breaks this rule. */
  protected abstract fault(what: string, rule: string): Fault;

  /** `count` items. A count that the body cannot hold, at `bytesMin` bytes an item, is a fault before anything is read. */
  protected items<T>(count: number, bytesMin: number, item: (index: number) => T): T[] {
    if (count < 0 || count * bytesMin > this.left) {
      this.fail(`a count of ${count} does not fit`);
      return [];
    }
    const items: T[] = [];
    for (let index = 0; index < count && this.broken === undefined; index += 1) items.push(item(index));
    return items;
  }

  /** Goes past a field, which then ends at `offset`. False, and a fault, where the body does not hold it. */
  protected skip(length: number): boolean {
    if (length < 0 || length > this.left) {
      this.fail('it is too short');
      return false;
    }
    this.at += length;
    return true;
  }
}

/** Room for fields to begin with. */
export const BYTES_AT_FIRST = 256;

/** Builds bytes field by field, in room that grows. */
export abstract class FieldWriter {
  protected buffer: Buffer;
  /** How many bytes were written: where the next field goes. */
  protected at = 0;

  /** `bytes`: the room to begin with. */
  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafe(bytes);
  }

  bytes(value: Buffer): this {
    this.room(value.length);
    this.at += value.copy(this.buffer, this.at);
    return this;
  }

  /** A string and NUL. A NUL inside would end it early and forge what follows. */
  cstring(value: Buffer): this {
    assert(!value.includes(0), 'a string of a message contains NUL');
    this.bytes(value).room(1);
    this.buffer[this.at] = 0;
    this.at += 1;
    return this;
  }

  /** What was written since the last call. The writer keeps nothing of it. */
  take(): Buffer {
    const written = this.buffer.subarray(0, this.at);
    this.buffer = this.buffer.subarray(this.at);
    this.at = 0;
    return written;
  }

  /** Makes room for so many bytes more. */
  protected room(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.at + bytes, this.buffer.length * 2, BYTES_AT_FIRST));
    this.buffer.copy(grown, 0, 0, this.at);
    this.buffer = grown;
  }
}
