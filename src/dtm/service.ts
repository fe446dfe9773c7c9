/** DTM's protocol, whatever it travels by: the requests as read from outside, and what is answered. Implemented by `serve.ts`. */

/** How DTM answers. `failure` and `ongoing` are its words FAILURE and ONGOING; `error` is anything else, which a client may try again. */
export type DtmReply<T = undefined> =
  | { readonly kind: 'success'; readonly value: T }
  | { readonly kind: 'failure' | 'ongoing' | 'error'; readonly message: string };

/** A transaction as its initiator sends it. Durations in seconds, as DTM has them; fractions are allowed. */
export interface DtmTransaction {
  readonly gid: string;
  readonly transType: string;
  readonly steps: readonly { readonly action?: string; readonly compensate?: string }[];
  /** One for each step, in base64. */
  readonly payloads: readonly string[];
  readonly queryPrepared: string;
  readonly protocol: string;
  /** JSON text: of a saga its order, of a message its delay, of a workflow its name and data. */
  readonly customData: string;
  readonly rollbackReason: string;
  readonly reqExtra: Readonly<Record<string, string>>;
  readonly waitResult: boolean;
  readonly timeoutToFail: number | undefined;
  readonly requestTimeout: number | undefined;
  readonly retryInterval: number | undefined;
  readonly retryLimit: number | undefined;
  readonly concurrent: boolean;
  readonly branchHeaders: Readonly<Record<string, string>>;
}

/** A branch as its initiator registers it; `data` holds what belongs to its type (`confirm`, `cancel`, `url`, `status`, …). */
export interface DtmBranch {
  readonly gid: string;
  readonly transType: string;
  readonly branchId: string;
  readonly op: string;
  readonly data: Readonly<Record<string, string>>;
  /** In base64. */
  readonly payload: string;
}

/** A recorded step of a workflow, as its program gets it back. */
export interface DtmProgress {
  readonly branchId: string;
  readonly op: string;
  readonly status: string;
  /** In base64. */
  readonly data: string;
}

export interface DtmWorkflow {
  readonly status: string;
  readonly rollbackReason: string;
  /** In base64. */
  readonly result: string;
  /** The stored transaction in DTM's JSON form. */
  readonly transaction: Readonly<Record<string, unknown>>;
  readonly progresses: readonly DtmProgress[];
}

/** Nothing rejects but for defects. */
export interface DtmService {
  newGid(): string;
  prepare(request: DtmTransaction): Promise<DtmReply>;
  /** With `waitResult` answers when the transaction has ended, or rests until a later try (`ongoing`). */
  submit(request: DtmTransaction, signal: AbortSignal): Promise<DtmReply>;
  abort(request: DtmTransaction): Promise<DtmReply>;
  registerBranch(request: DtmBranch): Promise<DtmReply>;
  prepareWorkflow(request: DtmTransaction): Promise<DtmReply<DtmWorkflow>>;
  subscribe(topic: string, url: string, remark: string): Promise<DtmReply>;
  unsubscribe(topic: string, url: string): Promise<DtmReply>;
  deleteTopic(topic: string): Promise<DtmReply>;
}
