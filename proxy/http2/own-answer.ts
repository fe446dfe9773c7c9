/** Answers that the sidecar gives itself, over HTTP/2: to gRPC clients as gRPC, to others as over HTTP/1. */
import type { ServerHttp2Stream } from 'node:http2';
import type { CodedError } from '../../src/contract/errors.ts';
import { ERROR_SOURCE_HEADER } from '../../src/contract/propagation.ts';
import type { OwnAnswer } from '../http/admission.ts';
import { errorAnswer, ownHeaders } from '../http/errors.ts';
import { fieldOf, trailersObject } from './head.ts';
import { framed, grpcCodeOf, grpcCodeOfError, grpcMessage, isGrpc, splitStatus } from './grpc.ts';

/** Who is answered. */
export interface Asker {
  readonly method: string;
  readonly isGrpc: boolean;
}

/** Answers with `error` and further headers. A gRPC client gets its status with the head (trailers-only), as its libraries expect. */
export function sendError(
  stream: ServerHttp2Stream,
  error: CodedError,
  asker: Asker,
  headers: readonly string[] = [],
): void {
  if (!asker.isGrpc) return sendAnswer(stream, errorAnswer(error, headers), asker);
  const text = `${error.code}: ${error.message}${error.hint === undefined ? '' : `. ${error.hint}`}`;
  sendStatus(stream, grpcCodeOfError(error), text, [ERROR_SOURCE_HEADER, 'sidecar', ...headers]);
}

/**
 * Answers with `answer`. For a gRPC client a success is its body as the one message, where it is one (`application/grpc`), otherwise an
 * empty message, which every message type can be; anything else is a status.
 */
export function sendAnswer(stream: ServerHttp2Stream, answer: OwnAnswer, asker: Asker): void {
  if (asker.isGrpc) return sendGrpcAnswer(stream, answer);
  const { status, body } = answer;
  const isWhole = asker.method === 'HEAD' || status === 204 || status === 304 || body.byteLength === 0;
  respond(stream, [':status', String(status), ...ownHeaders(answer)], isWhole);
  if (!isWhole) stream.end(body);
}

/** Sends a head; `isWhole` when nothing follows it. Trailers are asked for with `wantTrailers` otherwise. */
export function respond(
  stream: ServerHttp2Stream,
  raw: readonly string[],
  isWhole: boolean,
  hasTrailers = false,
): void {
  // The date is that of whoever answered, if he gave one (RFC 9110 §6.6.1).
  const options = { endStream: isWhole, waitForTrailers: hasTrailers && !isWhole, sendDate: false };
  stream.respond(raw, options);
}

function sendGrpcAnswer(stream: ServerHttp2Stream, answer: OwnAnswer): void {
  const contentType = fieldOf(answer.headers, 'content-type');
  const { status, metadata } = splitStatus(answer.headers);
  const added = without(metadata, /^(?:content-length|content-type|transfer-encoding|trailer)$/);
  if (answer.status < 200 || answer.status > 299) {
    const code = fieldOf(status, 'grpc-status');
    if (code === undefined) return sendStatus(stream, grpcCodeOf(answer.status), messageIn(answer.body), added);
    return respond(stream, [...GRPC_HEAD, ...added, ...status], true);
  }
  respond(stream, [...GRPC_HEAD, ...added], false, true);
  stream.once('wantTrailers', () => stream.sendTrailers(trailersObject([['grpc-status', '0']])));
  stream.end(framed(isGrpc(contentType) ? answer.body : Buffer.alloc(0)));
}

const GRPC_HEAD = [':status', '200', 'content-type', 'application/grpc'];

function sendStatus(stream: ServerHttp2Stream, code: number, text: string, headers: readonly string[]): void {
  respond(stream, [...GRPC_HEAD, 'grpc-status', String(code), 'grpc-message', grpcMessage(text), ...headers], true);
}

/** What an `ErrorBody` says, or nothing. */
function messageIn(body: Buffer): string {
  try {
    const parsed: unknown = JSON.parse(body.toString());
    const error: unknown =
      typeof parsed === 'object' && parsed !== null && 'error' in parsed ? parsed.error : undefined;
    const message: unknown = typeof error === 'object' && error !== null && 'message' in error ? error.message : '';
    return typeof message === 'string' ? message : '';
  } catch {
    return ''; // an answer without a text is still an answer
  }
}

function without(fields: readonly string[], names: RegExp): string[] {
  return fields.filter((_, index) => !names.test((fields[index - (index % 2)] ?? '').toLowerCase()));
}
