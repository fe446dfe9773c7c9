/** The head of a request that came by HTTP/1, with its body where a route asks for it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { CodedError } from '../../src/contract/errors.ts';
import type { RequestHead } from '../http/admission.ts';
import { bodyTooLarge } from '../http/errors.ts';

/** The head of one request, made by the listener that it came to. */
export class Http1Head implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: string[];
  readonly authority: string | undefined;
  /** The body, once it was asked for and has come. */
  kept: Buffer | undefined = undefined;
  private readonly request: IncomingMessage;
  private readonly response: ServerResponse | undefined;
  private reading: Promise<Buffer | CodedError> | undefined = undefined;

  /** `headers`: the end-to-end headers of `request`. A handshake that leaves HTTP has no response. */
  constructor(request: IncomingMessage, response: ServerResponse | undefined, headers: string[], authority?: string) {
    this.method = request.method ?? 'GET';
    this.target = request.url ?? '/';
    this.headers = headers;
    this.authority = authority;
    this.request = request;
    this.response = response;
  }

  body(bytesMax: number): Promise<Buffer | CodedError> {
    this.reading ??= this.read(bytesMax);
    return this.reading;
  }

  private async read(bytesMax: number): Promise<Buffer | CodedError> {
    const { request, response } = this;
    if (request.headers['transfer-encoding'] !== undefined) return lengthRequired();
    const length = Number(request.headers['content-length'] ?? '0');
    // Node ends such a request without an event (`optimizeEmptyRequests`).
    if (length === 0) return Buffer.alloc(0);
    if (length > bytesMax) return bodyTooLarge(bytesMax);
    // The other side gets the body with its head, so it is ours to let the client send it (RFC 9110 §10.1.1).
    if (request.headers.expect !== undefined) response?.writeContinue();
    const body = await collected(request);
    if (Buffer.isBuffer(body)) this.kept = body;
    return body;
  }
}

function lengthRequired(): CodedError {
  return new CodedError('LENGTH_REQUIRED', 'The body of this request is to be kept, and its length is not known', {
    hint: 'Send it with Content-Length instead of Transfer-Encoding: chunked',
  });
}

/** A client that stands still is cut off by the listener's watch over bodies; that ends this wait too. */
function collected(request: IncomingMessage): Promise<Buffer | CodedError> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const left = (): void =>
      resolve(new CodedError('BAD_REQUEST', 'The client left before the body was whole', { retry: 'safe' }));
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('error', left);
    request.once('close', left);
  });
}
