/** `node test/simulation/run.ts --seeds 1..20000` runs many seeds; `--seed 17` runs one and prints all that happened. */
import { parseArgs } from 'node:util';
import { FAULT_KINDS, SITUATIONS } from './faults.ts';
import { simulate } from './world.ts';

const { values } = parseArgs({ options: { seeds: { type: 'string', default: '1..2000' }, seed: { type: 'string' } } });

async function runOne(seed: number): Promise<void> {
  const { lines, hash, violation } = await simulate(seed, {}, true);
  console.log(lines.join('\n'));
  console.log(`seed ${seed}, trace ${hash}: ${violation?.message ?? 'every property held'}`);
  if (violation !== undefined) process.exitCode = 1;
}

async function runMany(from: number, to: number): Promise<void> {
  const counts = new Map<string, number>();
  const failed: number[] = [];
  for (let seed = from; seed <= to; seed += 1) {
    const run = await simulate(seed);
    for (const [what, count] of run.counts) counts.set(what, (counts.get(what) ?? 0) + count);
    if (run.violation === undefined) continue;
    failed.push(seed);
    console.log(`${run.violation.message}\n  replay: node test/simulation/run.ts --seed ${seed}`);
  }
  for (const what of [...FAULT_KINDS, ...SITUATIONS])
    console.log(`${String(counts.get(what) ?? 0).padStart(8)}  ${what}`);
  const never = [...FAULT_KINDS, ...SITUATIONS].filter((what) => !counts.has(what));
  console.log(`${to - from + 1} seeds, ${failed.length} failed; never happened: ${never.join(', ') || 'nothing'}`);
  if (failed.length > 0 || never.length > 0) process.exitCode = 1;
}

if (values.seed !== undefined) {
  await runOne(Number(values.seed));
} else {
  const [from = 1, to = from] = values.seeds.split('..').map(Number);
  await runMany(from, to);
}
