/**
 * What both sides of a SCRAM-SHA-256 login compute (RFC 5802 and 7677), and what a server keeps of a password.
 * Salting, the one slow step, is done by the caller: at the start for passwords of the configuration, in a thread of its own for logins.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { preparedPassword } from './saslprep.ts';

export const SCRAM = 'SCRAM-SHA-256';
/** With channel binding: the proof also covers which certificate the server has shown. */
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS';
/** How the header of a client with channel binding begins; PostgreSQL knows this type only (RFC 5929 §4). */
export const END_POINT_HEADER = 'p=tls-server-end-point,,';

/** Bytes of SHA-256. */
export const KEY_BYTES = 32;
/** PG source: SCRAM_SHA_256_DEFAULT_ITERATIONS, scram_sha_256_default_salt_len, SCRAM_RAW_NONCE_LEN. */
export const ITERATIONS = 4096;
export const SALT_BYTES = 16;
export const NONCE_BYTES = 18;
/** More than this is taken for an attack on our time: 1,000,000 are half a second. OWASP recommends 600,000. */
export const ITERATIONS_MAX = 1_000_000;

/** Proves of a client that it knows the password, without knowing it; proves the same to the client. */
export interface Verifier {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** What a client makes of its password, given the server's salt. */
export interface ClientKeys {
  readonly clientKey: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

const VERIFIER_FORM = /^SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/;

/**
 * The verifier that a text is, in the form of `pg_authid.rolpassword`: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
 * undefined: the text is a password. The server tells the two apart in the same way (PG source: get_password_type).
 */
export function parseVerifier(text: string): Verifier | undefined {
  const [, count, ...parts] = VERIFIER_FORM.exec(text) ?? [];
  const [salt, storedKey, serverKey] = parts.map(decodeBase64);
  const iterations = Number(count);
  if (salt === undefined || storedKey?.length !== KEY_BYTES || serverKey?.length !== KEY_BYTES) return undefined;
  if (salt.length === 0 || iterations < 1 || iterations > ITERATIONS_MAX) return undefined;
  return { salt, iterations, storedKey, serverKey };
}

/** The verifier of a password. Takes milliseconds. */
export function verifierOf(password: string, salt: Buffer, iterations: number = ITERATIONS): Verifier {
  const salted = pbkdf2Sync(preparedPassword(password), salt, iterations, KEY_BYTES, 'sha256');
  const { storedKey, serverKey } = clientKeysOf(salted);
  return { salt, iterations, storedKey, serverKey };
}

/** The keys of a client from its salted password: PBKDF2 of the prepared password, `KEY_BYTES` long. RFC 5802 §3. */
export function clientKeysOf(salted: Buffer): ClientKeys {
  const clientKey = hmac(salted, 'Client Key');
  return { clientKey, storedKey: sha256(clientKey), serverKey: hmac(salted, 'Server Key') };
}

/** The client's proof, or the client key out of one: the two differ by the signature. */
export function maskedBySignature(key: Buffer, storedKey: Buffer, authMessage: string): Buffer {
  const signature = hmac(storedKey, authMessage);
  return Buffer.from(key.map((byte, index) => byte ^ (signature[index] ?? 0)));
}

/** The server's signature, which proves that it knows the verifier. */
export function serverSignature(serverKey: Buffer, authMessage: string): Buffer {
  return hmac(serverKey, authMessage);
}

export function sha256(...parts: readonly (Buffer | string)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The bytes of a base64 text with its padding; undefined when it is none. Node alone skips what it does not know. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** A nonce as it may stand in a message: printable ASCII without a comma. RFC 5802 §7. */
export function isNonce(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]+$/.test(text);
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
