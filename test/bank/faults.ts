/** What happens to the parts while clients work. Each fault is over when its function resolves. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '../simulation/random.ts';
import { SERVICES, type Stage } from './stage.ts';

export type Fault = keyof typeof FAULTS;

/** Long enough for requests to run into their deadlines. */
const SILENCE_MS = 700;
const CUT_MS = 150;
/** What each write takes on a slow line. */
const SLOW_MS = 60;

const FAULTS = {
  'a sidecar is killed': async (stage: Stage, random: Random) => {
    const sidecar = stage.sidecars[random.pick(SERVICES)];
    await sidecar.kill();
    await sidecar.start();
  },
  'the coordinator is killed': async ({ coordinatorProcess }: Stage) => {
    await coordinatorProcess.kill();
    await coordinatorProcess.start();
  },
  'a process is stopped for a while': async (stage: Stage, random: Random) => {
    const process = random.pick([stage.coordinatorProcess, ...Object.values(stage.sidecars)]);
    await process.pause();
    await pause(SILENCE_MS);
    process.resume();
  },
  'connections are cut': async ({ lines }: Stage, random: Random) => {
    const line = random.pick(lines);
    line.cut();
    await pause(CUT_MS);
    line.mend();
  },
  'a line swallows everything': async ({ lines }: Stage, random: Random) => {
    const line = random.pick(lines);
    line.hang();
    await pause(SILENCE_MS);
    line.mend();
  },
  'a line is slow': async ({ lines }: Stage, random: Random) => {
    const line = random.pick(lines);
    line.slow(SLOW_MS);
    await pause(SILENCE_MS);
    line.mend();
  },
  'the databases are killed': async ({ servers }: Stage) => {
    for (const server of servers) await server.crash();
  },
} as const;

/** Each fault `times` times, in an order of chance. */
export function faultsInOrder(random: Random, times: number): readonly Fault[] {
  const all = (Object.keys(FAULTS) as Fault[]).flatMap((fault) => Array.from({ length: times }, () => fault));
  return all
    .map((fault) => ({ fault, key: random.next() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ fault }) => fault);
}

/** Lets one happen. */
export async function inject(fault: Fault, stage: Stage, random: Random): Promise<void> {
  await FAULTS[fault](stage, random);
}
