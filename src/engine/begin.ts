/** The first state of a global transaction. */
import type { BeginRequest } from '../contract/messages.ts';
import type { Gid, Instant } from '../contract/transaction.ts';
import { initiatorAt } from './branches/initiator.ts';
import type { GlobalTransaction } from './global-transaction.ts';

/** What a begin request means where it is silent. Durations in milliseconds. */
const BEGIN_DEFAULTS = {
  mode: 'mesh',
  timeoutMs: 60_000,
  retryIntervalMs: 1000,
  requestTimeoutMs: 10_000,
} as const;

/** Begins a transaction under `gid`. `requestHash` is the hash of `requestIdentity(request)`. */
export function begin(request: BeginRequest, gid: Gid, requestHash: string, now: Instant): GlobalTransaction {
  return {
    gid,
    mode: request.mode ?? BEGIN_DEFAULTS.mode,
    status: 'prepared',
    createdAt: now,
    // Whether a message is sent is its initiator's word alone, however long that takes.
    ...(request.callback?.operation === 'msg'
      ? {}
      : { deadline: (now + (request.timeoutMs ?? BEGIN_DEFAULTS.timeoutMs)) as Instant }),
    retryIntervalMs: request.retryIntervalMs ?? BEGIN_DEFAULTS.retryIntervalMs,
    requestTimeoutMs: request.requestTimeoutMs ?? BEGIN_DEFAULTS.requestTimeoutMs,
    ...(request.initiator === undefined ? {} : { initiator: request.initiator }),
    requestHash,
    branches: [],
    ...callbackOf(request, now),
  };
}

function callbackOf(
  { callback }: BeginRequest,
  now: Instant,
): Pick<GlobalTransaction, 'callback' | 'silenceMs' | 'run'> {
  if (callback === undefined) return {};
  const { operation, url, afterMs, payload } = callback;
  const initiator = initiatorAt(url, operation, (now + afterMs) as Instant, payload);
  return { callback: initiator, ...(operation === 'workflow' ? { silenceMs: afterMs, run: { number: 1 } } : {}) };
}

/** The same text for two requests exactly when they ask for the same transaction, the gid aside; defaults count as written out. */
export function requestIdentity(request: BeginRequest): string {
  const { callback } = request;
  return JSON.stringify([
    request.mode ?? BEGIN_DEFAULTS.mode,
    request.timeoutMs ?? BEGIN_DEFAULTS.timeoutMs,
    request.retryIntervalMs ?? BEGIN_DEFAULTS.retryIntervalMs,
    request.requestTimeoutMs ?? BEGIN_DEFAULTS.requestTimeoutMs,
    request.initiator ?? null,
    // Nothing without one: what was begun before there were callbacks stays the same request.
    ...(callback === undefined ? [] : [callback.operation, callback.url, callback.afterMs, callback.payload ?? null]),
  ]);
}
