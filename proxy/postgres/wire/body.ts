/** Reading and writing of the fields of PostgreSQL messages: integers big-endian, strings ended by NUL, kept as bytes. */
import { assert } from '../../../src/platform/assert.ts';
import { BYTES_AT_FIRST, FieldReader, FieldWriter } from '../../wire/fields.ts';

/**
 * What the other side sent is not the PostgreSQL protocol. Nothing after it on the connection can be trusted: report it as a
 * FATAL error with this code and close. `code` is the SQLSTATE protocol_violation, as the server itself uses.
 */
export interface ProtocolFault {
  readonly kind: 'fault';
  readonly code: '08P01';
  readonly message: string;
}

/** A fault whose `message` names the broken rule, in the words of a server's error. */
export function protocolFault(message: string): ProtocolFault {
  return { kind: 'fault', code: '08P01', message };
}

/** The fields of a message's body. */
export class BodyReader extends FieldReader<ProtocolFault> {
  byte(): number {
    return this.skip(1) ? (this.body[this.at - 1] as number) : 0;
  }

  int16(): number {
    return this.skip(2) ? this.body.readInt16BE(this.at - 2) : 0;
  }

  uint16(): number {
    return this.skip(2) ? this.body.readUInt16BE(this.at - 2) : 0;
  }

  int32(): number {
    return this.skip(4) ? this.body.readInt32BE(this.at - 4) : 0;
  }

  uint32(): number {
    return this.skip(4) ? this.body.readUInt32BE(this.at - 4) : 0;
  }

  /** A value as Bind, DataRow and FunctionCall carry it: an int32 length, -1 for NULL, then as many bytes. */
  value(): Buffer | null {
    const length = this.int32();
    if (length === -1) return null;
    if (length < -1) this.fail(`a value has the length ${length}`);
    return this.bytes(length);
  }

  /**
   * As many items as an Int16 count says. Counts are unsigned: the server and libpq take up to 65535 parameters. A count that
   * the body cannot hold, at `bytesMin` bytes an item, is a fault before anything is read.
   */
  list<T>(bytesMin: number, item: () => T): T[] {
    return this.items(this.uint16(), bytesMin, item);
  }

  /** The same with an Int32 count. */
  longList<T>(bytesMin: number, item: () => T): T[] {
    return this.items(this.int32(), bytesMin, item);
  }

  protected fault(what: string, rule: string): ProtocolFault {
    return protocolFault(`invalid ${what} message: ${rule}`);
  }
}

const NO_FRAME = -1;

/** Builds any number of frames in one Buffer. A frame is opened by `begin`, filled field by field, and closed by `end`. */
export class FrameWriter extends FieldWriter {
  #lengthAt = NO_FRAME;

  /** `bytes`: the room to begin with; with the exact size of what will be written nothing is ever copied twice. */
  constructor(bytes: number = BYTES_AT_FIRST) {
    super(bytes);
  }

  /** Opens a frame with a type byte. */
  begin(type: number): this {
    return this.byte(type).beginUntyped();
  }

  /** Opens a packet without a type byte, as a connection begins with. */
  beginUntyped(): this {
    assert(this.#lengthAt === NO_FRAME, 'a frame is begun inside a frame');
    this.#lengthAt = this.at;
    return this.int32(0);
  }

  /** Closes the frame: writes its length. */
  end(): this {
    assert(this.#lengthAt !== NO_FRAME, 'a frame is ended that was not begun');
    this.buffer.writeInt32BE(this.at - this.#lengthAt, this.#lengthAt);
    this.#lengthAt = NO_FRAME;
    return this;
  }

  byte(value: number): this {
    this.room(1);
    this.buffer[this.at] = value;
    this.at += 1;
    return this;
  }

  /** An Int16 given as signed or as unsigned. */
  int16(value: number): this {
    assert(value >= -0x8000 && value <= 0xffff, `${value} does not fit into 16 bits`);
    this.room(2);
    this.at = this.buffer.writeUInt16BE(value & 0xffff, this.at);
    return this;
  }

  /** An Int32 given as signed or as unsigned. */
  int32(value: number): this {
    assert(value >= -0x8000_0000 && value <= 0xffff_ffff, `${value} does not fit into 32 bits`);
    this.room(4);
    this.at = this.buffer.writeUInt32BE(value >>> 0, this.at);
    return this;
  }

  /** A string as its bytes, or a text to be encoded as UTF-8, and NUL. A NUL inside would end it early and forge what follows. */
  override cstring(value: Buffer | string): this {
    return super.cstring(typeof value === 'string' ? Buffer.from(value) : value);
  }

  /** A length and as many bytes; null is -1 and nothing. */
  value(value: Buffer | null): this {
    return value === null ? this.int32(-1) : this.int32(value.length).bytes(value);
  }

  /** An Int16 count and the items. */
  list<T>(items: readonly T[], item: (item: T) => unknown): this {
    assert(items.length <= 0xffff, `${items.length} items do not fit into one message`);
    this.int16(items.length);
    for (const each of items) item(each);
    return this;
  }

  /** What was written since the last call. The writer keeps nothing of it. */
  override take(): Buffer {
    assert(this.#lengthAt === NO_FRAME, 'a frame is not ended');
    return super.take();
  }
}

/** The encoder of one message: a Buffer with the whole frame, type byte and length included. */
export function encoder<T>(write: (out: FrameWriter, message: T) => void): (message: T) => Buffer {
  return (message) => {
    const out = new FrameWriter();
    write(out, message);
    return out.take();
  };
}
