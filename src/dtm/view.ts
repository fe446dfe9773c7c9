/** A transaction as DTM shows it (svr/storage/trans.go): field names, order of branches, times in RFC 3339, payloads in base64. */
import { isFinal, type Instant, type Operation } from '../contract/transaction.ts';
import type { Branch, GlobalTransaction } from '../engine/global-transaction.ts';
import type { DtmProgress } from './service.ts';

export type Json = Readonly<Record<string, unknown>>;

/**
 * The transaction's own fields. `id` is 0, as with DTM's stores that have no numbers. Headers for branches are left out: they may
 * carry what only the branches are to know.
 */
export function transactionView(transaction: GlobalTransaction): Json {
  const { gid, mode, status, createdAt, finishedAt, protocol, callback, reason, result, customData } = transaction;
  const options = optionsOf(transaction);
  const next = nextTryAt(transaction);
  return {
    id: 0,
    create_time: rfc3339(createdAt),
    update_time: rfc3339(finishedAt ?? createdAt),
    gid,
    trans_type: mode,
    ...stepsOf(transaction),
    status,
    query_prepared: callback?.resource ?? '',
    protocol: protocol ?? '',
    ...(finishedAt !== undefined && status === 'succeed' ? { finish_time: rfc3339(finishedAt) } : {}),
    ...(finishedAt !== undefined && status === 'failed' ? { rollback_time: rfc3339(finishedAt) } : {}),
    ...(reason === undefined ? {} : { rollback_reason: reason }),
    options: JSON.stringify(options),
    ...(result === undefined ? {} : { result }),
    ...(customData === undefined ? {} : { custom_data: customData }),
    next_cron_interval: Math.max(1, Math.round(transaction.retryIntervalMs / 1000)),
    ...(next === undefined ? {} : { next_cron_time: rfc3339(next) }),
    ...options,
    retry_count: triesInVain(transaction),
  };
}

/**
 * The operations of its branches, each a row, in DTM's order: of a step `compensate` then `action`, of TCC `cancel` then `confirm`, of
 * XA `rollback` then `commit`, of a workflow the steps as they were recorded. DTM's fields; beside them `retry_count`,
 * `next_cron_time` and `last_error` of the operation that is under way.
 */
export function branchViews(transaction: GlobalTransaction): readonly Json[] {
  const { gid, createdAt, finishedAt } = transaction;
  const common = { id: 0, create_time: rfc3339(createdAt), update_time: rfc3339(finishedAt ?? createdAt), gid };
  const recorded = (transaction.progress ?? []).map(({ branch, operation, status, data }) => ({
    ...common,
    ...(data === '' ? {} : { bin_data: data }),
    branch_id: branch,
    op: operation,
    status,
  }));
  const rows = transaction.branches.flatMap((branch) =>
    operationsOf(transaction, branch).map(({ operation, status, isUnderWay }) => ({
      ...common,
      url: branch.operations[operation]?.[0] ?? '',
      ...(branch.payload === undefined ? {} : { bin_data: branch.payload }),
      branch_id: branch.id,
      op: operation,
      status,
      ...(isUnderWay ? triesOf(branch) : {}),
    })),
  );
  return [...recorded, ...rows];
}

/** The recorded steps of a workflow. */
export function progressViews({ progress = [] }: GlobalTransaction): readonly DtmProgress[] {
  return progress.map(({ branch, operation, status, data }) => ({ branchId: branch, op: operation, status, data }));
}

/** When something is tried again, or decided by the clock; undefined when nothing is to come, or everything is under way. */
export function nextTryAt({ status, branches, callback, deadline, holdUntil }: GlobalTransaction): Instant | undefined {
  if (isFinal(status)) return undefined;
  let next: number | undefined;
  const consider = (time: Instant | undefined): void => {
    if (time !== undefined && (next === undefined || time < next)) next = time;
  };
  for (const branch of branches) if (branch.status === 'prepared') consider(branch.notBefore);
  if (status === 'prepared') {
    consider(callback?.notBefore);
    consider(deadline);
  } else {
    consider(holdUntil);
  }
  return next as Instant | undefined;
}

interface Row {
  readonly operation: Operation;
  readonly status: 'prepared' | 'succeed' | 'failed';
  readonly isUnderWay: boolean;
}

function operationsOf(transaction: GlobalTransaction, branch: Branch): readonly Row[] {
  const { status } = transaction;
  const isBackwards = status === 'aborting' || status === 'failed';
  const isForwards = status === 'submitted' || status === 'succeed';
  const isOpen = branch.status !== 'succeed' && !isFinal(status);
  const pair = (back: Operation, forth: Operation): readonly Row[] => [
    { operation: back, status: isBackwards ? done(branch) : 'prepared', isUnderWay: isOpen && isBackwards },
    { operation: forth, status: isForwards ? done(branch) : 'prepared', isUnderWay: isOpen && isForwards },
  ];
  switch (branch.kind) {
    case 'tcc':
      return pair('cancel', 'confirm');
    case 'xa':
    case 'undo':
      return pair('rollback', 'commit');
    case 'msg':
      return [{ operation: 'action', status: done(branch), isUnderWay: isOpen && isForwards }];
    case 'saga':
      return [
        {
          operation: 'compensate',
          status: branch.compensation === 'done' ? 'succeed' : 'prepared',
          isUnderWay: isOpen && isBackwards,
        },
        { operation: 'action', status: branch.action ?? 'prepared', isUnderWay: isOpen && isForwards },
      ];
  }
}

function done(branch: Branch): 'prepared' | 'succeed' {
  return branch.status === 'succeed' ? 'succeed' : 'prepared';
}

function triesOf({ attempts, notBefore, lastError }: Branch): Json {
  return {
    retry_count: attempts,
    ...(notBefore === undefined ? {} : { next_cron_time: rfc3339(notBefore) }),
    ...(lastError === undefined ? {} : { last_error: lastError }),
  };
}

/** What its initiator asked for, in seconds, as far as it is not a default that DTM would not print. */
function optionsOf(transaction: GlobalTransaction): Json {
  const { mode, createdAt, deadline, requestTimeoutMs, retryIntervalMs, retryLimit, order } = transaction;
  return {
    ...(deadline === undefined || mode === 'mesh' ? {} : { timeout_to_fail: (deadline - createdAt) / 1000 }),
    request_timeout: requestTimeoutMs / 1000,
    retry_interval: retryIntervalMs / 1000,
    ...(retryLimit === undefined ? {} : { retry_limit: retryLimit }),
    concurrent: order !== undefined,
  };
}

function stepsOf({ mode, branches }: GlobalTransaction): Json {
  if (mode !== 'saga' && mode !== 'msg') return {};
  return {
    steps: branches.map(({ operations }) => ({
      action: operations.action?.[0] ?? '',
      ...(mode === 'saga' ? { compensate: operations.compensate?.[0] ?? '' } : {}),
    })),
  };
}

/** Answers that were neither success nor failure: of all actions of a saga, else of the branch that has had the most. */
function triesInVain({ retries, branches, callback }: GlobalTransaction): number {
  if (retries !== undefined) return retries;
  return branches.reduce(
    (most, { status, attempts }) => (status === 'succeed' ? most : Math.max(most, attempts)),
    callback?.attempts ?? 0,
  );
}

function rfc3339(instant: Instant): string {
  return new Date(instant).toISOString();
}
