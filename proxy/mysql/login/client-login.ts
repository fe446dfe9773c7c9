/**
 * The client's side of a login: what the sidecar answers to a server that asks who it is, as an account of its own. Free of sockets and clocks.
 * Source: MySQL source: sql-common/client_authentication.cc; MariaDB documentation, "Authentication Plugin - ed25519".
 */
import { createPublicKey } from 'node:crypto';
import {
  CACHING_SHA2,
  CACHING_SHA2_METHOD,
  decodeAuthentication,
  NATIVE_METHOD,
  PUBLIC_KEY_REQUEST,
  SHA256_KEY_REQUEST,
  type AuthSwitchRequest,
} from '../wire/authentication.ts';
import { ed25519Password } from '../wire/ed25519.ts';
import { scrambleOf } from '../wire/handshake.ts';
import { cachingSha2Password, encryptPassword, nativePassword } from '../wire/scramble.ts';

export type ClientStep =
  | { readonly kind: 'send'; readonly payload: Buffer }
  /** Nothing is to be said; the server goes on. */
  | { readonly kind: 'wait' }
  /** Why it cannot go on. Without a secret. */
  | { readonly kind: 'failed'; readonly reason: string };

const SHA256_METHOD = 'sha256_password';
const ED25519_METHOD = 'client_ed25519';
const CLEAR_METHOD = 'mysql_clear_password';
const ED25519_CHALLENGE_BYTES = 32;
const NUL = Buffer.from([0]);

/** One login. Each request of the server goes to `receive`, until it has said OK or ERR. */
export class ClientLogin {
  readonly #password: Buffer;
  readonly #isEncrypted: boolean;
  #method = '';
  #challenge: Buffer = Buffer.alloc(0);
  #isKeyAsked = false;

  constructor(options: { readonly password: Buffer; readonly isEncrypted: boolean }) {
    this.#password = options.password;
    this.#isEncrypted = options.isEncrypted;
  }

  /** The answer to the server's handshake: by its usual method where that answers a challenge, otherwise it is yet to ask. */
  first(usual: string, challenge: Buffer): { readonly method: string; readonly answer: Buffer } {
    this.#method = usual === CACHING_SHA2_METHOD ? usual : NATIVE_METHOD;
    this.#challenge = Buffer.from(challenge);
    return { method: this.#method, answer: this.#scrambled() };
  }

  /** The server has said something that is neither OK nor ERR. */
  receive(payload: Buffer): ClientStep {
    const request = decodeAuthentication(payload);
    switch (request.kind) {
      case 'fault':
        return failed(request.message);
      case 'auth-switch':
        return this.#switched(request);
      case 'auth-more-data':
        return this.#more(request.data);
      case 'old-auth-switch':
        return failed('the server asks for a password of before MySQL 4.1, which the sidecar does not know');
      case 'auth-next-factor':
        return failed('the server asks for several factors: let the account of the sidecar have one');
    }
  }

  #switched({ plugin, challenge }: AuthSwitchRequest): ClientStep {
    this.#method = plugin.toString('latin1');
    this.#challenge = Buffer.from(challenge);
    this.#isKeyAsked = false;
    switch (this.#method) {
      case NATIVE_METHOD:
      case CACHING_SHA2_METHOD:
        return send(this.#scrambled());
      case ED25519_METHOD:
        return send(ed25519Password(this.#password, this.#challenge.subarray(0, ED25519_CHALLENGE_BYTES)));
      case SHA256_METHOD:
        return this.#tell(SHA256_KEY_REQUEST);
      case CLEAR_METHOD:
        if (this.#isEncrypted) return this.#tellOpenly();
        return failed('the server asks for the password in clear text, over a connection without TLS');
      default:
        return failed(`the server asks for ${printable(this.#method)}, which the sidecar does not know`);
    }
  }

  #more(data: Buffer): ClientStep {
    if (this.#isKeyAsked) return this.#encrypted(data);
    if (this.#method !== CACHING_SHA2_METHOD || data.length !== 1) return outOfTurn;
    if (data[0] === CACHING_SHA2.fastSuccess) return { kind: 'wait' };
    return data[0] === CACHING_SHA2.full ? this.#tell(PUBLIC_KEY_REQUEST) : outOfTurn;
  }

  /** The password itself is wanted: over TLS it is said, otherwise under the server's public key, for which it is asked first. */
  #tell(keyRequest: number): ClientStep {
    if (this.#isEncrypted) return this.#tellOpenly();
    // An empty password is no secret: who has none says so.
    if (this.#password.length === 0) return send(NUL);
    this.#isKeyAsked = true;
    return send(Buffer.from([keyRequest]));
  }

  #tellOpenly(): ClientStep {
    return send(Buffer.concat([this.#password, NUL]));
  }

  #encrypted(pem: Buffer): ClientStep {
    this.#isKeyAsked = false;
    try {
      return send(encryptPassword(this.#password, scrambleOf(this.#challenge), createPublicKey(pem)));
    } catch {
      return failed('the public key of the server is none');
    }
  }

  #scrambled(): Buffer {
    const scramble = scrambleOf(this.#challenge);
    if (this.#method === CACHING_SHA2_METHOD) return cachingSha2Password(this.#password, scramble);
    return nativePassword(this.#password, scramble);
  }
}

const outOfTurn: ClientStep = failed('the server sent what does not belong to a login');

function send(payload: Buffer): ClientStep {
  return { kind: 'send', payload };
}

function failed(reason: string): ClientStep {
  return { kind: 'failed', reason };
}

/** A name that somebody else has sent, for the log. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 64);
}
