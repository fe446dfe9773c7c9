/** Arbitrary types of the binary protocol, and values of them. */
import fc from 'fast-check';
import { TYPE, type ParameterType } from '../../../proxy/mysql/wire/values.ts';

const long = fc
  .oneof(
    { weight: 9, arbitrary: fc.uint8Array({ maxLength: 40 }) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 250, maxLength: 300 }) },
  )
  .map((array) => Buffer.from(array));
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));

const SIZES: ReadonlyMap<number, readonly number[]> = new Map([
  [TYPE.null, [0]],
  [TYPE.tiny, [1]],
  [TYPE.short, [2]],
  [TYPE.year, [2]],
  [TYPE.long, [4]],
  [TYPE.int24, [4]],
  [TYPE.float, [4]],
  [TYPE.longlong, [8]],
  [TYPE.double, [8]],
  [TYPE.date, [0, 4, 7, 11]],
  [TYPE.datetime, [0, 4, 7, 11]],
  [TYPE.timestamp, [0, 4, 7, 11]],
  [TYPE.time, [0, 8, 12]],
]);
const typeCode = fc.oneof(fc.constantFrom(...Object.values(TYPE)), fc.nat({ max: 255 }));
export const parameterType: fc.Arbitrary<ParameterType> = fc.record(
  { code: typeCode, flags: fc.constantFrom(0, 0x80) },
  { noNullPrototype: true },
);
/** The bytes of a value of a type. */
export function valueOf(code: number): fc.Arbitrary<Buffer> {
  const sizes = SIZES.get(code);
  if (sizes === undefined) return long;
  return fc.constantFrom(...sizes).chain((size) => bytes(size));
}
/** A type with a value of it. */
export const typedValue: fc.Arbitrary<{ readonly type: ParameterType; readonly value: Buffer }> = parameterType.chain(
  (type) => valueOf(type.code).map((value) => ({ type, value })),
);
