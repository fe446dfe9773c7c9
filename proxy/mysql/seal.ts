/**
 * The seal of an undo record. Sessions write their records with the rights of the application, and records are applied with greater
 * ones: the seal shows that a sidecar has written it, for only the second phase may read the secret.
 */
import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { OwnConnection } from './own-pool.ts';

/** What a seal is about: the columns of the record. */
export interface SealedRecord {
  readonly gid: string;
  readonly resource: string;
  /** The JSON text. */
  readonly body: string;
}

/**
 * The 32 bytes in `atomesh.seal_secret`, as a key: Node.js takes six times as long to seal with bytes. Rejects when there are none, or
 * they may not be read.
 */
export async function readSealSecret(connection: OwnConnection): Promise<KeyObject> {
  const [row] = await connection.rows<{ secret: Buffer }>('SELECT secret FROM atomesh.seal_secret WHERE id = 1');
  if (row === undefined) throw new Error('atomesh.seal_secret has no row; run "atomesh db init" again');
  return createSecretKey(row.secret);
}

/** The column `seal` of a record. Neither gid nor resource can hold a line break, so no two records are sealed alike. */
export function sealOf(secret: KeyObject, { gid, resource, body }: SealedRecord): Buffer {
  return createHmac('sha256', secret).update(`${gid}\n${resource}\n${body}`).digest();
}

/** True when a sidecar has written the record. */
export function isSealed(secret: KeyObject, record: SealedRecord, seal: Buffer): boolean {
  const wanted = sealOf(secret, record);
  return seal.length === wanted.length && timingSafeEqual(seal, wanted);
}
