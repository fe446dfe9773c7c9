/** The one source of chance of the repository. */
import { randomBytes } from 'node:crypto';
import type { Gid } from '../contract/transaction.ts';

/** A fresh gid: 128 random bits as 32 hexadecimal digits. */
export function newGid(): Gid {
  return randomBytes(16).toString('hex') as Gid;
}

/** A fresh id for a process, a lease or a session: 64 random bits as 16 hexadecimal digits. */
export function newId(): string {
  return randomBytes(8).toString('hex');
}

/** Random bytes for nonces, salts and keys, which nobody may guess. */
export function secretBytes(count: number): Buffer {
  return randomBytes(count);
}
