import test from 'ava';
import fc from 'fast-check';
import { parseBranchId, type BranchId, type Gid } from '../../src/contract/transaction.ts';
import { branchIdOf } from '../../src/engine/branches/id.ts';
import { backoffMs, BACKOFF_CAP_MS } from '../../src/engine/branches/retry.ts';
import { begunAs, life, live } from './stories.ts';

const check = (property: fc.IProperty<unknown>): void => fc.assert(property, { numRuns: 2000 });

/** Modes whose branches are rolled back one after another, from the last. */
const BACKWARDS = ['mesh', 'tcc'] as const;

for (const mode of BACKWARDS) {
  test(`${mode}: a rollback never overtakes a later branch, and passes over dirty ones`, (t) => {
    check(
      fc.property(begunAs(mode), life, (first, entries) => {
        live(first, entries, ({ decision: { next, effects } }) => {
          for (const effect of effects) {
            if (effect.kind === 'wake' || next.status !== 'aborting') continue;
            const index = next.branches.findIndex(({ id }) => id === effect.branch);
            const later = next.branches.slice(index + 1);
            if (later.some(({ status }) => status === 'prepared')) throw new Error('overtaken');
          }
        });
      }),
    );
    t.pass();
  });
}

test('the pause grows from the first interval, is spread over its upper half, and stays under the cap', (t) => {
  check(
    fc.property(
      fc.string(),
      fc.integer({ min: 1, max: 2000 }),
      fc.integer({ min: 1, max: 30_000 }),
      (gid, attempt, first) => {
        const full = Math.min(BACKOFF_CAP_MS, first * 2 ** (attempt - 1));
        const pause = backoffMs(gid as Gid, '01' as BranchId, attempt, first);
        if (
          pause < full / 2 ||
          pause > Math.ceil(full) ||
          pause !== backoffMs(gid as Gid, '01' as BranchId, attempt, first)
        )
          throw new Error(`${pause}`);
      },
    ),
  );
  const pauses = Array.from({ length: 1000 }, (_, index) => backoffMs(`g${index}` as Gid, '01' as BranchId, 3, 1000));
  const upper = pauses.filter((pause) => pause > 3000).length;
  t.true(upper > 400 && upper < 600, `${upper} of 1000 in the upper half`);
});

test('branch ids are well formed, unique, in the order of enlistment, and none begins another', (t) => {
  t.deepEqual(
    [1, 2, 98, 99, 100, 9998, 9999].map((sequence) => String(branchIdOf(sequence))),
    ['01', '02', '98', '990000', '990001', '999899', '9999000000'],
  );
  let last = '';
  for (let sequence = 1; sequence <= 100_000; sequence += 1) {
    const id = branchIdOf(sequence);
    if (parseBranchId(id) === undefined || id <= last || (last !== '' && id.startsWith(last)))
      return t.fail(`${last} ${id}`);
    last = id;
  }
  t.pass();
});
