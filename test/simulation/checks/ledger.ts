/** What was asked of branches and what was answered, over all coordinators and all their lives. */
import type { BranchId, Gid, Operation } from '../../../src/contract/transaction.ts';

export class Ledger {
  readonly #asked = new Set<string>();
  readonly #told = new Set<string>();
  readonly #refused = new Set<string>();

  /** A coordinator makes a call. */
  ask(gid: Gid, branch: BranchId, operation: Operation): void {
    this.#asked.add(`${gid} ${branch} ${operation}`);
  }

  /** A coordinator that still drives the transaction hears that the branch is done, or dirty. */
  tell(gid: Gid, branch: BranchId, operation: Operation): void {
    this.#told.add(`${gid} ${branch} ${operation}`);
  }

  /** A coordinator hears that an action has failed for good. */
  refuse(gid: Gid, branch: BranchId): void {
    this.#refused.add(`${gid} ${branch}`);
  }

  isRefused(gid: Gid, branch: BranchId): boolean {
    return this.#refused.has(`${gid} ${branch}`);
  }

  isAsked(gid: Gid, branch: BranchId, operation: Operation): boolean {
    return this.#asked.has(`${gid} ${branch} ${operation}`);
  }

  isTold(gid: Gid, branch: BranchId, operation: Operation): boolean {
    return this.#told.has(`${gid} ${branch} ${operation}`);
  }
}
