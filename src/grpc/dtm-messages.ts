/** The messages of `proto/dtmgimp.proto`, and what they are to the DTM service: both directions, for server and client. */
import type { DtmBranch, DtmProgress, DtmTransaction, DtmWorkflow } from '../dtm/service.ts';

type Texts = Readonly<Record<string, string>>;

/** Seconds; 0 is "not said". */
export interface TransOptionsMessage {
  readonly WaitResult: boolean;
  readonly TimeoutToFail: number;
  readonly RetryInterval: number;
  readonly BranchHeaders: Texts;
  readonly RequestTimeout: number;
  readonly RetryLimit: number;
}

export interface TransactionMessage {
  readonly Gid: string;
  readonly TransType: string;
  readonly TransOptions: TransOptionsMessage | null;
  readonly CustomedData: string;
  /** In base64, as all bytes here. */
  readonly BinPayloads: readonly string[];
  readonly QueryPrepared: string;
  /** JSON. */
  readonly Steps: string;
  readonly ReqExtra: Texts;
  readonly RollbackReason: string;
}

export interface BranchMessage {
  readonly Gid: string;
  readonly TransType: string;
  readonly BranchID: string;
  readonly Op: string;
  readonly Data: Texts;
  readonly BusiPayload: string;
}

export interface ProgressesMessage {
  readonly Transaction: {
    readonly Gid: string;
    readonly Status: string;
    readonly RollbackReason: string;
    readonly Result: string;
  } | null;
  readonly Progresses: readonly {
    readonly Status: string;
    readonly BinData: string;
    readonly BranchID: string;
    readonly Op: string;
  }[];
}

export interface TopicMessage {
  readonly Topic: string;
  readonly URL: string;
  readonly Remark: string;
}

export interface GidMessage {
  readonly Gid: string;
}

/** The transaction of a request, or what is wrong with its steps. As in DTM its protocol is gRPC (svr/trans_class.go:92). */
export function transactionOf(message: TransactionMessage): DtmTransaction | { readonly fault: string } {
  const steps = stepsOf(message.Steps);
  if (steps === undefined) {
    return { fault: 'Steps: expected a JSON array of objects with "action" and "compensate", each a text' };
  }
  const options = message.TransOptions;
  return {
    gid: message.Gid,
    transType: message.TransType,
    steps,
    payloads: message.BinPayloads,
    queryPrepared: message.QueryPrepared,
    protocol: 'grpc',
    customData: message.CustomedData,
    rollbackReason: message.RollbackReason,
    reqExtra: message.ReqExtra,
    waitResult: options?.WaitResult ?? false,
    timeoutToFail: said(options?.TimeoutToFail),
    requestTimeout: said(options?.RequestTimeout),
    retryInterval: said(options?.RetryInterval),
    retryLimit: said(options?.RetryLimit),
    // Over gRPC a saga says so in its custom data.
    concurrent: false,
    branchHeaders: options?.BranchHeaders ?? {},
  };
}

/** The request for a transaction. Its seconds become whole ones: a part of a second counts as one. */
export function messageOf(transaction: DtmTransaction): TransactionMessage {
  const seconds = (value: number | undefined): number => Math.ceil(value ?? 0);
  return {
    Gid: transaction.gid,
    TransType: transaction.transType,
    TransOptions: {
      WaitResult: transaction.waitResult,
      TimeoutToFail: seconds(transaction.timeoutToFail),
      RetryInterval: seconds(transaction.retryInterval),
      BranchHeaders: transaction.branchHeaders,
      RequestTimeout: seconds(transaction.requestTimeout),
      RetryLimit: transaction.retryLimit ?? 0,
    },
    CustomedData: transaction.customData,
    BinPayloads: transaction.payloads,
    QueryPrepared: transaction.queryPrepared,
    Steps: transaction.steps.length === 0 ? '' : JSON.stringify(transaction.steps),
    ReqExtra: transaction.reqExtra,
    RollbackReason: transaction.rollbackReason,
  };
}

export function branchOf(message: BranchMessage): DtmBranch {
  const { Gid: gid, TransType: transType, BranchID: branchId, Op: op, Data: data, BusiPayload: payload } = message;
  return { gid, transType, branchId, op, data, payload };
}

export function branchMessageOf({ gid, transType, branchId, op, data, payload }: DtmBranch): BranchMessage {
  return { Gid: gid, TransType: transType, BranchID: branchId, Op: op, Data: data, BusiPayload: payload };
}

/** The answer to PrepareWorkflow. DTM leaves the result of a finished workflow out here; its clients expect it. */
export function progressesOf(gid: string, workflow: DtmWorkflow): ProgressesMessage {
  const { status, rollbackReason, result, progresses } = workflow;
  return {
    Transaction: { Gid: gid, Status: status, RollbackReason: rollbackReason, Result: result },
    Progresses: progresses.map(({ branchId, op, status, data }) => ({
      Status: status,
      BinData: data,
      BranchID: branchId,
      Op: op,
    })),
  };
}

/** What that answer says; of the stored transaction only the fields that travel over gRPC. */
export function workflowOf({ Transaction, Progresses }: ProgressesMessage): DtmWorkflow {
  const { Gid: gid = '', Status: status = '', RollbackReason = '', Result: result = '' } = Transaction ?? {};
  return {
    status,
    rollbackReason: RollbackReason,
    result,
    transaction: { gid, status, rollback_reason: RollbackReason, result },
    progresses: Progresses.map(({ BranchID, Op, Status, BinData }): DtmProgress => ({
      branchId: BranchID,
      op: Op,
      status: Status,
      data: BinData,
    })),
  };
}

/** Negative numbers mean nothing either. */
function said(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined;
}

/** Clients write null and leave out what is not there. */
function stepsOf(text: string): DtmTransaction['steps'] | undefined {
  if (text === '') return [];
  let value: unknown;
  try {
    value = JSON.parse(text) ?? [];
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const steps: { action?: string; compensate?: string }[] = [];
  for (const entry of value as readonly unknown[]) {
    if (typeof entry !== 'object' || entry === null) return undefined;
    const { action = null, compensate = null } = entry as { action?: unknown; compensate?: unknown };
    if (action !== null && typeof action !== 'string') return undefined;
    if (compensate !== null && typeof compensate !== 'string') return undefined;
    steps.push({ ...(action === null ? {} : { action }), ...(compensate === null ? {} : { compensate }) });
  }
  return steps;
}
