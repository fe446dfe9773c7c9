/** Parameters of all types that drivers send, as fast-check makes them. */
import fc from 'fast-check';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import { TYPE, binaryOf, type BinaryValue } from '../../../proxy/mysql/wire/values.ts';

/**
 * `unsigned`: beyond what is signed. `datetime` and `time` have whole seconds, and the time no sign; `instant` and `span` need not.
 */
export type ValueKind =
  | 'null'
  | 'integer'
  | 'unsigned'
  | 'double'
  | 'decimal'
  | 'text'
  | 'blob'
  | 'date'
  | 'datetime'
  | 'instant'
  | 'time'
  | 'span';

const UNSIGNED = 0x80;
const NO_NAME = Buffer.alloc(0);

/** A parameter as COM_STMT_EXECUTE carries it. */
export function parameter(code: number, value: Buffer | BinaryValue | null | undefined, flags = 0): Parameter {
  const type = { code, flags };
  const bytes = value === null || value === undefined || Buffer.isBuffer(value) ? value : binaryOf(type, value);
  return { type, name: NO_NAME, value: bytes };
}

const whole = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
const micro = fc.oneof(fc.constant(0), whole(999_999));
const day = fc.record({
  year: fc.integer({ min: 1971, max: 2037 }),
  month: fc.integer({ min: 1, max: 12 }),
  day: fc.integer({ min: 1, max: 28 }),
});
const clock = fc.record({ hour: whole(23), minute: whole(59), second: whole(59) });
const noClock = { hour: 0, minute: 0, second: 0, microsecond: 0 };

const integers = fc.oneof(
  ...[
    [TYPE.tiny, 8],
    [TYPE.short, 16],
    [TYPE.long, 32],
    [TYPE.longlong, 64],
  ].map(([code = 0, bits = 0]) =>
    fc
      .record({
        value: fc.oneof(fc.bigInt({ min: -200n, max: 300n }), fc.bigInt(-(1n << 63n) + 1n, (1n << 63n) - 1n)),
        isUnsigned: fc.boolean(),
      })
      .map(({ value, isUnsigned }) => {
        const fitting = isUnsigned ? BigInt.asUintN(bits === 64 ? 63 : bits, value) : BigInt.asIntN(bits, value);
        return parameter(code, { kind: 'integer', value: fitting }, isUnsigned ? UNSIGNED : 0);
      }),
  ),
);

const doubles = fc.oneof(
  fc
    .oneof(
      fc.integer({ min: -1000, max: 1000 }),
      fc.double({ min: -1e15, max: 1e15, noNaN: true }),
      fc.constantFrom(-0, 0.1, 5e-324, 1e-7),
    )
    .map((value) => parameter(TYPE.double, { kind: 'double', value })),
  fc.float({ min: -1000, max: 1000, noNaN: true }).map((value) => parameter(TYPE.float, { kind: 'float', value })),
);

const decimals = fc
  .tuple(fc.boolean(), fc.bigInt({ min: 0n, max: 10n ** 15n }), fc.option(fc.bigInt({ min: 0n, max: 10n ** 8n })))
  .map(
    ([isNegative, digits, fraction]) => `${isNegative ? '-' : ''}${digits}${fraction === null ? '' : `.${fraction}`}`,
  )
  .map((text) => parameter(TYPE.newDecimal, Buffer.from(text)));

/** What is special in a literal, what numbers and patterns are made of, characters of several bytes, and bytes that are none. */
const texts = fc.oneof(
  fc
    .array(
      fc.constantFrom(
        "'",
        '"',
        '\\',
        '\0',
        '\n',
        '\u001a',
        '%',
        '_',
        'n',
        'A',
        'b',
        ' ',
        'ü',
        '€',
        '😀',
        '`',
        '?',
        '-',
        '5',
      ),
      { maxLength: 8 },
    )
    .map((parts) => Buffer.from(parts.join(''))),
  fc
    .constantFrom(
      '5',
      '-7',
      '1.5',
      '1e3',
      'abc',
      'ABC',
      'a',
      'b',
      'x,y',
      '2020-02-03',
      '2020-02-03 04:05:06',
      '04:05:06',
      '{"a": 1}',
      '',
    )
    .map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
);

export const VALUES: Readonly<Record<ValueKind, fc.Arbitrary<Parameter>>> = {
  null: fc.constantFrom(TYPE.varString, TYPE.null, TYPE.blob).map((code) => parameter(code, null)),
  integer: integers,
  unsigned: fc
    .bigInt(1n << 63n, (1n << 64n) - 1n)
    .map((value) => parameter(TYPE.longlong, { kind: 'integer', value }, UNSIGNED)),
  double: doubles,
  decimal: decimals,
  text: fc
    .tuple(fc.constantFrom(TYPE.varString, TYPE.string, TYPE.varchar), texts)
    .map(([code, bytes]) => parameter(code, bytes)),
  blob: fc
    .tuple(fc.constantFrom(TYPE.tinyBlob, TYPE.blob, TYPE.mediumBlob, TYPE.longBlob), texts)
    .map(([code, bytes]) => parameter(code, bytes)),
  date: day.map((date) => parameter(TYPE.date, { kind: 'moment', ...date, ...noClock })),
  datetime: fc
    .tuple(day, clock, fc.constantFrom(TYPE.datetime, TYPE.timestamp))
    .map(([date, time, code]) => parameter(code, { kind: 'moment', ...date, ...time, microsecond: 0 })),
  instant: fc
    .tuple(day, clock, micro)
    .map(([date, time, microsecond]) => parameter(TYPE.datetime, { kind: 'moment', ...date, ...time, microsecond })),
  time: fc
    .tuple(whole(33), clock)
    .map(([days, time]) => parameter(TYPE.time, { kind: 'time', isNegative: false, days, ...time, microsecond: 0 })),
  span: fc
    .tuple(fc.boolean(), whole(33), clock, micro)
    .map(([isNegative, days, time, microsecond]) =>
      parameter(TYPE.time, { kind: 'time', isNegative, days, ...time, microsecond }),
    ),
};
