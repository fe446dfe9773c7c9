/**
 * Kills the application, the sidecar or the coordinator at every gate of every kind of request: `node test/mesh-crash/run.ts [words]`, where
 * only deaths whose names hold the words are played. Takes minutes; `npm test` plays a sample.
 */
import { DEATHS, faultOf } from './deaths.ts';
import { openStage } from './stage.ts';

const words = process.argv.slice(2).join(' ');
const failures: string[] = [];
let passed = 0;
{
  await using stage = await openStage();
  for (const death of DEATHS) {
    const name = `${death.path} ${death.victim} ${death.gate}`;
    if (!name.includes(words)) continue;
    const fault = await faultOf(stage, death).catch((error: unknown) => String(error));
    if (fault === undefined) passed += 1;
    else failures.push(`${name}: ${fault}`);
  }
}
for (const failure of failures) console.log(failure);
console.log(`mesh-crash: ${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
