/**
 * The fast way through a listener for plain requests over HTTP/1.1 (docs/decisions/0025-plain-requests-take-a-lane-of-their-own.md): our
 * own reader and writer in place of node's server, with the same exchanges behind them.
 */
import type { Socket } from 'node:net';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import { BODY_IDLE_MS, HEAD_CHECK_MS, HEAD_MS, KEEP_ALIVE_MS, type ListenerLimits } from '../../http/limits.ts';
import type { Http1Reader, Listener, RequestHandler } from '../../http/listener.ts';
import { LaneConnection } from './connection.ts';

/** The lane of one listener. */
export function openLane(limits: ListenerLimits, log: Log, onRequest: RequestHandler): Http1Reader {
  const { header, headMs = HEAD_MS, bodyIdleMs = BODY_IDLE_MS } = limits;
  const parts = { headBytesMax: header, bodyIdleMs, log, onRequest };
  const connections = new Set<LaneConnection>();
  const forget = (connection: LaneConnection): void => void connections.delete(connection);
  const lookMs = Math.min(headMs, HEAD_CHECK_MS);
  const headLooks = Math.ceil(headMs / lookMs);
  const idleLooks = Math.ceil(KEEP_ALIVE_MS / lookMs);
  let isLooking = false;
  const look = (): void => {
    for (const connection of connections) connection.look(headLooks, idleLooks);
    isLooking = connections.size > 0;
    if (isLooking) at((now() + lookMs) as Instant, look);
  };
  return {
    accept(listener: Listener, socket: Socket, first: Buffer) {
      const connection = new LaneConnection(socket, parts, listener, forget);
      connections.add(connection);
      if (!isLooking) look();
      connection.start(first);
    },
    drain() {
      for (const connection of connections) connection.drain();
    },
    cut() {
      for (const { socket } of connections) socket.destroy();
    },
  };
}
