/**
 * Requests per second over HTTP/1.1 without a transaction, against the npm package `http-proxy-3` in front of the same backend, turn
 * about in one run: through inbound alone, and through outbound and inbound against two of those proxies in a row. Load, backend and
 * every hop are a process each. On a machine whose cores are fewer than those processes a rate says what all of them cost together;
 * the processor time of the hops stands beside it.
 */
import { alternate, cpuSecondsOf, type Part, type Result } from '../measure.ts';
import { startHops, type Chain } from './hops.ts';
import { closedLoad, CONNECTIONS } from './load.ts';

const ROUNDS = 5;
const WARM_UP_REQUESTS = 40_000;
const ROUND_REQUESTS = 20_000;
const ONE_HOP_LEAST = 2;
const TWO_HOPS_LEAST = 2.2;

/** Requests per second, and the processor time of the hops per request beside them. */
export const httpPart: Part = { name: 'http', run };

async function run(): Promise<readonly Result[]> {
  await using hops = await startHops();
  return [
    ...(await compare('inbound', 'http-proxy-3', hops.inbound, hops.httpProxy, ONE_HOP_LEAST)),
    ...(await compare('outbound and inbound', 'http-proxy-3 twice', hops.pair, hops.httpProxyTwice, TWO_HOPS_LEAST)),
  ];
}

async function compare(
  name: string,
  baselineName: string,
  ours: Chain,
  theirs: Chain,
  least: number,
): Promise<readonly Result[]> {
  const cpu = { ours: 0, theirs: 0 };
  for (const chain of [ours, theirs]) await closedLoad(chain, WARM_UP_REQUESTS);
  const side = (which: 'ours' | 'theirs', chain: Chain) => async (): Promise<number> => {
    let seconds = 0;
    const spent = await cpuSecondsOf(chain.hops, async () => {
      seconds = await closedLoad(chain, ROUND_REQUESTS);
    });
    cpu[which] += spent;
    return ROUND_REQUESTS / seconds;
  };
  const rates = await alternate(ROUNDS, { ours: side('ours', ours), theirs: side('theirs', theirs) });
  const ratio = rates.ours / rates.theirs;
  const perRequest = (seconds: number): number => (seconds * 1e6) / (ROUNDS * ROUND_REQUESTS);
  return [
    {
      name: `requests through ${name}, ${CONNECTIONS} connections; baseline: ${baselineName}`,
      value: rates.ours,
      unit: '1/s',
      baseline: rates.theirs,
      ratio,
      target: least,
      pass: ratio >= least,
    },
    {
      name: `processor time of ${name} per request; baseline: ${baselineName}`,
      value: perRequest(cpu.ours),
      unit: 'µs',
      baseline: perRequest(cpu.theirs),
      ratio: cpu.ours / cpu.theirs,
      pass: true,
    },
  ];
}
