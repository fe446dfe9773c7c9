/** TLS of the listener: handshakes with clients, and certificates that are read again when their files change. */
import { readFileSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import { CodedError } from '../../src/contract/errors.ts';
import type { Log } from '../../src/platform/log.ts';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import type { AnyDatabaseOptions } from '../options.ts';

/** How the client began: it asked, or sent its hello at once (PostgreSQL 17, `sslnegotiation=direct`). */
export type Beginning = 'asked' | 'direct';

export interface ListenTls {
  readonly isRequired: boolean;
  /** Shakes hands on a connection that nobody reads any more. What was read of the hello must have been put back. */
  shakeHands(raw: Socket, beginning: Beginning): void;
}

export interface ListenTlsParts {
  readonly options: NonNullable<AnyDatabaseOptions['listenTls']>;
  /** The name of the protocol in TLS, where the database has one. */
  readonly alpn?: string;
  /** How long a handshake may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly onSecure: (client: TLSSocket, beginning: Beginning) => void;
  readonly log: Log;
}

/** How often, in seconds, somebody who connects makes us look at the files. */
const LOOK_AGAIN_SECONDS = 1;
/** Bits of a mode that let others than the owner, and the group of root, read a key. libpq refuses such keys. */
const OPEN_TO_GROUP = 0o077;
const OPEN_TO_OTHERS = 0o037;

/** Throws a `CodedError` when the files cannot be read, or are not what they should be. */
export function createListenTls(parts: ListenTlsParts): ListenTls {
  try {
    return openListenTls(parts);
  } catch (cause) {
    throw new CodedError('BAD_REQUEST', `databases[].listenTls cannot be used: ${(cause as Error).message}`, {
      hint: 'It takes PEM files that the sidecar may read: a certificate, the key that belongs to it, without a passphrase, and an authority.',
      cause,
    });
  }
}

function openListenTls(parts: ListenTlsParts): ListenTls {
  const { options, log } = parts;
  warnOfOpenKey(options.key, log);
  let version = versionOf(options);
  let lookedAt = monotonicSeconds();
  const context = contextOf(options);
  const serverFor = (beginning: Beginning): Server => {
    const server = createServer({
      ...context,
      ...(parts.alpn === undefined ? {} : { ALPNProtocols: [parts.alpn] }),
      handshakeTimeout: parts.timeoutMs,
      ...(options.clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
    });
    server.on('secureConnection', (client) => parts.onSecure(client, beginning));
    server.on('tlsClientError', (error, client) => {
      log.debug({ err: error }, 'a database client did not complete the TLS handshake');
      client.destroy();
    });
    return server;
  };
  const servers = { asked: serverFor('asked'), direct: serverFor('direct') };

  /** New connections get new certificates; those that are there keep theirs. */
  const refresh = (): void => {
    const time = monotonicSeconds();
    if (time - lookedAt < LOOK_AGAIN_SECONDS) return;
    lookedAt = time;
    try {
      const found = versionOf(options);
      if (found === version) return;
      const changed = contextOf(options);
      servers.asked.setSecureContext(changed);
      servers.direct.setSecureContext(changed);
      version = found;
      log.info({ certificate: options.certificate }, 'the certificate of the database listener was read again');
    } catch (error) {
      // A certificate and its key are replaced one after the other: they may not belong together for a moment.
      log.warn(
        { err: error },
        'the certificate of the database listener has changed and is no good: the old one stays',
      );
    }
  };

  return {
    isRequired: options.mode === 'require',
    shakeHands(raw, beginning) {
      refresh();
      servers[beginning].emit('connection', raw);
    },
  };
}

/** Warns when others than its owner can read a key. libpq refuses it; a key that is mounted into a container is often open. */
export function warnOfOpenKey(path: string, log: Log): void {
  const { mode, uid } = statSync(path);
  if ((mode & (uid === 0 ? OPEN_TO_OTHERS : OPEN_TO_GROUP)) === 0) return;
  log.warn({ key: path }, 'others can read this key: take their rights away (chmod 600)');
}

function filesOf({ certificate, key, clientCa }: ListenTlsParts['options']): readonly string[] {
  return clientCa === undefined ? [certificate, key] : [certificate, key, clientCa];
}

/** Differs when a file was written or replaced, also one that a link leads to. */
function versionOf(options: ListenTlsParts['options']): string {
  return filesOf(options)
    .map((path) => statSync(path, { bigint: true }))
    .map(({ ino, size, mtimeNs }) => `${ino}:${size}:${mtimeNs}`)
    .join();
}

function contextOf({ certificate, key, clientCa }: ListenTlsParts['options']): TlsOptions {
  return {
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ...(clientCa === undefined ? {} : { ca: readFileSync(clientCa) }),
  };
}
