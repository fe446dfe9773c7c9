/** The first state of a transaction that is begun by its initiator: every mode but mesh. */
import type { NewStep, NewTransaction } from '../contract/new-transaction.ts';
import type { Instant, Operation } from '../contract/transaction.ts';
import { initiatorAt } from './branches/initiator.ts';
import { decide } from './decide.ts';
import type { Branch, GlobalTransaction } from './global-transaction.ts';

/** What a request means where it is silent. Milliseconds. */
const TIMEOUT_MS = 35_000;
const RETRY_INTERVAL_MS = 1000;
const REQUEST_TIMEOUT_MS = 10_000;
/** A workflow's program gives a sign of life with each step: it is called again when none came for this long. */
const WORKFLOW_RETRY_INTERVAL_MS = 10_000;
/** A call that runs a workflow again lasts as long as the workflow. */
const WORKFLOW_REQUEST_TIMEOUT_MS = 60_000;

/**
 * `prepared`: begun and undecided; a saga knows no such state and is under way with its begin. `submitted`: decided with its begin.
 * `requestHash` is the hash of `identity`. An order must be free of faults (`orderFault`).
 */
export function start(
  request: NewTransaction,
  status: 'prepared' | 'submitted',
  requestHash: string,
  now: Instant,
): GlobalTransaction {
  const { gid, mode, timeoutMs, order, headers, delayMs, customData } = request;
  // A limit of 0 is DTM's word for none.
  const retryLimit = request.retryLimit === 0 ? undefined : request.retryLimit;
  const isWorkflow = mode === 'workflow';
  const deadlineMs =
    mode === 'tcc' || mode === 'xa' ? (timeoutMs ?? TIMEOUT_MS) : mode === 'saga' ? timeoutMs : undefined;
  const first: GlobalTransaction = {
    gid,
    mode,
    // A saga is never undecided in the hands of its initiator.
    status: mode === 'saga' ? 'submitted' : 'prepared',
    createdAt: now,
    ...(deadlineMs === undefined ? {} : { deadline: (now + deadlineMs) as Instant }),
    retryIntervalMs: request.retryIntervalMs ?? (isWorkflow ? WORKFLOW_RETRY_INTERVAL_MS : RETRY_INTERVAL_MS),
    requestTimeoutMs: request.requestTimeoutMs ?? (isWorkflow ? WORKFLOW_REQUEST_TIMEOUT_MS : REQUEST_TIMEOUT_MS),
    requestHash,
    branches: request.steps.map((step, index) => branchOf(request, step, index)),
    protocol: request.protocol,
    ...(headers === undefined ? {} : { headers }),
    ...(order === undefined ? {} : { order }),
    ...(retryLimit === undefined ? {} : { retryLimit }),
    ...(isWorkflow && timeoutMs !== undefined ? { silenceMs: timeoutMs } : {}),
    ...(delayMs === undefined ? {} : { holdUntil: (now + delayMs) as Instant }),
    ...(customData === undefined ? {} : { customData }),
    ...callbackOf(request, now),
  };
  return decide(first, { kind: status === 'submitted' ? 'submit' : 'woken' }, now).next;
}

function branchOf({ mode }: NewTransaction, step: NewStep, index: number): Branch {
  const operations: Partial<Record<Operation, readonly string[]>> = {};
  // An empty URL is how an initiator says that there is nothing to do.
  if (step.action !== undefined && step.action !== '') operations.action = [step.action];
  if (step.compensate !== undefined && step.compensate !== '') operations.compensate = [step.compensate];
  return {
    id: step.id,
    sequence: index + 1,
    kind: mode === 'msg' ? 'msg' : 'saga',
    resource: step.action ?? step.compensate ?? step.id,
    operations,
    status: 'prepared',
    attempts: 0,
    ...(step.payload === undefined ? {} : { payload: step.payload }),
  };
}

function callbackOf(
  { mode, callback, timeoutMs, retryIntervalMs }: NewTransaction,
  now: Instant,
): Pick<GlobalTransaction, 'callback' | 'name'> {
  if (callback === undefined || callback.url === '') return {};
  const isWorkflow = mode === 'workflow';
  const pauseMs = timeoutMs ?? (isWorkflow ? (retryIntervalMs ?? WORKFLOW_RETRY_INTERVAL_MS) : TIMEOUT_MS);
  const operation = isWorkflow ? 'workflow' : 'msg';
  const branch = initiatorAt(callback.url, operation, (now + pauseMs) as Instant, callback.payload);
  return { callback: branch, ...(callback.name === undefined ? {} : { name: callback.name }) };
}
