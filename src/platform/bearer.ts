/** The check of a bearer token, the same for every listener that asks for one. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from './option-types.ts';

/** A function that says whether an `Authorization` header carries the token; the scheme in any case (RFC 9110 §11.1). Compares hashes, so that the time taken tells nothing of it, not even its length. */
export function bearerCheck(token: Secret): (authorization: string | undefined) => boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = hash(`Bearer ${token.reveal()}`);
  return (authorization) =>
    authorization !== undefined && timingSafeEqual(hash(authorization.replace(/^bearer /i, 'Bearer ')), expected);
}
