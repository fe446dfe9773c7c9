/** DTM's protocol over gRPC, from the client's side. Needs `@grpc/grpc-js` and `@grpc/proto-loader`: import it only when it is wanted. */
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { CodedError } from '../contract/errors.ts';
import type { DtmBranch, DtmReply, DtmTransaction, DtmWorkflow } from '../dtm/service.ts';
import { now } from '../platform/clock.ts';
import { branchMessageOf, type GidMessage, messageOf, type ProgressesMessage, workflowOf } from './dtm-messages.ts';
import { loadProto, methodOf, serviceOf } from './proto.ts';

export interface DtmGrpcOptions {
  /** What the coordinator asks for as bearer token. */
  readonly token?: string;
  /** How long one call may take, unless it says otherwise itself. */
  readonly timeoutMs: number;
  /** For `grpcs://`: certificates of the authorities to trust instead of those that Node.js brings, in PEM. */
  readonly ca?: string;
}

export interface DtmGrpcCall {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Every method resolves with what the coordinator answered, and rejects with a `CodedError`: COORDINATOR_UNREACHABLE when it
 * did not answer (retry `safe`: every request is idempotent), UNAUTHORIZED without the right token.
 */
export interface DtmGrpcClient {
  newGid(call?: DtmGrpcCall): Promise<string>;
  prepare(request: DtmTransaction, call?: DtmGrpcCall): Promise<DtmReply>;
  submit(request: DtmTransaction, call?: DtmGrpcCall): Promise<DtmReply>;
  abort(request: DtmTransaction, call?: DtmGrpcCall): Promise<DtmReply>;
  registerBranch(branch: DtmBranch, call?: DtmGrpcCall): Promise<DtmReply>;
  prepareWorkflow(request: DtmTransaction, call?: DtmGrpcCall): Promise<DtmReply<DtmWorkflow>>;
  /** Gives the connection back. Calls under way go on to their end. */
  close(): void;
}

/** The steps that a workflow has recorded come back all at once, and the coordinator keeps more of them than the usual 4 MiB. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

const ADDRESS = /^(?:(grpcs?):\/\/)?((?:\[[0-9a-f:.]+\]|[a-z0-9._-]+):[0-9]{1,5})\/?$/i;

/**
 * A client of the coordinator at `url`: `grpc://host:port` or `host:port` in plain text, `grpcs://host:port` over TLS. Connects
 * when first asked. Throws `TypeError` when `url` is none.
 */
export function connectDtmGrpc(url: string, { token, timeoutMs, ca }: DtmGrpcOptions): DtmGrpcClient {
  const [, scheme = 'grpc', address] = ADDRESS.exec(url) ?? [];
  if (address === undefined) throw new TypeError(`${JSON.stringify(url)} is not grpc://host:port or grpcs://host:port`);
  const isSecure = scheme.toLowerCase() === 'grpcs';
  const client = new Client(
    address,
    isSecure ? credentials.createSsl(ca === undefined ? null : Buffer.from(ca)) : credentials.createInsecure(),
    {
      'grpc.service_config_disable_resolution': 1,
      'grpc.max_reconnect_backoff_ms': 5000,
      'grpc.enable_channelz': 0,
      'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
    },
  );
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  const service = serviceOf(loadProto('dtmgimp.proto'), 'dtmgimp.Dtm');
  const ask: Ask = (name, message, call = {}) => {
    const limitMs = call.timeoutMs ?? timeoutMs;
    return exchange(client, methodOf(service, name), message, metadata, limitMs, call.signal);
  };
  return {
    newGid: async (call) => {
      const reply = await ask('NewGid', {}, call);
      if (reply.kind === 'success') return (reply.value as GidMessage).Gid;
      throw unreachable(`it gives no gid: ${reply.message}`);
    },
    prepare: async (request, call) => plain(await ask('Prepare', messageOf(request), call)),
    submit: async (request, call) => plain(await ask('Submit', messageOf(request), call)),
    abort: async (request, call) => plain(await ask('Abort', messageOf(request), call)),
    registerBranch: async (branch, call) => plain(await ask('RegisterBranch', branchMessageOf(branch), call)),
    prepareWorkflow: async (request, call) => {
      const reply = await ask('PrepareWorkflow', messageOf(request), call);
      return reply.kind === 'success'
        ? { kind: 'success', value: workflowOf(reply.value as ProgressesMessage) }
        : reply;
    },
    close: () => client.close(),
  };
}

type Ask = (method: string, message: object, call: DtmGrpcCall | undefined) => Promise<DtmReply<object>>;

function plain(reply: DtmReply<object>): DtmReply {
  return reply.kind === 'success' ? { kind: 'success', value: undefined } : reply;
}

function exchange(
  client: Client,
  method: ReturnType<typeof methodOf>,
  message: object,
  metadata: Metadata,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<DtmReply<object>> {
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      message,
      metadata,
      { deadline: now() + timeoutMs },
      (error, answer) => {
        signal?.removeEventListener('abort', cancel);
        if (error === null) return resolve({ kind: 'success', value: answer ?? {} });
        const reply = replyOf(error, timeoutMs);
        if (reply instanceof CodedError) reject(reply);
        else resolve(reply);
      },
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener('abort', cancel);
    if (signal?.aborted === true) cancel();
  });
}

/** The coordinator's own word, or that it has none. */
function replyOf(error: ServiceError, timeoutMs: number): DtmReply<never> | CodedError {
  const { code, details } = error;
  switch (code) {
    case status.ABORTED:
      // Servers before DTM 1.10.
      return { kind: details === 'ONGOING' ? 'ongoing' : 'failure', message: details };
    case status.FAILED_PRECONDITION:
      return { kind: 'ongoing', message: details };
    case status.UNAUTHENTICATED:
      return new CodedError('UNAUTHORIZED', details, {
        hint: 'Give the token of the coordinator\'s option "token".',
        cause: error,
      });
    case status.DEADLINE_EXCEEDED:
      return unreachable(`it did not answer within ${timeoutMs} ms`, error);
    case status.UNAVAILABLE:
    case status.CANCELLED:
    case status.UNIMPLEMENTED:
      return unreachable(details, error);
    default:
      return { kind: 'error', message: details };
  }
}

function unreachable(why: string, cause?: unknown): CodedError {
  return new CodedError('COORDINATOR_UNREACHABLE', `the coordinator cannot be reached over gRPC: ${why}`, {
    retry: 'safe',
    hint: 'Check that the coordinator runs and that its gRPC address and network are right; then try again.',
    cause,
  });
}
