/**
 * The listener between the application and the services it calls. It is used as a forward proxy (absolute-form requests and
 * CONNECT) or through plain base URLs, `http://127.0.0.1:9701/<name>/…`.
 */
import type { IncomingMessage } from 'node:http';
import type { LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { sendRawError } from '../http/errors.ts';
import { requestHeaders } from '../http/headers.ts';
import type { ListenerLimits } from '../http/limits.ts';
import type { Listener, Listening, RequestHandler } from '../http/listener.ts';
import { openListener } from '../http/open-listener.ts';
import type { AnswerMessage, RequestMessage } from '../http/message.ts';
import type { HttpMetrics } from '../http/metrics.ts';
import { openTunnels } from '../http/tunnel.ts';
import { openUpgrades } from '../http/upgrade.ts';
import { carry } from '../http1/forward.ts';
import { openLane } from '../http1/lane/lane.ts';
import { openOrigin } from '../http1/open-origin.ts';
import type { Origin } from '../http1/origin.ts';
import { Http1Head } from '../http1/request-head.ts';
import { openHttp2Origin, type Http2Origin } from '../http2/origin.ts';
import { openHttp2Server } from '../http2/server.ts';
import { Calls, type CallsParts } from './calls.ts';
import { openTargetGuard, portOf, type TargetGuard } from '../http/targets.ts';

/** What the outbound listener is made of. */
export interface OutboundParts extends Omit<CallsParts, 'guard' | 'bodyBytesMax'> {
  readonly limits: ListenerLimits & { /** Largest body that is kept, in bytes. */ readonly body: number };
  readonly metrics: HttpMetrics;
}

/** Starts the listener. Rejects when the address cannot be bound. */
export async function startOutbound(parts: OutboundParts): Promise<Listening> {
  let port = 0;
  const guard = openTargetGuard(() => port);
  const tunnels = openTunnels(guard, parts.log);
  const calls = new Calls({ ...parts, guard, bodyBytesMax: parts.limits.body });
  const timeoutMs = parts.options.timeout;
  const origins = new Origins<Origin>(guard, (url, lookup) => openOrigin({ url, timeoutMs, lookup }));
  const http2Origins = new Origins<Http2Origin>(guard, (url, lookup) => openHttp2Origin({ url, timeoutMs, lookup }));
  const originOf = (url: string): Origin => origins.of(url);
  const http2 = openHttp2Server({
    limits: parts.limits,
    log: parts.log,
    timeoutMs,
    admit: (head) => calls.admit(head),
    place: ({ headers, authority }, socket) => {
      const tunnelled = tunnels.targetOf(socket);
      const own = tunnelled === undefined && authority !== undefined && guard.isOwn(authority) ? undefined : authority;
      const named = tunnelled ?? own;
      const isUpstream = named !== undefined && Object.hasOwn(parts.options.upstreams, named);
      const keepsHost = named !== undefined && !isUpstream && authority !== undefined;
      return { headers: keepsHost ? ['host', authority, ...headers] : headers, authority: named };
    },
    originOf: (url) => http2Origins.of(url),
  });

  const headOf = (request: RequestMessage, response: AnswerMessage | undefined): Http1Head | CodedError => {
    const authority = tunnels.targetOf(request.socket);
    // The caller's Host may name the proxy, and is outranked by the absolute form (RFC 9112 §3.2.2).
    const headers = requestHeaders(request, authority !== undefined && request.url?.startsWith('/') === true);
    return headers instanceof CodedError ? headers : new Http1Head(request, response, headers, authority);
  };
  const serve: RequestHandler = (request, response, keeper) => {
    const startedAt = monotonicSeconds();
    if (!listener.admit(response)) return;
    const head = headOf(request, response);
    if (head instanceof CodedError) return keeper.refuse(request, response, startedAt, head);
    carry({ listener: keeper, request, response, startedAt, head, originOf }, calls.admit(head));
  };
  const upgrade = (request: IncomingMessage, socket: Duplex, first: Buffer): void => {
    const head = headOf(request, undefined);
    const upgraded = head instanceof CodedError ? head : calls.upgraded(head);
    if (upgraded instanceof CodedError) return sendRawError(socket, upgraded);
    const { destination, headers } = upgraded;
    const lookup = guard.lookupFor(portOf(destination.url));
    const upgrades = openUpgrades(destination.url.origin);
    upgrades.relay(listener, request, socket, first, { path: destination.path, headers, lookup });
  };
  const listener: Listener = openListener({
    direction: 'outbound',
    metrics: parts.metrics,
    log: parts.log,
    limits: parts.limits,
    http1: openLane(parts.limits, parts.log, serve),
    http2,
    onRequest: serve,
    onUpgrade: upgrade,
    onConnect: (request, socket, head) => tunnels.open(listener, request, socket, head),
  });
  const listening = await listener.listen(parts.options.listen, async () => {
    await Promise.all([origins.destroy(), http2Origins.destroy()]);
  });
  port = listening.port;
  return listening;
}

/** Most targets whose connections are kept; the one used longest ago goes first. */
const ORIGINS_MAX = 1_000;

/** The servers that are called, each with its connections. */
class Origins<Kept extends { close(): unknown; destroy(): unknown }> {
  private readonly guard: TargetGuard;
  private readonly open: (url: string, lookup: LookupFunction) => Kept;
  /** By `URL.origin`, in the order of use, the oldest first. */
  private readonly origins = new Map<string, Kept>();
  private isDestroyed = false;

  constructor(guard: TargetGuard, open: (url: string, lookup: LookupFunction) => Kept) {
    this.guard = guard;
    this.open = open;
  }

  of(url: string): Kept {
    const origin = this.origins.get(url) ?? this.open(url, this.guard.lookupFor(portOf(new URL(url))));
    this.origins.delete(url);
    this.origins.set(url, origin);
    if (this.origins.size > ORIGINS_MAX) {
      const [oldest] = this.origins;
      if (oldest !== undefined) {
        this.origins.delete(oldest[0]);
        void oldest[1].close();
      }
    }
    if (this.isDestroyed) void origin.destroy();
    return origin;
  }

  async destroy(): Promise<void> {
    this.isDestroyed = true;
    await Promise.all([...this.origins.values()].map((origin) => origin.destroy()));
  }
}
