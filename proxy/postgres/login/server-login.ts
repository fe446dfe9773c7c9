/**
 * The server's side of a SCRAM-SHA-256 login: what a client that logs in at the sidecar is answered. Free of sockets, clocks and chance.
 * Source: RFC 5802 and PG source, auth-scram.c, whose rules, error codes and words these are.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  decodeBase64,
  END_POINT_HEADER,
  isNonce,
  ITERATIONS,
  KEY_BYTES,
  maskedBySignature,
  SALT_BYTES,
  SCRAM,
  SCRAM_PLUS,
  serverSignature,
  sha256,
  type Verifier,
} from './scram.ts';

/** Why a login ends. `wrong-password` says no more: neither whether the user exists, nor what was wrong. */
export type LoginRefusal =
  | { readonly kind: 'wrong-password' }
  | { readonly kind: 'broken-rule'; readonly code: string; readonly message: string; readonly detail?: string };

export type ServerStep =
  /** The client is to be asked on with this data. */
  | { readonly kind: 'continue'; readonly data: Buffer }
  /** The client has proved that it knows the password; this data proves the same of us. */
  | { readonly kind: 'verified'; readonly data: Buffer }
  | { readonly kind: 'refused'; readonly why: LoginRefusal };

export interface ServerLoginOptions {
  /** That of `mockVerifier` for a user who does not exist. */
  readonly verifier: Verifier;
  /** Nobody knows the password of this verifier: the login goes its way and fails at its end. */
  readonly isMock: boolean;
  /** Our part of the nonce: printable, without a comma, different each time. */
  readonly nonce: string;
  /** The hash of the certificate that the client was shown (`tls-server-end-point`); undefined without TLS, or when it has none. */
  readonly binding: Buffer | undefined;
}

const EMPTY = Buffer.alloc(0);

/** The mechanisms to offer. */
export function mechanismsFor(binding: Buffer | undefined): readonly Buffer[] {
  return (binding === undefined ? [SCRAM] : [SCRAM_PLUS, SCRAM]).map((name) => Buffer.from(name));
}

/**
 * What a user who does not exist is asked, so that who asks learns nothing: the same salt each time, and as many iterations as others have.
 * PG source: mock_scram_secret. `secret`: random bytes that the process keeps.
 */
export function mockVerifier(user: string, secret: Buffer): Verifier {
  const salt = sha256(user, secret).subarray(0, SALT_BYTES);
  return { salt, iterations: ITERATIONS, storedKey: Buffer.alloc(KEY_BYTES), serverKey: Buffer.alloc(KEY_BYTES) };
}

/** One login. `receive` takes what the client says, turn for turn, until the step is not `continue`. */
export class ServerLogin {
  readonly #options: ServerLoginOptions;
  #expects: 'mechanism' | 'first' | 'final' | 'nothing' = 'mechanism';
  #isBound = false;
  /** The client's header with its choice of channel binding, which the last message repeats. */
  #header = '';
  #firstBare = '';
  #serverFirst = '';
  #nonce = '';

  constructor(options: ServerLoginOptions) {
    this.#options = options;
  }

