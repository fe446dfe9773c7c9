/**
 * What server and client say to each other until the server has said yes or no, at the handshake as at COM_CHANGE_USER. Methods that answer a
 * challenge go through as they come. Those that send the password itself say it one way over TLS and another way without: where the sidecar
 * has TLS on one side only it says it anew, which it can for caching_sha2_password, and otherwise refuses.
 * Source: MySQL documentation, "Caching SHA-2 Pluggable Authentication"; MySQL source: sql/auth/sha2_password.cc,
 * caching_sha2_password_authenticate, and sql-common/client_authentication.cc for the client's half.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  AUTHENTICATION,
  CACHING_SHA2,
  CACHING_SHA2_METHOD,
  decodeAuthentication,
  encodeAuthentication,
  PUBLIC_KEY_REQUEST,
} from '../wire/authentication.ts';
import { scrambleOf } from '../wire/handshake.ts';
import { decryptPassword, encryptPassword } from '../wire/scramble.ts';
import { protocolBroken, serverBroken, type Refusal } from '../session/refusals.ts';
import { foreignKey, needsEqualSides, wantsPassword } from './refusals.ts';

/** Whether each side of the sidecar has TLS. */
export interface Sides {
  readonly client: 'plain' | 'tls';
  readonly server: 'plain' | 'tls';
}

/** The sidecar's own RSA keys, under which a client without TLS sends its password. */
export interface PasswordKeys {
  readonly privateKey: KeyObject;
  /** In PEM, as clients take it. */
  readonly publicKey: string;
}

/** What comes of a message: one of the same or another content for one side, and who speaks after it. */
export type Move =
  | { readonly kind: 'say'; readonly to: Side; readonly payload: Buffer; readonly next: Side }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

type Side = 'client' | 'server';

export interface ExchangeParts {
  readonly sides: Sides;
  /** The method that the client has answered the handshake with, and the challenge that it answered. */
  readonly plugin: string;
  readonly challenge: Buffer;
  /** There where the client has no TLS and the server has. */
  readonly keys: PasswordKeys | undefined;
}

/** Where the sending of a password has come to. */
type Stage = 'none' | 'asked-client' | 'asked-server-key';

const NUL = Buffer.from([0]);
/** Methods whose first answer already is another one over TLS. */
const OTHER_BY_TLS: readonly string[] = ['sha256_password'];
/** Methods that send the password as it is, and whose clients want TLS for it. */
const CLEAR: readonly string[] = ['mysql_clear_password', 'dialog'];

export class Exchange {
  readonly #sides: Sides;
  readonly #keys: PasswordKeys | undefined;
  #plugin: string;
  #challenge: Buffer;
  #stage: Stage = 'none';
  #password: Buffer | undefined;

  constructor({ sides, plugin, challenge, keys }: ExchangeParts) {
    this.#sides = sides;
    this.#plugin = plugin;
    this.#challenge = Buffer.from(challenge);
    this.#keys = keys;
  }

  /** Why the method that is in force cannot log in here; undefined where it can. */
  get obstacle(): Refusal | undefined {
    if (!this.#differs) return undefined;
    if (OTHER_BY_TLS.includes(this.#plugin)) return needsEqualSides(this.#plugin);
    return CLEAR.includes(this.#plugin) && this.#sides.server === 'plain' ? wantsPassword(this.#plugin) : undefined;
  }

  /** The server has said something that is neither OK nor ERR. */
  server(payload: Buffer): Move {
    if (this.#stage === 'asked-server-key') return this.#encrypt(payload);
    const type = payload[0];
    if (type === AUTHENTICATION.switch || type === AUTHENTICATION.nextFactor) {
      const request = decodeAuthentication(payload);
      if (request.kind === 'fault') return { kind: 'refuse', refusal: serverBroken(request.message) };
      if (request.kind === 'auth-switch' || request.kind === 'auth-next-factor') {
        this.#plugin = request.plugin.toString('latin1');
        this.#challenge = Buffer.from(request.challenge);
      }
      const { obstacle } = this;
      if (obstacle !== undefined) return { kind: 'refuse', refusal: obstacle };
    }
    const isMore = type === AUTHENTICATION.moreData && payload.length === 2 && this.#plugin === CACHING_SHA2_METHOD;
    if (isMore && payload[1] === CACHING_SHA2.full && this.#differs) this.#stage = 'asked-client';
    const isDone = isMore && payload[1] === CACHING_SHA2.fastSuccess;
    return { kind: 'say', to: 'client', payload, next: isDone ? 'server' : 'client' };
  }

  /** The client has answered. */
  client(payload: Buffer): Move {
    if (this.#stage !== 'asked-client') return { kind: 'say', to: 'server', payload, next: 'server' };
    return this.#sides.client === 'tls' ? this.#askServerKey(payload) : this.#decrypt(payload);
  }

  get #differs(): boolean {
    return this.#sides.client !== this.#sides.server;
  }

  /** The client has sent the password inside its TLS; the server takes it under its own public key. */
  #askServerKey(payload: Buffer): Move {
    const end = payload.length - 1;
    if (payload[end] !== 0) return { kind: 'refuse', refusal: protocolBroken('a password is not ended by NUL') };
    this.#password = payload.subarray(0, end);
    this.#stage = 'asked-server-key';
    return { kind: 'say', to: 'server', payload: Buffer.from([PUBLIC_KEY_REQUEST]), next: 'server' };
  }

  #encrypt(payload: Buffer): Move {
    this.#stage = 'none';
    const request = decodeAuthentication(payload);
    const pem = request.kind === 'auth-more-data' ? request.data : undefined;
    const password = this.#password ?? NUL;
    this.#password = undefined;
    try {
      const encrypted = encryptPassword(password, scrambleOf(this.#challenge), createPublicKey(pem ?? ''));
      return { kind: 'say', to: 'server', payload: encrypted, next: 'server' };
    } catch {
      return { kind: 'refuse', refusal: serverBroken('its public key is none') };
    }
  }

  /** The client asks for a public key, and gets ours; or it has sent the password under it, which the server takes inside its TLS. */
  #decrypt(payload: Buffer): Move {
    const keys = this.#keys;
    if (keys === undefined) return { kind: 'refuse', refusal: needsEqualSides(this.#plugin) };
    if (payload.length === 1 && payload[0] === PUBLIC_KEY_REQUEST) {
      const key = encodeAuthentication({ kind: 'auth-more-data', data: Buffer.from(keys.publicKey) });
      return { kind: 'say', to: 'client', payload: key, next: 'client' };
    }
    this.#stage = 'none';
    const password = decryptPassword(payload, scrambleOf(this.#challenge), keys.privateKey);
    if (password === undefined) return { kind: 'refuse', refusal: foreignKey };
    return { kind: 'say', to: 'server', payload: Buffer.concat([password, NUL]), next: 'server' };
  }
}
