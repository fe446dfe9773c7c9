/** An HTTP listener of the sidecar, as those see it who open one, serve its requests and read its connections. */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { CodedError } from '../../src/contract/errors.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Address } from '../../src/platform/option-types.ts';
import type { ListenerLimits } from './limits.ts';
import type { AnswerMessage, RequestMessage } from './message.ts';
import type { Direction, HttpMetrics } from './metrics.ts';
import type { Protocol } from './sniff.ts';

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
