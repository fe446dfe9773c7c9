/**
 * Clients that leave in the middle: 10,000 over HTTP/1.1 and 10,000 streams of HTTP/2, through outbound and inbound, beside calls that
 * are answered. What they leave open at the origin is counted, and what they leave behind in the memory of the sidecars.
 */
import { until } from '../../examples/support/until.ts';
import {
  type Child,
  getText,
  LoadConnection,
  NO_COORDINATOR,
  type Part,
  type Result,
  startChild,
  startSidecarChild,
} from '../measure.ts';
import { crowdOf, type Crowd } from './http1-clients.ts';
import { callWholeStreams, crowdOfStreams } from './http2-clients.ts';
import type { OriginState } from './origin-process.ts';

const ABORTS = 10_000;
const WARM_UP_ABORTS = 12_000;
/** Calls that are answered, after each crowd that has left. */
const WHOLE_CALLS = 50;
/** Memory may move by a tenth, or by this where a tenth is less. */
const GROWTH_MIB = 10;
/** A fifth of a kilobyte for each client that left: what compiled code and caches move by, and no leak of an exchange. */
const LIVE_MIB = 2;

/** What is left open, and what memory grows by. */
export const abortsPart: Part = { name: 'aborts', run };

async function run(): Promise<readonly Result[]> {
  await using origin = await startChild('./aborts/origin-process.ts');
  const [http1Port = 0, http2Port = 0] = (await origin.ask('ports')) as readonly number[];
  const first = await soak(origin, http1Port, HTTP1);
  const second = await soak(origin, http2Port, HTTP2);
  return [...first, ...second];
}

/** What differs between the versions. `port` is that of outbound, `turn` counts the crowds. */
interface Version {
  readonly name: 'http1' | 'http2';
  readonly title: string;
  readonly atOnce: number;
  crowd(port: number, turn: number): Promise<Crowd>;
  /** Calls that are answered, beside the crowd that leaves. */
  callWhole(port: number): Promise<void>;
}

const HTTP1: Version = {
  name: 'http1',
  title: `${ABORTS} clients over HTTP/1.1 that left`,
  atOnce: 200,
  crowd: (port) => crowdOf(HTTP1.atOnce, port, '/shop'),
  callWhole: (port) => callWhole(WHOLE_CALLS, port),
};

const HTTP2: Version = {
  name: 'http2',
  title: `${ABORTS} streams of HTTP/2 given up`,
  atOnce: 100,
  crowd: (port, turn) => crowdOfStreams(HTTP2.atOnce, port, 'shop', turn),
  callWhole: (port) => callWholeStreams(WHOLE_CALLS, port, 'shop'),
};

async function soak(origin: Child, originPort: number, version: Version): Promise<readonly Result[]> {
  await using inbound = await startSidecarChild({
    coordinator: NO_COORDINATOR,
    inbound: { listen: '127.0.0.1:0', target: `http://127.0.0.1:${originPort}` },
  });
  await using outbound = await startSidecarChild({
    coordinator: NO_COORDINATOR,
    outbound: { listen: '127.0.0.1:0', upstreams: { shop: { url: `http://127.0.0.1:${inbound.port}` } } },
  });
  const state = async (): Promise<OriginState> => (await origin.ask(version.name)) as OriginState;
  let turn = 0;
  const abort = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= version.atOnce) {
      const { seen } = await state();
      const one = await version.crowd(outbound.port, turn);
      await until('the origin has seen the crowd', async () => {
        return (await state()).seen >= seen + one.certain ? true : undefined;
      });
      await one.ready;
      one.leave();
      turn += 1;
      await version.callWhole(outbound.port);
      await until('the crowd is gone', async () => ((await state()).open === 0 ? true : undefined));
    }
  };
  const sidecars = { inbound, outbound };
  await abort(WARM_UP_ABORTS);
  const before = await memory(sidecars);
  await abort(ABORTS);
  const after = await memory(sidecars);
  const { open } = await state();
  const { title } = version;
  return [
    { name: `${title}: requests still open at the origin`, value: open, unit: '', target: 0, pass: open === 0 },
    // Those of HTTP/2 are few, and kept for minutes.
    ...(version === HTTP1 ? [await closedConnections(title, state)] : []),
    ...(['inbound', 'outbound'] as const).flatMap((side) => growths(`${title}: ${side}`, before[side], after[side])),
  ];
}

/** Connections at the origin once those that were kept for a next call have had their time. */
async function closedConnections(title: string, state: () => Promise<OriginState>): Promise<Result> {
  await until('no connection is open', async () => ((await state()).connections === 0 ? true : undefined), {
    withinMs: 4_000,
  }).catch(() => undefined);
  const { connections } = await state();
  return {
    name: `${title}: connections open at the origin`,
    value: connections,
    unit: '',
    target: 0,
    pass: connections === 0,
  };
}

/** What a process takes after a collection, and what its live objects take of that, in bytes. */
type Held = readonly [number, number];

interface Memory {
  readonly inbound: Held;
  readonly outbound: Held;
}

async function memory({ inbound, outbound }: { readonly inbound: Child; readonly outbound: Child }): Promise<Memory> {
  return { inbound: (await inbound.ask('memory')) as Held, outbound: (await outbound.ask('memory')) as Held };
}

/** What V8 has taken it may keep; what it keeps alive is the finer measure. */
function growths(name: string, before: Held, after: Held): readonly Result[] {
  const whole = before[0] / 1024 ** 2;
  const grown = (after[0] - before[0]) / 1024 ** 2;
  const live = (after[1] - before[1]) / 1024 ** 2;
  const most = Math.max(GROWTH_MIB, whole / 10);
  return [
    {
      name: `${name}, growth of ${Math.round(whole)} MiB`,
      value: grown,
      unit: 'MiB',
      target: Math.round(most * 10) / 10,
      pass: grown <= most,
    },
    { name: `${name}, growth of live objects`, value: live, unit: 'MiB', target: LIVE_MIB, pass: live <= LIVE_MIB },
  ];
}

/** Calls that are answered, over HTTP/1.1 and one connection. */
async function callWhole(count: number, port: number): Promise<void> {
  const connection = await LoadConnection.open(port);
  for (let call = 0; call < count; call += 1) {
    const { status } = await connection.send(getText('/shop/whole'));
    if (status !== 200) throw new Error(`a call beside the crowd was answered with ${status}`);
  }
  connection.close();
}
