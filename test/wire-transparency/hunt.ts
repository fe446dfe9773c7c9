/** Looks for a client that can tell a sidecar from none: `node test/wire-transparency/hunt.ts [--seed S] [--talks N] [--only I] [--inside] [--waiting] [--major M]`. */
import { parseArgs } from 'node:util';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { Random } from '../simulation/random.ts';
import type { Received } from '../sql-passthrough/support/raw-client.ts';
import { exactLine, play } from './play.ts';
import { insideLines } from './inside-lines.ts';
import { anyTalk, readable } from './talks.ts';
import { startTwins, type Twins } from './twins.ts';
import { INSIDE, OUTSIDE, WAITING } from './words.ts';

export interface Hunt {
  readonly seed: number;
  readonly talks: number;
  /** Only the talk of this number. */
  readonly only?: number;
  /** The sessions have a gid. */
  readonly isInside: boolean;
  /** They have none, and wait for row locks all the same. */
  readonly isWaiting?: boolean;
}

/** What was said, for the test that asks whether enough was. */
export interface Heard {
  readonly talks: number;
  /** How many messages of each type the server sent. */
  readonly messages: ReadonlyMap<string, number>;
}

/** Plays talks to both twins. Rejects with the first that was answered differently, and how to see it again. */
export async function hunt(twins: Twins, options: Hunt): Promise<Heard> {
  const messages = new Map<string, number>();
  const ways = [...twins.through.values()];
  const linesOf =
    options.isInside || options.isWaiting === true
      ? insideLines
      : (frames: readonly Received[]): readonly string[] => frames.map(exactLine);
  let talks = 0;
  for (let index = 0; index < options.talks; index += 1) {
    if (options.only !== undefined && index !== options.only) continue;
    const random = new Random(options.seed * 1_000_003 + index);
    const way = random.pick(ways);
    const talk = anyTalk(random, options.isInside ? INSIDE : options.isWaiting === true ? WAITING : OUTSIDE);
    await twins.reset();
    const [direct, through] = await Promise.all([play(talk, twins.direct), play(talk, way).catch(asFailure)]);
    const difference = firstDifference(linesOf(direct), typeof through === 'string' ? [through] : linesOf(through));
    if (difference !== undefined) {
      const inside = `${options.isInside ? ' --inside' : ''}${options.isWaiting === true ? ' --waiting' : ''}`;
      const replay = `node test/wire-transparency/hunt.ts --seed ${options.seed} --talks ${options.talks} --only ${index}${inside}`;
      throw new Error(`${difference}\nthe client said\n  ${readable(talk)}\nreplay: ${replay}`);
    }
    for (const { type } of direct) messages.set(type, (messages.get(type) ?? 0) + 1);
    talks += 1;
  }
  return { talks, messages };
}

function asFailure(error: unknown): string {
  return `(${(error as Error).message})`;
}

function firstDifference(direct: readonly string[], through: readonly string[]): string | undefined {
  const at = direct.findIndex((line, index) => line !== through[index]);
  if (at < 0 && through.length <= direct.length) return undefined;
  // A server that ends the session while more is on its way to it resets the connection: what it said last may be lost on the way.
  if (at === through.length && direct.at(-1)?.startsWith('E SFATAL') === true) return undefined;
  const from = at < 0 ? direct.length : at;
  const part = (lines: readonly string[]): string =>
    lines
      .slice(Math.max(0, from - 2), from + 3)
      .map((line) => `  ${JSON.stringify(line).slice(0, 300)}`)
      .join('\n');
  return `answer ${from} differs.\ndirectly\n${part(direct)}\nthrough the sidecar\n${part(through)}`;
}

if (import.meta.main) {
  // A process that a signal ends leaves its servers behind.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      talks: { type: 'string' },
      only: { type: 'string' },
      major: { type: 'string' },
      inside: { type: 'boolean' },
      waiting: { type: 'boolean' },
    },
  });
  const isWaiting = values.waiting === true;
  const seed = Number(values.seed ?? Date.now() % 0x7fff_ffff);
  const talks = Math.min(Number(values.talks ?? 5000), 1_000_000);
  const major = Number(values.major ?? 18) as PostgresMajor;
  console.log(`seed ${seed}, ${talks} talks, PostgreSQL ${major}`);
  await using twins = await startTwins(major, [1, 7, 65_536], isWaiting ? { writersOutside: 'wait' } : {});
  const only = values.only === undefined ? {} : { only: Number(values.only) };
  const heard = await hunt(twins, { seed, talks, isInside: values.inside === true, isWaiting, ...only });
  console.log(heard.talks, [...heard.messages].map(([type, count]) => `${type} ${count}`).join(', '));
}
