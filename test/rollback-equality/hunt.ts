/**
 * A longer hunt than the tests make: `node test/rollback-equality/hunt.ts [--seed S [--path P]] [--seconds 300] [--major 18]
 * [--law rollback|commit] [--escalate xa]`. Prints the smallest batch that breaks the law, and ends with 1 then.
 */
import { parseArgs } from 'node:util';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { search, type Bounds } from './search.ts';
import { startStage } from './stage.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(1 + (process.pid % 1_000_000)) },
    path: { type: 'string' },
    seconds: { type: 'string', default: '300' },
    major: { type: 'string', default: '18' },
    law: { type: 'string', default: 'rollback' },
    escalate: { type: 'string', default: 'off' },
  },
});
const seed = Number(values.seed);

await using stage = await startStage(Number(values.major) as PostgresMajor, {
  database: { escalate: values.escalate },
});
const bounds: Bounds = {
  seed,
  ms: Number(values.seconds) * 1000,
  runs: 1_000_000,
  ...(values.path === undefined ? {} : { path: values.path }),
};
const found = await search(values.law === 'commit' ? stage.commitsAlike : stage.rollsBack, bounds);
const { tally } = stage;
for (const [why, times] of [...tally.reasons].toSorted(([, a], [, b]) => b - a).slice(0, 25)) {
  console.log(`${String(times).padStart(7)}  ${why}`);
}
const { batches, statements, ran, touched, refused, failed } = tally;
console.log(
  `seed ${seed}: ${batches} batches, ${statements} statements, ${ran} ran, ${touched} met rows, ${refused} refused, ${failed} failed`,
);
if (found !== undefined) {
  console.log(found);
  process.exitCode = 1;
}
