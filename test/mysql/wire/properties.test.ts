import test from 'ava';
import fc from 'fast-check';
import { PROPERTIES } from './properties.ts';

for (const { title, property } of PROPERTIES) {
  test(title, async (t) => {
    await fc.assert(property, { numRuns: 300 });
    t.pass();
  });
}
