/**
 * A server that requests are forwarded to over HTTP/2: a few connections with many streams each. What the origin answers is told
 * to the same kind of handler as over HTTP/1.
 */
import { constants, type ClientHttp2Stream } from 'node:http2';
import type { Readable } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import { originDestroyed } from '../http/errors.ts';
import { trailerFields, type RawHead } from '../http/headers.ts';
import type { AnswerHandler, OriginOptions } from '../http1/origin.ts';
import { fieldOf, outgoingHead, trailersObject, type OutgoingHead } from './head.ts';
import { openUpstreamSession, STREAMS_MAX, type UpstreamSession } from './session.ts';

/** One request as it goes to an origin. */
export interface Http2Request {
  readonly head: OutgoingHead;
  readonly body: Http2Body | Buffer | null;
  /** How long the origin may take to begin its answer once it has the whole request, in milliseconds. */
  readonly timeoutMs: number;
  /** How long it may take from now on, connecting included, where a route says so. */
  readonly tryMs?: number;
}

/** A body that streams. */
export interface Http2Body {
  readonly stream: Readable;
  /** The trailers, once the stream has ended. */
  trailers(): RawHead;
}

/** `isWhole`: nothing follows the head, neither body nor trailers. */
export interface Http2AnswerHandler extends Omit<AnswerHandler, 'onHeaders'> {
  onHeaders(status: number, head: RawHead, resume: () => void, statusText: string, isWhole: boolean): boolean;
}

export interface Http2Origin {
  /** Sends the request. Everything that goes wrong is told to the handler. */
  request(request: Http2Request, handler: Http2AnswerHandler): void;
  /** Takes no more requests and ends its connections when those that run are over. */
  close(): void;
  /** Ends every connection at once. Requests that come or wait then fail, with nothing sent. */
  destroy(): void;
}

/** The other side reset its stream, with this code (RFC 9113 §7). */
export class StreamReset extends Error {
  readonly rstCode: number;

  constructor(rstCode: number) {
    super(`the stream was reset with code ${rstCode}`);
    this.name = 'StreamReset';
    this.rstCode = rstCode;
  }
}

/** With which code a stream ends whose other side broke off with `error`: with its own where it gave one. */
export function resetCodeOf(error: Error): number {
  return error instanceof StreamReset && error.rstCode !== NGHTTP2_NO_ERROR ? error.rstCode : NGHTTP2_INTERNAL_ERROR;
}

/** Most connections to one origin. When all carry what they take, requests wait in order for a stream to end. */
const SESSIONS_MAX = 16;

/** Connects when the first request comes. */
export function openHttp2Origin(options: OriginOptions): Http2Origin {
  const pool = new Pool(options);
  return {
    request(request, handler) {
      new Call(request, handler, pool).start();
    },
    close() {
      for (const { session } of pool.sessions) session.close();
    },
    destroy() {
      pool.isDestroyed = true;
      for (const { session } of pool.sessions) session.destroy();
    },
  };
}

/** The connections of an origin. */
class Pool {
  readonly sessions = new Set<UpstreamSession>();
  isDestroyed = false;
  private readonly options: OriginOptions;
  /** Requests that no connection has room for. The listener in front bounds their number, and each has a deadline. */
  private readonly waiting = new Set<Call>();
  /** How many streams the origin said it takes when it last said so: one that has just been connected to has not said it yet. */
  private streamsMax: number | undefined = undefined;

  constructor(options: OriginOptions) {
    this.options = options;
  }

  /** A connection with room for one more stream. */
  pick(): UpstreamSession | undefined {
    for (const one of this.sessions) {
      const streamsMax = one.streamsMax();
      this.streamsMax = streamsMax ?? this.streamsMax;
      if (one.isUsable() && one.open < (streamsMax ?? this.streamsMax ?? STREAMS_MAX)) return one;
    }
    if (this.sessions.size >= SESSIONS_MAX) return undefined;
    const opened = openUpstreamSession(this.options, () => {
      this.sessions.delete(opened);
      this.freed();
    });
    this.sessions.add(opened);
    return opened;
  }

