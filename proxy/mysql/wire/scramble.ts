/**
 * What clients answer to a challenge so that the password itself need not be sent. Passwords are the bytes that the user means.
 * Source: MySQL documentation, "Native Authentication", "Caching_sha2_password"; MySQL source: sha2_password_common.cc,
 * generate_sha2_scramble, and sha2_password.cc for what RSA carries.
 */
import { constants, createHash, privateDecrypt, publicEncrypt, type KeyLike } from 'node:crypto';

const NUL = Buffer.from([0]);
const EMPTY: Buffer = Buffer.alloc(0);

/** mysql_native_password: SHA1(password) XOR SHA1(challenge, SHA1(SHA1(password))). Nothing for an empty password. */
export function nativePassword(password: Buffer, challenge: Buffer): Buffer {
  if (password.length === 0) return EMPTY;
  const once = hash('sha1', password);
  return xor(once, hash('sha1', challenge, hash('sha1', once)));
}

/** caching_sha2_password, the fast way: SHA256(password) XOR SHA256(SHA256(SHA256(password)), challenge). */
export function cachingSha2Password(password: Buffer, challenge: Buffer): Buffer {
  if (password.length === 0) return EMPTY;
  const once = hash('sha256', password);
  return xor(once, hash('sha256', hash('sha256', once), challenge));
}

/**
 * caching_sha2_password and sha256_password, the full way without TLS: the password and NUL, over which the challenge is laid again and
 * again, in RSA-OAEP (SHA-1) under the server's key.
 */
export function encryptPassword(password: Buffer, challenge: Buffer, publicKey: KeyLike): Buffer {
  const laid = overlay(Buffer.concat([password, NUL]), challenge);
  return publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING }, laid);
}

/** The other side of `encryptPassword`: the password, or undefined when this is none for the key and the challenge. */
export function decryptPassword(encrypted: Buffer, challenge: Buffer, privateKey: KeyLike): Buffer | undefined {
  let laid: Buffer;
  try {
    laid = privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING }, encrypted);
  } catch {
    return undefined;
  }
  const text = overlay(laid, challenge);
  const end = text.indexOf(0);
  return end === text.length - 1 ? text.subarray(0, end) : undefined;
}

function overlay(text: Buffer, challenge: Buffer): Buffer {
  return Buffer.from(text.map((byte, index) => byte ^ (challenge[index % challenge.length] ?? 0)));
}

function xor(left: Buffer, right: Buffer): Buffer {
  return Buffer.from(left.map((byte, index) => byte ^ (right[index] ?? 0)));
}

function hash(name: string, ...parts: readonly Buffer[]): Buffer {
  const sum = createHash(name);
  for (const part of parts) sum.update(part);
  return sum.digest();
}
