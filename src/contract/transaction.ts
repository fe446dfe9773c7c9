/**
 * The words of a global transaction that every part of the system shares, and their grammar.
 * Nothing here does I/O, and nothing here imports anything.
 */

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** The id of a global transaction: 1 to 128 characters of `A-Za-z0-9._:{}-`. */
export type Gid = Branded<string, 'Gid'>;

/** A branch's number inside its global transaction, two digits per level as DTM numbers them: `01`, `02`, … */
export type BranchId = Branded<string, 'BranchId'>;

/** Milliseconds since 1970-01-01T00:00Z. Instants are arguments everywhere; only `src/platform/clock.ts` reads a clock. */
export type Instant = Branded<number, 'Instant'>;

/** How a global transaction works. Further modes (saga, tcc, xa, msg, workflow) are further members. */
export type Mode = 'mesh';

/**
 * The status of a global transaction, in DTM's words.
 * - `prepared`: begun; branches may be enlisted; nothing is decided.
 * - `submitted`: decided: commit. Phase two is under way.
 * - `aborting`: decided: roll back. Phase two is under way.
 * - `succeed`: every branch has committed. Final.
 * - `failed`: every branch has rolled back. Final.
 */
export type GlobalStatus = 'prepared' | 'submitted' | 'aborting' | 'succeed' | 'failed';

/**
 * The status of one branch.
 * - `prepared`: enlisted; its second phase is not finished.
 * - `succeed`: its second phase took effect. Final.
 * - `dirty`: it cannot be rolled back because somebody else changed its rows; it waits for an operator.
 */
export type BranchStatus = 'prepared' | 'succeed' | 'dirty';

/** What kind of participant a branch is. `undo` is row images ("AT"), `xa` a prepared database transaction. */
export type BranchKind = 'undo' | 'xa' | 'tcc' | 'saga' | 'msg';

/** What the coordinator asks of a branch. */
export type Operation = 'commit' | 'rollback' | 'confirm' | 'cancel' | 'action' | 'compensate' | 'msg';

/**
 * What a call to a participant answers. `failure` is final (do not retry), `ongoing` means ask again at a fixed interval,
 * `unknown` (anything else, silence included) means ask again with back-off and is never taken for `failure`.
 * `dirty` is an undo branch saying that it refuses to overwrite somebody else's change.
 */
export type CallResult = 'success' | 'failure' | 'ongoing' | 'unknown' | 'dirty';

const GID = /^[A-Za-z0-9._:{}-]{1,128}$/;
const BRANCH_ID = /^(?:[0-9]{2}){1,10}$/;

/** The gid when `text` has a gid's form, else undefined. */
export function parseGid(text: string): Gid | undefined {
  return GID.test(text) ? (text as Gid) : undefined;
}

/** The branch id when `text` has its form, else undefined. */
export function parseBranchId(text: string): BranchId | undefined {
  return BRANCH_ID.test(text) ? (text as BranchId) : undefined;
}

/** True when nothing more will happen to a transaction of this status. */
export function isFinal(status: GlobalStatus): boolean {
  return status === 'succeed' || status === 'failed';
}

/** The reply that an HTTP status code of a participant stands for (DTM's table: 200, 409, 425, anything else). */
export function resultOfHttpStatus(status: number): Exclude<CallResult, 'dirty'> {
  if (status >= 200 && status < 300) return 'success';
  if (status === 409) return 'failure';
  if (status === 425) return 'ongoing';
  return 'unknown';
}
