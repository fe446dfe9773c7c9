/**
 * The words of a global transaction that every part of the system shares, and their grammar.
 * Nothing here does I/O, and nothing here imports anything.
 */

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** The id of a global transaction: 1 to 128 characters of `A-Za-z0-9._:{}-`. */
export type Gid = Branded<string, 'Gid'>;

/**
 * A branch's number inside its global transaction, two digits per level as DTM numbers them: `01`, `02`, … `00` is no branch but
 * the initiator, who is asked how a message's local transaction ended, or to run a workflow again.
 */
export type BranchId = Branded<string, 'BranchId'>;

/** Milliseconds since 1970-01-01T00:00Z. Instants are arguments everywhere; only `src/platform/clock.ts` reads a clock. */
export type Instant = Branded<number, 'Instant'>;

/**
 * How a global transaction works.
 * - `mesh`: sidecars enlist branches of any kind; one decision finishes them all.
 * - `saga`: the coordinator calls each step's action in order, and compensates when one fails.
 * - `tcc`, `xa`: the initiator registers branches and calls them itself; the coordinator confirms or cancels, commits or rolls back.
 * - `msg`: two-phase message: steps that are carried out once the initiator's local transaction has committed.
 * - `workflow`: a program of the initiator's, whose finished steps are recorded and which is called again until it has ended.
 */
export type Mode = 'mesh' | 'saga' | 'tcc' | 'xa' | 'msg' | 'workflow';

/** How branches that were not enlisted by a sidecar are called. */
export type Protocol = 'http' | 'grpc' | 'json-rpc';

/**
 * The status of a global transaction, in DTM's words.
 * - `prepared`: begun; branches may be enlisted; nothing is decided.
 * - `submitted`: decided: commit. Phase two is under way. In a saga: its actions are under way, and one that fails turns it to `aborting`.
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
 * - `abandoned`: a notification that was tried as often as its sender wished, in vain. Final.
 */
export type BranchStatus = 'prepared' | 'succeed' | 'dirty' | 'abandoned';

/** What kind of participant a branch is. `undo` is row images ("AT"), `xa` a prepared database transaction. */
export type BranchKind = 'undo' | 'xa' | 'tcc' | 'saga' | 'msg';

/** What the coordinator asks of a branch; `msg` and `workflow` of the initiator. */
export type Operation = 'commit' | 'rollback' | 'confirm' | 'cancel' | 'action' | 'compensate' | 'msg' | 'workflow';

/**
 * What a participant is doing for a gid while it serves a request: an operation of a branch (`try`, `action`, `confirm`,
 * `cancel`, `compensate`), or, under branch `00`, the initiator's own work: `msg` (the local transaction that a message follows)
 * or `run1`, `run2`, … (the first, the second run of a workflow).
 */
export type Task = 'try' | 'action' | 'confirm' | 'cancel' | 'compensate' | 'msg' | `run${number}`;

/** A gid as it travels inside one service: with the operation that is being served, when it is one. Written `gid` or `gid/branch/task`. */
export interface Mark {
  readonly gid: Gid;
  readonly operation?: { readonly branch: BranchId; readonly task: Task };
}

/**
 * What a call to a participant answers. `failure` is final (do not retry), `ongoing` means ask again at a fixed interval,
 * `unknown` (anything else, silence included) means ask again with back-off and is never taken for `failure`.
 * `dirty` is an undo branch saying that it refuses to overwrite somebody else's change.
 */
export type CallResult = 'success' | 'failure' | 'ongoing' | 'unknown' | 'dirty';

/**
 * What an operator has a dirty branch do, for good.
 * - `apply-before`: write the rows as they were before the global transaction, over whatever is there now.
 * - `keep-current`: leave the rows as they are, and forget what it would take to restore them.
 */
export type Resolution = 'apply-before' | 'keep-current';

const GID = /^[A-Za-z0-9._:{}-]{1,128}$/;
const BRANCH_ID = /^[0-9]{2}[0-9-]{0,126}$/;

/** The initiator, where it is asked like a branch. */
export const INITIATOR = '00' as BranchId;

/** The gid when `text` has a gid's form, else undefined. */
export function parseGid(text: string): Gid | undefined {
  return GID.test(text) ? (text as Gid) : undefined;
}

/** The branch id when `text` has its form, else undefined. */
export function parseBranchId(text: string): BranchId | undefined {
  return BRANCH_ID.test(text) ? (text as BranchId) : undefined;
}

/** The resolution when `text` is one, else undefined. */
export function parseResolution(text: string): Resolution | undefined {
  return text === 'apply-before' || text === 'keep-current' ? text : undefined;
}

const TASK = /^(?:try|action|confirm|cancel|compensate|msg|run[1-9][0-9]{0,5})$/;

/** The task when `text` is one, else undefined. */
export function parseTask(text: string): Task | undefined {
  return TASK.test(text) ? (text as Task) : undefined;
}

/** The mark when `text` has the form of one, else undefined. No character of it has a meaning in headers, traces or SQL literals. */
export function parseMark(text: string): Mark | undefined {
  const [first = '', second, third, more] = text.split('/', 4);
  const gid = parseGid(first);
  if (gid === undefined) return undefined;
  if (second === undefined) return { gid };
  const branch = parseBranchId(second);
  const task = parseTask(third ?? '');
  if (branch === undefined || task === undefined || more !== undefined) return undefined;
  const isInitiators = task === 'msg' || task.startsWith('run');
  return isInitiators === (branch === INITIATOR) ? { gid, operation: { branch, task } } : undefined;
}

/** The text of a mark. Two marks mean the same exactly when their texts are equal. */
export function markText({ gid, operation }: Mark): string {
  return operation === undefined ? gid : `${gid}/${operation.branch}/${operation.task}`;
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
