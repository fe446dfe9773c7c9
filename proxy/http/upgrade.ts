/** WebSockets, through `http-proxy`: after the handshake, bytes go through as they come until one side closes. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { createProxyServer } from 'http-proxy';
import { CodedError } from '../../src/contract/errors.ts';
import { sendRawError } from './errors.ts';
import { answerHeaders } from './headers.ts';
import type { Listener } from './listener.ts';

/** A handshake as it goes on. */
export interface Handshake {
  readonly path: string;
  /** End-to-end headers. Without a Host among them, the target's is sent. */
  readonly headers: readonly string[];
  /** Resolves the target's name, and may refuse addresses. */
  readonly lookup?: LookupFunction;
}

export interface Upgrades {
  /** Sends the handshake on and connects the two sockets. A target that cannot be reached is answered with 502. */
  relay(listener: Listener, request: IncomingMessage, socket: Duplex, head: Buffer, handshake: Handshake): void;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** How long the other side may take to answer a handshake. */
const HANDSHAKE_TIMEOUT_MS = 30_000;

/** Relays to `origin`, `http://host:port` or `https://host:port`. */
export function openUpgrades(origin: string): Upgrades {
  const target = new URL(origin);
  const proxy = createProxyServer({ target, connectTimeout: CONNECT_TIMEOUT_MS });
  proxy.on('error', (_error, _request, socket) => void socket.destroy());
  proxy.on('proxyReqWs', (outgoing, _request, socket) => {
    // Nobody reads from the client until the handshake is answered, so its leaving shows by then at the latest.
    outgoing.setTimeout(HANDSHAKE_TIMEOUT_MS, () => outgoing.destroy(new Error('no answer in time')));
    outgoing.once('upgrade', () => outgoing.setTimeout(0));
    // Heard before http-proxy, which passes heads on as they came.
    outgoing.once('upgrade', (answer: IncomingMessage) => {
      const { upgrade = 'websocket' } = answer.headers;
      answer.headers = { ...endToEnd(answer), connection: 'Upgrade', upgrade };
    });
    outgoing.once('response', (answer: IncomingMessage) => {
      answer.headers = { ...endToEnd(answer), connection: 'close' };
      answer.once('close', () => answer.complete || socket.destroy()); // a cut refusal is no whole one
    });
  });
  return {
    relay(listener, request, socket, head, handshake) {
      listener.detach(request, socket);
      request.url = handshake.path;
      request.headers = {
        ...headerObject(handshake.headers, target.host),
        connection: 'Upgrade',
        upgrade: 'websocket',
      };
      const ssl = handshake.lookup === undefined ? {} : { lookup: handshake.lookup };
      proxy.ws(request, socket, head, { ssl }, (error) => {
        const cause = new CodedError(
          'UPSTREAM_UNREACHABLE',
          `The WebSocket could not be connected (${error.message})`,
          {
            retry: 'safe',
            hint: 'Check that the target runs and listens where the configuration says',
          },
        );
        sendRawError(socket, error instanceof CodedError ? error : cause);
      });
    },
  };
}

/** What of the head of an answer goes on (RFC 9110 §7.6.1), by name. */
function endToEnd(answer: IncomingMessage): IncomingHttpHeaders {
  const result: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  const headers = answerHeaders(answer.rawHeaders, false)?.headers ?? [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = (headers[index] ?? '').toLowerCase();
    const before = result[name];
    const value = headers[index + 1] ?? '';
    result[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return result;
}

/** Repeated headers are joined (RFC 9110 §5.3), cookies with a semicolon (RFC 6265 §5.4). */
function headerObject(headers: readonly string[], defaultHost: string): Record<string, string> {
  const result = new Map<string, string>([['host', defaultHost]]);
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = (headers[index] ?? '').toLowerCase();
    const value = headers[index + 1] ?? '';
    const before = name === 'host' ? undefined : result.get(name);
    result.set(name, before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`);
  }
  return Object.fromEntries(result);
}
