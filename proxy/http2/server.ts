/**
 * Connections of clients that speak HTTP/2. What node does by itself: HPACK, flow control, the rules for messages (RFC 9113 §8), at
 * most eight CONTINUATION frames a head, limits on floods of SETTINGS, PING and empty frames, and an end for connections that reset
 * more than 1,000 streams in a burst or 33 a second. What is added here: limits on heads, streams and memory, a deadline for the
 * first SETTINGS and their acknowledgement, pings, and an end that lets streams finish.
 */
import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Admit } from '../http/admission.ts';
import { HEADER_LINES_MAX } from '../http/headers.ts';
import type { ListenerLimits } from '../http/limits.ts';
import type { Listener } from '../http/listener.ts';
import { serve } from './exchange.ts';
import { arrivedHead, fieldOf, sensitiveNames, type ArrivedHead } from './head.ts';
import { isGrpc } from './grpc.ts';
import type { Http2Origin } from './origin.ts';
import { sendError } from './own-answer.ts';
import { Http2Head } from './request-head.ts';
import { STREAM_WINDOW_BYTES } from './session.ts';
import { watch } from './watch.ts';

/** What serves the streams. */
export interface Http2ServerParts {
  readonly limits: ListenerLimits;
  readonly log: Log;
  /** How long the other side may take to begin its answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly admit: Admit;
  /** The headers as they are to go on, with a Host where the next hop is to get one, and the destination where the head names it. */
  place(head: ArrivedHead, socket: Socket): { readonly headers: string[]; readonly authority: string | undefined };
  /** Where passages to `url` (an origin) go. */
  originOf(url: string): Http2Origin;
}

/** Serves connections of one listener. */
export interface Http2Server {
  /** Takes over a connection from its first byte on. It ends with the listener. */
  accept(listener: Listener, socket: Socket): void;
  /** Takes no more streams: clients are told to connect elsewhere. Those that run end in peace. */
  drain(): void;
  /** Ends every connection, and with a second call those that have not let go by then. */
  cut(): void;
}

/** More than clients commonly open on one connection, and a bound to what one can make us hold. */
const STREAMS_MAX = 1_000;
const SESSION_MEGABYTES_MAX = 64;
/** Pseudo-fields come on top of the header lines that HTTP/1 allows. */
const FIELDS_MAX: number = HEADER_LINES_MAX + 8;
const SETTINGS_MS = 30_000;
/** Looks, a minute each, after which a connection without streams is closed, and between pings of one with streams. */
const LOOKS = { idle: 10, ping: 1 };
/** In the first of two GOAWAYs: no stream is excluded yet, because some may be on their way (RFC 9113 §6.8). */
const LAST_STREAM_ID = 2 ** 31 - 1;

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

export function openHttp2Server(parts: Http2ServerParts): Http2Server {
  const sessions = new Map<ServerHttp2Session, Socket>();
  return {
    accept(listener, socket) {
      // A client that has closed its end has left. Over HTTP/1 too, where node's reader sees to it that the socket, which its server
      // leaves half open, ends; as most gateways, we cannot tell the one who only has no more to say from the one who has gone.
      socket.allowHalfOpen = false;
      const session = performServerHandshake(socket, sessionOptions(parts.limits));
      sessions.set(session, socket);
      follow(session, parts.limits.headMs ?? SETTINGS_MS, () => sessions.delete(session));
      session.on('stream', (stream, headers, flags, raw: string[]) => {
        const isWhole = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
        serveStream(parts, listener, { stream, socket, raw, isWhole, sensitive: sensitiveNames(headers) });
      });
      if (listener.isDraining()) drain(session);
    },
    drain() {
      for (const session of sessions.keys()) drain(session);
    },
    cut() {
      for (const [session, socket] of sessions) {
        // Streams are reset first: to some clients a connection that just ends after GOAWAY means that all is well.
        if (!session.destroyed) session.destroy(new Error('the listener has closed'), NGHTTP2_INTERNAL_ERROR);
        else socket.destroy();
      }
    },
  };
}

function sessionOptions(limits: ListenerLimits): Parameters<typeof performServerHandshake>[1] & object {
  const options = {
    maxHeaderListPairs: FIELDS_MAX,
    maxSessionMemory: SESSION_MEGABYTES_MAX,
    strictSingleValueFields: false, // answers go on as they came
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: STREAMS_MAX,
      maxHeaderListSize: limits.header,
    },
  };
  return options;
}

function follow(session: ServerHttp2Session, settingsMs: number, gone: () => void): void {
  let streams = 0;
  const cancelSettings = at((now() + settingsMs) as Instant, () => session.destroy());
  const stopWatching = watch(session, () => streams, LOOKS);
  session.once('localSettings', cancelSettings); // the client has acknowledged ours: from now on nghttp2 holds it to them
  session.on('error', () => undefined); // `close` follows; its streams hear of it themselves
  session.on('stream', (stream) => {
    streams += 1;
    stream.once('close', () => {
      streams -= 1;
    });
  });
  session.on('close', () => {
    cancelSettings();
    stopWatching();
    gone();
  });
}

interface OpenedStream {
  readonly stream: ServerHttp2Stream;
  readonly socket: Socket;
  readonly raw: readonly string[];
  readonly isWhole: boolean;
  readonly sensitive: readonly string[];
}

function serveStream(parts: Http2ServerParts, listener: Listener, opened: OpenedStream): void {
  const { stream, raw } = opened;
  const startedAt = monotonicSeconds();
  const arrived = arrivedHead(raw, parts.limits.header);
  const method = fieldOf(raw, ':method') ?? '';
  const asker = { method, isGrpc: isGrpc(fieldOf(raw, 'content-type')) };
  const refusal = listener.enter();
  if (refusal !== undefined) return refuse(stream, refusal, asker);
  const ended = (status: number): void => listener.leave(method, status, startedAt);
  if (arrived instanceof CodedError) {
    ended(400);
    return refuse(stream, arrived, asker);
  }
  const placed = parts.place(arrived, opened.socket);
  const head = new Http2Head(stream, arrived, { ...placed, isWhole: opened.isWhole, sensitive: opened.sensitive });
  const { timeoutMs } = parts;
  serve({ stream, head, timeoutMs, originOf: (url) => parts.originOf(url), ended }, () => {
    try {
      return parts.admit(head);
    } catch (cause) {
      parts.log.error({ err: cause }, 'a defect: a request could not be served');
      return {
        kind: 'refuse',
        error: new CodedError('INTERNAL', 'The request could not be served', { retry: 'ask', cause }),
      };
    }
  });
}

function refuse(
  stream: ServerHttp2Stream,
  error: CodedError,
  asker: { readonly method: string; readonly isGrpc: boolean },
): void {
  stream.on('error', () => undefined);
  if (stream.destroyed) return;
  sendError(stream, error, asker);
  stream.resume();
}

/** Two GOAWAYs: one to stop new streams, and a round trip later the one that ends the connection with its last stream. */
function drain(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed) return;
  session.goaway(NGHTTP2_NO_ERROR, LAST_STREAM_ID);
  session.ping(() => {
    if (!session.destroyed) session.close();
  });
}
