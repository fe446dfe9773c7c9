/** Connections to a PostgreSQL server, with TLS where the configuration asks for it. */
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { ClientConfig } from 'pg';
import type { DatabaseOptions } from '../options.ts';
import {
  addressOfUrl,
  encrypt,
  filesOf,
  once,
  reachServer,
  UpstreamFault,
  type UpstreamAddress,
} from '../relay/upstream.ts';
import { ITERATIONS_MAX } from './login/scram.ts';
import { ALPN, encodeStartupPacket } from './wire/startup.ts';

/** The parts of a `postgres://host:port/database` URL. */
export function upstreamAddress(url: string): UpstreamAddress {
  return addressOfUrl(url, { port: 5432, database: 'postgres' });
}

const YES = 0x53;

/** Opens a connection that is ready for a start-up packet. Rejects with `UpstreamFault` after 10 s at the latest. */
export function connectUpstream(options: DatabaseOptions): Promise<Socket> {
  const address = upstreamAddress(options.upstream);
  return reachServer(address, async (socket, deadline) =>
    options.tls.mode === 'disable' ? socket : await protect(socket, address.host, options, deadline),
  );
}

async function protect(socket: Socket, host: string, { tls }: DatabaseOptions, deadline: AbortSignal): Promise<Socket> {
  const isDirect = tls.negotiation === 'direct';
  if (!isDirect) {
    socket.write(encodeStartupPacket({ kind: 'ssl-request' }));
    const answer = await once(socket, 'readable', deadline).then(() => socket.read() as Buffer | null);
    // More than one byte here would be plain text that a man in the middle put before the handshake (CVE-2021-23222).
    if (answer?.length !== 1 || answer[0] !== YES) throw new UpstreamFault('the server does not offer TLS');
  }
  const secure = await encrypt(socket, host, { tls, deadline, ...(isDirect ? { alpn: ALPN } : {}) });
  // As libpq: whoever does not name PostgreSQL's protocol may be a server of another one.
  if (isDirect && secure.alpnProtocol !== ALPN) {
    secure.destroy();
    throw new UpstreamFault('the server does not take direct TLS connections');
  }
  return secure;
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
function secondPhaseTls(tls: DatabaseOptions['tls']): ConnectionOptions {
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
