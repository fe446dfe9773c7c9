/**
 * A TCC transaction over three services, each behind a sidecar: what its registration asks of the coordinator, counted by a relay, and
 * the time it takes against the same calls without a transaction, turn about in one run. SQLite store, every process its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  alternate,
  type Child,
  loadServer,
  medianOf,
  type Part,
  postText,
  type Result,
  startChild,
  startSidecarChild,
} from '../measure.ts';
import type { Bookings } from './agency-process.ts';

const SERVICES = ['hotel', 'flight', 'car'];
const COUNTED_TRIPS = 20;
/** Few, because each waits for the disk several times. */
const WARM_UP_TRIPS = 200;
const ROUNDS = 3;
const ROUND_TRIPS = 60;

/** Round trips for each call, and time for each transaction. */
export const tccPart: Part = { name: 'tcc', run };

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    await using started = new AsyncDisposableStack();
    const coordinator = started.use(await startChild('./coordinator-process.ts', join(folder, 'bench.db')));
    const coordinatorUrl = `http://127.0.0.1:${coordinator.port}`;
    const urls: string[] = [];
    for (const name of SERVICES) {
      const service = started.use(await startChild('./bare-server.ts'));
      const inbound = { listen: '127.0.0.1:0', target: `http://127.0.0.1:${service.port}` };
      const sidecar = started.use(
        await startSidecarChild({ service: name, coordinator: { url: coordinatorUrl }, inbound }),
      );
      urls.push(`http://127.0.0.1:${sidecar.port}`);
    }
    const relay = started.use(await startCountingRelay(coordinatorUrl));
    const counted = await startAgency(started, relay.url, urls);
    const front = await startAgency(started, coordinatorUrl, urls);
    for (const path of ['/trips', '/plain']) await trips(front, path, { count: WARM_UP_TRIPS });
    await trips(counted, '/trips', { count: COUNTED_TRIPS });
    return [registrations(relay.asked), ...(await times(front))];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An agency and the sidecar beside it. `POST /trips` begins a transaction there, `POST /plain` does not. */
async function startAgency(
  started: AsyncDisposableStack,
  coordinatorUrl: string,
  urls: readonly string[],
): Promise<Child> {
  const agency = started.use(await startChild('./tcc/agency-process.ts'));
  const sidecar = started.use(
    await startSidecarChild({
      service: 'agency',
      coordinator: { url: coordinatorUrl },
      inbound: {
        listen: '127.0.0.1:0',
        target: `http://127.0.0.1:${agency.port}`,
        transactions: [{ match: 'POST /trips', begin: {} }],
      },
      outbound: {
        listen: '127.0.0.1:0',
        routes: urls.map((url) => ({
          match: `POST ${url}/try`,
          tcc: { confirm: `POST ${url}/confirm`, cancel: `POST ${url}/cancel` },
        })),
      },
    }),
  );
  const { outbound } = (await sidecar.ask('ports')) as { readonly outbound: number };
  await agency.ask(JSON.stringify({ port: outbound, urls } satisfies Bookings));
  return sidecar;
}

interface CountingRelay extends AsyncDisposable {
  readonly url: string;
  /** The paths that were posted to, with the gid left out. */
  readonly asked: readonly string[];
}

/** Stands in front of the coordinator at `url`. */
async function startCountingRelay(url: string): Promise<CountingRelay> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const pass = async (): Promise<void> => {
      const body = Buffer.concat(await request.toArray());
      asked.push((request.url ?? '').replace(/\/transactions\/[^/]+/, '/transactions/gid'));
      const answer = await fetch(url + (request.url ?? ''), {
        method: request.method ?? 'GET',
        headers: { 'content-type': 'application/json' },
        ...(request.method === 'POST' ? { body } : {}),
      });
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
    };
    void pass().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Besides its calls, a transaction is begun and submitted: a round trip each. */
function registrations(asked: readonly string[]): Result {
  const perCall = (asked.length - 2 * COUNTED_TRIPS) / (COUNTED_TRIPS * SERVICES.length);
  const registered = asked.filter((path) => path === '/v1/transactions/gid/branches').length;
  const areOnly = registered === asked.length - 2 * COUNTED_TRIPS;
  return {
    name: 'round trips to the coordinator for each call of a TCC transaction',
    value: perCall,
    unit: '',
    target: 1,
    pass: perCall === 1 && areOnly,
  };
}

async function times(front: Child): Promise<readonly Result[]> {
  const one = await alternate(ROUNDS, {
    tcc: () => medianMs(front, '/trips'),
    plain: () => medianMs(front, '/plain'),
  });
  const rate = async (path: string): Promise<number> => {
    const { count, seconds } = await trips(front, path, { count: ROUND_TRIPS }, 16);
    return count / seconds;
  };
  const many = await alternate(ROUNDS, { tcc: () => rate('/trips'), plain: () => rate('/plain') });
  return [
    compared('TCC transaction of three calls, 1 client; baseline: the calls alone', one, 'ms'),
    compared('TCC transactions, 16 clients; baseline: the calls alone', many, '1/s'),
  ];
}

function compared(
  name: string,
  { tcc, plain }: { readonly tcc: number; readonly plain: number },
  unit: string,
): Result {
  return { name, value: tcc, unit, baseline: plain, ratio: tcc / plain, pass: true };
}

async function medianMs(front: Child, path: string): Promise<number> {
  const spent: number[] = [];
  await trips(front, path, { count: ROUND_TRIPS }, 1, spent);
  return medianOf(spent);
}

/** Asks for trips; each must be booked. `spent` gets the milliseconds of each. */
function trips(
  front: Child,
  path: string,
  until: { readonly count: number },
  inFlight: number = 16,
  spent?: number[],
): ReturnType<typeof loadServer> {
  const request = postText(path, '{"seats":2}');
  return loadServer(front.port, inFlight, until, async (connection) => {
    const start = performance.now();
    const { status } = await connection.send(request);
    if (status !== 201) throw new Error(`POST ${path} was answered with ${status}`);
    spent?.push(performance.now() - start);
  });
}
