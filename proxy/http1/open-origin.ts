/**
 * A server that requests are forwarded to: kept-alive connections, one request on each at a time. What came through the lane or has its
 * body with it goes over connections of our own (`lane/lane-origin.ts`), other bodies that stream and TLS over undici, and what undici
 * cannot carry (request trailers, `Expect: 100-continue`, `OPTIONS *`) over node's own client, all through the same interface.
 */
import { Pool } from 'undici';
import { originDestroyed } from '../http/errors.ts';
import { openLaneOrigin } from './lane/lane-origin.ts';
import { LaneBody } from './lane/request.ts';
import type { LaneOriginRequest } from './lane/request-text.ts';
import type { Origin, OriginOptions, OriginRequest } from './origin.ts';
import { openPlainOrigin } from './plain-origin.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Shorter than what common servers grant (node 5 s, gunicorn 2 s), so that we are mostly the side that closes. */
const KEEP_ALIVE_MS = 1_500;
const ANSWER_HEAD_BYTES_MAX = 64 * 1024;

/** It connects when the first request comes. */
export function openOrigin(options: OriginOptions): Origin {
  const lane = options.url.startsWith('http:')
    ? openLaneOrigin({
        ...options,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        keepAliveMs: KEEP_ALIVE_MS,
        headBytesMax: ANSWER_HEAD_BYTES_MAX,
      })
    : undefined;
  let pool: Pool | undefined;
  let isDestroyed = false;
  const plain = openPlainOrigin(options, CONNECT_TIMEOUT_MS);
  return {
    dispatch(request, handler, rare) {
      if (isDestroyed) handler.onError(originDestroyed());
      else if (rare) plain.dispatch(request, handler);
      else if (lane !== undefined && isForLane(request)) lane.dispatch(request, handler);
      else {
        pool ??= openPool(options);
        pool.dispatch(request, handler);
      }
    },
    async close() {
      lane?.close();
      await pool?.close();
    },
    async destroy() {
      isDestroyed = true;
      lane?.destroy();
      plain.destroy();
      await pool?.destroy();
    },
  };
}

function isForLane(request: OriginRequest): request is OriginRequest & LaneOriginRequest {
  const { body } = request;
  return body === null || Buffer.isBuffer(body) || body instanceof LaneBody;
}

function openPool({ url, timeoutMs, lookup }: OriginOptions): Pool {
  return new Pool(url, {
    connections: null, // the listener in front limits how many requests run at once
    pipelining: 1,
    headersTimeout: timeoutMs,
    bodyTimeout: 0, // a stream of events may be silent for hours; dead peers are found by TCP keep-alive
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: ANSWER_HEAD_BYTES_MAX,
    connect: { timeout: CONNECT_TIMEOUT_MS, ...(lookup === undefined ? {} : { lookup }) },
  });
}
