/** When a branch is asked again. No randomness: the same try of the same branch always waits equally long. */
import type { BranchId, Gid } from '../../contract/transaction.ts';

/** No pause grows beyond this, unless the transaction asked for a longer first pause. Milliseconds. */
export const BACKOFF_CAP_MS = 60_000;

/**
 * The pause after the given try (from 1), in milliseconds: `firstMs` doubled each time up to the cap, of which between a
 * half and all is waited. The spread comes from a hash of gid, branch and try, so that transactions which failed together
 * do not come back together.
 */
export function backoffMs(gid: Gid, branch: BranchId, attempt: number, firstMs: number): number {
  const cap = Math.max(BACKOFF_CAP_MS, firstMs);
  const full = Math.max(1, Math.min(cap, firstMs * 2 ** Math.max(0, attempt - 1)));
  return Math.ceil(full / 2 + (full / 2) * spread(`${gid}/${branch}/${attempt}`));
}

/** A number from 0 up to 1 that depends on every character: FNV-1a with the finaliser of MurmurHash3. */
function spread(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000;
}
