/** TLS with clients, which begins where the client has asked for it, in the middle of the login. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { createListenTls, type ListenTlsParts } from '../../relay/listen-tls.ts';

export interface ClientTls {
  readonly isRequired: boolean;
  /** Shakes hands; undefined when the client failed to, or took too long. The connection is closed then. */
  secure(raw: Socket): Promise<TLSSocket | undefined>;
}

/** Throws a `CodedError` when the files cannot be read, or are not what they should be. */
export function createClientTls(parts: Omit<ListenTlsParts, 'onSecure' | 'alpn'>): ClientTls {
  /** Who shakes hands, by the address that both the connection and the TLS connection over it have. */
  const waiting = new Map<string, (secure: TLSSocket) => void>();
  const tls = createListenTls({
    ...parts,
    onSecure(client) {
      const resolve = waiting.get(addressOf(client));
      if (resolve === undefined) client.destroy();
      else resolve(client);
    },
  });
  return {
    isRequired: tls.isRequired,
    secure(raw) {
      const address = addressOf(raw);
      return new Promise((resolve) => {
        const finish = (secure: TLSSocket | undefined): void => {
          waiting.delete(address);
          raw.off('close', gone);
          resolve(secure);
        };
        const gone = (): void => finish(undefined);
        raw.once('close', gone);
        waiting.set(address, finish);
        // A client that ends its side in the middle of the handshake is gone; behind it, it still gets its answers.
        raw.allowHalfOpen = false;
        tls.shakeHands(raw, 'asked');
      });
    },
  };
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
