/** What every HTTP listener of the sidecar has: limits, timeouts, errors for unreadable requests, and a graceful end. */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Address } from '../../src/platform/option-types.ts';
import { messageRefused, notServed, sendError, sendRawError } from './errors.ts';
import { hasBody } from './headers.ts';
import type { AnswerMessage, RequestMessage } from './message.ts';
import type { Direction, HttpMetrics } from './metrics.ts';
import { sniff, type Protocol } from './sniff.ts';

/** A listener that runs. */
export interface Listening {
  readonly port: number;
  /** `http://host:port` */
  readonly url: string;
  /**
   * Stops accepting; answers that are still given say `Connection: close`. Resolves when the last request is answered, or
   * after `graceMs`, when everything that is left is cut off.
   */
  close(graceMs: number): Promise<void>;
}

/** What an exchange tells the listener that it came through. */
export interface ExchangeKeeper {
  /** True while the listener closes: then answers say `Connection: close`. */
  isDraining(): boolean;
  /** Ties an exchange to its connection: it is told when the client leaves. Every call is followed by one of `release`. */
  hold(socket: Socket, exchange: Exchange): void;
  release(socket: Socket, exchange: Exchange): void;
  /** Answers with an error of our own in place of forwarding, and counts the request out. */
  refuse(request: RequestMessage, response: AnswerMessage, startedAt: number, error: CodedError): void;
  /** The request is answered; `status` 0 when the client left before. */
  ended(request: RequestMessage, status: number, startedAt: number): void;
}

/** A request that is being served. */
export interface Exchange {
  /** The client's connection is gone. */
  clientLeft(): void;
}

/** A listener as its request handler sees it. */
export interface Listener extends ExchangeKeeper {
  readonly server: Server;
  /** Counts a request in; every one is followed by one of `leave`. Why not, when too many run already. */
  enter(): CodedError | undefined;
  /** A request is answered with `status`, or with 0 when the client left before. `startedAt` in monotonic seconds. */
  leave(method: string, status: number, startedAt: number): void;
  /** `enter` for HTTP/1, followed by one of `ended`. False, with the answer sent, when too many run already. */
  admit(response: AnswerMessage): boolean;
  /** Serves a paused connection that speaks `protocol`; `first` is what was read of it to find that out. */
  serve(socket: Socket, protocol: Protocol, first: Buffer): void;
  /** Has node's server read a paused connection, from `first` on, until it ends. */
  readByNode(socket: Socket, first: Buffer): void;
  /** Answers with an error of our own in place of forwarding, and counts the request out. */
  refuse(request: RequestMessage, response: AnswerMessage, startedAt: number, error: CodedError): void;
  /**
   * Has a connection that node's server does not know (any more) end with the listener, as long as it is kept. The returned
   * function lets go of it, for when the server takes it back.
   */
  keep(socket: Duplex): () => void;
  /** Counts a connection that leaves HTTP (a WebSocket, a tunnel) as one request until it closes, and has it end with the listener. */
  detach(request: IncomingMessage, socket: Duplex): void;
  listen(address: Address, onClose: () => Promise<void>): Promise<Listening>;
}

/** What one client may make a listener hold. */
export interface ListenerLimits {
  /** Largest request head in bytes. */
  readonly header: number;
  /** How long a head may take to arrive, in milliseconds: a client that drips it byte by byte is cut off. Default 30,000. */
  readonly headMs?: number;
  /** How long a body may stand still while we are willing to read it, in milliseconds. Default 60,000. */
  readonly bodyIdleMs?: number;
}

/** Serves a request that came by HTTP/1. `keeper`: whom its exchange tells. What it throws is a defect, after the request was counted in and before it is carried. */
export type RequestHandler = (request: RequestMessage, response: AnswerMessage, keeper: ExchangeKeeper) => void;

/** Reads connections that speak HTTP/1, and ends those that are left. */
export interface Http1Reader {
  accept(listener: Listener, socket: Socket, first: Buffer): void;
  drain(): void;
  cut(): void;
}

export interface ListenerOptions {
  readonly direction: Direction;
  readonly metrics: HttpMetrics;
  readonly log: Log;
  readonly limits: ListenerLimits;
  readonly onRequest: RequestHandler;
  /** A handshake that leaves HTTP, on a connection on which no answer is owed. */
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** CONNECT likewise; without it, the connection ends. */
  onConnect?(request: IncomingMessage, socket: Socket, head: Buffer): void;
  /** Reads HTTP/1 first, and hands to node's server what it does not read itself. Without it, that reads everything. */
  readonly http1?: Http1Reader;
  /** Connections that speak HTTP/2. */
  readonly http2: {
    accept(listener: Listener, socket: Socket): void;
    drain(): void;
    cut(): void;
  };
}

export const HEAD_MS = 30_000;
export const BODY_IDLE_MS = 60_000;
/** How often readers look for heads that take too long. */
export const HEAD_CHECK_MS = 5_000;
/** Longer than the 60 s after which common load balancers close, so that they are the side that closes. */
export const KEEP_ALIVE_MS = 75_000;
/** How often a closing listener looks for connections that have become idle. */
const CLOSE_CHECK_MS = 20;
const BACKLOG = 1024;
const CONNECTIONS_MAX = 20_000;
/** Requests at once; one connection can carry many (pipelining). */
const REQUESTS_MAX = 10_000;

