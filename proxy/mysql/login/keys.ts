/** The keys under which clients without TLS send their password where the server's side has TLS. */
import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { PasswordKeys } from './exchange.ts';

/** MySQL documentation, caching_sha2_password_auto_generate_rsa_keys: the server's own have as many. */
const KEY_BITS = 2048;

/** The keys of one listener: made when they are first needed, and gone with the process. */
export function createKeys(): () => Promise<PasswordKeys> {
  let keys: Promise<PasswordKeys> | undefined;
  return () => (keys ??= makeKeys());
}

async function makeKeys(): Promise<PasswordKeys> {
  const pair = await promisify(generateKeyPair)('rsa', { modulusLength: KEY_BITS });
  return { privateKey: pair.privateKey, publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString() };
}
