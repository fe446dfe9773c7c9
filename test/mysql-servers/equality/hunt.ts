/**
 * A longer hunt than the tests make: `node test/mysql-servers/equality/hunt.ts [--seed S [--path P]] [--seconds 300] [--server MariaDB|MySQL]
 * [--law rollback|commit] [--through parts|sidecar|escalating] [--shrink 30]`. Prints the smallest batch that breaks the law, and ends with 1 then.
 */
import { parseArgs } from 'node:util';
import { SERVERS } from '../second-phase/world.ts';
import { search } from './search.ts';
import { startStage } from './stage.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(1 + (process.pid % 1_000_000)) },
    path: { type: 'string' },
    seconds: { type: 'string', default: '300' },
    server: { type: 'string', default: 'MariaDB' },
    through: { type: 'string', default: 'sidecar' },
    law: { type: 'string', default: 'rollback' },
    shrink: { type: 'string', default: '30' },
  },
});
const seed = Number(values.seed);
const flavour = values.server === 'MySQL' ? 'MySQL' : 'MariaDB';
const start = SERVERS.find(([name]) => name === flavour)?.[1];
if (start === undefined) throw new Error(`there is no ${flavour} here`);

await using stage = await startStage({
  flavour,
  start,
  through:
    values.through === 'escalating' ? 'sidecar that escalates' : values.through === 'parts' ? 'parts' : 'sidecar',
});
const found = await search(stage, {
  law: values.law === 'commit' ? 'commit' : 'rollback',
  seed,
  ms: Number(values.seconds) * 1000,
  runs: 1_000_000,
  shrinkMs: Number(values.shrink) * 1000,
  ...(values.path === undefined ? {} : { path: values.path }),
});
const { reasons, ...counts } = stage.tally;
for (const [why, times] of [...reasons].toSorted(([, a], [, b]) => b - a).slice(0, 40))
  console.log(`${String(times).padStart(7)}  ${why}`);
console.log(`seed ${seed}: ${JSON.stringify(counts)}`);
if (found !== undefined) {
  console.log(found);
  process.exitCode = 1;
}
