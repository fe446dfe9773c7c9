/** The listener in front of the application: begins global transactions, joins those that callers bring, forwards the rest. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import type { ActiveRequests } from '../binding/active-requests.ts';
import { openCarriers, type Carriers, type HeaderBinding } from '../binding/from-headers.ts';
import type { SidecarOptions } from '../options.ts';
import { openDesk, type BeginRule, type Desk } from './begin.ts';
import { sendRawError } from './errors.ts';
import { forward, type Gate } from './forward.ts';
import { requestHeaders } from './headers.ts';
import { openListener, type Listener, type ListenerLimits, type Listening } from './listener.ts';
import type { HttpMetrics } from './metrics.ts';
import { openOrigin, type Origin } from './origin.ts';
import { compileRoutes, routeOf, type Routed, type RouteTable } from './routes.ts';
import { openUpgrades } from './upgrade.ts';

/** What the inbound listener is made of. */
export interface InboundParts {
  readonly options: NonNullable<SidecarOptions['inbound']>;
  readonly propagation: SidecarOptions['propagation'];
  readonly limits: ListenerLimits;
  /** The name of this service, for people who look at transactions. */
  readonly service: string;
  readonly coordinator: CoordinatorClient;
  readonly activeRequests: ActiveRequests;
  readonly metrics: HttpMetrics;
  readonly log: Log;
}

type TransactionRoute = InboundParts['options']['transactions'][number];

/** A request on its way through this listener. */
interface Arrival {
  readonly listener: Listener;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly startedAt: number;
  /** With the query: the path that a route matched, or the target as it came. */
  readonly path: string;
  readonly headers: string[];
}

/** Starts the listener. Rejects when the address cannot be bound. */
export async function startInbound(parts: InboundParts): Promise<Listening> {
  const { options } = parts;
  const target = new URL(options.target);
  const origin = openOrigin({ url: target.origin, timeoutMs: options.timeout });
  const desk = openDesk(parts);
  const upgrades = openUpgrades(target.origin);
  const inbound = new Inbound(parts, origin, desk);
  const listener: Listener = openListener({
    direction: 'inbound',
    metrics: parts.metrics,
    log: parts.log,
    limits: parts.limits,
    onRequest: (request, response) => inbound.serve(listener, request, response),
    onUpgrade: (request, socket, head) => {
      const upgraded = inbound.upgraded(request);
      if (upgraded instanceof CodedError) sendRawError(socket, upgraded);
      else upgrades.relay(listener, request, socket, head, upgraded);
    },
  });
  return listener.listen(options.listen, async () => {
    await desk.settled();
    await origin.destroy();
  });
}

class Inbound {
  private readonly parts: InboundParts;
  private readonly origin: Origin;
  private readonly desk: Desk;
  private readonly basePath: string;
  private readonly carriers: Carriers;
  private readonly routes: RouteTable<TransactionRoute> | undefined;

  constructor(parts: InboundParts, origin: Origin, desk: Desk) {
    const { options, propagation } = parts;
    this.parts = parts;
    this.origin = origin;
    this.desk = desk;
    this.basePath = new URL(options.target).pathname.replace(/\/$/, '');
    this.carriers = openCarriers(propagation, newId);
    this.routes = options.transactions.length === 0 ? undefined : compileRoutes(options.transactions);
  }

  /** Without a gid and a route, a request is not parsed, copied or awaited beyond what forwarding takes. */
  serve(listener: Listener, request: IncomingMessage, response: ServerResponse): void {
    const startedAt = monotonicSeconds();
    if (!listener.admit(response)) return;
    const target = targetOf(request);
    if (target instanceof CodedError) return listener.refuse(request, response, startedAt, target);
    const headers = requestHeaders(request, true);
    if (headers instanceof CodedError) return listener.refuse(request, response, startedAt, headers);
    const routed = this.routes === undefined ? UNROUTED : routeOf(this.routes, request.method ?? '', target);
    if (routed.kind === 'ambiguous') return listener.refuse(request, response, startedAt, ambiguousTarget());
    const path = routed.kind === 'route' ? routed.path : target;
    const arrival = { listener, request, response, startedAt, path, headers };

    const binding = this.bindingOf(request, headers);
    if (binding.kind === 'fault') return listener.refuse(request, response, startedAt, badGid(binding.message));
    if (binding.kind === 'bound') return this.join(arrival, binding.gid);
    if (routed.kind === 'route') void this.begin(arrival, binding.headers, routed.route.begin);
    else this.carry(arrival, binding.headers);
  }

