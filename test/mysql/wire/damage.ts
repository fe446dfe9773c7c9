/** Damage to bytes, and sizes of the chunks that they come in. */
import fc from 'fast-check';

/** Sizes of chunks. */
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 6 });

/** A change of bytes: one byte set, some taken out, some put in, the end cut off, or a length of any size instead of a byte. */
export interface Mutation {
  readonly kind: 'set' | 'remove' | 'insert' | 'truncate' | 'length';
  readonly at: number;
  readonly byte: number;
  readonly length: number;
}

/** Integers of variable length around the borders of what fits into 16, 24, 32 and 53 bits. */
const LENGTHS = [
  'fcffff',
  'fdffffff',
  'fe0000008000000000',
  'fef8ffffff00000000',
  'fe0000000001000000',
  'fe0000000000002000',
  'feffffffffffffffff',
];

export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('set', 'remove', 'insert', 'truncate', 'length'),
    at: fc.nat({ max: 10_000 }),
    byte: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff), fc.nat({ max: 255 })),
    length: fc.integer({ min: 1, max: 8 }),
  }),
  { minLength: 1, maxLength: 4 },
);

export function mutate(original: Buffer, change: Mutation): Buffer {
  const at = original.length === 0 ? 0 : change.at % original.length;
  switch (change.kind) {
    case 'set': {
      const changed = Buffer.from(original);
      if (changed.length > 0) changed[at] = change.byte;
      return changed;
    }
    case 'remove':
      return Buffer.concat([original.subarray(0, at), original.subarray(at + change.length)]);
    case 'insert':
      return Buffer.concat([original.subarray(0, at), Buffer.alloc(change.length, change.byte), original.subarray(at)]);
    case 'length': {
      const length = LENGTHS[change.byte % LENGTHS.length] ?? '';
      return Buffer.concat([original.subarray(0, at), Buffer.from(length, 'hex'), original.subarray(at + 1)]);
    }
    case 'truncate':
      return Buffer.from(original.subarray(0, at));
  }
}