/** The server, not listening yet. */
export function openListener(options: ListenerOptions): Listener {
  const { direction, metrics } = options;
  const { server, readHttp1 } = openServer(options, () => listener);
  /** By connection of node's server. */
  const exchanges = new Map<Socket, Set<Exchange>>();
  const closeIdle = server.closeIdleConnections.bind(server);
  // Node's own, which the end of the server calls too, cuts off answers that a slow client has not read to their end.
  server.closeIdleConnections = () => {
    if (![...exchanges.keys()].some(hasUnreadAnswer)) closeIdle();
  };
  const kept = new Set<Duplex>();
  /** Connections that have not said yet what they speak. */
  const unknown = new Set<Socket>();
  let running = 0;
  let isDraining = false;
  const keep = (socket: Duplex): (() => void) => {
    const release = (): void => {
      kept.delete(socket);
      socket.off('close', release);
    };
    kept.add(socket);
    socket.once('close', release);
    return release;
  };

  // A handshake that is refused may leave a socket half open that its client never closes.
  server.on('upgrade', (_request, socket) => void keep(socket));
  server.on('connection', (socket: Socket) => {
    unknown.add(socket);
    const forget = (): void => void unknown.delete(socket);
    socket.once('close', forget);
    sniff(socket, options.limits.headMs ?? HEAD_MS, (protocol, first) => {
      socket.off('close', forget);
      forget();
      listener.serve(socket, protocol, first);
    });
  });

  const listener: Listener = {
    server,
    isDraining: () => isDraining,
    enter() {
      if (running >= REQUESTS_MAX) return overloaded();
      running += 1;
      metrics.started(direction);
      return undefined;
    },
    leave(method, status, startedAt) {
      running -= 1;
      metrics.ended(direction, method, status, monotonicSeconds() - startedAt);
    },
    admit(response) {
      const error = this.enter();
      if (error !== undefined) sendError(response, error, ['connection', 'close']);
      return error === undefined;
    },
    ended(request, status, startedAt) {
      this.leave(request.method ?? '', status, startedAt);
    },
    serve(socket, protocol, first) {
      if (protocol === 'tls') return refuseTls(socket);
      if (protocol === 'http2') {
        socket.unshift(first);
        options.http2.accept(this, socket);
      } else if (options.http1 === undefined) this.readByNode(socket, first);
      else options.http1.accept(this, socket, first);
    },
    readByNode(socket, first) {
      socket.unshift(first);
      exchanges.set(socket, new Set());
      socket.once('close', () => {
        const held = exchanges.get(socket);
        exchanges.delete(socket);
        for (const exchange of held ?? []) exchange.clientLeft();
      });
      readHttp1(socket);
      socket.resume();
    },
    refuse(request, response, startedAt, error) {
      sendError(response, error, isDraining || !request.complete ? ['connection', 'close'] : []);
      this.ended(request, response.headersSent ? response.statusCode : 0, startedAt);
    },
    hold(socket, exchange) {
      const held = exchanges.get(socket);
      if (held !== undefined) held.add(exchange);
      else exchanges.set(socket, new Set([exchange]));
      if (socket.destroyed) exchange.clientLeft();
    },
    release(socket, exchange) {
      const held = exchanges.get(socket);
      held?.delete(exchange);
      if (socket.destroyed) exchanges.delete(socket);
    },
    keep,
    detach(request, socket) {
      const startedAt = monotonicSeconds();
      running += 1;
      metrics.started(direction);
      kept.add(socket);
      socket.once('close', () => {
        kept.delete(socket);
        this.ended(request, 101, startedAt);
      });
    },
    async listen(address, onClose) {
      const { port, url } = await bind(server, address);
      return {
        port,
        url,
        async close(graceMs) {
          isDraining = true;
          for (const socket of unknown) socket.destroy();
          options.http1?.drain();
          options.http2.drain();
          await closeServer(server, graceMs, () => {
            options.http1?.cut();
            options.http2.cut();
            for (const socket of kept) socket.destroy();
          });
          await onClose();
        },
      };
    },
  };
  return listener;
}

/** Has `server` listen at `address`; rejects when it cannot. */
export async function bind(server: Server, address: Address): Promise<{ readonly port: number; readonly url: string }> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...address, backlog: BACKLOG }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return { port, url: `http://${host}:${port}` };
}

