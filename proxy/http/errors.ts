/** Answers that the sidecar makes itself: an `ErrorBody`, marked so that nobody takes them for the application's. */
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { CodedError, errorBody, httpStatusOf } from '../../src/contract/errors.ts';
import { ERROR_SOURCE_HEADER } from '../../src/contract/propagation.ts';

/** Answers with `error`. `headers`: further ones, as a flat list. Does nothing when the head of an answer has gone out. */
export function sendError(response: ServerResponse, error: CodedError, headers: readonly string[] = []): void {
  if (response.headersSent || response.destroyed) return;
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  response.writeHead(statusOf(error), [...errorHeaders(body), ...headers]);
  response.end(body);
}

/** Answers with `error` on a socket that no HTTP server watches any more, and closes it. */
export function sendRawError(socket: Duplex, error: CodedError): void {
  socket.on('error', () => socket.destroy()); // node has taken its own listener off
  if (!socket.writable) return void socket.destroy();
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  const headers = [...errorHeaders(body), 'connection', 'close'];
  let head = `HTTP/1.1 ${statusOf(error)} Atomesh\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  socket.end(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body]));
}

/** The error for a message that node's parser refused; `code` is the parser's. */
export function messageRefused(code: string | undefined): CodedError {
  if (code === 'HPE_HEADER_OVERFLOW') return new HeadTooLarge();
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new CodedError('BAD_REQUEST', 'The request did not arrive in time', { retry: 'safe' });
  }
  return new CodedError('BAD_REQUEST', `The request is not valid HTTP/1.1 (${code ?? 'unreadable'})`, {
    hint: 'A request must have one framing (Content-Length or Transfer-Encoding: chunked), one Host, and header names and values of RFC 9110',
  });
}

/** A head beyond the limits: 431 (RFC 6585 §5), a status that no other BAD_REQUEST has. */
export class HeadTooLarge extends CodedError {
  constructor() {
    super('BAD_REQUEST', 'The head of the request is too large', {
      hint: 'Send fewer or shorter headers, or raise limits.header',
    });
  }
}

function statusOf(error: CodedError): number {
  return error instanceof HeadTooLarge ? 431 : httpStatusOf(error.code);
}

function errorHeaders(body: Buffer): string[] {
  return [
    'content-type',
    'application/json',
    'content-length',
    String(body.byteLength),
    ERROR_SOURCE_HEADER,
    'sidecar',
    'cache-control',
    'no-store',
  ];
}
