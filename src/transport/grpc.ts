/**
 * Calls branches over gRPC: in the native way, and as DTM does (dtmsvr, trans_status.go `getURLResult`). The message's bytes are as
 * whoever made the branch encoded them, the identity of the operation goes into the metadata, and what comes back is not looked at.
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { type GrpcUrl, parseGrpcUrl } from '../contract/grpc-url.ts';
import type { CallResult } from '../contract/transaction.ts';
import { now } from '../platform/clock.ts';
import type { BranchCall, Transport } from '../runner/ports.ts';
import type { BranchTls } from './branch-tls.ts';
import { ownHeaders } from './dtm-headers.ts';
import { wireOperationOf } from './dtm-http.ts';
import { GrpcChannels } from './grpc-channels.ts';
import type { Answer } from './http-caller.ts';

const DETAIL_CHARACTERS_MAX = 1000;
/** URLs that are parsed once. */
const TARGETS_MAX = 10_000;

export interface GrpcTransportOptions {
  /** The origins (`grpc://orders:9000`, `grpcs://…`) that may be called; undefined: any that `parseGrpcUrl` lets through. */
  readonly allow?: readonly string[] | undefined;
  readonly tls?: BranchTls;
}

export interface GrpcTransport extends Transport {
  /** Cuts calls in flight (they answer `unknown`) and closes the connections. */
  close(): void;
}

/** A transport that holds connections until it is closed. Throws when the certificates of `tls` are none. */
export function createGrpcTransport({ allow, tls = {} }: GrpcTransportOptions = {}): GrpcTransport {
  const channels = new GrpcChannels(tls);
  const closing = new AbortController();
  const targets = new Map<string, ReturnType<typeof parseGrpcUrl>>();
  return {
    call: (request, signal) => {
      const target = targets.get(request.url) ?? parseGrpcUrl(request.url);
      if (targets.size >= TARGETS_MAX) targets.clear();
      targets.set(request.url, target);
      if ('fault' in target) return notCalled(target.fault);
      if (allow !== undefined && !allow.includes(target.origin)) {
        return notCalled(`${target.origin} is not among the allowed origins`);
      }
      const metadata = metadataOf(request);
      if (typeof metadata === 'string') return notCalled(metadata);
      return callTarget(channels, target, request, metadata, [signal, closing.signal]);
    },
    close: () => {
      closing.abort();
      channels.close();
    },
  };
}

function notCalled(reason: string): Promise<Answer> {
  return Promise.resolve({ result: 'unknown', detail: `not called: ${reason}` });
}

/** In the native way a branch has headers of its own; of binary ones the bytes are in base64, as on the wire. */
function isNative({ protocol }: BranchCall): boolean {
  return protocol === undefined;
}

/** The metadata of a call, or why there can be none. */
function metadataOf(request: BranchCall): Metadata | string {
  const metadata = new Metadata();
  const own = isNative(request) ? request.request?.headers : request.headers;
  try {
    for (const [name, value] of ownHeaders(own)) {
      if (/^(?:grpc-|content-type$|user-agent$)/.test(name)) continue;
      // The library lets a colon through, which only the names of HTTP/2 itself may have.
      if (name.startsWith(':')) return `"${name.slice(0, 60)}" is no name of a header`;
      const bytes = (): Buffer => Buffer.from(value, isNative(request) ? 'base64' : 'utf8');
      metadata.set(name, name.endsWith('-bin') ? bytes() : value);
    }
  } catch (error) {
    return `a header of the transaction cannot be sent over gRPC: ${String(error)}`.slice(0, DETAIL_CHARACTERS_MAX);
  }
  if (isNative(request)) {
    metadata.set('atomesh-gid', request.gid);
    metadata.set('atomesh-branch', request.branch);
    metadata.set('atomesh-op', request.operation);
    return metadata;
  }
  metadata.set('dtm-gid', request.gid);
  metadata.set('dtm-trans_type', request.mode);
  metadata.set('dtm-branch_id', request.branch);
  metadata.set('dtm-op', headerText(wireOperationOf(request)));
  metadata.set('dtm-dtm', '');
  return metadata;
}

/** The name of a workflow may be any text, but a header's value is printable ASCII: any other name is percent-encoded. */
function headerText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text.toWellFormed());
}

/**
 * The message's bytes. In the native way what the operation's request says, by default the empty message; else the payload itself, for
 * the callback of a workflow wrapped into `workflow.WorkflowData`.
 */
function messageOf(call: BranchCall): Buffer {
  if (isNative(call)) return Buffer.from(call.request?.body ?? '', 'base64');
  const { operation, payload = '' } = call;
  const data = Buffer.from(payload, 'base64');
  if (operation !== 'workflow' || data.length === 0) return data;
  const length: number[] = [];
  for (let rest = data.length; ; rest >>>= 7) {
    length.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
    if (rest < 0x80) break;
  }
  // Field 1, a length and so many bytes (protobuf encoding, wire type LEN).
  return Buffer.concat([Buffer.from([0x0a, ...length]), data]);
}

function callTarget(
  channels: GrpcChannels,
  target: GrpcUrl,
  request: BranchCall,
  metadata: Metadata,
  signals: readonly AbortSignal[],
): Promise<Answer> {
  return new Promise((resolve) => {
    const startedAt = now();
    const channel = channels.take(target, startedAt);
    const deadline = startedAt + request.timeoutMs;
    const onAnswer = (error: ServiceError | null): void => {
      for (const signal of signals) signal.removeEventListener('abort', cancel);
      if (foundNobody(error)) channels.failed(target, channel, startedAt);
      else channel.heardAt = now();
      resolve(answerOf(error, request.timeoutMs));
    };
    const message = messageOf(request);
    const call = channel.client.makeUnaryRequest(
      target.method,
      same,
      nothing,
      message,
      metadata,
      { deadline },
      onAnswer,
    );
    const cancel = (): void => call.cancel();
    for (const signal of signals) {
      signal.addEventListener('abort', cancel);
      if (signal.aborted) cancel();
    }
  });
}

function same(message: Buffer): Buffer {
  return message;
}

function nothing(): undefined {
  return undefined;
}

/** Statuses that this side itself gives when it has no answer. A branch may give them too; that costs a new connection, no more. */
function foundNobody(error: ServiceError | null): boolean {
  return error !== null && (error.code === status.UNAVAILABLE || error.code === status.DEADLINE_EXCEEDED);
}

/** DTM's rule (dtmgrpc, `GrpcError2DtmError`). */
function answerOf(error: ServiceError | null, timeoutMs: number): Answer {
  if (error === null) return { result: 'success' };
  const text = error.details.slice(0, DETAIL_CHARACTERS_MAX).toWellFormed();
  const detail = text === '' ? `gRPC ${status[error.code] ?? error.code}` : text;
  if (error.code === status.DEADLINE_EXCEEDED) return { result: 'unknown', detail: `no answer within ${timeoutMs} ms` };
  return { result: resultOf(error), detail };
}

function resultOf({ code, details }: ServiceError): Exclude<CallResult, 'dirty' | 'success'> {
  // Before DTM 1.10 ONGOING was said with the status of FAILURE.
  if (code === status.FAILED_PRECONDITION || (code === status.ABORTED && details === 'ONGOING')) return 'ongoing';
  return code === status.ABORTED ? 'failure' : 'unknown';
}
