/** Calls of a branch over gRPC by its initiator. `@grpc/grpc-js` is loaded with the first of them, so others need not have it. */
import type * as Grpc from '@grpc/grpc-js';
import { CodedError } from '../../contract/errors.ts';
import { type GrpcUrl, parseGrpcUrl } from '../../contract/grpc-url.ts';
import { now } from '../../platform/clock.ts';
import type { BranchIdentity } from '../barrier/types.ts';
import { type BranchAnswer, branchAnswer } from './answer.ts';
import { ANSWER_BYTES_MAX } from './call.ts';

export interface GrpcCall {
  /** `host:port/package.Service/Method`; with `grpcs://` in front over TLS. */
  readonly url: string;
  /** The message, as the service's own classes encode it. */
  readonly payload: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

type Library = typeof Grpc;

const TIMEOUT_MS = 10_000;
/** The one used longest ago makes room. */
const CHANNELS_MAX = 100;

/** Connections to branches, shared by all calls over gRPC of this process, as those of `fetch` are. */
const channels = new Map<string, Grpc.Client>();

/**
 * Calls a branch over gRPC with its identity in the metadata, as DTM's clients do (`dtmgrpc/dtmgimp/utils.go`, `InvokeBranch`).
 * Resolves with the answer, or with 409 for ABORTED and 425 for FAILED_PRECONDITION and the error's text as body. Rejects
 * with `CodedError` OUTCOME_UNKNOWN, UPSTREAM_TIMEOUT or UPSTREAM_UNREACHABLE otherwise, and BAD_REQUEST when `url` is none.
 */
export async function callOverGrpc(
  call: GrpcCall,
  branch: BranchIdentity,
  extra: Readonly<Record<string, string>> = {},
): Promise<BranchAnswer> {
  const target = parseGrpcUrl(call.url);
  if ('fault' in target) {
    throw new CodedError('BAD_REQUEST', `"${call.url}" cannot be called: ${target.fault}`, {
      hint: 'Give an address such as accounts:9000/bank.Accounts/TransferOut.',
    });
  }
  const library = await loadGrpc();
  const metadata = metadataOf(library, call.headers, branch, extra);
  const timeoutMs = call.timeoutMs ?? TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    channelTo(library, target).makeUnaryRequest(
      target.method,
      (message: Uint8Array) => Buffer.from(message),
      (bytes: Buffer) => bytes,
      call.payload,
      metadata,
      { deadline: now() + timeoutMs },
      (error, value) => {
        if (error === null) return resolve(branchAnswer(200, 'application/grpc', value ?? new Uint8Array()));
        const status = statusOf(library, error);
        if (status !== undefined) return resolve(branchAnswer(status, 'text/plain', Buffer.from(error.details)));
        reject(unknownOf(library, error, call.url, timeoutMs));
      },
    );
  });
}

/** The library, or `CodedError` BAD_REQUEST when it is not installed. */
export async function loadGrpc(): Promise<Library> {
  try {
    return await import('@grpc/grpc-js');
  } catch (cause) {
    throw new CodedError('BAD_REQUEST', 'calls over gRPC need the package @grpc/grpc-js', {
      hint: 'Install it beside atomesh: npm install @grpc/grpc-js',
      cause,
    });
  }
}

function channelTo({ Client, credentials }: Library, { origin, address, isSecure }: GrpcUrl): Grpc.Client {
  const known = channels.get(origin);
  const client =
    known ??
    new Client(address, isSecure ? credentials.createSsl() : credentials.createInsecure(), {
      'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2000,
      'grpc.client_idle_timeout_ms': 60_000,
    });
  channels.delete(origin);
  channels.set(origin, client);
  const [oldest] = channels;
  if (channels.size > CHANNELS_MAX && oldest !== undefined) {
    channels.delete(oldest[0]);
    oldest[1].close();
  }
  return client;
}

function metadataOf(
  { Metadata }: Library,
  headers: Readonly<Record<string, string>> = {},
  { gid, transType, branchId, op }: BranchIdentity,
  extra: Readonly<Record<string, string>>,
): Grpc.Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const identity = { gid, trans_type: transType, branch_id: branchId, op, ...extra };
  for (const [name, value] of Object.entries(identity)) metadata.set(`dtm-${name}`, value);
  return metadata;
}

/** DTM's table, `dtmgrpc/type.go`. */
function statusOf({ status }: Library, { code }: Grpc.ServiceError): 409 | 425 | undefined {
  if (code === status.ABORTED) return 409;
  return code === status.FAILED_PRECONDITION ? 425 : undefined;
}

function unknownOf({ status }: Library, error: Grpc.ServiceError, url: string, timeoutMs: number): CodedError {
  const options = {
    retry: 'ask' as const,
    hint: 'The branch may or may not have done its work: its barrier makes it safe to ask again.',
    cause: error,
  };
  switch (error.code) {
    case status.DEADLINE_EXCEEDED:
      return new CodedError('UPSTREAM_TIMEOUT', `${url} did not answer within ${timeoutMs} ms`, options);
    case status.UNAVAILABLE:
      return new CodedError('UPSTREAM_UNREACHABLE', `${url} cannot be reached: ${error.details}`, options);
    default:
      return new CodedError('OUTCOME_UNKNOWN', `${url} answered ${error.message}`, options);
  }
}
