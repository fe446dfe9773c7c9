import test from 'ava';
import { MUTANTS } from './mutants.ts';
import { simulate } from './world.ts';

/** A wrong coordinator must be caught within this many seeds; the slowest one takes a few dozen. */
const SEEDS_MAX = 500;

for (const { wrong, variant } of MUTANTS) {
  test.serial(`a coordinator that ${wrong} is found`, async (t) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed += 1) {
      const { violation } = await simulate(seed, variant());
      if (violation === undefined) continue;
      t.log(`seed ${seed}: ${violation.message}`);
      return t.pass();
    }
    return t.fail(`not found in ${SEEDS_MAX} seeds`);
  });
}
