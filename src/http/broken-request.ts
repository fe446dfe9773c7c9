/** Answers to bytes that are no HTTP request, or came too slowly: there is no request object, so the answer is written by hand. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { CodedError, errorBody } from '../contract/errors.ts';

/** For the `clientError` event of a server (https://nodejs.org/api/http.html#event-clienterror): says what was wrong, then closes. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, message] = faultOf(error);
  const body = JSON.stringify(
    errorBody(new CodedError('BAD_REQUEST', message, { hint: 'Send a complete HTTP/1.1 request.' })),
  );
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'atomesh-error-source: coordinator',
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function faultOf(error: NodeJS.ErrnoException): readonly [status: number, message: string] {
  if (error.code === 'HPE_HEADER_OVERFLOW') return [431, 'the header is too large'];
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return [408, 'the request did not come in time'];
  return [400, `this is not an HTTP request (${error.code ?? 'unknown fault'})`];
}
