/**
 * The listener between the application and the services it calls. It is used as a forward proxy (absolute-form requests and
 * CONNECT) or through plain base URLs, `http://127.0.0.1:9701/<name>/…`. A gid in any carrier leaves in every carrier.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { CodedError } from '../../src/contract/errors.ts';
import { monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import type { ActiveRequests } from '../binding/active-requests.ts';
import { openCarriers, traceIdOf, type Carriers } from '../binding/from-headers.ts';
import type { SidecarOptions } from '../options.ts';
import { sendRawError } from './errors.ts';
import { forward } from './forward.ts';
import { requestHeaders } from './headers.ts';
import { openListener, type Listener, type ListenerLimits, type Listening } from './listener.ts';
import type { HttpMetrics } from './metrics.ts';
import { openOrigin, type Origin } from './origin.ts';
import { normalPath } from './routes.ts';
import { bareHost, openTargetGuard, parseAuthority, portOf, type TargetGuard } from './targets.ts';
import { openTunnels, type Tunnels } from './tunnel.ts';
import { openUpgrades } from './upgrade.ts';

/** What the outbound listener is made of. */
export interface OutboundParts {
  readonly options: NonNullable<SidecarOptions['outbound']>;
  readonly propagation: SidecarOptions['propagation'];
  readonly limits: ListenerLimits;
  /** Calls that carry only a `traceparent` take the gid of the request that they belong to. */
  readonly activeRequests: ActiveRequests;
  readonly metrics: HttpMetrics;
  readonly log: Log;
}

/** Most targets whose connections are kept; the one used longest ago goes first. */
const ORIGINS_MAX = 1_000;

/** Starts the listener. Rejects when the address cannot be bound. */
export async function startOutbound(parts: OutboundParts): Promise<Listening> {
  let port = 0;
  const guard = openTargetGuard(() => port);
  const tunnels = openTunnels(guard, parts.log);
  const outbound = new Outbound(parts, guard, tunnels);
  const listener: Listener = openListener({
    direction: 'outbound',
    metrics: parts.metrics,
    log: parts.log,
    limits: parts.limits,
    onRequest: (request, response) => outbound.serve(listener, request, response),
    onUpgrade: (request, socket, head) => outbound.upgrade(listener, request, socket, head),
  });
  listener.server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) =>
    tunnels.open(listener, request, socket, head),
  );
  const listening = await listener.listen(parts.options.listen, () => outbound.destroy());
  port = listening.port;
  return listening;
}

/** Where a request goes. */
interface Destination {
  readonly url: URL;
  readonly path: string;
  /** False when the caller's Host names the proxy, or is outranked by the absolute form (RFC 9112 §3.2.2). */
  readonly keepHost: boolean;
}

class Outbound {
  private readonly guard: TargetGuard;
  private readonly tunnels: Tunnels;
  private readonly carriers: Carriers;
  private readonly activeRequests: ActiveRequests;
  private readonly timeoutMs: number;
  private readonly upstreams: ReadonlyMap<string, URL>;
  /** By `URL.origin`, in the order of use, the oldest first. */
  private readonly origins = new Map<string, Origin>();

  constructor(parts: OutboundParts, guard: TargetGuard, tunnels: Tunnels) {
    this.guard = guard;
    this.tunnels = tunnels;
    this.carriers = openCarriers(parts.propagation, newId);
    this.activeRequests = parts.activeRequests;
    this.timeoutMs = parts.options.timeout;
    this.upstreams = new Map(Object.entries(parts.options.upstreams).map(([name, { url }]) => [name, new URL(url)]));
  }

  serve(listener: Listener, request: IncomingMessage, response: ServerResponse): void {
    const startedAt = monotonicSeconds();
    if (!listener.admit(response)) return;
    const outgoing = this.outgoingOf(request);
    if (outgoing instanceof CodedError) return listener.refuse(request, response, startedAt, outgoing);
    const { destination, headers } = outgoing;
    const origin = this.originOf(destination.url);
    forward({ listener, request, response, startedAt, origin, path: destination.path, headers });
  }