/** `readHttp1`: node's own reader of connections, which gets those that speak no other protocol. */
function openServer(
  options: ListenerOptions,
  listener: () => Listener,
): { readonly server: Server; readonly readHttp1: (socket: Socket) => void } {
  const { limits, log } = options;
  const headMs = limits.headMs ?? HEAD_MS;
  const server = createServer({
    maxHeaderSize: limits.header,
    headersTimeout: headMs,
    requireHostHeader: false, // requestHeaders refuses with an error of ours
    requestTimeout: 0, // a body may stream for as long as it moves; see watchBody
    connectionsCheckingInterval: Math.min(headMs, HEAD_CHECK_MS),
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAlive: true,
    noDelay: true,
    optimizeEmptyRequests: true,
    // Anything else that asks for an upgrade (h2c from Java's client) is served as the plain request it also is.
    shouldUpgradeCallback: (request) =>
      request.method === 'GET' && request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  const readers = server.listeners('connection');
  server.removeAllListeners('connection');
  server.maxHeadersCount = 0; // node would drop further lines silently; requestHeaders refuses them
  server.maxConnections = CONNECTIONS_MAX;
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    if (hasBody(request)) watchBody(request, limits.bodyIdleMs ?? BODY_IDLE_MS);
    try {
      options.onRequest(request, response, listener());
    } catch (cause) {
      log.error({ err: cause }, 'a defect: a request could not be served');
      listener().refuse(request, response, monotonicSeconds(), notServed(cause));
      if (!response.writableEnded) socket.destroy();
    }
  };
  server.on('request', onRequest);
  server.on('checkContinue', onRequest); // the origin decides about 100-continue
  server.on('clientError', refuseMessage);
  server.on('upgrade', (request, socket, head) => {
    if (owesAnswer(socket)) socket.destroy();
    else options.onUpgrade(request, socket, head);
  });
  server.on('connect', (request, socket, head) => {
    if (options.onConnect === undefined || owesAnswer(socket)) socket.destroy();
    else options.onConnect(request, socket as Socket, head);
  });
  server.on('drop', () => log.warn({ connections: CONNECTIONS_MAX }, 'a connection was refused: too many are open'));
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));
  const readHttp1 = (socket: Socket): void => {
    for (const reader of readers) Reflect.apply(reader, server, [socket]);
  };
  return { server, readHttp1 };
}

/** Says with an alert of TLS (RFC 8446 §6: fatal, handshake_failure) that it is not spoken here. */
function refuseTls(socket: Socket): void {
  socket.end(Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28]));
  socket.resume(); // read on, or the end would be a reset that swallows the alert
  at((now() + CLOSE_CHECK_MS) as Instant, () => socket.destroy());
}

/** `cut` ends the connections that node's server does not know, once the grace is over. */
async function closeServer(server: Server, graceMs: number, cut: () => void): Promise<void> {
  const deadline = now() + graceMs;
  const closed = new Promise<true>((resolve) => server.close(() => resolve(true)));
  do {
    if (now() < deadline) {
      // Answers that had begun before did not say close: their connections are idle when they end, and stay open otherwise.
      server.closeIdleConnections();
    } else {
      server.closeAllConnections();
      cut();
    }
  } while (!(await Promise.race([closed, pause(CLOSE_CHECK_MS)])));
}

/** Cuts off a client that stops sending in the middle of a body. A body that we ourselves do not read yet is not its fault. */
function watchBody(request: IncomingMessage, idleMs: number): void {
  if (request.complete) return;
  const { socket } = request; // undici takes it off the message when it has read the body
  const unwatch = (): void => void socket.setTimeout(0);
  request.setTimeout(idleMs, () => {
    if (!request.complete && request.readableFlowing === true) socket.destroy();
  });
  request.once('end', unwatch);
  request.once('close', unwatch);
}

function pause(ms: number): Promise<false> {
  return new Promise((resolve) => at((now() + ms) as Instant, () => resolve(false)));
}

/**
 * True when requests before this one wait for their answers: whatever is written now, or read by somebody else, would be taken for
 * theirs. RFC 9112 §9.3.2 lets a server end such a connection, and no client has a reason to send this before it has read them.
 */
function owesAnswer(socket: Duplex): boolean {
  return pendingAnswer(socket) !== undefined;
}

/** True when the answers on a connection have been written to their end, and some of that waits for the client to read. */
function hasUnreadAnswer(socket: Socket): boolean {
  return !socket.destroyed && socket.writableLength > 0 && pendingAnswer(socket)?.writableEnded !== false;
}

/** Node's answer to the oldest request of the connection that has not been answered to its end. */
function pendingAnswer(socket: Duplex): ServerResponse | undefined {
  const answer: unknown = '_httpMessage' in socket ? socket._httpMessage : undefined;
  return answer instanceof ServerResponse ? answer : undefined;
}

/**
 * The answer to what node's parser refused. When that is the body of a request whose answer has begun, or what follows a whole
 * request that is still being answered, there is no answer that would not be taken for another one's: the connection ends.
 */
function refuseMessage(error: Error & { readonly code?: string }, socket: Duplex): void {
  const answer = pendingAnswer(socket);
  const isBusy = answer !== undefined && (answer.headersSent || answer.req.complete);
  if (error.code === 'ECONNRESET' || isBusy || !socket.writable) socket.destroy();
  else sendRawError(socket, messageRefused(error.code));
}

function overloaded(): CodedError {
  return new CodedError('OVERLOADED', `More than ${REQUESTS_MAX} requests are being served`, {
    retry: 'safe',
    hint: 'Try again later, or run more replicas',
  });
}
