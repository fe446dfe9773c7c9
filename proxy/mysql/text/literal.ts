/** A parameter as a literal. Source: as for interpolate.ts; MySQL documentation, "Literal Values". */
import type { Parameter } from '../wire/query.ts';
import { TYPE, interpretBinary, type BinaryValue } from '../wire/values.ts';
import type { Place } from './interpolate.ts';
import type { Lexical } from './tokens.ts';

export type Written =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'refuse'; readonly message: string };

/** Writes a parameter that stands in this place. A value has to be given. */
export function literalOf({ type, value }: Parameter, place: Place, lexical: Lexical): Written {
  if (value === undefined) return refuse('a value that was sent ahead');
  if (value === null || type.code === TYPE.null) return place.role === 'count' ? refuse(NO_COUNT) : text('NULL');
  const meaning = interpretBinary(type, value);
  if (meaning.kind === 'fault') return refuse(meaning.message);
  if (place.role === 'count') return count(meaning, type.code);
  switch (meaning.kind) {
    case 'integer':
      if (INTEGERS.has(type.code)) return integer(meaning.value, (type.flags & UNSIGNED) !== 0, place);
      return refuse(noLiteral(type.code));
    case 'float':
    case 'double':
      return double(meaning.value, place);
    case 'moment':
      return place.isBesideString ? refuse(BESIDE) : moment(meaning, type.code, place);
    case 'time':
      return place.isBesideString ? refuse(BESIDE) : time(meaning, place);
    case 'bytes':
      return bytes(meaning.value.toString('latin1'), type.code, place, lexical);
  }
}

const UNSIGNED = 0x80;
const INTEGERS: ReadonlySet<number> = new Set([TYPE.tiny, TYPE.short, TYPE.long, TYPE.longlong]);
const DECIMALS: ReadonlySet<number> = new Set([TYPE.decimal, TYPE.newDecimal]);
const TEXTS: ReadonlySet<number> = new Set([TYPE.varchar, TYPE.varString, TYPE.string, TYPE.enum, TYPE.set]);
const BLOBS: ReadonlySet<number> = new Set([TYPE.tinyBlob, TYPE.mediumBlob, TYPE.longBlob, TYPE.blob]);
const NO_COUNT = 'no plain number, where only such may stand';
const BESIDE = 'it stands beside a string, with which it would become one';
const SIGNED_MAX = (1n << 63n) - 1n;
const UNSIGNED_MAX = (1n << 64n) - 1n;

function text(written: string): Written {
  return { kind: 'text', text: written };
}

function refuse(message: string): Written {
  return { kind: 'refuse', message };
}

function noLiteral(code: number): string {
  return `a parameter of type ${code}, of which no literal is certain to mean the same`;
}

/** A number with a sign stands in parentheses, unless it is all of an operand: `a - ?` is a difference, and `--` begins a comment. */
function signed(digits: string, { role }: Place): Written {
  return text(digits.startsWith('-') && role !== 'whole' ? `(${digits})` : digits);
}

function count(meaning: BinaryValue, code: number): Written {
  let value: bigint | undefined;
  if (meaning.kind === 'integer' && INTEGERS.has(code)) ({ value } = meaning);
  if ((meaning.kind === 'double' || meaning.kind === 'float') && Number.isSafeInteger(meaning.value))
    value = BigInt(meaning.value);
  if (meaning.kind === 'bytes' && (TEXTS.has(code) || DECIMALS.has(code) || BLOBS.has(code))) {
    const digits = meaning.value.toString('latin1');
    if (/^\d{1,18}$/.test(digits)) value = BigInt(digits);
  }
  return value === undefined || value < 0n ? refuse(NO_COUNT) : text(`${value}`);
}

function integer(value: bigint, isUnsigned: boolean, place: Place): Written {
  const { role } = place;
  if (role === 'item') return refuse('a number in ORDER BY or GROUP BY, where it would be the place of a column');
  // An unsigned number makes all arithmetic with it unsigned, and a number in a text is unsigned only when it is large.
  if (isUnsigned && role === 'part' && value <= SIGNED_MAX) return text(`CAST(${value} AS UNSIGNED)`);
  return value > UNSIGNED_MAX ? refuse('over 64 bits') : signed(`${value}`, place);
}