  upgrade(listener: Listener, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const outgoing = this.outgoingOf(request);
    if (outgoing instanceof CodedError) return sendRawError(socket, outgoing);
    const { destination, headers } = outgoing;
    const lookup = this.guard.lookupFor(portOf(destination.url));
    const upgrades = openUpgrades(destination.url.origin);
    upgrades.relay(listener, request, socket, head, { path: destination.path, headers, lookup });
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.origins.values()].map((origin) => origin.destroy()));
  }

  private outgoingOf(request: IncomingMessage): { destination: Destination; headers: string[] } | CodedError {
    const destination = this.destinationOf(request);
    if (destination instanceof CodedError) return destination;
    const fault = this.guard.fault(bareHost(destination.url), portOf(destination.url));
    if (fault !== undefined) return fault;
    const headers = requestHeaders(request, destination.keepHost);
    if (headers instanceof CodedError) return headers;
    const marked = this.marked(request, headers);
    return marked instanceof CodedError ? marked : { destination, headers: marked };
  }

  private destinationOf(request: IncomingMessage): Destination | CodedError {
    const target = request.url ?? '/';
    const tunnelled = this.tunnels.targetOf(request.socket);
    if (tunnelled !== undefined && target.startsWith('/')) {
      const url = parseAuthority('http', tunnelled);
      return url === undefined ? badTarget() : { url, path: target, keepHost: true };
    }
    if (target.startsWith('/')) return this.upstreamOf(normalPath(target));
    const [, scheme = '', authority = '', rest = ''] = /^(https?):\/\/([^/?#]+)([^#]*)$/i.exec(target) ?? [];
    const url = parseAuthority(scheme.toLowerCase(), authority);
    if (url === undefined) return badTarget();
    return { url, path: rest.startsWith('/') ? rest : `/${rest}`, keepHost: false };
  }

  private upstreamOf(path: string): Destination | CodedError {
    const [, name = '', rest = ''] = /^\/([^/?]*)(.*)$/s.exec(path) ?? [];
    const url = this.upstreams.get(name);
    if (url === undefined) return unknownUpstream(name, [...this.upstreams.keys()]);
    const base = url.pathname.replace(/\/$/, '');
    return { url, path: `${base}${rest.startsWith('/') ? rest : `/${rest}`}`, keepHost: false };
  }

  /** The headers with the gid in all carriers when it is in one, or when the trace is that of a request being served. */
  private marked(request: IncomingMessage, headers: string[]): string[] | CodedError {
    if (this.carriers.mayBeIn(request.headers)) {
      const binding = this.carriers.read(headers);
      if (binding.kind === 'fault') return badGid(binding.message);
      if (binding.kind === 'bound') return this.carriers.set(headers, binding.gid).headers;
    }
    const traceId = this.activeRequests.size === 0 ? undefined : traceIdOf(request.headers);
    const gid = traceId === undefined ? undefined : this.activeRequests.gidOf(traceId, now());
    return gid === undefined ? headers : this.carriers.set(headers, gid).headers;
  }

  private originOf(url: URL): Origin {
    const known = this.origins.get(url.origin);
    const origin =
      known ?? openOrigin({ url: url.origin, timeoutMs: this.timeoutMs, lookup: this.guard.lookupFor(portOf(url)) });
    this.origins.delete(url.origin);
    this.origins.set(url.origin, origin);
    if (this.origins.size > ORIGINS_MAX) {
      const [oldest] = this.origins;
      if (oldest !== undefined) {
        this.origins.delete(oldest[0]);
        void oldest[1].close();
      }
    }
    return origin;
  }
}

function badTarget(): CodedError {
  return new CodedError('BAD_REQUEST', 'The target of the request is not a URL that can be forwarded', {
    hint: 'Send http://host/path (as to a proxy), CONNECT host:port, or /<upstream name>/path',
  });
}

function unknownUpstream(name: string, known: readonly string[]): CodedError {
  const names = known.length === 0 ? 'none are configured' : `known are: ${known.join(', ')}`;
  return new CodedError('ROUTE_UNKNOWN', `There is no upstream named "${name.slice(0, 100)}"`, {
    hint: `Name one under outbound.upstreams (${names}), or use the listener as an HTTP proxy`,
  });
}

function badGid(message: string): CodedError {
  return new CodedError('BAD_GID', `The global transaction of the call is not clear: ${message}`, {
    hint: 'A gid is 1 to 128 of A-Z a-z 0-9 . _ : { } -; pass the same one on in every header, or none',
  });
}
