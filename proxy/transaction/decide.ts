/**
 * Submitting and aborting a global transaction from beside its initiator: asked until the coordinator has answered or time is up,
 * and what the client is told of it.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { StatusRange, SubmitRequest } from '../../src/contract/messages.ts';
import { GID_HEADER, OUTCOME_HEADER } from '../../src/contract/propagation.ts';
import { isFinal, type Gid, type Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import type { HttpMetrics } from '../http/metrics.ts';

/** A transaction that is to be decided, and those who are asked and told. */
export interface Undecided {
  readonly gid: Gid;
  /**
   * Until when a decision is tried for, in our clock: after the coordinator's own deadline where it has one. Read at each try: it comes
   * nearer when the sidecar ends.
   */
  readonly deadline: Instant;
  readonly coordinator: CoordinatorClient;
  readonly log: Log;
  readonly metrics: HttpMetrics;
  /** Takes work that goes on after the client is answered: the sidecar does not end before it. */
  follow(work: Promise<unknown>): void;
}

/** What became of a transaction, as far as it is known here. */
export type Outcome = 'committed' | 'rolled-back' | 'unknown';

/** How a submit ended. */
export interface Submitted {
  readonly outcome: Outcome;
  /** What the client gets in place of the application's answer. */
  readonly error?: CodedError;
}

const RETRY_FIRST_MS = 50;
const RETRY_CAP_MS = 2_000;
/** Tries of an abort; after that the coordinator's deadline does the same. */
const ABORT_TRIES_MAX = 8;
/** The longest single question for the end of a transaction. */
const READ_WAIT_MS = 30_000;

/**
 * Asks until the coordinator answers or the deadline has surely passed: a submit is idempotent, and without an answer
 * nobody knows whether the first one arrived. `request`: of a workflow, the run that ends with it; then the error may be REPLAY_MISMATCH,
 * and nothing is decided.
 */
export async function submit(transaction: Undecided, request?: SubmitRequest): Promise<Submitted> {
  const { coordinator, gid, log, metrics } = transaction;
  const submitted = await asked(transaction, () => coordinator.submit(gid, request));
  if (submitted.error?.code === 'REPLAY_MISMATCH') return submitted;
  metrics.transaction(submitted.outcome);
  if (submitted.outcome === 'unknown') {
    log.error(
      { err: submitted.error?.cause, gid },
      'the coordinator did not confirm a submit; the outcome is not known here',
    );
  }
  return submitted;
}

async function asked(transaction: Undecided, ask: () => Promise<unknown>): Promise<Submitted> {
  const { gid } = transaction;
  for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS)) {
    const wasInTime = now() <= transaction.deadline;
    try {
      await ask();
      return { outcome: 'committed' };
    } catch (cause) {
      const code = cause instanceof CodedError ? cause.code : 'INTERNAL';
      if (code === 'TRANSACTION_ROLLED_BACK') return { outcome: 'rolled-back', error: rolledBack(gid) };
      if (cause instanceof CodedError && code === 'REPLAY_MISMATCH') return { outcome: 'unknown', error: cause };
      const mayTryAgain = cause instanceof CodedError && cause.retry !== 'never';
      if (!mayTryAgain || !wasInTime) return { outcome: 'unknown', error: outcomeUnknown(gid, cause) };
    }
    await pause(pauseMs);
  }
}

/**
 * One try before the answer goes on; further ones behind it. `unknown` when the coordinator has not confirmed it yet. `run`: the run
 * of a workflow that ends with it; superseded by a later one, it has no say any more.
 */
export async function abort(transaction: Undecided, reason: string, run?: number): Promise<Outcome> {
  const outcome = await abortOnce(transaction, reason, run);
  if (outcome === 'again') {
    transaction.follow(abortLater(transaction, reason, run));
    return 'unknown';
  }
  transaction.metrics.transaction(outcome);
  return outcome;
}

