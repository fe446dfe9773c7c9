/** The head of a request that came by HTTP/2, with its body where a route asks for it. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { RequestHead } from '../http/admission.ts';
import { bodyTooLarge } from '../http/errors.ts';
import { isGrpc, MESSAGE_PREFIX_BYTES, onlyMessageOf } from './grpc.ts';
import { fieldOf, type ArrivedHead } from './head.ts';

const { NGHTTP2_NO_ERROR } = constants;
/** How long a body may take that a route keeps. */
const BODY_MS = 60_000;

export class Http2Head implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: string[];
  readonly authority: string | undefined;
  readonly isGrpc: boolean;
  /** True when the head was all there is. */
  readonly isWhole: boolean;
  /** True when the client waits for a 100 before it sends the body. */
  readonly expects: boolean;
  /** Names of fields that may be in no compression table. */
  readonly sensitive: readonly string[];
  /** The body as it came, once it was asked for and has come. */
  kept: Buffer | undefined = undefined;
  readonly #stream: ServerHttp2Stream;
  #reading: Promise<Buffer | CodedError> | undefined = undefined;

  /** `authority` where it names the destination; `headers`: end-to-end headers, with a Host where the next hop is to get it. */
  constructor(
    stream: ServerHttp2Stream,
    arrived: ArrivedHead,
    head: Pick<Http2Head, 'headers' | 'authority' | 'isWhole' | 'sensitive'>,
  ) {
    this.method = arrived.method;
    this.target = arrived.path;
    this.headers = head.headers;
    this.authority = head.authority;
    this.isGrpc = isGrpc(arrived.contentType);
    this.isWhole = head.isWhole;
    this.expects = arrived.expects && !head.isWhole;
    this.sensitive = head.sensitive;
    this.#stream = stream;
  }

  /** Of a gRPC call the message, without its prefix; the method must be unary. A body of no known length is read up to the limit. */
  body(bytesMax: number): Promise<Buffer | CodedError> {
    this.#reading ??= this.#read(bytesMax);
    return this.#reading;
  }

  async #read(bytesMax: number): Promise<Buffer | CodedError> {
    if (this.isWhole && !this.isGrpc) return Buffer.alloc(0);
    const announced = fieldOf(this.headers, 'content-length');
    const length = announced === undefined ? undefined : Number(announced);
    const most = this.isGrpc ? bytesMax + MESSAGE_PREFIX_BYTES : bytesMax;
    if (length !== undefined && length > most) return bodyTooLarge(bytesMax);
    // The other side gets the body with its head, so it is ours to let the client send it (RFC 9110 §10.1.1).
    if (this.expects && !this.#stream.closed && !this.#stream.destroyed)
      this.#stream.additionalHeaders({ ':status': 100 });
    const body = await collected(this.#stream, most, length);
    if (body === 'too-large') return bodyTooLarge(bytesMax);
    if (!Buffer.isBuffer(body)) return body;
    this.kept = body;
    return this.isGrpc ? onlyMessageOf(body, fieldOf(this.headers, 'grpc-encoding'), bytesMax) : body;
  }
}

/**
 * The body, when it ends within `bytesMax`, and with `length` bytes where that was announced. Of a longer one nothing is lost: what was
 * read is put back.
 */
function collected(
  stream: ServerHttp2Stream,
  bytesMax: number,
  length: number | undefined,
): Promise<Buffer | CodedError | 'too-large'> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (result: Buffer | CodedError | 'too-large'): void => {
      cancelTimer();
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      stream.pause();
      resolve(result);
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes <= bytesMax) return;
      finish('too-large');
      stream.unshift(Buffer.concat(chunks));
    };
    const onClose = (): void => finish(notWhole('The client left before the body was whole'));
    const onEnd = (): void => {
      // After a reset with CANCEL or NO_ERROR node ends the stream as if its last frame had come.
      const isCut = stream.aborted || stream.rstCode !== NGHTTP2_NO_ERROR || (length ?? bytes) !== bytes;
      if (isCut) onClose();
      else finish(Buffer.concat(chunks));
    };
    const cancelTimer = at((now() + BODY_MS) as Instant, () => finish(notWhole('The body did not arrive in time')));
    stream.on('data', onData).once('end', onEnd).once('close', onClose);
    if (stream.destroyed) onClose();
  });
}

function notWhole(message: string): CodedError {
  return new CodedError('BAD_REQUEST', message, {
    retry: 'safe',
    hint: 'A route keeps the body of this request before anything is called: send it at once',
  });
}
