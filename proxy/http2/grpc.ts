/**
 * What gRPC puts on top of HTTP/2: its own status in the trailers, and a prefix of five bytes before each message
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 */
import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import { CodedError, httpStatusOf } from '../../src/contract/errors.ts';
import { BARRIER_HEADER } from '../../src/contract/propagation.ts';
import { bodyTooLarge } from '../http/errors.ts';
import { fieldOf } from './head.ts';

/** Trailers that say how a call ended; everything else in a head or in trailers is metadata. */
const STATUS_FIELDS: ReadonlySet<string> = new Set(['grpc-status', 'grpc-message', 'grpc-status-details-bin']);
/** A flag (1: compressed) and the length of the message, in bytes. */
export const MESSAGE_PREFIX_BYTES = 5;

/** Codes of https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
const OK = 0;
const UNKNOWN = 2;
const ABORTED = 10;
const FAILED_PRECONDITION = 9;
const UNAVAILABLE = 14;
const CODES: Readonly<Record<number, number>> = {
  400: 3, // INVALID_ARGUMENT
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 12, // UNIMPLEMENTED, as gRPC itself maps it
  405: 12,
  409: ABORTED,
  411: 3,
  413: 8, // RESOURCE_EXHAUSTED
  422: 3,
  425: FAILED_PRECONDITION,
  429: 8,
  431: 8,
  500: 13, // INTERNAL
  502: UNAVAILABLE,
  503: UNAVAILABLE,
  504: 4, // DEADLINE_EXCEEDED
};

/** True for `application/grpc` and its formats, not for gRPC-Web, which is plain HTTP. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/grpc(?:[+; ]|$)/i.test(contentType);
}

/** The code that a gRPC client gets for an HTTP status of ours: success is OK, and what has no counterpart UNKNOWN. */
export function grpcCodeOf(status: number): number {
  return status >= 200 && status <= 299 ? OK : (CODES[status] ?? UNKNOWN);
}

/** The code for an error of ours. Clients may repeat by themselves what is UNAVAILABLE, so an unknown outcome is UNKNOWN. */
export function grpcCodeOfError(error: CodedError): number {
  return error.code === 'OUTCOME_UNKNOWN' ? UNKNOWN : grpcCodeOf(httpStatusOf(error.code));
}

/**
 * The HTTP status that a `grpc-status` stands for where one is decided by: OK 200, ABORTED 409 (failure), FAILED_PRECONDITION 425
 * (not yet), and all else, a missing one included, 500.
 */
export function httpStatusOfGrpc(code: string | undefined): number {
  if (code === String(OK)) return 200;
  if (code === String(ABORTED)) return 409;
  return code === String(FAILED_PRECONDITION) ? 425 : 500;
}

/**
 * As which HTTP status a gRPC outcome counts where it is asked whether to try again: UNAVAILABLE as 503; 425 when a sidecar says that an
 * earlier try is still being served; anything else as an answer. `fields`: of the head and the trailers.
 */
export function retryStatusOfGrpc(fields: readonly string[]): number {
  const code = fieldOf(fields, 'grpc-status');
  if (code === String(UNAVAILABLE)) return 503;
  return code === String(FAILED_PRECONDITION) && fieldOf(fields, BARRIER_HEADER) === 'ongoing' ? 425 : 200;
}

/**
 * Codes by which a service says that it has not done what it was asked for, and will not (statuscodes.md): INVALID_ARGUMENT, NOT_FOUND,
 * ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, UNAUTHENTICATED. The others come from
 * libraries and broken connections too, or say "not now": the call may have taken effect.
 */
const REFUSALS: ReadonlySet<string> = new Set(['3', '5', '6', '7', '9', '10', '11', '12', '16']);

/**
 * True when a gRPC call was refused for good; undefined when `fields`, of the head and the trailers, have no status. A sidecar that answers
 * FAILED_PRECONDITION because an earlier try is still being served refuses nothing.
 */
export function isRefusedOverGrpc(fields: readonly string[]): boolean | undefined {
  const code = fieldOf(fields, 'grpc-status');
  return code === undefined ? undefined : REFUSALS.has(code) && retryStatusOfGrpc(fields) === 200;
}

/** How many milliseconds in one of the units of `grpc-timeout`. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** What a `grpc-timeout` says, in milliseconds, rounded up; undefined when it is missing or not valid. */
export function grpcTimeoutMs(value: string | undefined): number | undefined {
  const [, digits, unit = ''] = /^([0-9]{1,8})([HMSmun])$/.exec(value ?? '') ?? [];
  return digits === undefined ? undefined : Math.ceil(Number(digits) * (UNITS[unit] ?? 0));
}

/** A text as `grpc-message` carries it: UTF-8, percent-encoded but for printable ASCII. */
export function grpcMessage(text: string): string {
  let result = '';
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    result += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return result;
}

/** The flat list `fields` in two: the status of the call, and the metadata. */
export function splitStatus(fields: readonly string[]): { readonly status: string[]; readonly metadata: string[] } {
  const status: string[] = [];
  const metadata: string[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = (fields[index] ?? '').toLowerCase();
    (STATUS_FIELDS.has(name) ? status : metadata).push(name, fields[index + 1] ?? '');
  }
  return { status, metadata };
}

/** `message` with its prefix, not compressed. */
export function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(MESSAGE_PREFIX_BYTES);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

/**
 * The one message of `body`, without its prefix and not compressed. `encoding` is the `grpc-encoding` of its sender. A `CodedError`
 * when there is not exactly one (the method streams), or when it cannot be read in `bytesMax`.
 */
export async function onlyMessageOf(
  body: Buffer,
  encoding: string | undefined,
  bytesMax: number,
): Promise<Buffer | CodedError> {
  if (body.byteLength < MESSAGE_PREFIX_BYTES) return notUnary();
  const isCompressed = body.readUInt8(0) === 1;
  if (body.readUInt32BE(1) !== body.byteLength - MESSAGE_PREFIX_BYTES) return notUnary();
  const message = body.subarray(MESSAGE_PREFIX_BYTES);
  if (!isCompressed) return message;
  const unpack = encoding === 'gzip' ? promisify(gunzip) : encoding === 'deflate' ? promisify(inflate) : undefined;
  if (unpack === undefined) return unreadable(`has the compression ${encoding ?? 'of no name'}`);
  try {
    return await unpack(message, { maxOutputLength: bytesMax });
  } catch (cause) {
    if (cause instanceof RangeError) return bodyTooLarge(bytesMax);
    return unreadable(`is not valid ${encoding}`);
  }
}

function notUnary(): CodedError {
  return new CodedError('BAD_REQUEST', 'The call does not consist of one message', {
    hint: 'A route keeps the message of this call, which streaming methods do not have: match unary methods only',
  });
}

function unreadable(what: string): CodedError {
  return new CodedError('BAD_REQUEST', `The message of the call ${what}`, {
    hint: 'A route keeps the message of this call: send it as it is, or with gzip or deflate',
  });
}
