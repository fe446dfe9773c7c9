/**
 * The client's side of a login: what the sidecar answers to a database that asks who it is. Free of sockets, clocks and chance.
 * Source: PostgreSQL documentation, "Start-up"; RFC 5802 for SCRAM; libpq (fe-auth.c) for what is refused.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import {
  encodeAuthenticationResponse,
  encodePasswordMessage,
  encodeSaslInitialResponse,
  type Authentication,
} from '../wire/authentication.ts';
import {
  clientKeysOf,
  decodeBase64,
  END_POINT_HEADER,
  ITERATIONS_MAX,
  maskedBySignature,
  SCRAM,
  SCRAM_PLUS,
  serverSignature,
} from './scram.ts';

export type ClientStep =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  /** The password must be salted before the next message: `derived` takes PBKDF2-SHA-256 of the prepared password. */
  | { readonly kind: 'derive'; readonly salt: Buffer; readonly iterations: number }
  /** Nothing is to be said; the server goes on. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'done' }
  /** Why it cannot go on, as the end of "the login failed: …". Without a secret. */
  | { readonly kind: 'failed'; readonly reason: string };

export interface ClientLoginOptions {
  readonly user: string;
  readonly password: string | undefined;
  readonly isEncrypted: boolean;
  /** The hash of the server's certificate (`tls-server-end-point`); undefined without TLS, or when it has none. */
  readonly binding: Buffer | undefined;
  /** Printable, without a comma, different each time. */
  readonly nonce: string;
}

/** One login. Each authentication request of the server goes to `receive`, until the step is `done` or `failed`. */
export class ClientLogin {
  readonly #options: ClientLoginOptions;
  #expects: 'request' | 'server-first' | 'keys' | 'server-final' | 'ok' = 'request';
  #header = '';
  #serverFirst = '';
  #nonce = '';
  #authMessage = '';
  #serverKey: Buffer = Buffer.alloc(0);

  constructor(options: ClientLoginOptions) {
    this.#options = options;
  }

  receive(request: Authentication): ClientStep {
    const expected = this.#expects;
    switch (request.method) {
      case 'ok':
        // A server that lets us in without its own proof does not know the password, and is not ours.
        if (expected === 'request' || expected === 'ok') return { kind: 'done' };
        return failed('the server did not prove that it knows the password');
      case 'cleartext-password':
        return expected === 'request' ? this.#cleartext() : outOfTurn;
      case 'md5-password':
        return expected === 'request' ? this.#digest(request.salt) : outOfTurn;
      case 'sasl':
        return expected === 'request' ? this.#begin(request.mechanisms.map(String)) : outOfTurn;
      case 'sasl-continue':
        return expected === 'server-first' ? this.#first(request.data.toString()) : outOfTurn;
      case 'sasl-final':
        return expected === 'server-final' ? this.#final(request.data.toString()) : outOfTurn;
      case 'gss':
      case 'gss-continue':
        return failed(`the server asks for GSSAPI (Kerberos), ${NOT_KNOWN}`);
      case 'sspi':
        return failed(`the server asks for SSPI (Windows), ${NOT_KNOWN}`);
      case 'other':
        return failed(`the server asks for authentication method ${request.code}, ${NOT_KNOWN}`);
    }
  }

