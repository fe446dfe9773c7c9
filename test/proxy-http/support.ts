/** What the tests of the HTTP side share: an application, a coordinator with real state, raw sockets, started listeners. */
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { openActiveRequests, type ActiveRequests } from '../../proxy/binding/active-requests.ts';
import type { OperationDesk } from '../../proxy/http/admission.ts';
import { startInbound } from '../../proxy/inbound/inbound.ts';
import type { ListenerLimits } from '../../proxy/http/limits.ts';
import type { Listening } from '../../proxy/http/listener.ts';
import { openHttpMetrics } from '../../proxy/http/metrics.ts';
import { startOutbound } from '../../proxy/outbound/outbound.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics, type Registry } from '../../src/platform/metrics.ts';
import { FakeCoordinator } from './fake-coordinator.ts';

/** An application behind the sidecar, with what it saw. */
export interface App {
  readonly server: Server;
  readonly port: number;
  readonly seen: IncomingMessage[];
  connections(): Promise<number>;
}

/** Starts a server that is closed with the test. */
export async function startApp(
  t: ExecutionContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<App> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    server,
    seen,
    port: (server.address() as AddressInfo).port,
    connections: () =>
      new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
      }),
  };
}

export interface Started extends Listening {
  readonly coordinator: FakeCoordinator;
  readonly activeRequests: ActiveRequests;
  readonly registry: Registry;
}

/** An inbound listener in front of `port`; `options` as in the YAML. */
export async function inboundTo(
  t: ExecutionContext,
  port: number,
  options: Readonly<Record<string, unknown>> = {},
  limits: Partial<ListenerLimits> = {},
  operations?: OperationDesk,
): Promise<Started> {
  const parsed = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: 'http://127.0.0.1:9' },
    inbound: { listen: '127.0.0.1:0', target: `http://127.0.0.1:${port}`, ...options },
  });
  if (parsed.inbound === undefined) throw new Error('inbound is configured');
  const coordinator = new FakeCoordinator();
  const activeRequests = openActiveRequests();
  const registry = openMetrics(false);
  const inbound = await startInbound({
    options: parsed.inbound,
    propagation: parsed.propagation,
    limits: { header: 16_384, ...limits },
    service: parsed.service,
    coordinator,
    activeRequests,
    ...(operations === undefined ? {} : { operations }),
    metrics: openHttpMetrics(registry),
    log: openLog('test', 'silent'),
  });
  t.teardown(() => inbound.close(0));
  return { ...inbound, coordinator, activeRequests, registry };
}

/** An outbound listener; `upstreams` by name. */
export async function outbound(
  t: ExecutionContext,
  upstreams: Readonly<Record<string, { readonly url: string }>> = {},
): Promise<Listening & { readonly activeRequests: ActiveRequests }> {
  const parsed = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: 'http://127.0.0.1:9' },
    outbound: { listen: '127.0.0.1:0', upstreams },
  });
  if (parsed.outbound === undefined) throw new Error('outbound is configured');
  const activeRequests = openActiveRequests();
  const listening = await startOutbound({
    options: parsed.outbound,
    propagation: parsed.propagation,
    limits: parsed.limits,
    service: parsed.service,
    coordinator: new FakeCoordinator(),
    activeRequests,
    metrics: openHttpMetrics(openMetrics(false)),
    log: openLog('test', 'silent'),
  });
  t.teardown(() => listening.close(0));
  return { ...listening, activeRequests };
}

export interface Answer {
  readonly status: number;
  readonly message: IncomingMessage;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface Ask {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
}

/** One request over a connection of its own. Rejects when the answer is cut off. */
export function ask(port: number, { method = 'GET', path = '/', headers = {}, body }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (message) => {
      const chunks: Buffer[] = [];
      message.on('data', (chunk: Buffer) => chunks.push(chunk));
      message.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: message.statusCode ?? 0, message, headers: message.headers, body: text });
      });
      message.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** The code of an `ErrorBody`. */
export function codeOf(answer: Answer): unknown {
  return (JSON.parse(answer.body) as { error: { code: string } }).error.code;
}

/** A connection without any HTTP client in between. */
export class RawClient {
  readonly socket: Socket;
  received = '';
  isClosed = false;
  hadError = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => (this.received += chunk.toString('latin1')));
    socket.on('error', () => (this.hadError = true));
    socket.on('close', () => (this.isClosed = true));
  }

  static async open(t: ExecutionContext, port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    t.teardown(() => void socket.destroy());
    return new RawClient(socket);
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** Waits until `pattern` has been received. */
  async until(pattern: RegExp): Promise<string> {
    await until(() => pattern.test(this.received), `${String(pattern)} in ${JSON.stringify(this.received)}`);
    return this.received;
  }

  async closed(): Promise<string> {
    await until(() => this.isClosed, 'the connection to close');
    return this.received;
  }
}

/** Waits for a condition; fails after `deadlineMs` with what was waited for. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs: number = 60_000,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
