/**
 * Reading and writing of the fields of MySQL payloads: integers little-endian, lengths in one to nine bytes, strings as bytes.
 * Source: MySQL documentation, "Protocol Basics: Data Types"; MariaDB documentation, "Protocol Data Types".
 */
import { assert } from '../../../src/platform/assert.ts';
import { BYTES_AT_FIRST, FieldReader, FieldWriter } from '../../wire/fields.ts';

/**
 * What the other side sent is not the MySQL protocol. Nothing after it on the connection can be trusted: report it as an ERR
 * packet with this number and SQLSTATE and close. 1835 is ER_MALFORMED_PACKET, 1156 ER_NET_PACKETS_OUT_OF_ORDER, as servers use them.
 */
export interface ProtocolFault {
  readonly kind: 'fault';
  readonly errno: 1835 | 1156;
  readonly sqlState: 'HY000' | '08S01';
  readonly message: string;
}

/** A fault of a malformed packet, whose `message` names the broken rule. */
export function protocolFault(message: string): ProtocolFault {
  return { kind: 'fault', errno: 1835, sqlState: 'HY000', message };
}

/** First byte of an integer of variable length: NULL among the values of a row, 2, 3 or 8 bytes follow, or never used. */
const NULL_MARK = 0xfb;
const TWO_BYTES = 0xfc;
const THREE_BYTES = 0xfd;
const EIGHT_BYTES = 0xfe;

/** The fields of a payload. */
export class BodyReader extends FieldReader<ProtocolFault> {
  /** The next byte, not taken; undefined at the end. */
  peek(): number | undefined {
    return this.left > 0 ? this.body[this.at] : undefined;
  }

  byte(): number {
    return this.uint(1);
  }

  /** An unsigned integer of one to six bytes. */
  uint(bytes: number): number {
    return this.skip(bytes) ? this.body.readUIntLE(this.at - bytes, bytes) : 0;
  }

  uint64(): bigint {
    return this.skip(8) ? this.body.readBigUInt64LE(this.at - 8) : 0n;
  }

  /** An integer of variable length that may use all of 64 bits: counts of rows, generated keys. */
  bigLength(): bigint {
    const first = this.byte();
    if (first < NULL_MARK) return BigInt(first);
    switch (first) {
      case TWO_BYTES:
        return BigInt(this.uint(2));
      case THREE_BYTES:
        return BigInt(this.uint(3));
      case EIGHT_BYTES:
        return this.uint64();
      default:
        this.fail(`an integer of variable length begins with ${first}`);
        return 0n;
    }
  }

  /** An integer of variable length that counts something in memory. */
  length(): number {
    const value = this.bigLength();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      this.fail(`a length of ${value}`);
      return 0;
    }
    return Number(value);
  }

  /** A length of variable size and as many bytes. */
  string(): Buffer {
    return this.bytes(this.length());
  }

  /** The same where NULL may stand instead: a value of a row. */
  value(): Buffer | null {
    if (this.peek() !== NULL_MARK) return this.string();
    this.byte();
    return null;
  }

  /** `count` items. A count that the payload cannot hold, at `bytesMin` bytes an item, is a fault before anything is read. */
  list<T>(count: number, bytesMin: number, item: (index: number) => T): T[] {
    return this.items(count, bytesMin, item);
  }

  /** Items up to the end of the payload, of which each takes at least one byte. */
  all<T>(item: () => T): T[] {
    const items: T[] = [];
    while (this.left > 0) items.push(item());
    return items;
  }

  protected fault(what: string, rule: string): ProtocolFault {
    return protocolFault(`invalid ${what}: ${rule}`);
  }
}

/** Builds one payload, field by field. */
export class BodyWriter extends FieldWriter {
  constructor() {
    super(BYTES_AT_FIRST);
  }

  byte(value: number): this {
    return this.uint(1, value);
  }

  /** An unsigned integer of one to six bytes. */
  uint(bytes: number, value: number): this {
    assert(
      Number.isInteger(value) && value >= 0 && value < 2 ** (bytes * 8),
      `${value} does not fit into ${bytes} bytes`,
    );
    this.room(bytes);
    this.at = this.buffer.writeUIntLE(value, this.at, bytes);
    return this;
  }

  uint64(value: bigint): this {
    this.room(8);
    this.at = this.buffer.writeBigUInt64LE(value, this.at);
    return this;
  }

  /** An integer of variable length, in as few bytes as it takes: servers write no other form. */
  length(value: number | bigint): this {
    if (value < NULL_MARK) return this.byte(Number(value));
    if (value <= 0xffff) return this.byte(TWO_BYTES).uint(2, Number(value));
    if (value <= 0xff_ffff) return this.byte(THREE_BYTES).uint(3, Number(value));
    return this.byte(EIGHT_BYTES).uint64(BigInt(value));
  }

  string(value: Buffer): this {
    return this.length(value.length).bytes(value);
  }

  value(value: Buffer | null): this {
    return value === null ? this.byte(NULL_MARK) : this.string(value);
  }
}
