/** Searches for a batch that breaks a law, and for the smallest one once it has found any. */
import fc from 'fast-check';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { batches } from './grammar.ts';
import { tell } from './run-batch.ts';
import { SETTINGS, type Law } from './stage.ts';

/** How long to search: until `runs` batches have been tried, or `ms` milliseconds have passed, if they are bounded. */
export interface Bounds {
  readonly seed: number;
  readonly runs: number;
  readonly ms?: number;
  /** How much longer a smaller batch may be looked for, in milliseconds; 0 when any batch will do. Default 30,000. */
  readonly shrinkMs?: number;
  /** What an earlier search has printed beside the seed: begins with that batch. */
  readonly path?: string;
}

/** One seed is good for so many batches; the next one is the next number. */
const RUNS_A_SEED = 100;

/** What was found, as a text with the batch as SQL in it; undefined when the law held. */
export async function search(
  law: Law,
  { seed, runs, ms = Infinity, shrinkMs = 30_000, path }: Bounds,
): Promise<string | undefined> {
  let deadline = monotonicSeconds() + ms / 1000;
  let smallest: string | undefined;
  const property = fc.asyncProperty(batches(SETTINGS.length), async (batch) => {
    // Not fast-check's own limit: that leaves the batch behind which runs, and its statements would meet the next one's.
    if (monotonicSeconds() > deadline) return;
    const fault = await law(batch);
    if (fault === undefined) return;
    if (smallest === undefined) deadline = monotonicSeconds() + shrinkMs / 1000;
    smallest = `${fault}\n${tell(batch)}`;
    throw new Error(fault);
  });
  for (let done = 0; done < runs && monotonicSeconds() <= deadline; done += RUNS_A_SEED) {
    const current = seed + done / RUNS_A_SEED;
    const details = await fc.check(property, {
      seed: current,
      numRuns: Math.min(RUNS_A_SEED, runs - done),
      endOnFailure: shrinkMs === 0,
      ...(path === undefined || done > 0 ? {} : { path }),
    });
    if (smallest !== undefined) return `--seed ${current} --path ${details.counterexamplePath}: ${smallest}`;
    // Not the law but the test is broken.
    if (details.failed) throw details.errorInstance;
  }
  return undefined;
}
