import test from 'ava';
import fc from 'fast-check';
import { SegmentedCache } from '../../../proxy/postgres/segmented-cache.ts';

const LIMITS = { entries: 50, bytes: 1_000 };

const operation = fc.record({
  isSet: fc.boolean(),
  key: fc.nat(99).map(String),
  bytes: fc.nat(60),
  ageMs: fc.nat(20),
});

test('a cache never holds more than its limits, and gives out what was put in last and is young enough', (t) => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 400 }), (operations) => {
      const cache = new SegmentedCache<string, number>(LIMITS);
      const put = new Map<string, { readonly value: number; readonly untilMs: number }>();
      for (const [nowMs, { isSet, key, bytes, ageMs }] of operations.entries()) {
        if (isSet) {
          const entry = { value: nowMs, untilMs: nowMs + ageMs };
          cache.set(key, { ...entry, bytes });
          put.set(key, entry);
        } else {
          const found = cache.get(key, nowMs);
          const last = put.get(key);
          if (found !== undefined && (last?.value !== found || last.untilMs <= nowMs)) return false;
        }
        if (cache.size > LIMITS.entries || cache.bytes > LIMITS.bytes) return false;
      }
      cache.clear();
      return cache.size === 0 && cache.bytes === 0;
    }),
    { verbose: true },
  );
  t.pass();
});

test('texts that are known stay known through a flood of others, also when their plans have grown old', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(1_000), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 0, max: 2_000 }),
      fc.array(fc.nat(), { maxLength: 100 }),
      fc.boolean(),
      (known, flood, order, growOld) => {
        const cache = new SegmentedCache<string, string>({ entries: 50, bytes: 50 });
        const keep = (key: string, untilMs: number): void => cache.set(key, { value: key, bytes: 1, untilMs });
        for (const name of known) keep(`known ${name}`, 10);
        for (const name of known) cache.get(`known ${name}`, 0);
        // Known ones come again in between, in any order.
        for (let count = 0; count < flood; count += 1) {
          keep(`once ${count}`, 1_000);
          const next = order[count % Math.max(order.length, 1)];
          if (next !== undefined) cache.get(`known ${known[next % known.length]}`, 0);
        }
        if (growOld) {
          // Planned again, they are known at once.
          for (const name of known) keep(`known ${name}`, 1_000);
          for (let count = 0; count < flood; count += 1) keep(`again ${count}`, 1_000);
        }
        return known.every((name) => cache.get(`known ${name}`, growOld ? 20 : 0) !== undefined);
      },
    ),
    { verbose: true },
  );
  t.pass();
});

test('what takes more than the whole cache is not kept', (t) => {
  const cache = new SegmentedCache<string, number>(LIMITS);
  cache.set('a', { value: 1, bytes: 10, untilMs: 1 });
  cache.set('large', { value: 2, bytes: 1_001, untilMs: 1 });
  t.is(cache.get('large', 0), undefined);
  t.true(cache.bytes <= LIMITS.bytes);
});

test('who keeps something in a cache hears of what has made room, once, and of nothing else', (t) => {
  const dropped: string[] = [];
  const cache = new SegmentedCache<string, string>({ entries: 5, bytes: 5 }, (value) => dropped.push(value));
  const keep = (value: string): void => cache.set(value, { value, bytes: 1, untilMs: Infinity });
  for (const value of ['a', 'b', 'c']) keep(value);
  cache.get('a', 0);
  for (const value of ['a', 'd', 'e', 'f', 'g']) keep(value);
  t.deepEqual(dropped, ['b', 'c']);
  cache.clear();
  t.deepEqual(dropped, ['b', 'c']);
});
