/** A coordinator with a store of its own, an outbound listener that speaks to it, and a service that is called. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';
import { openActiveRequests } from '../../proxy/binding/active-requests.ts';
import type { Listening } from '../../proxy/http/listener.ts';
import { openHttpMetrics } from '../../proxy/http/metrics.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import type { Journal } from '../../proxy/outbound/journal.ts';
import { startOutbound } from '../../proxy/outbound/outbound.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';
import { startTestCoordinator } from '../coordinator/started.ts';

/** One request as a service saw it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Service {
  readonly url: string;
  readonly seen: Seen[];
  /** `METHOD url op` of each request, in their order. */
  readonly lines: () => readonly string[];
}

/** A service on a port of its own; without `answer`, everything is answered 200 `{}`. */
export async function service(
  t: ExecutionContext,
  answer: (seen: Seen, response: ServerResponse) => void = (_seen, response) => response.end('{}'),
): Promise<Service> {
  const seen: Seen[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(one);
      answer(one, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const lines = (): readonly string[] =>
    seen.map(({ method, url, headers }) => `${method} ${url} ${String(headers['atomesh-op'] ?? '-')}`);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, lines };
}

export interface World {
  readonly outbound: Listening;
  readonly client: CoordinatorClient;
  /** What was asked of the coordinator, in its order. */
  readonly asked: string[];
  /** A new mesh transaction; with a program, its first run is under way. */
  readonly begin: (kind?: 'workflow') => Promise<Gid>;
  /** Waits until the transaction is over. */
  readonly over: (gid: Gid) => Promise<string>;
}

export interface WorldOptions {
  readonly upstreams?: Readonly<Record<string, { readonly url: string }>>;
  readonly body?: string;
  readonly journal?: Journal;
  readonly patienceMs?: number;
  /** Stands between the sidecar and the coordinator. */
  readonly wrap?: (client: CoordinatorClient) => Partial<CoordinatorClient>;
}

/** Starts them; `routes` as in the YAML. */
export async function world(
  t: ExecutionContext,
  routes: readonly object[],
  options: WorldOptions = {},
): Promise<World> {
  const coordinator = await startTestCoordinator();
  t.teardown(() => coordinator[Symbol.asyncDispose]());
  const client = connectCoordinator({ url: coordinator.url, timeoutMs: 5_000 });
  t.teardown(() => client.close());
  const asked: string[] = [];
  const counted = Object.fromEntries(
    Object.entries({ ...client, ...options.wrap?.(client) }).map(([name, verb]) => [
      name,
      (...given: unknown[]): unknown => {
        asked.push(name);
        return (verb as (...given: unknown[]) => unknown)(...given);
      },
    ]),
  ) as unknown as CoordinatorClient;
  const parsed = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: coordinator.url },
    outbound: { listen: '127.0.0.1:0', upstreams: options.upstreams ?? {}, routes },
    limits: { body: options.body ?? '1MiB' },
  });
  if (parsed.outbound === undefined) throw new Error('outbound is configured');
  const outbound = await startOutbound({
    options: parsed.outbound,
    propagation: parsed.propagation,
    limits: parsed.limits,
    service: parsed.service,
    coordinator: counted,
    activeRequests: openActiveRequests(),
    metrics: openHttpMetrics(openMetrics(false)),
    log: openLog('test', 'silent'),
    ...(options.journal === undefined ? {} : { journal: options.journal }),
    patienceMs: options.patienceMs ?? 200,
  });
  t.teardown(() => outbound.close(0));
  return {
    outbound,
    client,
    asked,
    begin: async (kind) => {
      const callback = { operation: 'workflow', url: 'http://127.0.0.1:9/run', afterMs: 60_000 } as const;
      const request = { timeoutMs: 60_000, retryIntervalMs: 50, ...(kind === undefined ? {} : { callback }) };
      return (await client.begin(request)).gid;
    },
    over: async (gid) => (await client.read(gid, 10_000))?.status ?? 'unknown',
  };
}
