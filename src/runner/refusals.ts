/** Why the runner itself does not do what was asked: the errors that callers get to see. */
import { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import { hasNoRuns } from '../engine/branches/runs.ts';
import type { Refusal } from '../engine/decision.ts';

/** What `decide` refused. */
export function refusedByRule(refusal: Refusal): CodedError {
  return new CodedError(refusal.code, refusal.message, { hint: refusal.hint });
}

/** Somebody asks for the runs of a transaction that is no workflow in a mesh. */
export function noRuns(gid: Gid): CodedError {
  return refusedByRule(hasNoRuns(gid));
}

/** The store did not answer, or answered with an error: whether the write counts is not known. */
export function storeFailed(gid: Gid | undefined, cause: unknown): CodedError {
  return new CodedError('STORE_FAILED', `the store failed${gid === undefined ? '' : ` for transaction ${gid}`}`, {
    retry: 'safe',
    hint: "send the same request again; if it goes on, look at the coordinator's log and disk",
    cause,
  });
}

/** Another live coordinator drives the transaction. */
export function heldElsewhere(gid: Gid): CodedError {
  return new CodedError('STORE_FAILED', `transaction ${gid} is driven by another coordinator`, {
    retry: 'safe',
    hint: 'send the same request again; it is answered there, or here once the other one has stopped',
  });
}

export function gidUnknown(gid: Gid): CodedError {
  return new CodedError('GID_UNKNOWN', `no transaction ${gid}`, {
    hint: 'it was never begun here, or finished so long ago that it is no longer kept',
  });
}

export function gidConflict(gid: Gid): CodedError {
  return new CodedError('GID_CONFLICT', `transaction ${gid} was begun with another request`, {
    hint: 'use a fresh gid, or leave it out',
  });
}

export function tooManyTransactions(limit: number): CodedError {
  return new CodedError('TOO_MANY_TRANSACTIONS', `${limit} transactions are unfinished`, {
    retry: 'safe',
    hint: 'try again later, or raise limits.unfinished',
  });
}

export function tooManyBranches(gid: Gid, limit: number): CodedError {
  return new CodedError('TOO_MANY_BRANCHES', `transaction ${gid} has ${limit} branches, the most that it may have`, {
    hint: 'let fewer databases and services take part, record fewer steps (each counts like a branch), or raise limits.branches',
  });
}

export function tooLarge(gid: Gid, limit: number): CodedError {
  return new CodedError(
    'TOO_MANY_BRANCHES',
    `transaction ${gid} would keep more than ${limit} characters of requests and steps`,
    {
      hint: 'record less, and let operations be called with less: what a step needs later can stay in a database',
    },
  );
}

export function shuttingDown(): CodedError {
  return new CodedError('SHUTTING_DOWN', 'this coordinator is stopping', {
    retry: 'safe',
    hint: 'send the same request again, to another coordinator or to this one once it is back',
  });
}

/** Something that must hold did not. */
export function defect(gid: Gid, cause: unknown): CodedError {
  return new CodedError('INTERNAL', `a defect of the coordinator stopped this request for transaction ${gid}`, {
    retry: 'ask',
    hint: 'read the transaction to see where it stands, and report the error in the log of the coordinator',
    cause,
  });
}
