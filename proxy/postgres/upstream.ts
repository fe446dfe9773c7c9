/** Connections to the database server, with TLS where the configuration asks for it. */
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { ClientConfig } from 'pg';
import type { DatabaseOptions } from '../options.ts';
import { ALPN } from './login/listen-tls.ts';
import { ITERATIONS_MAX } from './login/scram.ts';
import { encodeStartupPacket } from './wire/startup.ts';

/** Where a database server is. */
interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** The parts of a `postgres://host:port/database` URL. */
export function upstreamAddress(url: string): UpstreamAddress {
  const { hostname, port, pathname } = new URL(url);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 5432 : Number(port),
    database: decodeURIComponent(pathname.slice(1)) || 'postgres',
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
const YES = 0x53;

/** Opens a connection that is ready for a start-up packet. Rejects with `UpstreamFault` after 10 s at the latest. */
export async function connectUpstream(options: DatabaseOptions): Promise<Socket> {
  const { host, port } = upstreamAddress(options.upstream);
  const socket = connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  // Whoever uses the connection hears of its end by 'close'; an error that nobody hears would end the process.
  socket.on('error', () => undefined);
  const deadline = AbortSignal.timeout(CONNECT_MS_MAX);
  try {
    await once(socket, 'connect', deadline);
    return options.tls.mode === 'disable' ? socket : await encrypt(socket, host, options, deadline);
  } catch (error) {
    socket.destroy();
    throw new UpstreamFault(`cannot reach the database at ${host}:${port}: ${reasonOf(error)}`, error);
  }
}

async function encrypt(socket: Socket, host: string, options: DatabaseOptions, deadline: AbortSignal): Promise<Socket> {
  const { mode, negotiation } = options.tls;
  const isDirect = negotiation === 'direct';
  if (!isDirect) {
    socket.write(encodeStartupPacket({ kind: 'ssl-request' }));
    const answer = await once(socket, 'readable', deadline).then(() => socket.read() as Buffer | null);
    // More than one byte here would be plain text that a man in the middle put before the handshake (CVE-2021-23222).
    if (answer?.length !== 1 || answer[0] !== YES) throw new UpstreamFault('the server does not offer TLS');
  }
  const secure: TLSSocket = connectTls({
    socket,
    host,
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    ...(isDirect ? { ALPNProtocols: [ALPN] } : {}),
    rejectUnauthorized: mode === 'verify-full',
    ...filesOf(options.tls),
  });
  secure.on('error', () => undefined);
  await once(secure, 'secureConnect', deadline);
  // As libpq: whoever does not name PostgreSQL's protocol may be a server of another one.
  if (isDirect && secure.alpnProtocol !== ALPN) {
    secure.destroy();
    throw new UpstreamFault('the server does not take direct TLS connections');
  }
  return secure;
}

type UpstreamTls = DatabaseOptions['tls'];

/** The files, read anew. Throws when one cannot be read. */
function filesOf({ ca, certificate, key }: UpstreamTls): ConnectionOptions {
  return {
    ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
    ...(certificate === undefined ? {} : { cert: readFileSync(certificate) }),
    ...(key === undefined ? {} : { key: readFileSync(key) }),
  };
}

function once(socket: Socket, event: string, deadline: AbortSignal): Promise<void> {
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

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || ('code' in error ? String(error.code) : error.name) : String(error);
}

/** How the second phase logs in. node-postgres has an option that its types do not know. */
export function phaseTwoConnection(options: DatabaseOptions): ClientConfig & { readonly scramMaxIterations: number } {
  const { host, port, database } = upstreamAddress(options.upstream);
  const { mode, negotiation } = options.tls;
  return {
    host,
    port,
    database,
    user: options.credentials.user,
    ...(options.credentials.password === undefined ? {} : { password: options.credentials.password.reveal() }),
    ...(mode === 'disable' ? {} : { ssl: secondPhaseTls(options.tls), sslnegotiation: negotiation }),
    application_name: 'atomesh',
    // Its own limit is below what scram_iterations is set to by those who follow OWASP.
    scramMaxIterations: ITERATIONS_MAX,
  };
}

/**
 * The TLS options of node-postgres, which copies them for each connection: files that were replaced count from then on. One that cannot
 * be read at such a moment leaves what it held before: an error there would have nobody to catch it.
 */
function secondPhaseTls(tls: UpstreamTls): ConnectionOptions {
  let files = filesOf(tls);
  const current = (): ConnectionOptions => {
    try {
      files = filesOf(tls);
    } catch {
      return files;
    }
    return files;
  };
  const options: ConnectionOptions = { rejectUnauthorized: tls.mode === 'verify-full' };
  for (const name of ['ca', 'cert', 'key'] as const) {
    if (files[name] === undefined) continue;
    Object.defineProperty(options, name, { enumerable: true, configurable: true, get: () => current()[name] });
  }
  return options;
}
