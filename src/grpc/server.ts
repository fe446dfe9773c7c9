/** The gRPC server: DTM's service, ours, and reflection. Nothing that a client sends ends it. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server as Listener, type Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  setLogger,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import type { Instant } from '../contract/transaction.ts';
import type { DtmService } from '../dtm/service.ts';
import { bearerCheck } from '../platform/bearer.ts';
import { at, now } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Address, Secret } from '../platform/option-types.ts';
import { coordinatorMethods, type Reader } from './coordinator.ts';
import { dtmMethods, type OnDtmRequest } from './dtm.ts';
import { loadProto, serviceOf } from './proto.ts';
import { unary, type UnaryMethod } from './unary.ts';

/** What clients of gRPC expect a server to take, and DTM's takes. */
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** Largest request over gRPC, where one over HTTP has at most `bodyBytesMax`. */
export function messageBytesMax(bodyBytesMax: number): number {
  return Math.max(MESSAGE_BYTES_MAX, bodyBytesMax);
}

const REQUEST_MS = 30_000;
const CONNECTIONS_MAX = 20_000;

const OPTIONS = {
  'grpc.max_concurrent_streams': 1000,
  // A client that is gone without a word is noticed by a ping; one that says nothing for long is let go.
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.max_connection_idle_ms': 300_000,
  // Clients connect anew, perhaps to another coordinator; calls under way go on. The grace is longer than the longest `WaitResult`.
  'grpc.max_connection_age_ms': 3_600_000,
  'grpc.max_connection_age_grace_ms': 660_000,
  // Not 0: `forceShutdown` ends only the connections that channelz has counted (grpc-js 1.14).
  'grpc.enable_channelz': 1,
};

export interface GrpcServerOptions {
  readonly listen: Address;
  /** What callers must send as metadata `authorization: Bearer …`; undefined: nothing. */
  readonly token: Secret | undefined;
  /** Largest request, if that is more than what clients expect. */
  readonly bodyBytesMax?: number;
  /** How long a request may take to come in; default 30 s, as over HTTP. */
  readonly requestMs?: number;
  /** Connections at the same time; default 20,000, as over HTTP. */
  readonly connectionsMax?: number;
}

export interface GrpcServices {
  readonly dtm: DtmService;
  readonly runner: Reader;
  /** Is told of each answer to a request of DTM's protocol; both words come from closed sets. */
  readonly onDtmRequest?: OnDtmRequest;
}

export interface GrpcServer {
  readonly port: number;
  /** Listens no more, ends long polls, and tells clients to go elsewhere with their next call. */
  drain(): void;
  /** Waits until every call that came in is answered, at most `graceMs`; then cuts what is still connected. */
  close(graceMs: number): Promise<void>;
}

/** Starts to listen. Rejects when it cannot, with what `node:net` says of an address: `code`, `syscall`, `address` and `port`. */
export async function listenGrpc(
  { listen, token, bodyBytesMax = 0, requestMs = REQUEST_MS, connectionsMax = CONNECTIONS_MAX }: GrpcServerOptions,
  { dtm, runner, onDtmRequest = () => undefined }: GrpcServices,
  log: Log,
): Promise<GrpcServer> {
  // What the library has to say of itself belongs into the log, not beside it.
  setLogger({ error: (text: unknown) => log.debug({}, String(text)) });
  const draining = new AbortController();
  const server = new Server({
    ...OPTIONS,
    'grpc.max_receive_message_length': messageBytesMax(bodyBytesMax),
    interceptors: [...(token === undefined ? [] : [tokenCheck(token)]), deadlineOfRequest(requestMs)],
  });
  const definition = loadProto('dtmgimp.proto', 'coordinator.proto');
  const add = (name: string, methods: object): void => {
    const handlers: UntypedServiceImplementation = {};
    for (const [method, run] of Object.entries(methods) as [string, UnaryMethod<unknown, unknown>][]) {
      handlers[method] = unary(run, draining.signal, log);
    }
    server.addService(serviceOf(definition, name), handlers);
  };
  add('dtmgimp.Dtm', dtmMethods(dtm, onDtmRequest));
  add('atomesh.v1.Coordinator', coordinatorMethods(runner));
  new ReflectionService(definition).addToServer(server);
  const connections = new Set<Socket>();
  const listener = await bind(server, listen, connections, connectionsMax, log);
  const ended = Promise.withResolvers<void>();
  let isDraining = false;
  const drain = (): void => {
    if (isDraining) return;
    isDraining = true;
    draining.abort();
    // The library does not wait for connections that are not of a listener of its own.
    listener.close(() => ended.resolve());
    server.tryShutdown(() => undefined);
    // Nor does it end those whose client has not said a word yet.
    for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
  };
  return {
    port: (listener.address() as AddressInfo).port,
    drain,
    close: async (graceMs) => {
      drain();
      const cancel = at((now() + Math.max(0, graceMs)) as Instant, () => {
        server.forceShutdown();
        for (const socket of connections) socket.destroy();
        ended.resolve();
      });
      await ended.promise;
      cancel();
    },
  };
}

/** Connections come in through a listener of our own: the library's has no cap. */
async function bind(
  server: Server,
  { host, port }: Address,
  connections: Set<Socket>,
  connectionsMax: number,
  log: Log,
): Promise<Listener> {
  const library = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    library.injectConnection(socket);
  });
  listener.maxConnections = connectionsMax;
  listener.on('drop', () => log.warn({ connections: connectionsMax }, 'a connection was refused: too many are open'));
  listener.listen({ host, port, backlog: 1024 });
  await once(listener, 'listening');
  listener.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));
  return listener;
}

/** Ends calls whose request does not come to its end: each would be held for as long as its client likes. */
function deadlineOfRequest(requestMs: number): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const cancel = at((now() + requestMs) as Instant, () => {
          call.sendStatus({ code: status.DEADLINE_EXCEEDED, details: 'the request did not come in time' });
        });
        next({
          onReceiveHalfClose: (next) => {
            cancel();
            next();
          },
          onCancel: cancel,
        });
      },
    });
}

/** Refuses calls without the token, of whatever method, before anything of them is read. */
function tokenCheck(token: Secret): ServerInterceptor {
  const mayCall = bearerCheck(token);
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, next) => {
            if (mayCall(metadata.get('authorization')[0]?.toString())) return next(metadata);
            const details =
              'this coordinator asks for a token: send metadata "authorization: Bearer <token>" with its option "token"';
            call.sendStatus({ code: status.UNAUTHENTICATED, details });
          },
        });
      },
    });
}
