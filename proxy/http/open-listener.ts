/** What every HTTP listener of the sidecar has: limits, timeouts, errors for unreadable requests, and a graceful end. */
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Address } from '../../src/platform/option-types.ts';
import { sendError } from './errors.ts';
import { HEAD_MS } from './limits.ts';
import type { Exchange, Listener, ListenerOptions } from './listener.ts';
import { hasUnreadAnswer, openNodeServer } from './node-server.ts';
import { sniff } from './sniff.ts';

/** How often a closing listener looks for connections that have become idle. */
const CLOSE_CHECK_MS = 20;
const BACKLOG = 1024;
/** Requests at once; one connection can carry many (pipelining). */
const REQUESTS_MAX = 10_000;

/** The server, not listening yet. */
export function openListener(options: ListenerOptions): Listener {
  const { direction, metrics } = options;
  const { server, readHttp1 } = openNodeServer(options, () => listener);
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

function pause(ms: number): Promise<false> {
  return new Promise((resolve) => at((now() + ms) as Instant, () => resolve(false)));
}

function overloaded(): CodedError {
  return new CodedError('OVERLOADED', `More than ${REQUESTS_MAX} requests are being served`, {
    retry: 'safe',
    hint: 'Try again later, or run more replicas',
  });
}
