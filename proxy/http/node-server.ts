/**
 * Node's own server of HTTP/1: it reads what the lane leaves to it, upgrades and CONNECT among that. Here is how it is set up, how it
 * answers what its parser refuses, and what it still owes the clients of a connection.
 */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { messageRefused, notServed, sendRawError } from './errors.ts';
import { hasBody } from './headers.ts';
import { BODY_IDLE_MS, HEAD_CHECK_MS, HEAD_MS, KEEP_ALIVE_MS } from './limits.ts';
import type { Listener, ListenerOptions } from './listener.ts';

const CONNECTIONS_MAX = 20_000;

/** The server, which has no connections but those that it is given with `readHttp1`. `listener`: whom its requests tell. */
export function openNodeServer(
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

/**
 * True when requests before this one wait for their answers: whatever is written now, or read by somebody else, would be taken for
 * theirs. RFC 9112 §9.3.2 lets a server end such a connection, and no client has a reason to send this before it has read them.
 */
function owesAnswer(socket: Duplex): boolean {
  return pendingAnswer(socket) !== undefined;
}

/** True when the answers on a connection have been written to their end, and some of that waits for the client to read. */
export function hasUnreadAnswer(socket: Socket): boolean {
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
