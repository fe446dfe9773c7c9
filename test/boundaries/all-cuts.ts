/** Every place at which a flow can be cut, and every way; and the playing of a share of them. */
import type { Direction } from '../../proxy/postgres/wire/frames.ts';
import type { Outcome } from '../sql-e2e/mesh.ts';
import { effectOf, play, type Counts, type Cut, type Link, type Played } from './cuts.ts';
import type { Flow } from './flows.ts';
import type { Stage } from './stage.ts';

export const LINKS: readonly Link[] = ['client', 'session', 'second phase'];
const DIRECTIONS: readonly Direction[] = ['frontend', 'backend'];
const OUTCOMES: readonly Outcome[] = ['commit', 'rollback'];

type Way = Pick<Cut, 'isInside' | 'manner'>;

const WAYS: readonly Way[] = [
  { manner: 'fin', isInside: false },
  { manner: 'rst', isInside: false },
  { manner: 'stall', isInside: false },
  { manner: 'rst', isInside: true },
];

/** One boundary, and all that can happen there. */
interface Place {
  readonly link: Link;
  readonly direction: Direction;
  readonly after: number;
  readonly cases: readonly { readonly outcome: Outcome; readonly way: Way }[];
}

/** What was played of a flow. */
export interface Tally {
  readonly faults: readonly string[];
  /** That were to be cut. */
  readonly places: number;
  readonly played: number;
  /** The place was there: another course of events may have fewer messages. */
  readonly reached: number;
  /** Those after which all changes were there, of those that were reached. */
  readonly all: number;
}

/** One of the things that can happen at each place, and the order of places, are chosen by `seed`. It is over after `msEach` for each place, but not before some have been played. */
export interface Share {
  readonly seed: number;
  readonly msEach: number;
}

/** So few leave all only where each place does. */
const PLAYED_MIN = 20;

/** Without a share, plays everything. */
export async function playCuts(stage: Stage, flow: Flow, links: readonly Link[], share?: Share): Promise<Tally> {
  const all = await effectOf(stage, flow);
  await stage.reset();
  const ends = { none: await stage.mesh.dump(), all };
  const one = async (outcome: Outcome, cut: Cut | undefined): Promise<Played> => {
    const played = await play(stage, flow, ends, outcome, cut);
    if (played.effect === 'all' || played.fault !== undefined) await stage.reset();
    return played;
  };
  const counts = new Map<Outcome, Counts>();
  for (const outcome of OUTCOMES) {
    const { counts: counted, fault, effect } = await one(outcome, undefined);
    const wanted = outcome === 'commit' ? 'all' : 'none';
    if (fault !== undefined || effect !== wanted) throw new Error(`without a cut: ${fault ?? effect}`);
    counts.set(outcome, counted);
  }
  const every = placesOf(counts, links).flatMap(({ cases, ...place }, index) =>
    cases
      .filter((_, at) => share === undefined || at === (index + share.seed) % cases.length)
      .map((chosen) => ({ ...chosen, place })),
  );
  const chosen = share === undefined ? every : shuffled(every, share.seed);
  const deadline = share === undefined ? Infinity : performance.now() + share.msEach * chosen.length;
  const tally = { faults: [] as string[], places: chosen.length, played: 0, reached: 0, all: 0 };
  for (const { outcome, way, place } of chosen) {
    if (tally.played >= PLAYED_MIN && performance.now() > deadline) break;
    const cut: Cut = { ...place, ...way };
    const { fault, isReached, effect } = await one(outcome, cut).catch((error: unknown) => {
      throw new Error(tell(cut), { cause: error });
    });
    tally.played += 1;
    if (isReached) tally.reached += 1;
    if (isReached && effect === 'all') tally.all += 1;
    if (fault !== undefined) tally.faults.push(`${tell(cut)}: ${fault}`);
  }
  return tally;
}

function shuffled<T>(items: readonly T[], seed: number): readonly T[] {
  const keyed = items.map((item, index) => ({ item, key: Math.imul(index + 1, 2_654_435_761 + 2 * seed) >>> 0 }));
  return keyed.toSorted((one, other) => one.key - other.key).map(({ item }) => item);
}

function placesOf(counts: ReadonlyMap<Outcome, Counts>, links: readonly Link[]): readonly Place[] {
  return links.flatMap((link) => {
    // A second phase does something else for each outcome; before that nothing depends on it.
    const groups = link === 'second phase' ? OUTCOMES.map((outcome) => [outcome]) : [OUTCOMES];
    return groups.flatMap((outcomes) =>
      DIRECTIONS.flatMap((direction) => {
        const most = Math.max(...outcomes.map((outcome) => counts.get(outcome)?.[link][direction] ?? 0));
        const cases = outcomes.flatMap((outcome) => WAYS.map((way) => ({ outcome, way })));
        return Array.from({ length: most }, (_, index) => ({ link, direction, after: index + 1, cases }));
      }),
    );
  });
}

function tell({ link, direction, after, isInside, manner }: Cut): string {
  const where = isInside ? `inside message ${after + 1}` : `after message ${after}`;
  return `${manner} of the ${link}'s connection ${where} of the ${direction}`;
}
