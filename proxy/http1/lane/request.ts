/** A request of the lane, and the body that comes behind it. */
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { RequestMessage } from '../../http/message.ts';
import type { PlainRequest } from './plain-request.ts';

/** Nothing else that a plain request says about its connection or its framing is of interest once it has been read. */
const NONE: RequestMessage['headers'] = {};

export class LaneRequest implements RequestMessage {
  readonly httpVersionMajor = 1;
  readonly httpVersionMinor = 1;
  readonly headers: RequestMessage['headers'];
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly whole: Buffer | undefined;
  readonly stream: LaneBody | undefined;
  readonly socket: Socket;

  /** `body`: what came with the head, when that was all of it, or the stream of it. */
  constructor({ method, target, headers, length }: PlainRequest, body: Buffer | LaneBody | undefined, socket: Socket) {
    this.method = method;
    this.url = target;
    this.rawHeaders = headers;
    this.headers = length === 0 ? NONE : { 'content-length': String(length) };
    this.whole = Buffer.isBuffer(body) ? body : undefined;
    this.stream = Buffer.isBuffer(body) ? undefined : body;
    this.socket = socket;
  }

  get complete(): boolean {
    return this.stream === undefined || this.stream.left === 0;
  }

  get readableEnded(): boolean {
    return this.stream === undefined || this.stream.readableEnded;
  }
}

/** A body of known length that has not come with its head. Whoever does not read it stops the client. */
export class LaneBody extends Readable {
  /** All of it, in bytes. */
  readonly byteLength: number;
  /** Bytes that are still to come. */
  left: number;
  private readonly connection: Socket;

  constructor(length: number, connection: Socket) {
    super();
    this.byteLength = length;
    this.left = length;
    this.connection = connection;
    this.on('error', () => undefined); // an exchange that no longer reads has nobody to tell
  }

  /** Takes what belongs to the body; what is behind it is given back. */
  receive(bytes: Buffer): Buffer | undefined {
    const isLast = bytes.byteLength >= this.left;
    const piece = bytes.byteLength > this.left ? bytes.subarray(0, this.left) : bytes;
    const behind = bytes.byteLength > this.left ? bytes.subarray(this.left) : undefined;
    this.left -= piece.byteLength;
    // A body that nobody wants any more is read all the same, until the connection ends with its answer.
    if (!this.destroyed && !this.push(piece) && !isLast) this.connection.pause();
    if (isLast && !this.destroyed) this.push(null);
    return behind;
  }

  override _read(): void {
    this.connection.resume();
  }
}
