/** A connection to an origin over plain TCP: one request at a time, its answer read strictly, both under back-pressure. */
import { connect, type LookupFunction, type Socket } from 'node:net';
import { CodedError } from '../../../src/contract/errors.ts';
import { monotonicSeconds } from '../../../src/platform/clock.ts';
import type { AnswerHandler } from '../origin.ts';
import { readAnswerHead, type OriginHead } from './answer-head.ts';
import { ChunkReader } from './chunks.ts';
import { requestText, type LaneOriginRequest } from './request-text.ts';
import type { LaneBody } from './request.ts';

/** What the connections of one origin have in common. */
export interface OriginParts {
  readonly host: string;
  readonly port: number;
  /** What a request that names no Host is sent with. */
  readonly defaultHost: string;
  readonly lookup: LookupFunction | undefined;
  readonly connectTimeoutMs: number;
  /** How long an answer may take to begin once the request is sent, and how long a server may read nothing of it. */
  readonly headTimeoutMs: number;
  /** How long an unused connection is kept whose server does not say how long it keeps it. */
  readonly keepAliveMs: number;
  readonly headBytesMax: number;
  /** The connection can take another request. */
  freed(connection: OriginConnection): void;
  /** It is over. Called once. */
  ended(connection: OriginConnection): void;
}

/** The request that a connection carries. */
interface Turn {
  readonly handler: AnswerHandler;
  readonly method: string;
  /** Undefined until the final head has come. */
  head: OriginHead | undefined;
  chunks: ChunkReader | undefined;
  /** Bytes of a body of known length that are still to come. */
  left: number;
  readonly resume: () => void;
  /** The body of the request, as long as it is being sent. */
  upload: LaneBody | undefined;
}

/** Bodies up to this size go out with the head in one write. */
const JOINED_BYTES_MAX = 16_384;
/** A server may end a connection as late as it says: we let go of it so many seconds before. */
const KEEP_MARGIN_SECONDS = 2;
const KEEP_SECONDS_MAX = 600;
const TCP_KEEP_ALIVE_MS = 60_000;
/** All connections read into it, one after the other: what is kept of it is copied. */
const RECEIVED: Buffer = Buffer.allocUnsafeSlow(65_536);

export class OriginConnection {
  private readonly parts: OriginParts;
  private readonly socket: Socket;
  private turn: Turn | undefined = undefined;
  /** The beginning of a head whose end has not come, or what came while the handler did not want to read. */
  private rest: Buffer | undefined = undefined;
  private isPaused = false;
  /** In monotonic seconds: until when an unused connection may be used, or by when the next thing must have happened. */
  private deadline: number;

  constructor(parts: OriginParts) {
    const { host, port, lookup } = parts;
    this.parts = parts;
    this.deadline = monotonicSeconds() + parts.connectTimeoutMs / 1000;
    this.socket = connect({
      host,
      port,
      ...(lookup === undefined ? {} : { lookup }),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      onread: { buffer: RECEIVED, callback: (count) => this.receiveSafely(RECEIVED.subarray(0, count)) },
    });
    this.socket.once('connect', () => this.awaitHead());
    this.socket.on('error', (error) => this.fail(error));
    this.socket.once('end', () => this.ended());
    this.socket.once('close', () => {
      this.fail(closedError());
      parts.ended(this);
    });
  }

  /** True when an unused connection can be relied on for a request that begins now. */
  isUsable(): boolean {
    return this.turn === undefined && !this.socket.destroyed && monotonicSeconds() < this.deadline;
  }

  /** Sends a request over a connection that carries none. What goes wrong is told to the handler, also when the request cannot be sent at all. */
  carry(request: LaneOriginRequest, handler: AnswerHandler): void {
    let text: string;
    try {
      text = requestText(request, this.parts.defaultHost);
    } catch (error) {
      this.socket.destroy();
      return handler.onError(error instanceof Error ? error : new Error(String(error)));
    }
    const turn: Turn = {
      handler,
      method: request.method,
      head: undefined,
      chunks: undefined,
      left: 0,
      resume: () => this.resume(turn),
      upload: undefined,
    };
    this.turn = turn;
    if (!this.socket.connecting) this.awaitHead();
    handler.onConnect((reason) => this.abort(turn, reason));
    if (this.turn === turn) this.send(turn, text, request.body);
  }

  /** Looks whether what is waited for has taken too long; `seconds` is the time, monotonic. */
  look(seconds: number): void {
    if (seconds < this.deadline) return;
    if (this.turn === undefined) this.socket.destroy();
    else if (this.socket.connecting) this.fail(timeoutError('UND_ERR_CONNECT_TIMEOUT', 'no connection in time'));
    else if (this.turn.head === undefined && this.isServersTurn(this.turn))
      this.fail(timeoutError('UND_ERR_HEADERS_TIMEOUT', 'no answer in time'));
  }

