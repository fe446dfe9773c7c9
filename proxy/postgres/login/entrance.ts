/** The beginning of a client's connection, up to its start-up message: encryption asked for, cancel requests, what is refused. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { DatabaseOptions } from '../../options.ts';
import type { Refusal } from '../../sql/statement.ts';
import { hangUp } from '../../relay/hang-up.ts';
import { errorFrame } from '../session/conversation.ts';
import type { ProtocolFault } from '../wire/body.ts';
import { ALPN, createStartupReader, type CancelRequest, type Startup, type StartupMessage } from '../wire/startup.ts';
import { createListenTls, type Beginning } from '../../relay/listen-tls.ts';

export interface EntranceParts {
  readonly database: DatabaseOptions;
  /** A start-up message. `bytes` is the packet as it came, `rest` what came behind it. Nothing more is read of the client. */
  readonly onStartup: (client: Socket, message: StartupMessage, bytes: Buffer, rest: Buffer) => void;
  readonly onCancel: (client: Socket, request: CancelRequest) => void;
  readonly onProtocolError: () => void;
  readonly log: Log;
}

export interface Entrance {
  /** Serves a new connection. */
  enter(client: Socket): void;
  /** Lets a client go on whose start-up message came: false when it was refused meanwhile, or has gone. */
  letIn(client: Socket): boolean;
  /** Tells a client why not, and hangs up. */
  refuse(client: Socket, refusal: Refusal): void;
  /** The same with an error of somebody else's. */
  turnAway(client: Socket, error: Buffer): void;
  /** Refuses all who are here, and those who are still shaking hands when they have done so. */
  close(refusal: Refusal): void;
}

const YES = Buffer.from('S');
const NO = Buffer.from('N');

/** Throws when the certificate of the listener cannot be read. */
export function createEntrance(parts: EntranceParts): Entrance {
  /** Those that are no session yet. A client with TLS is its TLS socket. */
  const starting = new Set<Socket>();
  let closed: Refusal | undefined;
  const { listenTls, auth } = parts.database;
  const tls =
    listenTls === undefined
      ? undefined
      : createListenTls({ options: listenTls, alpn: ALPN, timeoutMs: auth.timeout, onSecure: welcome, log: parts.log });

  function refuse(client: Socket, refusal: Refusal): void {
    turnAway(client, errorFrame(refusal, 'FATAL'));
  }

  function turnAway(client: Socket, error: Buffer): void {
    starting.delete(client);
    hangUp(client, error);
  }

  function enter(client: Socket): void {
    const reader = createStartupReader();
    const cancelTimer = at((now() + auth.timeout) as Instant, () => client.destroy());
    starting.add(client);
    const giveUp = (): void => void client.destroy();
    const onClose = (): void => {
      cancelTimer();
      starting.delete(client);
    };
    /** Nothing more is read from this client here. */
    const leave = (): void => {
      cancelTimer();
      client.off('data', onData).off('end', giveUp).pause();
    };
    const onData = (chunk: Buffer): void => {
      const startup = reader.push(chunk);
      if (startup === undefined) return;
      // The client goes on without that encryption, or with another.
      if (isDeclined(startup, client)) return void client.write(NO);
      leave();
      goOn(client, startup);
    };
    client.on('data', onData).once('end', giveUp).once('close', onClose);
  }

  function isDeclined(startup: Startup | ProtocolFault, client: Socket): boolean {
    if (startup.kind !== 'packet') return false;
    if (startup.packet.kind === 'gssenc-request') return true;
    return startup.packet.kind === 'ssl-request' && tls === undefined && !(client instanceof TLSSocket);
  }

  function goOn(client: Socket, startup: Startup | ProtocolFault): void {
    if (startup.kind === 'fault') {
      parts.onProtocolError();
      const hint = 'This port speaks the PostgreSQL protocol.';
      return refuse(client, { code: startup.code, message: startup.message, hint });
    }
    if (startup.kind === 'direct-tls') return direct(client, startup.rest);
    const { packet } = startup;
    switch (packet.kind) {
      case 'ssl-request':
      case 'gssenc-request':
        return asked(client);
      case 'cancel-request':
        starting.delete(client);
        return parts.onCancel(client, packet);
      case 'startup':
        if (tls?.isRequired === true && !(client instanceof TLSSocket)) return refuse(client, onlyTls);
        return parts.onStartup(client, packet, startup.bytes, startup.rest);
    }
  }

  function asked(client: Socket): void {
    if (tls === undefined || client instanceof TLSSocket) {
      parts.onProtocolError();
      return refuse(client, { code: '08P01', message: 'the connection is encrypted already', hint: ONCE });
    }
    client.write(YES);
    return shakeHands(client, 'asked');
  }

  function direct(client: Socket, hello: Buffer): void {
    if (tls === undefined) return refuse(client, noTls);
    if (client instanceof TLSSocket) return void client.destroy();
    client.unshift(hello);
    return shakeHands(client, 'direct');
  }

  function shakeHands(raw: Socket, beginning: Beginning): void {
    starting.delete(raw);
    // A client that ends its side in the middle of the handshake is gone; behind it, it still gets its answers.
    raw.allowHalfOpen = false;
    tls?.shakeHands(raw, beginning);
  }

  /** The client's connection is encrypted: it begins anew. */
  function welcome(client: TLSSocket, beginning: Beginning): void {
    client.allowHalfOpen = true;
    client.on('error', () => client.destroy());
    if (closed !== undefined) return hangUp(client, errorFrame(closed, 'FATAL'));
    // PG source: direct connections without ALPN are refused, so that no other protocol's client can be led here (ALPACA).
    if (beginning === 'direct' && client.alpnProtocol !== ALPN) return hangUp(client, errorFrame(noAlpn, 'FATAL'));
    return enter(client);
  }

  return {
    enter,
    letIn: (client) => starting.delete(client),
    refuse,
    turnAway,
    close(refusal) {
      closed = refusal;
      for (const client of starting) refuse(client, refusal);
    },
  };
}

const ONCE = 'Ask for TLS once, at the beginning of the connection.';

const noTls: Refusal = {
  code: '08004',
  message: 'this listener does not take TLS connections',
  hint: 'Connect without TLS (sslmode=disable) where the sidecar stands on the same host, or give the listener a certificate (databases[].listenTls).',
};

const onlyTls: Refusal = {
  code: '28000',
  message: 'this listener takes TLS connections only',
  hint: 'Connect with TLS (sslmode=require or better), or set databases[].listenTls.mode to allow.',
};

const noAlpn: Refusal = {
  code: '08P01',
  message: 'a direct TLS connection must name its protocol',
  hint: 'Send the ALPN protocol "postgresql", as libpq does from version 17 on.',
};
