/** A database session's way to make its branch known to the coordinator. */
import type { Gid } from '../../src/contract/transaction.ts';
import type { Refusal } from '../sql/statement.ts';

export type EnlistResult = { readonly kind: 'enlisted' } | { readonly kind: 'refused'; readonly refusal: Refusal };

/** One database's branches. */
export interface Enlistment {
  /** True when the branch of this gid is known to be enlisted and not known to be finished. */
  isEnlisted(gid: Gid): boolean;
  /** Enlists the branch, once per gid however many sessions ask. Never rejects: what goes wrong is a refusal for the client. */
  enlist(gid: Gid): Promise<EnlistResult>;
}