async function abortOnce(
  { coordinator, gid, log }: Pick<Undecided, 'coordinator' | 'gid' | 'log'>,
  reason: string,
  run: number | undefined,
): Promise<Outcome | 'again'> {
  try {
    await coordinator.abort(gid, { reason: reason.slice(0, 1000), ...(run === undefined ? {} : { run }) });
    return 'rolled-back';
  } catch (cause) {
    const code = cause instanceof CodedError ? cause.code : 'INTERNAL';
    if (code === 'TRANSACTION_ROLLED_BACK') return 'rolled-back';
    if (code === 'RUN_SUPERSEDED') return 'unknown';
    if (code === 'TRANSACTION_DECIDED') {
      log.warn({ gid, reason }, 'a transaction to be rolled back had been committed through the API before');
      return 'committed';
    }
    log.warn({ err: cause, gid, reason }, 'a transaction could not be aborted; it is rolled back at its deadline');
    return 'again';
  }
}

async function abortLater(transaction: Undecided, reason: string, run: number | undefined): Promise<void> {
  let pauseMs = RETRY_FIRST_MS;
  for (let tries = 1; tries < ABORT_TRIES_MAX && now() < transaction.deadline; tries += 1) {
    await pause(pauseMs);
    pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS);
    const outcome = await abortOnce(transaction, reason, run);
    if (outcome !== 'again') return transaction.metrics.transaction(outcome);
  }
  transaction.metrics.transaction('unknown');
}

/**
 * Rolls a transaction back whose initiator is somebody else: it must not commit after what has happened. Never rejects; without an
 * answer its deadline does the same.
 */
export async function abandon(
  { coordinator, log }: Pick<Undecided, 'coordinator' | 'log'>,
  gid: Gid,
  reason: string,
): Promise<void> {
  let pauseMs = RETRY_FIRST_MS;
  for (let tries = 1; tries <= ABORT_TRIES_MAX; tries += 1) {
    if ((await abortOnce({ coordinator, gid, log }, reason, undefined)) !== 'again') return;
    await pause(pauseMs);
    pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS);
  }
}

/** Waits until every branch has carried the decision out, an operator is needed, or `timeoutMs` has passed. Never rejects. */
export async function untilOver({ coordinator, gid, log }: Undecided, timeoutMs: number): Promise<void> {
  const end = now() + timeoutMs;
  try {
    for (let leftMs = timeoutMs; leftMs > 0; leftMs = end - now()) {
      const view = await coordinator.read(gid, Math.min(leftMs, READ_WAIT_MS));
      if (view === undefined || isFinal(view.status) || view.needsAttention) return;
      await pause(RETRY_FIRST_MS);
    }
  } catch (cause) {
    log.warn({ err: cause, gid }, 'the end of a committed transaction could not be awaited');
  }
}

/** True when one of the ranges has `status`. */
export function isIn(ranges: readonly StatusRange[], status: number): boolean {
  return ranges.some(([from, to]) => from <= status && status <= to);
}

/** The headers that tell a client which transaction its request was, and what became of it. */
export function outcomeHeaders(gid: Gid, outcome: Outcome | 'pending'): readonly string[] {
  return outcome === 'unknown' ? [GID_HEADER, gid] : [GID_HEADER, gid, OUTCOME_HEADER, outcome];
}

/** What a client gets when no transaction could be begun. */
export function beginError(cause: unknown): CodedError {
  if (cause instanceof CodedError && cause.code !== 'COORDINATOR_UNREACHABLE') return cause;
  return new CodedError(
    'COORDINATOR_UNREACHABLE',
    'No global transaction could be begun: the coordinator did not answer',
    {
      retry: 'safe',
      hint: 'The application was not called. Try again; check coordinator.url and that the coordinator is ready',
      cause,
    },
  );
}

function rolledBack(gid: Gid): CodedError {
  return new CodedError(
    'TRANSACTION_ROLLED_BACK',
    `The global transaction ${gid} was rolled back before the application answered`,
    {
      hint: 'Its deadline passed, or somebody aborted it. Nothing of it remains; the request may be sent again',
    },
  );
}

/** What a client gets when the decision may or may not have been recorded. */
export function outcomeUnknown(gid: Gid, cause: unknown): CodedError {
  return new CodedError(
    'OUTCOME_UNKNOWN',
    `The coordinator did not say whether the global transaction ${gid} has committed`,
    {
      retry: 'ask',
      hint: `Read GET /v1/transactions/${gid} at the coordinator (or run: atomesh tx show ${gid}) before you repeat the request`,
      cause,
    },
  );
}

/** Resolves after that many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => at((now() + ms) as Instant, resolve));
}
