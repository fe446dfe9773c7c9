/** The service `dtmgimp.Dtm` over the DTM service. */
import { status } from '@grpc/grpc-js';
import type { DtmReply, DtmService, DtmTransaction } from '../dtm/service.ts';
import {
  type BranchMessage,
  branchOf,
  type GidMessage,
  type ProgressesMessage,
  progressesOf,
  type TopicMessage,
  type TransactionMessage,
  transactionOf,
} from './dtm-messages.ts';
import type { UnaryMethod, UnaryReply } from './unary.ts';

type Nothing = Readonly<Record<string, never>>;

/** The methods of the service. */
export interface DtmMethods {
  readonly NewGid: UnaryMethod<Nothing, GidMessage>;
  readonly Submit: UnaryMethod<TransactionMessage, Nothing>;
  readonly Prepare: UnaryMethod<TransactionMessage, Nothing>;
  readonly Abort: UnaryMethod<TransactionMessage, Nothing>;
  readonly RegisterBranch: UnaryMethod<BranchMessage, Nothing>;
  readonly PrepareWorkflow: UnaryMethod<TransactionMessage, ProgressesMessage>;
  readonly Subscribe: UnaryMethod<TopicMessage, Nothing>;
  readonly Unsubscribe: UnaryMethod<TopicMessage, Nothing>;
  readonly DeleteTopic: UnaryMethod<TopicMessage, Nothing>;
}

/** Told of each answer: the endpoint under the name that it has over HTTP, and the kind of the answer. */
export type OnDtmRequest = (api: string, result: DtmReply['kind']) => void;

/** The methods over `service`. */
export function dtmMethods(service: DtmService, onRequest: OnDtmRequest): DtmMethods {
  return {
    NewGid: () => {
      onRequest('newGid', 'success');
      return Promise.resolve({ kind: 'answer', message: { Gid: service.newGid() } });
    },
    Submit: withTransaction('submit', async (transaction, signal) =>
      empty('submit', await service.submit(transaction, signal)),
    ),
    Prepare: withTransaction('prepare', async (transaction) => empty('prepare', await service.prepare(transaction))),
    Abort: withTransaction('abort', async (transaction) => empty('abort', await service.abort(transaction))),
    RegisterBranch: async (branch) => empty('registerBranch', await service.registerBranch(branchOf(branch))),
    PrepareWorkflow: withTransaction('prepareWorkflow', async (transaction) =>
      replyOf(counted('prepareWorkflow', await service.prepareWorkflow(transaction)), (workflow) =>
        progressesOf(transaction.gid, workflow),
      ),
    ),
    Subscribe: async ({ Topic, URL, Remark }) => empty('subscribe', await service.subscribe(Topic, URL, Remark)),
    Unsubscribe: async ({ Topic, URL }) => empty('unsubscribe', await service.unsubscribe(Topic, URL)),
    DeleteTopic: async ({ Topic }) => empty('deleteTopic', await service.deleteTopic(Topic)),
  };

  function withTransaction<Answer>(
    api: string,
    method: UnaryMethod<DtmTransaction, Answer>,
  ): UnaryMethod<TransactionMessage, Answer> {
    return async (message, signal) => {
      const transaction = transactionOf(message);
      if (!('fault' in transaction)) return method(transaction, signal);
      onRequest(api, 'error');
      return { kind: 'status', code: status.INVALID_ARGUMENT, details: transaction.fault };
    };
  }

  function empty(api: string, reply: DtmReply): UnaryReply<Nothing> {
    return replyOf(counted(api, reply), () => ({}));
  }

  function counted<T>(api: string, reply: DtmReply<T>): DtmReply<T> {
    onRequest(api, reply.kind);
    return reply;
  }
}

const CODES: Readonly<Record<Exclude<DtmReply['kind'], 'success'>, status>> = {
  failure: status.ABORTED,
  ongoing: status.FAILED_PRECONDITION,
  error: status.UNKNOWN,
};

/** DTM's statuses (dtmgrpc, `DtmError2GrpcError`). */
function replyOf<T, Answer>(reply: DtmReply<T>, message: (value: T) => Answer): UnaryReply<Answer> {
  return reply.kind === 'success'
    ? { kind: 'answer', message: message(reply.value) }
    : { kind: 'status', code: CODES[reply.kind], details: reply.message };
}