  /** False while the client is late with its body, which is the client's fault and has a limit of its own. */
  private isServersTurn(turn: Turn): boolean {
    return turn.upload === undefined || this.socket.writableNeedDrain;
  }

  /** Ends the connection; a request that it carries hears of it. */
  destroy(): void {
    this.fail(closedError());
  }

  private send(turn: Turn, text: string, body: Buffer | LaneBody | null): void {
    const { socket } = this;
    if (body === null || body.byteLength === 0) socket.write(text, 'latin1');
    else if (!Buffer.isBuffer(body)) this.upload(turn, text, body);
    else if (body.byteLength <= JOINED_BYTES_MAX) socket.write(text + body.toString('latin1'), 'latin1');
    else {
      socket.cork();
      socket.write(text, 'latin1');
      socket.write(body);
      socket.uncork();
    }
  }

  /** Sends a body as it comes, and no faster than the server reads. A body that breaks off breaks the connection off. */
  private upload(turn: Turn, text: string, body: LaneBody): void {
    const { socket } = this;
    turn.upload = body;
    socket.cork();
    socket.write(text, 'latin1');
    process.nextTick(() => socket.uncork()); // with what of the body has come with the head
    body.on('data', (chunk: Buffer) => {
      if (turn.upload === undefined) return;
      if (turn.head === undefined && !socket.connecting) this.awaitHead();
      if (socket.write(chunk)) return;
      body.pause();
      socket.once('drain', () => body.resume());
    });
    body.once('end', () => {
      if (turn.upload === undefined) return;
      turn.upload = undefined;
      if (turn.head === undefined && !socket.connecting) this.awaitHead();
    });
    body.once('close', () => {
      if (turn.upload !== undefined) this.abort(turn, new Error('the body of the request was cut'));
    });
  }

  /** An answer is waited for from the last piece of the request on. */
  private awaitHead(): void {
    this.deadline = monotonicSeconds() + this.parts.headTimeoutMs / 1000;
  }

  private abort(turn: Turn, reason: Error | undefined): void {
    if (this.turn === turn) this.fail(reason ?? new Error('aborted'));
  }

  private resume(turn: Turn): void {
    if (this.turn !== turn || !this.isPaused) return;
    this.isPaused = false;
    const { rest } = this;
    this.rest = undefined;
    if ((rest === undefined || this.receiveSafely(rest)) && !this.socket.destroyed) this.socket.resume();
  }

  /** A defect of a handler ends its own request, and nothing else. */
  private receiveSafely(bytes: Buffer): boolean {
    try {
      return this.receive(bytes);
    } catch (cause) {
      this.fail(new CodedError('INTERNAL', 'The answer could not be passed on', { retry: 'ask', cause }));
      return true;
    }
  }

  /** Reads what has come. False stops reading. `bytes` is overwritten afterwards. */
  private receive(bytes: Buffer): boolean {
    const { rest, turn } = this;
    if (turn === undefined) {
      this.socket.destroy(); // nobody has asked
      return true;
    }
    if (rest !== undefined) {
      this.rest = undefined;
      return this.read(turn, Buffer.concat([rest, bytes]));
    }
    return this.read(turn, bytes);
  }

  private read(turn: Turn, bytes: Buffer): boolean {
    let at = 0;
    while (turn.head === undefined) {
      const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
      if (end === -1 || end - at > this.parts.headBytesMax) {
        if (bytes.byteLength - at > this.parts.headBytesMax) this.fault('its head is too large');
        else if (at < bytes.byteLength) this.rest = Buffer.from(bytes.subarray(at));
        return true;
      }
      const head = readAnswerHead(bytes.toString('latin1', at, end + 2), turn.method);
      at = end + 4;
      if (typeof head === 'string') this.fault(head);
      else if (head.status < 200) turn.handler.onHeaders(head.status, head.headers, turn.resume, head.statusText);
      else return this.begin(turn, head, at === bytes.byteLength ? undefined : bytes.subarray(at));
      if (this.turn !== turn) return true;
    }
    return this.body(turn, turn.head, bytes);
  }

