/**
 * The sidecar's side of a global transaction that begins with an inbound request: begin before the application sees it,
 * submit or abort by its answer, and hold the answer back until that decision is durable.
 *
 * Crash rule: when this process dies in between, nothing was submitted, or submit was; the coordinator rolls back at the
 * deadline or carries on. Either way the client saw no outcome.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { GID_HEADER, OUTCOME_HEADER } from '../../src/contract/propagation.ts';
import { isFinal, type Gid, type Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Gate, Verdict } from './forward.ts';
import type { HttpMetrics } from './metrics.ts';

/** How a route begins its transactions. */
export interface BeginRule {
  /** After this long without a decision the coordinator rolls back, in milliseconds. */
  readonly timeout: number;
  readonly wait: 'decided' | 'finished';
}

/** A transaction that this sidecar has begun and will decide. */
export interface OpenTransaction {
  readonly gid: Gid;
  readonly gate: Gate;
}

/** Begins transactions and looks after those it has begun. */
export interface Desk {
  /** The transaction, durable at the coordinator, or why there is none. `initiator`: who begins it, for people. */
  begin(rule: BeginRule, initiator: string): Promise<OpenTransaction | CodedError>;
  /** Resolves when no submit or abort is under way any more. Each has a bound of its own. */
  settled(): Promise<void>;
}

export interface DeskParts {
  readonly coordinator: CoordinatorClient;
  readonly log: Log;
  readonly metrics: HttpMetrics;
}

const RETRY_FIRST_MS = 50;
const RETRY_CAP_MS = 2_000;
/** Tries of an abort; after that the coordinator's deadline does the same. */
const ABORT_TRIES_MAX = 8;
/** The longest single question for the end of a transaction. */
const READ_WAIT_MS = 30_000;

type Outcome = 'committed' | 'rolled-back' | 'unknown';

export function openDesk(parts: DeskParts): Desk {
  const pending = new Set<Promise<unknown>>();
  const follow = (work: Promise<unknown>): void => {
    pending.add(work);
    void work.finally(() => pending.delete(work));
  };
  return {
    async begin(rule, initiator) {
      try {
        const view = await parts.coordinator.begin({ timeoutMs: rule.timeout, initiator: initiator.slice(0, 200) });
        parts.metrics.transaction('begun');
        // Our clock, our start: later than the coordinator's deadline by at least the way back.
        const deadline = (now() + rule.timeout) as Instant;
        return { gid: view.gid, gate: openGate({ ...parts, gid: view.gid, rule, deadline, follow }) };
      } catch (cause) {
        parts.metrics.transaction('refused');
        parts.log.warn({ err: cause, initiator }, 'a transaction could not be begun; the application was not called');
        return beginError(cause);
      }
    },
    async settled() {
      while (pending.size > 0) await Promise.allSettled(pending);
    },
  };
}

interface GateParts extends DeskParts {
  readonly gid: Gid;
  readonly rule: BeginRule;
  readonly deadline: Instant;
  follow(work: Promise<unknown>): void;
}

function openGate(parts: GateParts): Gate {
  const { gid, rule, metrics } = parts;
  let isDeciding = false;

  const decide = async (status: number): Promise<Verdict> => {
    if (status < 200 || status > 299) {
      const outcome = await abort(parts, `the application answered ${status}`);
      return { kind: 'pass', headers: outcomeHeaders(gid, outcome) };
    }
    const submitted = await submit(parts);
    metrics.transaction(submitted.outcome);
    if (submitted.error !== undefined) {
      return { kind: 'replace', error: submitted.error, headers: outcomeHeaders(gid, submitted.outcome) };
    }
    if (rule.wait === 'finished') await untilOver(parts);
    return { kind: 'pass', headers: outcomeHeaders(gid, 'committed') };
  };

  return {
    answered(status) {
      isDeciding = true;
      const verdict = decide(status);
      parts.follow(verdict);
      return verdict;
    },
    async failed(error) {
      isDeciding = true;
      const aborted = abort(parts, `the application did not answer: ${error.message}`);
      parts.follow(aborted);
      return outcomeHeaders(gid, await aborted);
    },
    clientLeft() {
      if (isDeciding) return;
      isDeciding = true;
      parts.follow(abort(parts, 'the client left before the answer'));
    },
  };
}