  /** The client's choice, and its first message, which it may leave for the next turn. */
  begin(mechanism: Buffer, data: Buffer | null): ServerStep {
    if (this.#expects !== 'mechanism') return broken('unexpected SCRAM message');
    if (!mechanismsFor(this.#options.binding).some((each) => each.equals(mechanism))) {
      return broken('client selected an invalid SASL authentication mechanism');
    }
    this.#isBound = mechanism.toString() === SCRAM_PLUS;
    this.#expects = 'first';
    return data === null ? { kind: 'continue', data: EMPTY } : this.receive(data);
  }

  receive(data: Buffer): ServerStep {
    const text = data.toString('utf8');
    if (text.length === 0) return malformed('The message is empty.');
    if (text.includes('\0')) return malformed('Message length does not match input length.');
    const expected = this.#expects;
    this.#expects = 'nothing';
    if (expected === 'first') return this.#first(text);
    return expected === 'final' ? this.#final(text) : broken('unexpected SCRAM message');
  }

  #first(text: string): ServerStep {
    const [, flag = '', authzid = '', bare = ''] = /^([^,]*),([^,]*),(.*)$/s.exec(text) ?? [];
    const fault = this.#flagFault(flag);
    if (fault !== undefined) return fault;
    if (authzid.startsWith('a=')) return unsupported('client uses authorization identity, but it is not supported');
    if (authzid !== '') return malformed(`Unexpected attribute ${shown(authzid)} in client-first-message.`);
    if (bare.startsWith('m=')) return unsupported('client requires an unsupported SCRAM extension');
    // The name in it is ignored: the start-up message has said who it is, as PostgreSQL has it.
    const [, nonce = ''] = /^n=[^,]*,r=([^,]*)(?:,[A-Za-z]=[^,]*)*$/.exec(bare) ?? [];
    if (nonce === '') return malformed('The client-first-message is not what RFC 5802 says.');
    if (!isNonce(nonce)) return broken('non-printable characters in SCRAM nonce');
    const { verifier } = this.#options;
    this.#header = `${flag},${authzid},`;
    this.#firstBare = bare;
    this.#nonce = nonce + this.#options.nonce;
    this.#serverFirst = `r=${this.#nonce},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`;
    this.#expects = 'final';
    return { kind: 'continue', data: Buffer.from(this.#serverFirst) };
  }

  /** The client's word on channel binding: `n` it has none, `y` it believes that we have none, `p=…` it uses it. */
  #flagFault(flag: string): ServerStep | undefined {
    if (flag === 'n' || flag === 'y') {
      if (this.#isBound) return malformed(`The client selected ${SCRAM_PLUS}, but its message has no channel binding.`);
      if (flag === 'n' || this.#options.binding === undefined) return undefined;
      // Somebody in between has taken the offer out.
      return refused('28000', 'SCRAM channel binding negotiation error', DOWNGRADED);
    }
    if (!flag.startsWith('p=')) return malformed(`Unexpected channel-binding flag ${shown(flag)}.`);
    if (!this.#isBound) return malformed(`The client selected ${SCRAM}, but its message has channel binding.`);
    return `${flag},,` === END_POINT_HEADER
      ? undefined
      : broken(`unsupported SCRAM channel-binding type ${shown(flag.slice(2))}`);
  }

  #final(text: string): ServerStep {
    const [, withoutProof = '', channel = '', nonce = '', proof = ''] =
      /^(c=([^,]*),r=([^,]*)(?:,[A-Za-z]=[^,]*)*),p=([^,]*)$/.exec(text) ?? [];
    if (withoutProof === '') return malformed('The client-final-message is not what RFC 5802 says.');
    const binding = this.#isBound ? (this.#options.binding ?? EMPTY) : EMPTY;
    if (channel !== Buffer.concat([Buffer.from(this.#header), binding]).toString('base64')) {
      if (this.#isBound) return refused('28000', 'SCRAM channel binding check failed');
      return broken('unexpected SCRAM channel-binding attribute in client-final-message');
    }
    if (nonce !== this.#nonce) return broken('invalid SCRAM response', 'Nonce does not match.');
    const masked = decodeBase64(proof);
    if (masked?.length !== KEY_BYTES) return malformed('Malformed proof in client-final-message.');
    const { storedKey, serverKey } = this.#options.verifier;
    const authMessage = `${this.#firstBare},${this.#serverFirst},${withoutProof}`;
    const isRight = timingSafeEqual(sha256(maskedBySignature(masked, storedKey, authMessage)), storedKey);
    if (!isRight || this.#options.isMock) return { kind: 'refused', why: { kind: 'wrong-password' } };
    const signature = serverSignature(serverKey, authMessage).toString('base64');
    return { kind: 'verified', data: Buffer.from(`v=${signature}`) };
  }
}

const DOWNGRADED =
  'The client supports SCRAM channel binding but thinks the server does not. However, this server does support channel binding.';
const PROTOCOL_VIOLATION = '08P01';

function malformed(detail: string): ServerStep {
  return broken('malformed SCRAM message', detail);
}

function unsupported(message: string): ServerStep {
  return refused('0A000', message);
}

function broken(message: string, detail?: string): ServerStep {
  return refused(PROTOCOL_VIOLATION, message, detail);
}

function refused(code: string, message: string, detail?: string): ServerStep {
  return {
    kind: 'refused',
    why: { kind: 'broken-rule', code, message, ...(detail === undefined ? {} : { detail }) },
  };
}

/** A piece of the client's text as it may stand in an error: short, printable. */
function shown(text: string): string {
  return `"${text.slice(0, 40).replace(/[^\x20-\x7e]/g, '?')}"`;
}
