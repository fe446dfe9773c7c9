/** A longer hunt through the properties: `node test/mysql/wire/fuzz.ts [--seed S] [--iterations N] [--property I --path P]`. */
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { PROPERTIES } from './properties.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    iterations: { type: 'string' },
    path: { type: 'string' },
    property: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Date.now() % 0x7fff_ffff);
const iterations = Math.min(Number(values.iterations ?? 20_000), 10_000_000);
console.log(`seed ${seed}, ${iterations} iterations of each property`);

for (const [index, { title, property }] of PROPERTIES.entries()) {
  if (values.property !== undefined && Number(values.property) !== index) continue;
  const result = await fc.check(property, {
    seed,
    numRuns: iterations,
    ...(values.path === undefined ? {} : { path: values.path }),
  });
  if (!result.failed) {
    console.log(`ok    ${title}`);
    continue;
  }
  console.log(`FAILS ${title}\n${await fc.asyncDefaultReportMessage(result)}`);
  console.log(
    `replay: node test/mysql/wire/fuzz.ts --seed ${seed} --iterations ${iterations} --property ${index} --path ${result.counterexamplePath ?? '0'}`,
  );
  process.exitCode = 1;
}
