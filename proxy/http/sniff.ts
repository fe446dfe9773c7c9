/** What a connection speaks, by its first bytes: several protocols share a port. */
import { METHODS } from 'node:http';
import type { Socket } from 'node:net';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';

export type Protocol = 'http1' | 'http2' | 'tls' | 'other';

/** What every HTTP/2 connection begins with (RFC 9113 §3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** The first byte of a TLS handshake record (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;
/** The longest method name; longer than this without a space is not HTTP/1. */
const METHOD_BYTES_MAX = 24;
const METHOD_NAMES: ReadonlySet<string> = new Set(METHODS);

/** What the first bytes of a connection are. `more`: too few to tell. */
export function protocolOf(bytes: Buffer): Protocol | 'more' {
  if (bytes[0] === TLS_HANDSHAKE) return 'tls';
  if (mayBeHttp2(bytes)) return bytes.byteLength < PREFACE.byteLength ? 'more' : 'http2';
  const text = bytes.toString('latin1', 0, METHOD_BYTES_MAX + 1);
  const space = text.indexOf(' ');
  if (space !== -1) return METHOD_NAMES.has(text.slice(0, space)) ? 'http1' : 'other';
  return /^[A-Z-]*$/.test(text) && text.length <= METHOD_BYTES_MAX ? 'more' : 'other';
}

/**
 * Reads the first bytes of a new connection to a listener: TLS, HTTP/2, or what node's HTTP/1 parser may judge. Calls `decided` once,
 * with the socket paused and nothing of it lost; or destroys the socket, when it closes before or is not clear within `patienceMs`.
 */
export function sniff(
  socket: Socket,
  patienceMs: number,
  decided: (protocol: 'http1' | 'http2' | 'tls', first: Buffer) => void,
): void {
  let first: Buffer | undefined;
  const stop = (): void => {
    cancel();
    socket.off('data', onData).off('end', onEnd).off('close', stop);
  };
  const onEnd = (): void => {
    stop();
    socket.destroy(); // a probe of a load balancer, or half a preface
  };
  const onData = (chunk: Buffer): void => {
    first = first === undefined ? chunk : Buffer.concat([first, chunk]);
    const isShort = first.byteLength < PREFACE.byteLength;
    const isHttp2 = mayBeHttp2(first);
    if (isHttp2 && isShort) return;
    stop();
    socket.pause();
    decided(isHttp2 ? 'http2' : first[0] === TLS_HANDSHAKE ? 'tls' : 'http1', first);
  };
  const cancel = at((now() + patienceMs) as Instant, onEnd);
  socket.on('error', () => socket.destroy());
  socket.on('data', onData).once('end', onEnd).once('close', stop);
}

function mayBeHttp2(bytes: Buffer): boolean {
  const length = Math.min(bytes.byteLength, PREFACE.byteLength);
  return PREFACE.compare(bytes, 0, length, 0, length) === 0;
}
