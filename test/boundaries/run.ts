/**
 * Cuts every flow at every message in every way: `npm run hunt:cuts -- [words]`, where only flows are played whose names hold the
 * words. Takes minutes; `npm test` plays an eighth of it.
 */
import { LINKS, playCuts } from './all-cuts.ts';
import { FLOWS } from './flows.ts';
import { openStage } from './stage.ts';

const words = process.argv.slice(2).join(' ');
let failures = 0;
{
  await using stage = await openStage();
  for (const flow of FLOWS) {
    const name = `${flow.mode}: ${flow.name}`;
    if (!name.includes(words)) continue;
    for (const link of LINKS) {
      const { faults, played, reached, all } = await playCuts(stage, flow, [link]);
      for (const fault of faults) console.log(fault);
      console.log(`${name}, ${link}: ${played} cuts, ${reached} reached, ${all} left all, ${faults.length} failed`);
      failures += faults.length;
    }
  }
}
process.exitCode = failures === 0 ? 0 : 1;