function double(value: number, place: Place): Written {
  if (!Number.isFinite(value)) return refuse(`the number ${value}`);
  if (place.role !== 'whole' && Math.abs(value) >= 2 ** 63) return refuse('a number that is larger than any integer');
  const digits = Object.is(value, -0) ? '-0' : `${value}`;
  return signed(digits.includes('e') ? digits : `${digits}e0`, place);
}

function decimal(digits: string, place: Place): Written {
  const [, sign = '', whole = '', fraction = ''] = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(digits) ?? [];
  if (whole === '' && fraction === '') return refuse('no decimal number');
  if (whole.length + fraction.length > DIGITS_MAX || fraction.length > SCALE_MAX)
    return refuse('a decimal number of too many digits');
  // The point makes it a decimal.
  return signed(`${sign === '-' ? '-' : ''}${whole}.${fraction}`, place);
}

/** MySQL documentation, "DECIMAL Data Type Characteristics". */
const DIGITS_MAX = 65;
const SCALE_MAX = 30;

function bytes(value: string, code: number, place: Place, lexical: Lexical): Written {
  if (DECIMALS.has(code)) return decimal(value, place);
  if (!TEXTS.has(code) && !BLOBS.has(code)) return refuse(noLiteral(code));
  if (place.isBesideString) return refuse(BESIDE);
  // oxlint-disable-next-line no-control-regex
  if (lexical.charset === 'other' && /[\u0080-\u00ff]/.test(value))
    return refuse('characters beyond ASCII in a character set in which a quote may be half of one');
  return text(`${BLOBS.has(code) ? '_binary' : ''}${quoted(value, lexical)}`);
}

function quoted(value: string, { noBackslashEscapes }: Lexical): string {
  if (noBackslashEscapes) return `'${value.replaceAll("'", "''")}'`;
  // oxlint-disable-next-line no-control-regex
  return `'${value.replaceAll(/['\\\0]/g, (character) => (character === '\0' ? '\\0' : `\\${character}`))}'`;
}

type Moment = Extract<BinaryValue, { kind: 'moment' }>;
type Time = Extract<BinaryValue, { kind: 'time' }>;

function moment(value: Moment, code: number, { role }: Place): Written {
  const date = `${padded(value.year, 4)}-${padded(value.month, 2)}-${padded(value.day, 2)}`;
  const isDate = code === TYPE.date;
  const clock = isDate ? '' : ` ${clockOf(value.hour, value)}`;
  if (!isReal(value)) {
    // A literal of the type must be a date; a text need not, and where it is assigned or compared as a whole it becomes the same value.
    const isZero = value.year + value.month + value.day === 0;
    return isZero && role === 'whole' ? text(`'${date}${clock}'`) : refuse('a date that is in no calendar');
  }
  return text(`${isDate ? 'DATE' : 'TIMESTAMP'}'${date}${clock}'`);
}

function isReal({ year, month, day, hour, minute, second }: Moment): boolean {
  if (year > 9999 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return false;
  const last = new Date(Date.UTC(2000, month, 0)).getUTCDate();
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return day <= (month === 2 && !isLeap ? 28 : last);
}

/** MySQL documentation, "The TIME Type": 838:59:59 is the longest. */
const HOURS_MAX = 838;

function time(value: Time, { role }: Place): Written {
  // Calculated with, a parameter loses its sign in both servers.
  if (value.isNegative && role !== 'whole') return refuse('a negative time that is calculated with');
  const hours = value.days * 24 + value.hour;
  if (hours > HOURS_MAX || value.minute > 59 || value.second > 59) return refuse('a time beyond 838:59:59');
  return text(`TIME'${value.isNegative ? '-' : ''}${clockOf(hours, value)}'`);
}

function clockOf(hours: number, { minute, second, microsecond }: Time | Moment): string {
  const clock = `${padded(hours, 2)}:${padded(minute, 2)}:${padded(second, 2)}`;
  return microsecond === 0 ? clock : `${clock}.${padded(microsecond, 6)}`;
}

function padded(value: number, digits: number): string {
  return `${value}`.padStart(digits, '0');
}
