/**
 * Kills the application, the sidecar or the coordinator at every gate of every kind of request: `node test/mesh-crash/run.ts [words]`, where
 * only deaths whose names hold the words are played. Takes minutes; `npm test` plays a sample. Two stages play at once: one mostly waits
 * for a process to start, a deadline or a repetition, and each has processes and a database of its own.
 */
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { DEATHS, faultOf } from './deaths.ts';
import { openStage, type Stage } from './stage.ts';

const STAGES = ['one', 'two'];

const words = process.argv.slice(2).join(' ');
const named = DEATHS.map((death) => ({ death, name: `${death.path} ${death.victim} ${death.gate}` }));
const ahead = named.filter(({ name }) => name.includes(words));
const count = ahead.length;
const failures: string[] = [];

/** Until one fails: what it has left behind must not be taken for the next one's. */
async function play(stage: Stage): Promise<void> {
  for (let next = ahead.shift(); next !== undefined; next = ahead.shift()) {
    const { death, name } = next;
    const fault = await faultOf(stage, death).catch((error: unknown) => String(error));
    if (fault !== undefined) return void failures.push(`${name}: ${fault}`);
  }
}

{
  await using server = await startPostgres();
  await Promise.all(
    STAGES.map(async (name) => {
      for (let number = 1; ahead.length > 0; number += 1) {
        await using stage = await openStage(server, `${name}_${number}`);
        await play(stage);
      }
    }),
  );
}
for (const failure of failures) console.log(failure);
console.log(`mesh-crash: ${count - failures.length} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
