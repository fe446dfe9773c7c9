/**
 * The server's side of a login: what the sidecar asks of a client that has to prove who it is. The password is at hand, so that a proof can
 * always be checked, and is never asked for itself. Free of sockets, clocks and chance.
 * Source: MySQL documentation, "Native Authentication", "Caching SHA-2 Pluggable Authentication"; MySQL source: sql/auth/sql_authentication.cc,
 * `login_failed_error` for what a client hears.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  AUTHENTICATION,
  CACHING_SHA2,
  CACHING_SHA2_METHOD,
  encodeAuthentication,
  NATIVE_METHOD,
} from '../wire/authentication.ts';
import { scrambleOf } from '../wire/handshake.ts';
import { cachingSha2Password, nativePassword } from '../wire/scramble.ts';

export type ServerStep =
  /** To be said to the client, whose answer is for `answered`. */
  | { readonly kind: 'ask'; readonly payload: Buffer }
  /** `welcome`: what the client hears ahead of the OK. */
  | { readonly kind: 'proved'; readonly welcome: Buffer | undefined }
  | { readonly kind: 'refused'; readonly hasAnswered: boolean };

/** Those that a client may prove itself by. */
export type Method = typeof NATIVE_METHOD | typeof CACHING_SHA2_METHOD;

const METHODS: ReadonlyMap<string, (password: Buffer, challenge: Buffer) => Buffer> = new Map([
  [CACHING_SHA2_METHOD, cachingSha2Password],
  [NATIVE_METHOD, nativePassword],
]);
const FAST_SUCCESS: Buffer = Buffer.from([AUTHENTICATION.moreData, CACHING_SHA2.fastSuccess]);
/** What clients of caching_sha2_password send for an empty password: it ends with NUL. */
const NO_PASSWORD: Buffer = Buffer.from([0]);

export interface ServerLoginOptions {
  /** The password that the client has to know. Not empty. */
  readonly password: Buffer;
  /** The method of the handshake, by which those are asked who come with one that is not known. */
  readonly usual: Method;
  /** The challenge of the handshake, and another one for when the client is asked anew: 20 bytes and a NUL each. */
  readonly challenge: Buffer;
  readonly nextChallenge: Buffer;
}

export class ServerLogin {
  readonly #options: ServerLoginOptions;
  #method: string = NATIVE_METHOD;
  #challenge: Buffer;

  constructor(options: ServerLoginOptions) {
    this.#options = options;
    this.#challenge = options.challenge;
  }

  /**
   * The client has answered the challenge of the handshake by a method, which need not be one that is known. Who answers nothing may have had
   * no challenge for its method: MariaDB's client library shows it none that was meant for another one.
   */
  first(method: string, answer: Buffer): ServerStep {
    if (!METHODS.has(method) || answer.length === 0) return this.ask(method);
    this.#method = method;
    return this.answered(answer);
  }

  /** Asks the client to answer another challenge: by its own method where that is known, otherwise by the usual one. */
  ask(method: string): ServerStep {
    this.#method = METHODS.has(method) ? method : this.#options.usual;
    this.#challenge = this.#options.nextChallenge;
    const plugin = Buffer.from(this.#method);
    return { kind: 'ask', payload: encodeAuthentication({ kind: 'auth-switch', plugin, challenge: this.#challenge }) };
  }

  /** The client has answered the challenge that it was asked last. */
  answered(answer: Buffer): ServerStep {
    const expected = METHODS.get(this.#method)?.(this.#options.password, scrambleOf(this.#challenge));
    const isProof =
      expected !== undefined &&
      expected.length > 0 &&
      answer.length === expected.length &&
      timingSafeEqual(answer, expected);
    if (!isProof) return { kind: 'refused', hasAnswered: answer.length > 0 && !answer.equals(NO_PASSWORD) };
    return { kind: 'proved', welcome: this.#method === CACHING_SHA2_METHOD ? FAST_SUCCESS : undefined };
  }
}