interface Submitted {
  readonly outcome: Outcome;
  /** What the client gets in place of the application's answer. */
  readonly error?: CodedError;
}

/**
 * Asks until the coordinator answers or the deadline has surely passed: a submit is idempotent, and without an answer
 * nobody knows whether the first one arrived.
 */
async function submit({ coordinator, gid, deadline, log }: GateParts): Promise<Submitted> {
  for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS)) {
    const wasInTime = now() <= deadline;
    try {
      await coordinator.submit(gid);
      return { outcome: 'committed' };
    } catch (cause) {
      const code = cause instanceof CodedError ? cause.code : 'INTERNAL';
      if (code === 'TRANSACTION_ROLLED_BACK') return { outcome: 'rolled-back', error: rolledBack(gid) };
      const mayTryAgain = cause instanceof CodedError && cause.retry !== 'never';
      if (!mayTryAgain || !wasInTime) {
        log.error({ err: cause, gid }, 'the coordinator did not confirm a submit; the outcome is not known here');
        return { outcome: 'unknown', error: outcomeUnknown(gid, cause) };
      }
    }
    await pause(pauseMs);
  }
}

/** One try before the answer goes on; further ones behind it. `unknown` when the coordinator has not confirmed it yet. */
async function abort(parts: GateParts, reason: string): Promise<Outcome> {
  const outcome = await abortOnce(parts, reason);
  if (outcome === 'unknown') {
    parts.follow(abortLater(parts, reason));
  } else {
    parts.metrics.transaction(outcome);
  }
  return outcome;
}

async function abortOnce({ coordinator, gid, log }: GateParts, reason: string): Promise<Outcome> {
  try {
    await coordinator.abort(gid, { reason: reason.slice(0, 1000) });
    return 'rolled-back';
  } catch (cause) {
    const code = cause instanceof CodedError ? cause.code : 'INTERNAL';
    if (code === 'TRANSACTION_ROLLED_BACK') return 'rolled-back';
    if (code === 'TRANSACTION_DECIDED') {
      log.warn({ gid, reason }, 'a transaction to be rolled back had been committed through the API before');
      return 'committed';
    }
    log.warn({ err: cause, gid, reason }, 'a transaction could not be aborted; it is rolled back at its deadline');
    return 'unknown';
  }
}

async function abortLater(parts: GateParts, reason: string): Promise<void> {
  let pauseMs = RETRY_FIRST_MS;
  for (let tries = 1; tries < ABORT_TRIES_MAX && now() < parts.deadline; tries += 1) {
    await pause(pauseMs);
    pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS);
    const outcome = await abortOnce(parts, reason);
    if (outcome !== 'unknown') return parts.metrics.transaction(outcome);
  }
  parts.metrics.transaction('unknown');
}

/** Waits until every branch has carried the decision out, an operator is needed, or as long again as the transaction had. */
async function untilOver({ coordinator, gid, rule, log }: GateParts): Promise<void> {
  const end = now() + rule.timeout;
  try {
    for (let leftMs = rule.timeout; leftMs > 0; leftMs = end - now()) {
      const view = await coordinator.read(gid, Math.min(leftMs, READ_WAIT_MS));
      if (view === undefined || isFinal(view.status) || view.needsAttention) return;
      await pause(RETRY_FIRST_MS);
    }
  } catch (cause) {
    log.warn({ err: cause, gid }, 'the end of a committed transaction could not be awaited');
  }
}

function outcomeHeaders(gid: Gid, outcome: Outcome): readonly string[] {
  return outcome === 'unknown' ? [GID_HEADER, gid] : [GID_HEADER, gid, OUTCOME_HEADER, outcome];
}

function beginError(cause: unknown): CodedError {
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

function outcomeUnknown(gid: Gid, cause: unknown): CodedError {
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

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => at((now() + ms) as Instant, resolve));
}