  /** The path and headers of a WebSocket handshake. It joins the gid it carries; it never begins a transaction. */
  upgraded(request: IncomingMessage): { readonly path: string; readonly headers: string[] } | CodedError {
    const path = targetOf(request);
    if (path instanceof CodedError) return path;
    const headers = requestHeaders(request, true);
    if (headers instanceof CodedError) return headers;
    const binding = this.bindingOf(request, headers);
    if (binding.kind === 'fault') return badGid(binding.message);
    const carried = binding.kind === 'bound' ? this.carriers.set(headers, binding.gid).headers : binding.headers;
    return { path: this.basePath + path, headers: carried };
  }

  private bindingOf(
    request: IncomingMessage,
    headers: string[],
  ): Exclude<HeaderBinding, { kind: 'none' }> | { readonly kind: 'none'; readonly headers: string[] } {
    if (!this.carriers.mayBeIn(request.headers)) return { kind: 'none', headers };
    if (!this.parts.options.trustGid) return { kind: 'none', headers: this.carriers.strip(headers) };
    const binding = this.carriers.read(headers);
    return binding.kind === 'none' ? { kind: 'none', headers } : binding;
  }

  private carry(arrival: Arrival, headers: string[], gate?: Gate, ended?: () => void): void {
    const { listener, request, response, startedAt, path } = arrival;
    forward({
      listener,
      request,
      response,
      startedAt,
      origin: this.origin,
      path: this.basePath === '' || path === '*' ? path : this.basePath + path,
      headers,
      ...(gate === undefined ? {} : { gate }),
      ...(ended === undefined ? {} : { ended }),
    });
  }

  /** Serves a request of `gid`: all carriers set, its trace bound to the gid for as long as it runs. */
  private join(arrival: Arrival, gid: Gid, headers: readonly string[] = arrival.headers, gate?: Gate): void {
    const marked = this.carriers.set(headers, gid);
    const release = this.parts.activeRequests.add(marked.traceId, gid, now());
    if (release === undefined) {
      gate?.clientLeft();
      arrival.listener.refuse(arrival.request, arrival.response, arrival.startedAt, tooManyTraces());
      return;
    }
    this.carry(arrival, marked.headers, gate, release);
  }

  private async begin(arrival: Arrival, headers: readonly string[], rule: BeginRule): Promise<void> {
    const { listener, request, response, startedAt, path } = arrival;
    const [pathOnly = '/'] = path.split('?');
    const begun = await this.desk.begin(rule, `${this.parts.service} ${request.method} ${pathOnly}`);
    if (begun instanceof CodedError) return listener.refuse(request, response, startedAt, begun);
    // When the client has left meanwhile, the exchange hears it at once, calls nothing, and the gate aborts.
    this.join(arrival, begun.gid, headers, begun.gate);
  }
}

const UNROUTED: Routed<TransactionRoute> = { kind: 'none' };

/** The target in origin-form, otherwise as it came. */
function targetOf(request: IncomingMessage): string | CodedError {
  const target = request.url ?? '/';
  if (target.startsWith('/') || (target === '*' && request.method === 'OPTIONS')) return target;
  // RFC 9112 §3.2.2: a server accepts the absolute form too. The authority says nothing to a listener with one target.
  const [whole, rest = '/'] = /^https?:\/\/[^/?#@]+([/?].*)?$/i.exec(target) ?? [];
  if (whole === undefined) return badTarget();
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function ambiguousTarget(): CodedError {
  return new CodedError('BAD_REQUEST', 'The path can be read in several ways, of which only some begin a transaction', {
    hint: 'Send the path of the route without #, \\, empty segments and dot segments in it',
  });
}

function badTarget(): CodedError {
  return new CodedError('BAD_REQUEST', 'The target of the request is not a path', {
    hint: 'Send a path that begins with /',
  });
}

function badGid(message: string): CodedError {
  return new CodedError('BAD_GID', `The global transaction of the request is not clear: ${message}`, {
    hint: 'A gid is 1 to 128 of A-Z a-z 0-9 . _ : { } -; pass the same one on in every header, or none',
  });
}

function tooManyTraces(): CodedError {
  return new CodedError('OVERLOADED', 'Too many requests of global transactions are being served', {
    retry: 'safe',
    hint: 'Try again later, or run more replicas',
  });
}
