import test from 'ava';
import { GENERAL_MUTANTS } from './mutants/general.ts';
import { INITIATED_MUTANTS } from './mutants/initiated.ts';
import { MESH_MUTANTS } from './mutants/mesh.ts';
import { SAGA_MUTANTS } from './mutants/saga.ts';
import { TWO_PHASE_MUTANTS } from './mutants/two-phase.ts';
import { simulate } from './world.ts';

/** A wrong coordinator must be caught within this many seeds; most take a few, the slowest a few hundred. */
const SEEDS_MAX = 2000;

const MUTANTS = [
  ...GENERAL_MUTANTS,
  ...SAGA_MUTANTS.map((mutant) => ({ ...mutant, only: 'saga' as const })),
  ...TWO_PHASE_MUTANTS,
  ...INITIATED_MUTANTS,
  ...MESH_MUTANTS,
];

for (const { wrong, only, variant } of MUTANTS) {
  test.serial(`a coordinator that ${wrong} is found${only === undefined ? '' : `, in mode ${only}`}`, async (t) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed += 1) {
      const { violation } = await simulate(seed, { ...variant(), ...(only === undefined ? {} : { only }) });
      if (violation === undefined) continue;
      t.log(`seed ${seed}: ${violation.message}`);
      return t.pass();
    }
    return t.fail(`not found in ${SEEDS_MAX} seeds`);
  });
}
