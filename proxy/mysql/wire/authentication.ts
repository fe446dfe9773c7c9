/**
 * What server and client say to each other between the handshake and its outcome, or between COM_CHANGE_USER and its own.
 * The client's side of it is nothing but bytes, which mean what the method says. Source: MySQL documentation, "Connection Phase Packets".
 */
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';

/** The server wants another method, or the same with a new challenge. One packet of the client answers. */
export interface AuthSwitchRequest {
  readonly kind: 'auth-switch';
  readonly plugin: Buffer;
  /** With the NUL that most methods send behind it. */
  readonly challenge: Buffer;
}

/** The bare byte with which a server asks for the passwords of before MySQL 4.1, which are refused. */
export interface OldAuthSwitchRequest {
  readonly kind: 'old-auth-switch';
}

/** What a method has to say further. */
export interface AuthMoreData {
  readonly kind: 'auth-more-data';
  readonly data: Buffer;
}

/** The next of several factors. One packet of the client answers. */
export interface AuthNextFactor {
  readonly kind: 'auth-next-factor';
  readonly plugin: Buffer;
  readonly challenge: Buffer;
}

export type AuthenticationRequest = AuthSwitchRequest | OldAuthSwitchRequest | AuthMoreData | AuthNextFactor;

/** First bytes of these packets; OK (0x00) and ERR (0xff) end the exchange. */
export const AUTHENTICATION = { moreData: 0x01, nextFactor: 0x02, switch: 0xfe } as const;

/** What follows `moreData` of caching_sha2_password: it is over without another word of the client, or the whole password is needed. */
export const CACHING_SHA2 = { fastSuccess: 0x03, full: 0x04 } as const;

/** What a client of caching_sha2_password sends to have the server's public key. */
export const PUBLIC_KEY_REQUEST = 0x02;

/** The same of sha256_password. */
export const SHA256_KEY_REQUEST = 0x01;

/** Methods that answer a challenge, as they are named in packets. */
export const NATIVE_METHOD = 'mysql_native_password';
export const CACHING_SHA2_METHOD = 'caching_sha2_password';

/** Decodes what a server says that is neither OK nor ERR. */
export function decodeAuthentication(payload: Buffer): AuthenticationRequest | ProtocolFault {
  const from = new BodyReader('authentication request', payload);
  const type = from.byte();
  switch (type) {
    case AUTHENTICATION.switch:
      if (payload.length === 1) return from.end({ kind: 'old-auth-switch' });
      return from.end({ kind: 'auth-switch', plugin: from.cstring(), challenge: from.rest() });
    case AUTHENTICATION.moreData:
      return from.end({ kind: 'auth-more-data', data: from.rest() });
    case AUTHENTICATION.nextFactor:
      return from.end({ kind: 'auth-next-factor', plugin: from.cstring(), challenge: from.rest() });
    default:
      from.fail(`it begins with ${type}`);
      return from.end({ kind: 'old-auth-switch' });
  }
}

export function encodeAuthentication(message: AuthenticationRequest): Buffer {
  const out = new BodyWriter();
  switch (message.kind) {
    case 'auth-switch':
      return out.byte(AUTHENTICATION.switch).cstring(message.plugin).bytes(message.challenge).take();
    case 'old-auth-switch':
      return out.byte(AUTHENTICATION.switch).take();
    case 'auth-more-data':
      return out.byte(AUTHENTICATION.moreData).bytes(message.data).take();
    case 'auth-next-factor':
      return out.byte(AUTHENTICATION.nextFactor).cstring(message.plugin).bytes(message.challenge).take();
  }
}
