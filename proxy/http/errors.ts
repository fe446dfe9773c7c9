/** Answers that the sidecar makes itself, and the errors among them: an `ErrorBody`, marked so that nobody takes it for the application's. */
import type { Duplex } from 'node:stream';
import { CodedError, errorBody, httpStatusOf } from '../../src/contract/errors.ts';
import { ERROR_SOURCE_HEADER } from '../../src/contract/propagation.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { OwnAnswer, Replacement } from './admission.ts';
import type { AnswerMessage } from './message.ts';

/** Answers with `error`. `headers`: further ones, as a flat list. Does nothing when the head of an answer has gone out. */
export function sendError(response: AnswerMessage, error: CodedError, headers: readonly string[] = []): void {
  if (response.headersSent || response.destroyed) return;
  const answer = errorAnswer(error, headers);
  response.writeHead(answer.status, [...answer.headers]);
  response.end(answer.body);
}

/** `error` as an answer with further headers. `status`: where another says more than the one of its code. */
export function errorAnswer(
  error: CodedError,
  headers: readonly string[] = [],
  status: number = statusOf(error),
): OwnAnswer {
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  return { status, headers: [...errorHeaders(body), ...headers], body };
}

/** Answers with `answer`; `closing` when the connection cannot be used again. Does nothing when the head of an answer has gone out. */
export function sendAnswer(response: AnswerMessage, answer: OwnAnswer, closing: boolean): void {
  if (response.headersSent || response.destroyed) return;
  const { status, body } = answer;
  const headers = ownHeaders(answer);
  if (closing) headers.push('connection', 'close');
  try {
    response.writeHead(status, headers);
  } catch (cause) {
    // A recorded answer may have a head that node does not write.
    const error = new CodedError('UPSTREAM_UNREACHABLE', 'The head of the answer is not valid HTTP/1.1', { cause });
    return sendError(response, error, closing ? ['connection', 'close'] : []);
  }
  response.end(body);
}

/** How a message is framed (RFC 9112 §6), which is said by whoever writes it; an answer of a known length has no trailers. */
const FRAMING = /^(?:content-length|transfer-encoding|trailer)$/i;

/**
 * The headers of `answer` with the length of the body that is written, whatever was said of another one; with none where there is no body
 * (RFC 9112 §6.3). Of an answer to HEAD they are what they are.
 */
export function ownHeaders({ status, headers, body, isOfHead = false }: OwnAnswer): string[] {
  if (isOfHead) return [...headers];
  const own = headers.filter((_, index) => !FRAMING.test(headers[index - (index % 2)] ?? ''));
  return status === 204 || status === 304 ? own : [...own, 'content-length', String(body.byteLength)];
}

/** How long a client may leave its end open after it has been sent a raw error and our end, in milliseconds. */
const RAW_END_MS = 1_000;

/** Answers with `error` on a socket that no HTTP server watches any more, and closes it. */
export function sendRawError(socket: Duplex, error: CodedError): void {
  socket.on('error', () => socket.destroy()); // node has taken its own listener off
  if (!socket.writable) return void socket.destroy();
  const body = Buffer.from(JSON.stringify(errorBody(error)));
  const headers = [...errorHeaders(body), 'connection', 'close'];
  let head = `HTTP/1.1 ${statusOf(error)} Atomesh\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  socket.end(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body]), () => {
    // A client that keeps its end open would keep the connection for ever.
    const cancel = at((now() + RAW_END_MS) as Instant, () => socket.destroy());
    socket.once('close', cancel);
  });
  socket.resume(); // what is not read would make the end a reset, which swallows the error
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

/** For a body that a route needs and that is too long to be kept, whatever version of HTTP it comes by. */
export function bodyTooLarge(bytesMax: number): CodedError {
  return new CodedError('BODY_TOO_LARGE', `The body of this request is to be kept, and longer than ${bytesMax} bytes`, {
    hint: 'Send less, or raise limits.body of the sidecar',
  });
}

/** What the client is told when a request that was sent on got no answer because of `cause`. */
export function unansweredError(cause: Error): CodedError {
  if (cause instanceof CodedError) return cause;
  const code = codeOf(cause);
  if (code === 'UND_ERR_HEADERS_TIMEOUT') {
    return new CodedError('UPSTREAM_TIMEOUT', 'The answer did not begin in time', {
      retry: 'ask',
      hint: 'The request may have taken effect. Raise the timeout of the listener if the work takes this long',
      cause,
    });
  }
  if (isUnconnected(cause)) {
    return new CodedError('UPSTREAM_UNREACHABLE', `No connection could be made (${code})`, {
      retry: 'safe',
      hint: 'The request was not delivered. Check that the target runs and listens where the configuration says',
      cause,
    });
  }
  const detail = code === '' ? cause.message : code;
  return new CodedError('UPSTREAM_UNREACHABLE', `The connection broke before an answer came (${detail})`, {
    retry: 'ask',
    hint: 'The request may have taken effect; look before you repeat it',
    cause,
  });
}

/** What the client gets when there was no answer because of `error`, and its gate has said `said`. */
export function replacementOf(error: CodedError, said: readonly string[] | Replacement): Replacement {
  return 'kind' in said ? said : { kind: 'replace', error, headers: said };
}

/** A gate never rejects; if one does, that must not end the process, and the answer must not pass it. */
export function notJudged(cause: unknown): CodedError {
  return new CodedError('INTERNAL', 'It could not be decided about the answer', { retry: 'ask', cause });
}

/** What the client is told when a defect ended the serving of its request. */
export function notServed(cause: unknown): CodedError {
  return new CodedError('INTERNAL', 'The request could not be served', { retry: 'ask', cause });
}

/** True when there was no connection to send anything over. */
export function isUnconnected(cause: Error): boolean {
  return /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(codeOf(cause));
}

/** The code of a system or undici error, empty when it has none; of several addresses that were tried in vain, the first one's. */
export function codeOf(error: Error): string {
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return inner instanceof Error && 'code' in inner && typeof inner.code === 'string' ? inner.code : '';
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

/** What becomes of a request to an origin that was destroyed before: nothing of it is sent. */
export function originDestroyed(): CodedError {
  return new CodedError('UPSTREAM_UNREACHABLE', 'No connection is made any more: the sidecar ends', {
    retry: 'safe',
    hint: 'The request was not delivered. Send it to another replica, or again when the sidecar is back',
  });
}