  wait(call: Call): void {
    this.waiting.add(call);
  }

  leave(call: Call): void {
    this.waiting.delete(call);
  }

  /** There may be room again. */
  freed(): void {
    for (const call of this.waiting) {
      if (!this.isDestroyed && this.pick() === undefined) return;
      this.waiting.delete(call);
      call.start();
    }
  }
}

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } =
  constants;
const TRIES_MAX = 2;

/** A request and its answer, on one stream; on a second one when the first was refused before anybody saw it. */
class Call {
  private readonly request: Http2Request;
  private readonly handler: Http2AnswerHandler;
  private readonly pool: Pool;
  private tries = 0;
  private isOver = false;
  private hasAnswered = false;
  private trailers: RawHead | null = null;
  /** Bytes of the body that must still come; -1 when that is not known. */
  private left = -1;
  private failure: Error | undefined = undefined;
  private cancelTimer: () => void = () => undefined;

  constructor(request: Http2Request, handler: Http2AnswerHandler, pool: Pool) {
    this.request = request;
    this.handler = handler;
    this.pool = pool;
  }

  start(): void {
    const { head, body } = this.request;
    this.cancelTimer();
    if (this.pool.isDestroyed) return this.fail(originDestroyed());
    const upstream = this.pool.pick();
    if (upstream === undefined) return this.wait();
    this.tries += 1;
    this.failure = undefined;
    let stream: ClientHttp2Stream;
    const streaming = body === null || Buffer.isBuffer(body) ? undefined : body;
    try {
      // Without waiting for trailers, node ends the body before it resets a stream: the origin would take a cut one for whole.
      const options = { endStream: body === null, waitForTrailers: streaming !== undefined };
      stream = upstream.session.request(outgoingHead(head), options);
    } catch (cause) {
      const message = 'The request cannot be sent over HTTP/2';
      return this.fail(new CodedError('BAD_REQUEST', message, { retry: 'never', cause }));
    }
    upstream.open += 1;
    this.listen(stream, upstream);
    this.handler.onConnect((reason) => {
      this.isOver = true;
      this.cancelTimer();
      stream.close((reason instanceof StreamReset ? reason.rstCode : 0) || NGHTTP2_CANCEL);
      stream.resume(); // node closes a stream only when it is read to its end
    });
    if (this.isOver) return;
    if (this.request.tryMs !== undefined) this.startTimer(stream, this.request.tryMs);
    if (body === null) return this.whole(stream);
    if (streaming !== undefined) return this.sendBody(stream, streaming);
    stream.end(body);
    this.whole(stream);
  }

  /** Every connection is full. */
  private wait(): void {
    const ms = this.request.tryMs ?? this.request.timeoutMs;
    this.pool.wait(this);
    this.cancelTimer = at((now() + ms) as Instant, () => {
      this.pool.leave(this);
      this.fail(answerTimedOut(ms));
    });
    this.handler.onConnect(() => {
      this.isOver = true;
      this.cancelTimer();
      this.pool.leave(this);
    });
  }

  private listen(stream: ClientHttp2Stream, upstream: UpstreamSession): void {
    const resume = (): void => void stream.resume();
    stream.on('headers', (_headers, _flags, raw: string[]) => {
      const { status, fields } = statusAndFields(raw);
      if (!this.isOver) this.handler.onHeaders(status, fields, resume, '', false);
    });
    stream.on('response', (_headers, flags, raw: string[]) => this.receive(stream, flags, raw));
    stream.on('trailers', (_headers, _flags, raw: string[]) => {
      this.trailers = raw;
    });
    stream.on('error', (error) => {
      this.failure = error;
    });
    stream.on('close', () => {
      upstream.open -= 1;
      if (stream.rstCode !== NGHTTP2_NO_ERROR) upstream.countReset();
      this.pool.freed();
      if (this.isOver) return;
      const isReset = !upstream.session.destroyed && stream.rstCode !== NGHTTP2_NO_ERROR;
      if (isReset || stream.rstCode === NGHTTP2_REFUSED_STREAM) this.closed(new StreamReset(stream.rstCode));
      else this.closed(upstream.explain(this.failure));
    });
  }

