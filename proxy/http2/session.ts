/** One HTTP/2 connection to an origin: how many streams it takes, whether it still lives, and when nobody needs it any more. */
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import { codeOf } from '../http/errors.ts';
import type { OriginOptions } from '../http1/origin.ts';
import { watch } from './watch.ts';

/** A connection of a pool. */
export interface UpstreamSession {
  readonly session: ClientHttp2Session;
  /** Streams that run. The pool counts them up, and down when they close. */
  open: number;
  /** Streams that it should carry at most: the server's own limit, where that is lower than ours; undefined until it has said so. */
  streamsMax(): number | undefined;
  /** False when it takes no new streams: it failed, one of the sides said GOAWAY, or too many of its streams were reset. */
  isUsable(): boolean;
  /** A stream of it was reset. After many it takes no new ones, and ends with the last that runs. */
  countReset(): void;
  /** Why a stream broke with its connection; `failure` is what node says of it. */
  explain(failure: Error | undefined): Error;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Above this a further connection is opened: one connection is one queue for all its streams. */
export const STREAMS_MAX = 100;
/**
 * Streams given up on one connection before it is left to end: servers end one that resets many, and with it what other clients wait
 * for (CVE-2023-44487: nghttp2 and node after 1,000 in a burst, Envoy after 500). Those that run may all be reset on top.
 */
const RESETS_MAX = 400;
/** What a stream may receive before it is read on, in bytes. A paused stream holds no more than that. */
export const STREAM_WINDOW_BYTES: number = 256 * 1024;
const ANSWER_HEAD_BYTES_MAX = 64 * 1024;
/** A connection that nobody uses is closed after so many looks. */
const IDLE_CHECKS_MAX = 2;
/** A used connection is asked for a sign of life once in so many looks: gRPC servers end those that ask within five minutes. */
const CHECKS_PER_PING = 6;

/** What OpenSSL says when the server has none of the protocols that it was offered (RFC 7301 §3.2). */
const NO_COMMON_PROTOCOL = 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';

/** Connects. `gone` is called once, as soon as the connection takes no new streams. */
export function openUpstreamSession(options: OriginOptions, gone: () => void): UpstreamSession {
  const url = new URL(options.url);
  let socket: Socket | undefined;
  const sessionOptions = {
    createConnection: () => (socket = dial(url, options)),
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: ANSWER_HEAD_BYTES_MAX },
    maxHeaderListPairs: 1_000,
    maxSessionMemory: 1_024, // of streams that the listener in front has admitted and bounds
    strictSingleValueFields: false, // what the sender repeats is passed on as it came; nghttp2 refuses what frames the message
  };
  const session = connectHttp2(url, sessionOptions);
  let streamsMax: number | undefined;
  let isGone = false;
  let resets = 0;
  const leave = (): void => {
    if (isGone) return;
    isGone = true;
    gone();
  };
  const cancelConnecting = at((now() + CONNECT_TIMEOUT_MS) as Instant, () => session.destroy(noConnection()));
  const result: UpstreamSession = {
    session,
    open: 0,
    streamsMax: () => streamsMax,
    isUsable: () => !isGone && !session.closed && !session.destroyed,
    countReset() {
      resets += 1;
      if (resets < RESETS_MAX || isGone) return;
      leave();
      session.close();
    },
    explain(failure) {
      // Node wraps what has ended a connection before its streams had begun.
      const error = failure?.cause instanceof Error ? failure.cause : failure;
      if (error !== undefined && codeOf(error) === NO_COMMON_PROTOCOL) return notHttp2(error);
      const hasAnswered = url.protocol === 'http:' && socket !== undefined && socket.bytesRead > 0;
      if (hasAnswered && streamsMax === undefined && !(error instanceof CodedError)) return notHttp2(error);
      return error ?? new Error('it closed');
    },
  };
  const stopWatching = watch(session, () => result.open, { idle: IDLE_CHECKS_MAX, ping: CHECKS_PER_PING });
  session.once('connect', () => {
    cancelConnecting();
    if (socket !== undefined && 'alpnProtocol' in socket && socket.alpnProtocol !== 'h2') session.destroy(notHttp2());
  });
  session.on('remoteSettings', ({ maxConcurrentStreams }) => {
    streamsMax = Math.min(STREAMS_MAX, maxConcurrentStreams ?? STREAMS_MAX);
  });
  session.on('goaway', leave);
  session.on('error', leave); // `close` follows; its streams hear of it themselves
  session.on('close', () => {
    cancelConnecting();
    stopWatching();
    leave();
  });
  return result;
}

function dial(url: URL, { lookup }: OriginOptions): Socket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const isTls = url.protocol === 'https:';
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
  const target = { host, port, noDelay: true, keepAlive: true, ...(lookup === undefined ? {} : { lookup }) };
  if (!isTls) return connect(target);
  return connectTls({ ...target, ALPNProtocols: ['h2'], ...(isIP(host) === 0 ? { servername: host } : {}) });
}

function noConnection(): CodedError {
  return new CodedError('UPSTREAM_UNREACHABLE', 'No connection could be made in time', {
    retry: 'safe',
    hint: 'The request was not delivered. Check that the target runs and listens where the configuration says',
  });
}

function notHttp2(cause?: Error): CodedError {
  return new CodedError('UPSTREAM_UNREACHABLE', 'The target does not speak HTTP/2', {
    retry: 'safe',
    hint: 'Have it listen for HTTP/2 (without TLS: by prior knowledge, h2c). For an application, inbound.protocol: http1 translates',
    cause,
  });
}
