/** An origin over plain TCP, for requests of the lane and all whose bodies are there: connections of our own, the last used first. */
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, monotonicSeconds, now } from '../../../src/platform/clock.ts';
import { originDestroyed } from '../../http/errors.ts';
import type { AnswerHandler, OriginOptions } from '../origin.ts';
import { OriginConnection, type OriginParts } from './origin-connection.ts';
import type { LaneOriginRequest } from './request-text.ts';

/** What its users may ask of it. */
export interface LaneOrigin {
  /** Everything that goes wrong is told to the handler, also that the origin was destroyed before. */
  dispatch(request: LaneOriginRequest, handler: AnswerHandler): void;
  /** Ends the connections that carry nothing, and each of the others with its request. */
  close(): void;
  /** Ends every connection at once. */
  destroy(): void;
}

/** How connections are to be kept. */
export type LaneOriginOptions = OriginOptions & Pick<OriginParts, 'connectTimeoutMs' | 'keepAliveMs' | 'headBytesMax'>;

/** How often deadlines are looked at. */
const LOOK_MS = 250;

/** It connects when the first request comes. */
export function openLaneOrigin(options: LaneOriginOptions): LaneOrigin {
  const url = new URL(options.url);
  const all = new Set<OriginConnection>();
  /** Unused, the last used last. */
  const idle: OriginConnection[] = [];
  /** Just used: a server that ends them after all has said so by the next round of the event loop. */
  let resting: OriginConnection[] = [];
  let isLooking = false;
  let isClosed = false;
  let isDestroyed = false;

  const rested = (): void => {
    for (const connection of resting) {
      if (isClosed) connection.destroy();
      else if (connection.isUsable()) idle.push(connection);
    }
    resting = [];
  };
  const parts: OriginParts = {
    ...options,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 80 : Number(url.port),
    defaultHost: url.host,
    lookup: options.lookup,
    headTimeoutMs: options.timeoutMs,
    freed(connection) {
      if (resting.push(connection) === 1) setImmediate(rested);
    },
    ended(connection) {
      all.delete(connection);
      const place = idle.indexOf(connection);
      if (place !== -1) idle.splice(place, 1);
    },
  };
  const look = (): void => {
    const seconds = monotonicSeconds();
    for (const connection of all) connection.look(seconds);
    isLooking = all.size > 0;
    if (isLooking) at((now() + LOOK_MS) as Instant, look);
  };
  const open = (): OriginConnection => {
    const connection = new OriginConnection(parts);
    all.add(connection);
    if (!isLooking) {
      isLooking = true;
      at((now() + LOOK_MS) as Instant, look);
    }
    return connection;
  };

  return {
    dispatch(request, handler) {
      if (isDestroyed) return handler.onError(originDestroyed());
      let connection = idle.pop();
      while (connection !== undefined && !connection.isUsable()) connection = idle.pop();
      (connection ?? open()).carry(request, handler);
    },
    close() {
      isClosed = true;
      for (const connection of idle) connection.destroy();
      idle.length = 0;
    },
    destroy() {
      isClosed = true;
      isDestroyed = true;
      for (const connection of all) connection.destroy();
    },
  };
}
