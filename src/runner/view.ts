/** A transaction as the native APIs show it, over HTTP and over gRPC. */
import type { BranchView, CallbackView, RunAnswer, TransactionView } from '../contract/messages.ts';
import { type Gid, isFinal } from '../contract/transaction.ts';
import type { Branch, GlobalTransaction } from '../engine/global-transaction.ts';
import type { ListFilter } from './ports.ts';
import type { Outcome, Runner } from './runner.ts';

/** So many transactions are read at once: each may carry megabytes of payload, of which no list shows anything. */
const SLICE = 20;
/** A page that has grown beyond so many characters of JSON ends there. */
const PAGE_CHARACTERS_MAX = 8 * 1024 * 1024;

/** Transactions as a list shows them. */
export interface Page<View> {
  readonly views: readonly View[];
  /** The gid after which the next page begins; undefined: this one is the last. */
  readonly next: Gid | undefined;
}

/** Up to `filter.limit` views, and fewer when they are large: what a list takes of memory does not grow with what is stored. */
export async function pageOf<View>(
  list: Runner['list'],
  filter: ListFilter,
  view: (transaction: GlobalTransaction) => View,
): Promise<Outcome<Page<View>>> {
  const views: View[] = [];
  let characters = 0;
  let last: Gid | undefined;
  for (;;) {
    // One more than asked for tells whether there is a next page.
    const limit = Math.min(SLICE, filter.limit + 1 - views.length);
    const outcome = await list({ ...filter, ...(last === undefined ? {} : { after: last }), limit });
    if (!outcome.ok) return outcome;
    for (const transaction of outcome.value) {
      if (views.length === filter.limit || characters > PAGE_CHARACTERS_MAX) {
        return { ok: true, value: { views, next: last } };
      }
      const shown = view(transaction);
      characters += JSON.stringify(shown).length;
      views.push(shown);
      last = transaction.gid;
    }
    if (outcome.value.length < limit) return { ok: true, value: { views, next: undefined } };
  }
}

/** The view of `transaction`: what the contract promises and nothing else of the state. */
export function viewOf(transaction: GlobalTransaction): TransactionView {
  const { gid, mode, status, createdAt, deadline, finishedAt, reason, initiator, branches } = transaction;
  const { callback, run, steps, stoppedFrom, stoppedBy } = transaction;
  return {
    gid,
    mode,
    status,
    createdAt,
    ...(status === 'prepared' && deadline !== undefined ? { deadline } : {}),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(reason === undefined ? {} : { reason }),
    ...(stoppedFrom === undefined ? {} : { stoppedFrom }),
    ...(stoppedBy === undefined ? {} : { stoppedBy }),
    ...(initiator === undefined ? {} : { initiator }),
    needsAttention: !isFinal(status) && branches.some((branch) => branch.status === 'dirty'),
    ...(callback === undefined ? {} : { callback: callbackViewOf(callback, status === 'prepared') }),
    ...(run === undefined ? {} : { run: run.number }),
    ...(steps === undefined ? {} : { steps: steps.map(({ step }) => step) }),
    branches: branches.map((branch) => branchViewOf(branch, !isFinal(status))),
  };
}

/** The newest run of a workflow in a mesh, with all that its program needs to go on; undefined when the transaction has no runs. */
export function runOf({ run, callback, steps = [] }: GlobalTransaction): RunAnswer | undefined {
  if (run === undefined) return undefined;
  return { run: run.number, ...(callback?.payload === undefined ? {} : { payload: callback.payload }), steps };
}

function callbackViewOf({ operations, attempts, notBefore, lastError }: Branch, isOpen: boolean): CallbackView {
  const [url = ''] = operations.workflow ?? operations.msg ?? [];
  return {
    operation: operations.workflow === undefined ? 'msg' : 'workflow',
    url,
    attempts,
    ...(notBefore === undefined || !isOpen ? {} : { nextAttemptAt: notBefore }),
    ...(lastError === undefined ? {} : { lastError }),
  };
}

function branchViewOf(branch: Branch, isOpen: boolean): BranchView {
  const { id, sequence, kind, resource, status, operations, attempts, attemptsMax, notBefore, lastError } = branch;
  const { diagnosis, resolutions } = branch;
  return {
    branchId: id,
    sequence,
    kind,
    resource,
    status,
    operations,
    attempts,
    ...(attemptsMax === undefined ? {} : { attemptsMax }),
    ...(notBefore === undefined || status !== 'prepared' || !isOpen ? {} : { nextAttemptAt: notBefore }),
    ...(lastError === undefined ? {} : { lastError }),
    ...(diagnosis === undefined ? {} : { diagnosis }),
    ...(resolutions === undefined ? {} : { resolutions }),
  };
}