  private receive(stream: ClientHttp2Stream, flags: number, raw: readonly string[]): void {
    this.hasAnswered = true;
    this.cancelTimer();
    if (this.isOver) return void stream.resume();
    const { status, fields } = statusAndFields(raw);
    const isWhole = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
    const length = isWhole ? undefined : fieldOf(fields, 'content-length');
    if (length !== undefined && this.request.head.method !== 'HEAD') this.left = Number(length);
    stream.on('end', () => this.ended(stream));
    const wanted = this.handler.onHeaders(status, fields, () => void stream.resume(), '', isWhole);
    stream.on('data', (chunk: Buffer) => {
      if (this.isOver) return;
      if (this.left >= 0) this.left -= chunk.byteLength;
      if (!this.handler.onData(chunk)) stream.pause();
    });
    if (!wanted) stream.pause();
  }

  /** Node takes a reset without an error for the end of the stream, so the length that was promised is counted. */
  private ended(stream: ClientHttp2Stream): void {
    if (this.isOver || stream.rstCode !== NGHTTP2_NO_ERROR) return; // `close` tells it
    if (this.left > 0) return this.fail(new StreamReset(NGHTTP2_NO_ERROR));
    this.isOver = true;
    this.handler.onComplete(this.trailers);
    // The answer came before the request was whole: nobody waits for the rest.
    if (!stream.writableEnded) stream.close(NGHTTP2_CANCEL);
  }

  private sendBody(stream: ClientHttp2Stream, body: Http2Body): void {
    const source = body.stream;
    stream.once('wantTrailers', () => {
      if (!stream.closed) stream.sendTrailers(trailersObject(trailerFields(body.trailers())));
    });
    source.on('data', (chunk: Buffer) => {
      if (!stream.destroyed && !stream.write(chunk)) source.pause();
    });
    stream.on('drain', () => source.resume());
    source.on('end', () => {
      // A client that gives up ends its body too: to time an answer that nobody waits for would keep all of the call for that long.
      if (this.isOver || stream.destroyed) return;
      stream.end();
      this.whole(stream);
    });
    source.resume(); // whoever looked for a body to keep has left it paused
  }

  /** The origin has the whole request: from now on it may be expected to answer. */
  private whole(stream: ClientHttp2Stream): void {
    if (this.request.tryMs === undefined && !this.hasAnswered) this.startTimer(stream, this.request.timeoutMs);
  }

  private startTimer(stream: ClientHttp2Stream, ms: number): void {
    this.cancelTimer = at((now() + ms) as Instant, () => {
      if (this.isOver) return;
      this.fail(answerTimedOut(ms));
      stream.close(NGHTTP2_CANCEL);
    });
  }

  private closed(error: Error): void {
    const { body } = this.request;
    const isUntouched = error instanceof StreamReset && error.rstCode === NGHTTP2_REFUSED_STREAM;
    // RFC 9113 §8.7: nothing of a refused stream was processed, whatever its method.
    if (isUntouched && this.tries < TRIES_MAX && (body === null || Buffer.isBuffer(body))) return this.start();
    this.fail(error);
  }

  private fail(error: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.cancelTimer();
    this.handler.onError(error);
  }
}

function statusAndFields(raw: readonly string[]): { readonly status: number; readonly fields: string[] } {
  let status = 0;
  const fields: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    if (raw[index] === ':status') status = Number(raw[index + 1]);
    else fields.push(raw[index] ?? '', raw[index + 1] ?? '');
  }
  return { status, fields };
}

function answerTimedOut(ms: number): CodedError {
  return new CodedError('UPSTREAM_TIMEOUT', `The answer did not begin within ${ms} ms`, {
    retry: 'ask',
    hint: 'The request may have taken effect. Raise the timeout of the route or listener if the work takes this long',
  });
}
