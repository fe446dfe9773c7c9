/** Authentication requests of the server, and the client's answers, whose form depends on what was asked for. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND, FRONTEND } from './frames.ts';

export type Authentication = { readonly kind: 'authentication' } & (
  | { readonly method: 'ok' | 'cleartext-password' | 'gss' | 'sspi' }
  | { readonly method: 'md5-password'; readonly salt: Buffer }
  | { readonly method: 'sasl'; readonly mechanisms: readonly Buffer[] }
  | { readonly method: 'gss-continue' | 'sasl-continue' | 'sasl-final'; readonly data: Buffer }
  /** A request that this codec does not know (Kerberos V5 and SCM are gone; newer servers may add more). */
  | { readonly method: 'other'; readonly code: number; readonly data: Buffer }
);

/** Any of the client's answers: a password ended by NUL, or bytes of SASL or GSS. The decoders below tell them apart. */
export interface AuthenticationResponse {
  readonly kind: 'authentication-response';
  readonly data: Buffer;
}

export interface SaslInitialResponse {
  readonly kind: 'sasl-initial-response';
  readonly mechanism: Buffer;
  /** null: no initial response, which SASL tells apart from an empty one. */
  readonly data: Buffer | null;
}

/** The password, or its MD5 digest, as the client's bytes. */
export interface PasswordMessage {
  readonly kind: 'password';
  readonly password: Buffer;
}

const CODE = {
  ok: 0,
  'cleartext-password': 3,
  'md5-password': 5,
  gss: 7,
  'gss-continue': 8,
  sspi: 9,
  sasl: 10,
  'sasl-continue': 11,
  'sasl-final': 12,
} as const;
const SALT_BYTES = 4;
const CHANNEL_BINDING = Buffer.from('SCRAM-SHA-256-PLUS');

export function decodeAuthentication(body: Buffer): Authentication | ProtocolFault {
  const kind = 'authentication';
  const from = new BodyReader('Authentication', body);
  const code = from.int32();
  switch (code) {
    case CODE.ok:
      return from.end({ kind, method: 'ok' });
    case CODE['cleartext-password']:
      return from.end({ kind, method: 'cleartext-password' });
    case CODE.gss:
      return from.end({ kind, method: 'gss' });
    case CODE.sspi:
      return from.end({ kind, method: 'sspi' });
    case CODE['md5-password']:
      return from.end({ kind, method: 'md5-password', salt: from.bytes(SALT_BYTES) });
    case CODE.sasl:
      return from.end({ kind, method: 'sasl', mechanisms: mechanisms(from) });
    case CODE['gss-continue']:
      return from.end({ kind, method: 'gss-continue', data: from.rest() });
    case CODE['sasl-continue']:
      return from.end({ kind, method: 'sasl-continue', data: from.rest() });
    case CODE['sasl-final']:
      return from.end({ kind, method: 'sasl-final', data: from.rest() });
    default:
      return from.end({ kind, method: 'other', code, data: from.rest() });
  }
}

export function writeAuthentication(out: FrameWriter, message: Authentication): void {
  out.begin(BACKEND.authentication).int32(message.method === 'other' ? message.code : CODE[message.method]);
  switch (message.method) {
    case 'ok':
    case 'cleartext-password':
    case 'gss':
    case 'sspi':
      break;
    case 'md5-password':
      out.bytes(message.salt);
      break;
    case 'sasl':
      for (const mechanism of message.mechanisms) out.cstring(mechanism);
      out.byte(0);
      break;
    case 'gss-continue':
    case 'sasl-continue':
    case 'sasl-final':
    case 'other':
      out.bytes(message.data);
      break;
  }
  out.end();
}

export const encodeAuthentication: (message: Authentication) => Buffer = encoder(writeAuthentication);

/**
 * The request without `SCRAM-SHA-256-PLUS`, for a client that was shown another certificate than the server's, or none. Without TLS it
 * would give up when it sees channel binding offered (libpq: "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL
 * connection"), with TLS it would prove the wrong certificate. Any other request comes back as it is.
 */
export function withoutChannelBinding(message: Authentication): Authentication {
  if (message.method !== 'sasl') return message;
  return { ...message, mechanisms: message.mechanisms.filter((each) => !each.equals(CHANNEL_BINDING)) };
}

export function decodeAuthenticationResponse(body: Buffer): AuthenticationResponse {
  return { kind: 'authentication-response', data: body };
}

/** Also the encoder of SASLResponse and GSSResponse, which are nothing but their data. */
export function writeAuthenticationResponse(out: FrameWriter, message: AuthenticationResponse): void {
  out.begin(FRONTEND.authenticationResponse).bytes(message.data).end();
}

export const encodeAuthenticationResponse: (message: AuthenticationResponse) => Buffer =
  encoder(writeAuthenticationResponse);

/** The answer to a cleartext or MD5 request. */
export function decodePasswordMessage(body: Buffer): PasswordMessage | ProtocolFault {
  const from = new BodyReader('Password', body);
  return from.end({ kind: 'password', password: from.cstring() });
}

export const encodePasswordMessage: (message: PasswordMessage) => Buffer = encoder((out, message) => {
  out.begin(FRONTEND.authenticationResponse).cstring(message.password).end();
});

/** The first answer to a SASL request. The later ones are plain data. */
export function decodeSaslInitialResponse(body: Buffer): SaslInitialResponse | ProtocolFault {
  const from = new BodyReader('SASLInitialResponse', body);
  return from.end({ kind: 'sasl-initial-response', mechanism: from.cstring(), data: from.value() });
}

export const encodeSaslInitialResponse: (message: SaslInitialResponse) => Buffer = encoder((out, message) => {
  out.begin(FRONTEND.authenticationResponse).cstring(message.mechanism).value(message.data).end();
});

/** Strings up to an empty one. */
function mechanisms(from: BodyReader): readonly Buffer[] {
  const found: Buffer[] = [];
  for (;;) {
    const mechanism = from.cstring();
    if (mechanism.length === 0) return found;
    found.push(mechanism);
  }
}