  /** The salted password, after `derive`. */
  derived(salted: Buffer): ClientStep {
    if (this.#expects !== 'keys') return outOfTurn;
    const { clientKey, storedKey, serverKey } = clientKeysOf(salted);
    const binding = this.#header === END_POINT_HEADER ? (this.#options.binding ?? []) : [];
    const channel = Buffer.concat([Buffer.from(this.#header), Buffer.from(binding)]).toString('base64');
    const withoutProof = `c=${channel},r=${this.#nonce}`;
    this.#authMessage = `${this.#firstBare},${this.#serverFirst},${withoutProof}`;
    this.#serverKey = serverKey;
    this.#expects = 'server-final';
    const proof = maskedBySignature(clientKey, storedKey, this.#authMessage).toString('base64');
    return send(encodeAuthenticationResponse({ ...RESPONSE, data: Buffer.from(`${withoutProof},p=${proof}`) }));
  }

  #digest(salt: Buffer): ClientStep {
    const { password, user } = this.#options;
    if (password === undefined) return noPassword;
    this.#expects = 'ok';
    const digest = md5(Buffer.from(md5(Buffer.from(password + user))), salt);
    return send(encodePasswordMessage({ kind: 'password', password: Buffer.from(`md5${digest}`) }));
  }

  #cleartext(): ClientStep {
    const { password, isEncrypted } = this.#options;
    if (password === undefined) return noPassword;
    if (!isEncrypted) return failed('the server asks for the password in clear text, over a connection without TLS');
    // The message could not carry it, and the server could not have stored it.
    if (password.includes('\0')) return failed('the password contains NUL');
    this.#expects = 'ok';
    return send(encodePasswordMessage({ kind: 'password', password: Buffer.from(password) }));
  }

  #begin(offered: readonly string[]): ClientStep {
    const { password, binding, isEncrypted } = this.#options;
    const isBound = offered.includes(SCRAM_PLUS) && binding !== undefined;
    if (!isBound && !offered.includes(SCRAM)) {
      return failed(`the server asks for ${offered.map(printable).join(', ')}, ${NOT_KNOWN}`);
    }
    if (offered.includes(SCRAM_PLUS) && !isEncrypted) return failed(`the server offers ${SCRAM_PLUS} without TLS`);
    if (password === undefined) return noPassword;
    // `y` says: we could, but you did not offer it. Who took the offer out in between is found out by that.
    const isMissed = binding !== undefined && !isBound;
    this.#header = isBound ? END_POINT_HEADER : isMissed ? 'y,,' : 'n,,';
    this.#expects = 'server-first';
    return send(
      encodeSaslInitialResponse({
        kind: 'sasl-initial-response',
        mechanism: Buffer.from(isBound ? SCRAM_PLUS : SCRAM),
        data: Buffer.from(this.#header + this.#firstBare),
      }),
    );
  }

  /** The name is empty, as libpq has it: the start-up message has said it. */
  get #firstBare(): string {
    return `n=,r=${this.#options.nonce}`;
  }

  #first(text: string): ClientStep {
    const [, nonce = '', salted = '', count = ''] =
      /^r=([^,]+),s=([^,]+),i=([0-9]{1,10})(?:,[A-Za-z]=[^,]*)*$/.exec(text) ?? [];
    const salt = decodeBase64(salted);
    const iterations = Number(count);
    if (nonce === '' || salt === undefined) return failed('the server speaks another SCRAM than RFC 5802');
    if (!nonce.startsWith(this.#options.nonce) || nonce.length === this.#options.nonce.length) {
      return failed('the server did not take our nonce up');
    }
    if (iterations < 1 || iterations > ITERATIONS_MAX) {
      return failed(`the server asks for ${iterations} iterations; at most ${ITERATIONS_MAX} are done`);
    }
    this.#serverFirst = text;
    this.#nonce = nonce;
    this.#expects = 'keys';
    return { kind: 'derive', salt, iterations };
  }

  #final(text: string): ClientStep {
    const [, fault] = /^e=([^,]*)/.exec(text) ?? [];
    if (fault !== undefined) return failed(`the server says ${printable(fault)}`);
    const signature = decodeBase64(/^v=([^,]*)(?:,[A-Za-z]=[^,]*)*$/.exec(text)?.[1] ?? '');
    const expected = serverSignature(this.#serverKey, this.#authMessage);
    if (signature?.length !== expected.length || !timingSafeEqual(signature, expected)) {
      return failed('the server did not prove that it knows the password');
    }
    this.#expects = 'ok';
    return { kind: 'wait' };
  }
}

const RESPONSE = { kind: 'authentication-response' } as const;
const NOT_KNOWN = 'which the sidecar does not know: let it log in with SCRAM-SHA-256 or a certificate';
const outOfTurn: ClientStep = { kind: 'failed', reason: 'the server answers out of turn' };
const noPassword: ClientStep = { kind: 'failed', reason: 'the server asks for a password, and the role has none' };

function send(bytes: Buffer): ClientStep {
  return { kind: 'send', bytes };
}

function failed(reason: string): ClientStep {
  return { kind: 'failed', reason };
}

function md5(...parts: readonly Buffer[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** A word of the server's as it may stand in a log. */
function printable(text: string): string {
  return text.slice(0, 60).replace(/[^\x20-\x7e]/g, '?');
}
