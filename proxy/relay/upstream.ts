/** Connections to a database server: TCP, TLS, a deadline for both. How TLS begins is the database's own affair. */
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { AnyDatabaseOptions } from '../options.ts';

/** Where a database server is. */
export interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** The parts of a `scheme://host:port/database` URL; `otherwise` for what it leaves out. */
export function addressOfUrl(
  url: string,
  otherwise: { readonly port: number; readonly database: string },
): UpstreamAddress {
  const { hostname, port, pathname } = new URL(url);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? otherwise.port : Number(port),
    database: decodeURIComponent(pathname.slice(1)) || otherwise.database,
  };
}

/** Why no connection came about, for the client's error. */
export class UpstreamFault extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'UpstreamFault';
  }
}

const CONNECT_MS_MAX = 10_000;
/** A server whose host is gone without a word is noticed by the kernel's probes, which begin after this long in silence. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Opens a connection and does with it what must be done `within` the same deadline. Rejects with `UpstreamFault` after 10 s at the latest;
 * the connection is closed then.
 */
export async function reachServer<T>(
  { host, port }: UpstreamAddress,
  within: (socket: Socket, deadline: AbortSignal) => Promise<T>,
): Promise<T> {
  const socket = connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  // Whoever uses the connection hears of its end by 'close'; an error that nobody hears would end the process.
  socket.on('error', () => undefined);
  const deadline = AbortSignal.timeout(CONNECT_MS_MAX);
  try {
    await once(socket, 'connect', deadline);
    return await within(socket, deadline);
  } catch (error) {
    socket.destroy();
    throw new UpstreamFault(`cannot reach the database at ${host}:${port}: ${reasonOf(error)}`, error);
  }
}

type UpstreamTls = AnyDatabaseOptions['tls'];

/** Shakes hands on a connection whose server awaits it. `alpn`: the protocol that is named, where one has to be. */
export async function encrypt(
  socket: Socket,
  host: string,
  options: { readonly tls: UpstreamTls; readonly alpn?: string; readonly deadline: AbortSignal },
): Promise<TLSSocket> {
  const { tls, alpn, deadline } = options;
  const secure: TLSSocket = connectTls({
    socket,
    host,
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    rejectUnauthorized: tls.mode === 'verify-full',
    ...filesOf(tls),
  });
  secure.on('error', () => undefined);
  await once(secure, 'secureConnect', deadline);
  return secure;
}

/** The files, read anew. Throws when one cannot be read. */
export function filesOf({ ca, certificate, key }: UpstreamTls): ConnectionOptions {
  return {
    ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
    ...(certificate === undefined ? {} : { cert: readFileSync(certificate) }),
    ...(key === undefined ? {} : { key: readFileSync(key) }),
  };
}

/** Waits for an event; rejects when the socket fails or closes before, and at the deadline. */
export function once(socket: Socket, event: string, deadline: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.off(event, succeeded).off('error', failed).off('close', closed);
      deadline.removeEventListener('abort', late);
    };
    const succeeded = (): void => (done(), resolve());
    const failed = (error: Error): void => (done(), reject(error));
    const closed = (): void => (done(), reject(new Error('the connection was closed')));
    const late = (): void => (done(), reject(new Error(`no answer within ${CONNECT_MS_MAX / 1000} s`)));
    socket.once(event, succeeded).once('error', failed).once('close', closed);
    deadline.addEventListener('abort', late);
  });
}

/** What an error says, for people. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || ('code' in error ? String(error.code) : error.name) : String(error);
}
