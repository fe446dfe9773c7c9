/**
 * Types of columns and parameters, and their values in binary form: of prepared statements, of query attributes, of bulk rows.
 * Source: MySQL documentation, "Binary Protocol Value"; MySQL source: include/field_types.h.
 */
import { assert } from '../../../src/platform/assert.ts';
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';

/** Codes of types. */
export const TYPE = {
  decimal: 0,
  tiny: 1,
  short: 2,
  long: 3,
  float: 4,
  double: 5,
  null: 6,
  timestamp: 7,
  longlong: 8,
  int24: 9,
  date: 10,
  time: 11,
  datetime: 12,
  year: 13,
  newDate: 14,
  varchar: 15,
  bit: 16,
  timestamp2: 17,
  datetime2: 18,
  time2: 19,
  vector: 242,
  json: 245,
  newDecimal: 246,
  enum: 247,
  set: 248,
  tinyBlob: 249,
  mediumBlob: 250,
  longBlob: 251,
  blob: 252,
  varString: 253,
  string: 254,
  geometry: 255,
} as const;

/** The type of a parameter as it is sent along with its value. */
export interface ParameterType {
  /** Of TYPE. */
  readonly code: number;
  /** 0x80: unsigned. Other bits have no meaning and are kept. */
  readonly flags: number;
}

/** A binary value by its meaning. Decimals, texts, JSON, BIT and the rest are bytes. */
export type BinaryValue =
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'float' | 'double'; readonly value: number }
  | { readonly kind: 'bytes'; readonly value: Buffer }
  /** DATE, DATETIME, TIMESTAMP. Parts that the sender left out are 0; 0-0-0 is MySQL's zero date. */
  | {
      readonly kind: 'moment';
      readonly year: number;
      readonly month: number;
      readonly day: number;
      readonly hour: number;
      readonly minute: number;
      readonly second: number;
      readonly microsecond: number;
    }
  | {
      readonly kind: 'time';
      readonly isNegative: boolean;
      readonly days: number;
      readonly hour: number;
      readonly minute: number;
      readonly second: number;
      readonly microsecond: number;
    };

type Moment = Extract<BinaryValue, { kind: 'moment' }>;
type Time = Extract<BinaryValue, { kind: 'time' }>;

const UNSIGNED = 0x80;

/** Bytes of a value of fixed size; undefined for types whose values carry their length. */
function fixedBytes(code: number): number | undefined {
  switch (code) {
    case TYPE.null:
      return 0;
    case TYPE.tiny:
      return 1;
    case TYPE.short:
    case TYPE.year:
      return 2;
    case TYPE.long:
    case TYPE.int24:
    case TYPE.float:
      return 4;
    case TYPE.longlong:
    case TYPE.double:
      return 8;
    default:
      return undefined;
  }
}

/** Lengths that a value with a date or a time may have. MySQL source: setup_one_conversion_function, set_param_datetime and its like. */
const MOMENT_LENGTHS: readonly number[] = [0, 4, 7, 11];
const TIME_LENGTHS: readonly number[] = [0, 8, 12];

/**
 * Takes one value that is not NULL. The bytes are without the length that some types have before them, and are sent again as they
 * are: no value is understood on its way from the client to the server.
 */
export function readBinary(from: BodyReader, code: number): Buffer {
  const bytes = fixedBytes(code);
  if (bytes !== undefined) return from.bytes(bytes);
  const value = from.string();
  const lengths = lengthsOf(code);
  if (lengths !== undefined && !lengths.includes(value.length))
    from.fail(`a value of type ${code} with ${value.length} bytes`);
  return value;
}

export function writeBinary(out: BodyWriter, code: number, value: Buffer): void {
  const bytes = fixedBytes(code);
  assert(bytes === undefined || bytes === value.length, `a value of type ${code} with ${value.length} bytes`);
  if (bytes === undefined) out.string(value);
  else out.bytes(value);
}

/** What the bytes of a value mean. */
export function interpretBinary(type: ParameterType, value: Buffer): BinaryValue | ProtocolFault {
  const from = new BodyReader(`value of type ${type.code}`, value);
  switch (type.code) {
    case TYPE.tiny:
    case TYPE.short:
    case TYPE.year:
    case TYPE.long:
    case TYPE.int24:
    case TYPE.longlong:
      return from.end({ kind: 'integer', value: readInteger(from, type) });
    case TYPE.float:
      return from.end({ kind: 'float', value: numberOf(from, 4, (bytes) => bytes.readFloatLE(0)) });
    case TYPE.double:
      return from.end({ kind: 'double', value: numberOf(from, 8, (bytes) => bytes.readDoubleLE(0)) });
    case TYPE.date:
    case TYPE.datetime:
    case TYPE.timestamp:
      return readMoment(from);
    case TYPE.time:
      return readTime(from);
    default:
      return { kind: 'bytes', value };
  }
}