  private begin(turn: Turn, head: OriginHead, body: Buffer | undefined): boolean {
    turn.head = head;
    turn.left = head.length;
    if (head.framing === 'chunked') turn.chunks = new ChunkReader();
    this.deadline = Number.POSITIVE_INFINITY; // a stream of events may be silent for hours
    const wantsMore = turn.handler.onHeaders(head.status, head.headers, turn.resume, head.statusText);
    if (this.turn !== turn) return true;
    if (head.framing === 'length' && head.length === 0) return this.complete(turn, head, null, body !== undefined);
    if (!wantsMore) return this.pause(body);
    return body === undefined || this.body(turn, head, body);
  }

  private body(turn: Turn, head: OriginHead, bytes: Buffer): boolean {
    if (turn.chunks !== undefined) return this.chunks(turn, head, turn.chunks, bytes);
    if (head.framing === 'close') return turn.handler.onData(Buffer.from(bytes)) || this.isPausedFor(turn);
    const isWhole = bytes.byteLength >= turn.left;
    const piece = Buffer.from(bytes.byteLength > turn.left ? bytes.subarray(0, turn.left) : bytes);
    const hasMore = bytes.byteLength > turn.left;
    turn.left -= piece.byteLength;
    const wantsMore = turn.handler.onData(piece);
    if (this.turn !== turn) return true;
    if (isWhole) return this.complete(turn, head, null, hasMore);
    return wantsMore || this.pause(undefined);
  }

  private chunks(turn: Turn, head: OriginHead, chunks: ChunkReader, bytes: Buffer): boolean {
    chunks.at = 0;
    for (;;) {
      const piece = chunks.next(bytes);
      switch (piece.kind) {
        case 'more':
          return true;
        case 'fault':
          this.fault(piece.message);
          return true;
        case 'end':
          return this.complete(turn, head, piece.trailers, chunks.at < bytes.byteLength);
        case 'data': {
          const wantsMore = turn.handler.onData(Buffer.from(piece.bytes));
          if (this.turn !== turn) return true;
          if (!wantsMore) return this.pause(chunks.at < bytes.byteLength ? bytes.subarray(chunks.at) : undefined);
        }
      }
    }
  }

  private isPausedFor(turn: Turn): boolean {
    return this.turn !== turn || this.pause(undefined);
  }

  /** Stops reading until `resume`; `bytes` have come and are read then. */
  private pause(bytes: Buffer | undefined): false {
    this.isPaused = true;
    this.rest = bytes === undefined ? undefined : Buffer.from(bytes);
    this.socket.pause();
    return false;
  }

  /** The answer is whole. `hasMore`: bytes follow that nobody has asked for. */
  private complete(turn: Turn, head: OriginHead, trailers: readonly string[] | null, hasMore: boolean): true {
    this.turn = undefined;
    this.rest = undefined;
    const seconds = keepSecondsOf(head, this.parts.keepAliveMs);
    // A server that answers before it has the whole request may never read the rest of it.
    const isSent = turn.upload === undefined && this.socket.writableLength === 0;
    const isReusable = isSent && head.isKept && !hasMore && turn.method !== 'HEAD';
    stopUpload(turn);
    if (isReusable && seconds > 0) {
      this.deadline = monotonicSeconds() + seconds;
      this.parts.freed(this);
    } else this.socket.destroy();
    turn.handler.onComplete(trailers === null ? null : [...trailers]);
    return true;
  }

  /** The server has closed its end. */
  private ended(): void {
    const { turn } = this;
    if (turn?.head?.framing === 'close') {
      this.complete(turn, turn.head, null, false);
    } else this.fail(closedError());
  }

  private fault(what: string): void {
    this.fail(new CodedError('UPSTREAM_UNREACHABLE', `The answer is not valid HTTP/1.1: ${what}`, { retry: 'ask' }));
  }

  private fail(error: Error): void {
    const { turn } = this;
    this.turn = undefined;
    this.rest = undefined;
    this.socket.destroy();
    if (turn === undefined) return;
    stopUpload(turn);
    turn.handler.onError(error);
  }
}

/** What is left of a body that nobody wants is read and dropped. */
function stopUpload(turn: Turn): void {
  const { upload } = turn;
  turn.upload = undefined;
  upload?.destroy();
}

function keepSecondsOf(head: OriginHead, keepAliveMs: number): number {
  if (head.keepSeconds === undefined) return keepAliveMs / 1000;
  return Math.min(head.keepSeconds - KEEP_MARGIN_SECONDS, KEEP_SECONDS_MAX);
}

/** The words that undici has for it: whoever looks at a code need not know which way a request went. */
function closedError(): Error {
  return Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
}

function timeoutError(code: 'UND_ERR_CONNECT_TIMEOUT' | 'UND_ERR_HEADERS_TIMEOUT', message: string): Error {
  return Object.assign(new Error(message), { code });
}
