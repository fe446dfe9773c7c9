/** What COPY costs through the sidecar, both ways: time against a bare relay, and memory, which must not grow with what is copied. */
import { setTimeout as pause } from 'node:timers/promises';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import {
  alternate,
  askLoad,
  NO_COORDINATOR,
  startChild,
  startDatabaseSidecar,
  type Child,
  type Part,
  type Result,
} from '../measure.ts';
import type { CopyLoad } from './copy-process.ts';

const MEGABYTES = 1_000;
const WARM_UP_MEGABYTES = 200;
const ROUNDS = 3;
const LOOK_MS = 50;
/** How much larger the process may be at its largest when it copies five times as much: what the collector has not come to differs. */
const GROWTH_MEGABYTES_MAX = 32;
const DIRECTIONS = ['out', 'in'] as const;

async function run(): Promise<readonly Result[]> {
  await using postgres = await startPostgres();
  await postgres.run('postgres', 'create table copied (line text)');
  await initialiseDatabase({ connectionString: postgres.url('postgres') });
  await using sidecar = await startDatabaseSidecar(postgres.port, NO_COORDINATOR);
  await using relay = await startChild('tcp-relay.ts', String(postgres.port));
  await using load = await startChild('copy/copy-process.ts');
  const copy = async (port: number, direction: CopyLoad['direction'], megabytes: number): Promise<number> => {
    const question: CopyLoad = { port, direction, megabytes };
    return megabytes / (await askLoad<{ readonly seconds: number }>(load, question)).seconds;
  };
  const results: Result[] = [];
  for (const direction of DIRECTIONS) {
    await copy(relay.port, direction, WARM_UP_MEGABYTES);
    await copy(sidecar.port, direction, WARM_UP_MEGABYTES);
    const [, small] = await whileWatching(sidecar, () => copy(sidecar.port, direction, WARM_UP_MEGABYTES));
    let large = 0;
    const speeds = await alternate(ROUNDS, {
      relay: () => copy(relay.port, direction, MEGABYTES),
      sidecar: async () => {
        const [speed, size] = await whileWatching(sidecar, () => copy(sidecar.port, direction, MEGABYTES));
        large = Math.max(large, size);
        return speed;
      },
    });
    results.push(...resultsOf(direction, speeds, large - small));
  }
  return results;
}

function resultsOf(
  direction: CopyLoad['direction'],
  { sidecar, relay }: { readonly sidecar: number; readonly relay: number },
  growth: number,
): readonly Result[] {
  const name = direction === 'out' ? 'COPY TO' : 'COPY FROM';
  return [
    {
      name: `${name}, ${MEGABYTES} MB, against a bare TCP relay`,
      value: sidecar,
      unit: 'MB/s',
      baseline: relay,
      ratio: sidecar / relay,
      pass: true,
    },
    {
      name: `${name}, ${MEGABYTES} MB, memory beyond that for ${WARM_UP_MEGABYTES} MB`,
      value: growth,
      unit: 'MB',
      target: GROWTH_MEGABYTES_MAX,
      pass: growth <= GROWTH_MEGABYTES_MAX,
    },
  ];
}

/** The answer of `work`, and how many megabytes the process took at its largest. */
async function whileWatching<T>(child: Child, work: () => Promise<T>): Promise<readonly [T, number]> {
  let most = 0;
  const working = work();
  const isOver = working.then(
    () => true,
    () => true,
  );
  while (!(await Promise.race([isOver, pause(LOOK_MS, false)]))) most = Math.max(most, Number(await child.ask('size')));
  const answer = await working;
  return [answer, most / 1e6];
}

export const copyPart: Part = { name: 'copy', run };
