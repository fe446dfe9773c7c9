/** The head of a request that came by HTTP/1, with its body where a route asks for it. */
import { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import type { RequestHead } from '../http/admission.ts';
import { bodyTooLarge } from '../http/errors.ts';
import { hasBody } from '../http/headers.ts';
import type { AnswerMessage, RequestMessage } from '../http/message.ts';

/** The head of one request, made by the listener that it came to. */
export class Http1Head implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: string[];
  readonly authority: string | undefined;
  /** The body, where it has come whole: with the head, or because it was asked for. */
  kept: Buffer | undefined;
  /** What the body streams from, where there is one that did not come with the head. */
  readonly stream: Readable | null;
  private readonly request: RequestMessage;
  private readonly response: AnswerMessage | undefined;
  private reading: Promise<Buffer | CodedError> | undefined = undefined;

  /** `headers`: the end-to-end headers of `request`. A handshake that leaves HTTP has no response. */
  constructor(request: RequestMessage, response: AnswerMessage | undefined, headers: string[], authority?: string) {
    this.method = request.method ?? 'GET';
    this.target = request.url ?? '/';
    this.headers = headers;
    this.authority = authority;
    this.kept = request.whole;
    this.stream = request.stream ?? (request instanceof IncomingMessage && hasBody(request) ? request : null);
    this.request = request;
    this.response = response;
  }

  body(bytesMax: number): Promise<Buffer | CodedError> {
    this.reading ??= this.read(bytesMax);
    return this.reading;
  }

  private async read(bytesMax: number): Promise<Buffer | CodedError> {
    const { kept, request, response, stream } = this;
    if (kept !== undefined) return kept.byteLength > bytesMax ? bodyTooLarge(bytesMax) : kept;
    // Node ends a request without a body without an event (`optimizeEmptyRequests`).
    if (stream === null) return Buffer.alloc(0);
    if (request.headers['transfer-encoding'] !== undefined) return lengthRequired();
    const length = Number(request.headers['content-length'] ?? '0');
    if (length > bytesMax) return bodyTooLarge(bytesMax);
    // The other side gets the body with its head, so it is ours to let the client send it (RFC 9110 §10.1.1).
    if (request.headers.expect !== undefined) response?.writeContinue();
    const body = await collected(stream);
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
function collected(stream: Readable): Promise<Buffer | CodedError> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const left = (): void =>
      resolve(new CodedError('BAD_REQUEST', 'The client left before the body was whole', { retry: 'safe' }));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => resolve(Buffer.concat(chunks)));
    stream.once('error', left);
    stream.once('close', left);
  });
}
