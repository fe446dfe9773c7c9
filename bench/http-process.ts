/**
 * The processes of the HTTP benchmark: `backend`, `inbound <backend port>` (the sidecar's inbound listener) and
 * `http-proxy <backend port>` (the npm package `http-proxy-3`, which package.json installs as `http-proxy`, as its README
 * shows it, with a keep-alive agent).
 */
import { Agent, createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { createProxyServer } from 'http-proxy';
import { openActiveRequests } from '../proxy/binding/active-requests.ts';
import { startInbound } from '../proxy/inbound/inbound.ts';
import { openHttpMetrics } from '../proxy/http/metrics.ts';
import { sidecarOptions } from '../proxy/options.ts';
import { connectCoordinator } from '../src/client/connect.ts';
import { openLog } from '../src/platform/log.ts';
import { openMetrics } from '../src/platform/metrics.ts';

const [role, backendPort = '0'] = process.argv.slice(2);
const start: Readonly<Record<string, () => Promise<number>>> = {
  backend: startBackend,
  inbound: () => startSidecar(`http://127.0.0.1:${backendPort}`),
  'http-proxy': () => startHttpProxy(`http://127.0.0.1:${backendPort}`),
};
const port = await start[role ?? '']?.();
process.send?.({ port });
process.on('message', () => process.send?.(process.cpuUsage()));
process.on('disconnect', () => process.exit());

/** Answers every head with the same bytes, so that the backend costs next to nothing. */
function startBackend(): Promise<number> {
  const body = JSON.stringify({ order: 4711, items: Array.from({ length: 10 }, (_, item) => ({ item, count: 2 })) });
  const answer = Buffer.from(
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: 9d2f1c\r\n' +
      `date: Sat, 21 Nov 2026 10:00:00 GMT\r\ncontent-length: ${body.length}\r\nconnection: keep-alive\r\n\r\n${body}`,
  );
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', () => socket.write(answer)); // one request at a time, each in one packet
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

async function startSidecar(target: string): Promise<number> {
  const options = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: 'http://127.0.0.1:9' },
    inbound: { listen: '127.0.0.1:0', target, transactions: [{ match: 'POST /orders', begin: {} }] },
  });
  if (options.inbound === undefined) throw new Error('inbound is configured');
  const { port } = await startInbound({
    options: options.inbound,
    propagation: options.propagation,
    limits: options.limits,
    service: options.service,
    coordinator: connectCoordinator({ url: options.coordinator.url, timeoutMs: 1000 }),
    activeRequests: openActiveRequests(),
    metrics: openHttpMetrics(openMetrics(true)),
    log: openLog('bench', 'warn'),
  });
  return port;
}

function startHttpProxy(target: string): Promise<number> {
  const proxy = createProxyServer({ target, agent: new Agent({ keepAlive: true }) });
  const server = createHttpServer((request, response) => proxy.web(request, response));
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
