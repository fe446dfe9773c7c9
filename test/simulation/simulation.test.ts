import test from 'ava';
import { FAULT_KINDS, SITUATIONS } from './faults.ts';
import { simulate } from './world.ts';

/** Other seeds than these: `node test/simulation/run.ts --seeds 1..20000`. */
const SEEDS = 4000;
/** A fault or situation that hardly ever happens is hardly tested. */
const LEAST = 20;

test(`${SEEDS} bad days end well, and every fault and every rare situation was among them`, async (t) => {
  const counts = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const run = await simulate(seed);
    if (run.violation !== undefined) {
      return t.fail(`${run.violation.message}\nreplay: node test/simulation/run.ts --seed ${seed}`);
    }
    for (const [what, count] of run.counts) counts.set(what, (counts.get(what) ?? 0) + count);
  }
  const rare = [...FAULT_KINDS, ...SITUATIONS].filter((what) => (counts.get(what) ?? 0) < LEAST);
  t.deepEqual(rare, []);
  const events = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return t.log(`${events} faults and situations in ${SEEDS} seeds`);
});

test('the same seed does the same twice, and another seed something else', async (t) => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const first = await simulate(seed);
    t.is((await simulate(seed)).hash, first.hash, `seed ${seed}`);
    t.not((await simulate(seed + 1)).hash, first.hash);
  }
});
