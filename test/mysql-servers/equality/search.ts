/** Searches for a batch that breaks a law, and for the smallest one once it has found any. */
import fc from 'fast-check';
import { monotonicSeconds } from '../../../src/platform/clock.ts';
import { OWN } from './database.ts';
import { batchesOver } from './grammar.ts';
import { tell } from './play.ts';
import type { Stage } from './stage.ts';

/** How long to search: until `runs` batches have been tried, or `ms` milliseconds have passed, if they are bounded. */
export interface Bounds {
  readonly law: 'rollback' | 'commit';
  readonly seed: number;
  readonly runs: number;
  readonly ms?: number;
  /** How much longer a smaller batch may be looked for, in milliseconds; 0 when any batch will do. Default 30,000. */
  readonly shrinkMs?: number;
  /** What an earlier search has printed beside the seed: begins with that batch. */
  readonly path?: string;
}

/** One seed is good for so many batches, and for one set of tables; the next one is the next number. */
const RUNS_A_SEED = 100;

/** What was found, as a text with the tables and the batch as SQL in it; undefined when the law held. */
export async function search(
  stage: Stage,
  { law, seed, runs, ms = Infinity, shrinkMs = 30_000, path }: Bounds,
): Promise<string | undefined> {
  let deadline = monotonicSeconds() + ms / 1000;
  for (let done = 0; done < runs && monotonicSeconds() <= deadline; done += RUNS_A_SEED) {
    const current = seed + done / RUNS_A_SEED;
    const tables = await stage.load(current);
    let smallest: string | undefined;
    const property = fc.asyncProperty(batchesOver(tables, law === 'commit'), async (batch) => {
      // Not fast-check's own limit: that leaves the batch behind which runs, and its statements would meet the next one's.
      if (monotonicSeconds() > deadline) return;
      const fault = await (law === 'commit' ? stage.commitsAlike(batch) : stage.rollsBack(batch));
      if (fault === undefined) return;
      if (smallest === undefined) deadline = monotonicSeconds() + shrinkMs / 1000;
      const used = tables.filter(({ name }) => tell(batch, ['@0@', '@1@']).includes(name.replace(/^@.@\./, '')));
      const definitions = used.map(({ name, definition }) => `${name} (${definition})`);
      smallest = [fault, ...definitions, tell(batch, OWN)].join('\n');
      throw new Error(fault);
    });
    const details = await fc.check(property, {
      seed: current,
      numRuns: Math.min(RUNS_A_SEED, runs - done),
      endOnFailure: shrinkMs === 0,
      ...(path === undefined || done > 0 ? {} : { path }),
    });
    if (smallest !== undefined)
      return `--law ${law} --seed ${current} --path ${details.counterexamplePath}:\n${smallest}`;
    // Not the law but the test is broken.
    if (details.failed) throw details.errorInstance;
  }
  return undefined;
}
