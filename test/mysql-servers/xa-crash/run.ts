/**
 * Kills sidecar, database server and coordinator at each step around XA PREPARE and behind it, on each server that there is.
 * `node test/mysql-servers/xa-crash/run.ts [seed] [stories]`: their order, and how many for each server; all, if not said.
 */
import { Random } from '../../simulation/random.ts';
import { SERVERS } from '../second-phase/world.ts';
import { openStage } from './stage.ts';
import { nameOf, STORIES, tell } from './story.ts';

const [seed = String(Date.now() % 100_000), bound = 'Infinity'] = process.argv.slice(2);
console.log(`xa-crash: seed ${seed}`);
const random = new Random(Number(seed));
let passed = 0;
let failed = 0;
for (const [name, start] of SERVERS) {
  const told = STORIES.map((story) => ({ story, rank: random.next() }))
    .sort((one, other) => one.rank - other.rank)
    .slice(0, Number(bound));
  await using stage = await openStage(start);
  let kept = 0;
  for (const { story } of told) {
    try {
      if (await tell(stage, story, kept)) kept += 1;
      passed += 1;
    } catch (error) {
      failed += 1;
      console.error(`xa-crash: ${name}: ${nameOf(story)}:`, error);
      // What follows would be told of a database that is not whole.
      break;
    }
  }
}
console.log(`xa-crash: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
