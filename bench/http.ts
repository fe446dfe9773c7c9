/**
 * Requests per second through the inbound listener without a transaction, against the npm package `http-proxy-3` in front of
 * the same backend, turn about in one run. Load, backend and the two proxies are a process each.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { alternate, type Child, type Part, type Result, startChild } from './measure.ts';

const CONNECTIONS = 32;
const ROUNDS = 5;
const ROUND_SECONDS = 3;
const WARM_UP_SECONDS = 3;
const RATIO_LEAST = 2;

const REQUEST = Buffer.from(
  'GET /orders/4711?expand=items HTTP/1.1\r\nhost: orders.example\r\nuser-agent: bench/1.0\r\naccept: application/json\r\n' +
    'accept-encoding: gzip\r\ncookie: session=0123456789abcdef\r\nx-request-id: 4f1c2b\r\n\r\n',
);
/** The last byte of the backend's body, and of nothing before it. */
const LAST = '}'.charCodeAt(0);
const LAST_BUT_ONE = ']'.charCodeAt(0);

/** Requests per second, and the sidecar's CPU time per request beside them. */
export const httpPart: Part = { name: 'http', run };

async function run(): Promise<readonly Result[]> {
  await using backend = await startChild('./http-process.ts', 'backend');
  await using inbound = await startChild('./http-process.ts', 'inbound', String(backend.port));
  await using httpProxy = await startChild('./http-process.ts', 'http-proxy', String(backend.port));
  await load(inbound.port, WARM_UP_SECONDS);
  await load(httpProxy.port, WARM_UP_SECONDS);
  const cpu = { inbound: { seconds: 0, requests: 0 }, httpProxy: { seconds: 0, requests: 0 } };
  const side = (proxy: Child, spent: { seconds: number; requests: number }) => async (): Promise<number> => {
    const before = await cpuSeconds(proxy);
    const requests = await load(proxy.port, ROUND_SECONDS);
    spent.seconds += (await cpuSeconds(proxy)) - before;
    spent.requests += requests;
    return requests / ROUND_SECONDS;
  };
  const rates = await alternate(ROUNDS, {
    inbound: side(inbound, cpu.inbound),
    httpProxy: side(httpProxy, cpu.httpProxy),
  });
  const ratio = rates.inbound / rates.httpProxy;
  const perRequest = ({ seconds, requests }: { seconds: number; requests: number }): number =>
    (seconds * 1e6) / requests;
  return [
    {
      name: `requests through inbound, ${CONNECTIONS} connections; baseline: http-proxy-3`,
      value: rates.inbound,
      unit: '1/s',
      baseline: rates.httpProxy,
      ratio,
      target: RATIO_LEAST,
      pass: ratio >= RATIO_LEAST,
    },
    {
      name: 'CPU time per request; baseline: http-proxy-3',
      value: perRequest(cpu.inbound),
      unit: 'µs',
      baseline: perRequest(cpu.httpProxy),
      ratio: perRequest(cpu.inbound) / perRequest(cpu.httpProxy),
      pass: true,
    },
  ];
}

/** One request at a time on each connection, for so many seconds; answers how many were answered. */
async function load(port: number, seconds: number): Promise<number> {
  const sockets: Socket[] = [];
  let answered = 0;
  let failure: Error | undefined;
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    socket.on('error', (error) => (failure = error));
    socket.on('data', (chunk) => {
      if (chunk[chunk.length - 1] !== LAST || chunk[chunk.length - 2] !== LAST_BUT_ONE) return;
      answered += 1;
      socket.write(REQUEST);
    });
    sockets.push(socket);
  }
  for (const socket of sockets) socket.write(REQUEST);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const total = answered;
  for (const socket of sockets) socket.destroy();
  if (failure !== undefined) throw failure;
  return total;
}

async function cpuSeconds(proxy: Child): Promise<number> {
  const { user, system } = (await proxy.ask('cpu')) as NodeJS.CpuUsage;
  return (user + system) / 1e6;
}
