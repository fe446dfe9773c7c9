/**
 * A longer hunt than the tests make: `npm run hunt:bank -- [--seed S] [--rounds 10] [--faults 4] [--north postgres,undo] [--south mariadb,undo,off]
 * [--locks off]`. Each round plays every fault so many times on a fresh stage, with the next seed. A service is named by its server, its mode (undo or
 * xa), and what becomes of statements without row images (xa or off). Prints what is wrong, and ends with 1 then.
 */
import { parseArgs } from 'node:util';
import { check } from './check.ts';
import { LOCKS_OFF } from './locks-off.ts';
import { play } from './play.ts';
import { openStage, type ServiceKind } from './stage.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(1 + (process.pid % 1_000_000)) },
    rounds: { type: 'string', default: '10' },
    faults: { type: 'string', default: '4' },
    north: { type: 'string', default: 'postgres' },
    south: { type: 'string', default: 'postgres' },
    locks: { type: 'string', default: 'on' },
  },
});

const SERVERS = ['postgres', 'mariadb', 'mysql'] as const;

let wrong = 0;
for (let round = 0; round < Number(values.rounds); round += 1) {
  const seed = Number(values.seed) + round;
  await using stage = await openStage({
    north: kindOf(values.north),
    south: kindOf(values.south),
    ...(values.locks === 'off' ? { fault: LOCKS_OFF } : {}),
  });
  const played = await play(stage, { seed, faults: Number(values.faults), ms: Infinity });
  const faults = check(played.history);
  for (const fault of faults) console.log(fault);
  console.log(
    `seed ${seed}: ${played.faults} faults, ${played.committed} committed, ${played.rolledBack} rolled back, ${faults.length} wrong`,
  );
  wrong += faults.length;
}
process.exitCode = wrong === 0 ? 0 : 1;

function kindOf(text: string): ServiceKind {
  const [name, mode, escalate] = text.split(',');
  const server = SERVERS.find((each) => each === name);
  if (server === undefined) throw new Error(`there is no bank on ${name}, but on ${SERVERS.join(', ')}`);
  return {
    server,
    mode: mode === 'xa' ? 'xa' : 'undo',
    escalate: escalate === 'off' ? 'off' : 'xa',
  };
}
