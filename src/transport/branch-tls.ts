/** What branch calls over TLS (`https`, `grpcs`) trust and show; the same for every protocol. */
import type { Secret } from '../platform/option-types.ts';

export interface BranchTls {
  /** Certificates of the authorities to trust instead of those that Node.js brings, in PEM. */
  readonly ca?: string | undefined;
  /** Our own certificate with its chain, in PEM, for branches that ask for one. */
  readonly certificate?: string | undefined;
  /** The key of `certificate`, in PEM. */
  readonly key?: Secret | undefined;
}