/** The bytes that mean a value, in as few parts as servers send. */
export function binaryOf(type: ParameterType, value: BinaryValue): Buffer {
  const out = new BodyWriter();
  switch (value.kind) {
    case 'integer': {
      const bytes = fixedBytes(type.code) ?? 8;
      const all = Buffer.alloc(8);
      assert(BigInt.asUintN(64, value.value) === (value.value & 0xffff_ffff_ffff_ffffn), 'an integer of over 64 bits');
      all.writeBigUInt64LE(BigInt.asUintN(64, value.value));
      return all.subarray(0, bytes);
    }
    case 'float': {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value.value);
      return bytes;
    }
    case 'double': {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value.value);
      return bytes;
    }
    case 'bytes':
      return value.value;
    case 'moment':
      writeMoment(out, value);
      return out.take();
    case 'time':
      writeTime(out, value);
      return out.take();
  }
}

const INTEGERS: readonly number[] = [TYPE.tiny, TYPE.short, TYPE.int24, TYPE.long, TYPE.longlong, TYPE.year];
const MOMENT = /^(\d{4})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?$/;
const TIME = /^(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/;
const HOURS_A_DAY = 24;

/**
 * The binary form of what a server has printed for a column of that type; undefined where that does not say the value: a FLOAT is printed
 * with six digits.
 */
export function binaryOfText(code: number, printed: Buffer): Buffer | undefined {
  const value = printedValue(code, printed);
  return value && binaryOf({ code, flags: 0 }, value);
}

function printedValue(code: number, printed: Buffer): BinaryValue | undefined {
  const text = printed.toString('latin1');
  if (code === TYPE.float) return undefined;
  if (INTEGERS.includes(code)) return /^-?\d+$/.test(text) ? { kind: 'integer', value: BigInt(text) } : undefined;
  if (code === TYPE.double)
    return /^-?[\d.]+(?:e[+-]?\d+)?$/.test(text) ? { kind: 'double', value: Number(text) } : undefined;
  const clock = (hour: number, minute = '0', second = '0', part = ''): Clock => ({
    hour,
    minute: Number(minute),
    second: Number(second),
    microsecond: Number(part.padEnd(6, '0')),
  });
  if (code === TYPE.time) {
    const [, sign, hours, ...rest] = TIME.exec(text) ?? [];
    if (hours === undefined) return undefined;
    const days = Math.floor(Number(hours) / HOURS_A_DAY);
    return { kind: 'time', isNegative: sign === '-', days, ...clock(Number(hours) % HOURS_A_DAY, ...rest) };
  }
  if (lengthsOf(code) === undefined) return { kind: 'bytes', value: printed };
  const [, year, month, day, hour = '0', ...rest] = MOMENT.exec(text) ?? [];
  if (year === undefined) return undefined;
  const date = { kind: 'moment', year: Number(year), month: Number(month), day: Number(day) } as const;
  return { ...date, ...clock(Number(hour), ...rest) };
}

function lengthsOf(code: number): readonly number[] | undefined {
  if (code === TYPE.time) return TIME_LENGTHS;
  return code === TYPE.date || code === TYPE.datetime || code === TYPE.timestamp ? MOMENT_LENGTHS : undefined;
}

function readInteger(from: BodyReader, type: ParameterType): bigint {
  const bytes = fixedBytes(type.code) ?? 8;
  const value = bytes === 8 ? from.uint64() : BigInt(from.uint(bytes));
  return (type.flags & UNSIGNED) === 0 ? BigInt.asIntN(bytes * 8, value) : value;
}

function numberOf(from: BodyReader, length: number, read: (bytes: Buffer) => number): number {
  const bytes = from.bytes(length);
  return bytes.length === length ? read(bytes) : 0;
}

function readMoment(from: BodyReader): Moment | ProtocolFault {
  const hasDate = from.left > 0;
  const year = hasDate ? from.uint(2) : 0;
  const month = hasDate ? from.byte() : 0;
  const day = hasDate ? from.byte() : 0;
  return from.end({ kind: 'moment', year, month, day, ...readClock(from) });
}

function writeMoment(out: BodyWriter, value: Moment): void {
  const hasClock = value.hour + value.minute + value.second + value.microsecond > 0;
  if (!hasClock && value.year + value.month + value.day === 0) return;
  out.uint(2, value.year).byte(value.month).byte(value.day);
  if (hasClock) writeClock(out, value);
}

function readTime(from: BodyReader): Time | ProtocolFault {
  const hasTime = from.left > 0;
  const isNegative = hasTime && from.byte() !== 0;
  const days = hasTime ? from.uint(4) : 0;
  return from.end({ kind: 'time', isNegative, days, ...readClock(from) });
}

function writeTime(out: BodyWriter, value: Time): void {
  if (value.days + value.hour + value.minute + value.second + value.microsecond === 0) return;
  out.byte(value.isNegative ? 1 : 0).uint(4, value.days);
  writeClock(out, value);
}

type Clock = Pick<Moment, 'hour' | 'minute' | 'second' | 'microsecond'>;

function readClock(from: BodyReader): Clock {
  const hasClock = from.left > 0;
  const hour = hasClock ? from.byte() : 0;
  const minute = hasClock ? from.byte() : 0;
  const second = hasClock ? from.byte() : 0;
  return { hour, minute, second, microsecond: from.left > 0 ? from.uint(4) : 0 };
}

function writeClock(out: BodyWriter, value: Clock): void {
  out.byte(value.hour).byte(value.minute).byte(value.second);
  if (value.microsecond > 0) out.uint(4, value.microsecond);
}
