/**
 * Forwards one request to an origin and its answer back: bodies stream both ways under back-pressure, trailers go along,
 * and when either side breaks off, so does the other. A client never takes a cut answer for a whole one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { CodedError } from '../../src/contract/errors.ts';
import { sendError } from './errors.ts';
import { answerHeaders, trailerFields, withHeaders, type RawHead } from './headers.ts';
import type { AnswerHandler, Origin, OriginRequest } from './origin.ts';

/** What to do with an answer that was held back. */
export type Verdict =
  | { readonly kind: 'pass'; readonly headers: readonly string[] }
  | { readonly kind: 'replace'; readonly error: CodedError; readonly headers: readonly string[] };

/** Stands between the application's answer and the client: nothing of the answer goes out before the verdict. */
export interface Gate {
  /** The application answers with this status. Never rejects. */
  answered(status: number): Promise<Verdict>;
  /** The application did not answer. Resolves with headers for the error that the client gets. Never rejects. */
  failed(error: CodedError): Promise<readonly string[]>;
  /** The client left before the verdict was asked for or was given. */
  clientLeft(): void;
}

export interface Forwarding {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly origin: Origin;
  readonly path: string;
  /** End-to-end headers as they go out. */
  readonly headers: string[];
  /** When the request arrived, in monotonic seconds. */
  readonly startedAt: number;
  readonly gate?: Gate;
  /** Called once when the exchange is over. */
  readonly ended?: () => void;
  readonly listener: ExchangeKeeper;
}

/** What an exchange tells the listener that it came through. */
export interface ExchangeKeeper {
  /** True while the listener closes: then answers say `Connection: close`. */
  isDraining(): boolean;
  /** Ties an exchange to its connection: it is told when the client leaves. Every call is followed by one of `release`. */
  hold(socket: Socket, exchange: Exchange): void;
  release(socket: Socket, exchange: Exchange): void;
  /** The request is answered; `status` 0 when the client left before. */
  ended(request: IncomingMessage, status: number, startedAt: number): void;
}

/** A request that is being served. */
export interface Exchange {
  /** The client's connection is gone. */
  clientLeft(): void;
}

/** Starts the exchange. It never throws; whatever goes wrong is answered or, after the head, breaks the connection. */
export function forward(forwarding: Forwarding): void {
  new RunningExchange(forwarding).start();
}

/** True when a body follows the head of the request (RFC 9112 §6.3). */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return (length !== undefined && length !== '0') || request.headers['transfer-encoding'] !== undefined;
}

/** Bodies up to this size are worth a copy to save a write. */
const JOINED_BYTES_MAX = 16_384;

/** Exchanges whose head is written but may wait for a first byte of the body: flushed when the current read is used up. */
const unflushed: RunningExchange[] = [];

function flushHeads(): void {
  for (const exchange of unflushed.splice(0)) exchange.flushHead();
}

class RunningExchange implements Exchange, AnswerHandler {
  private readonly forwarding: Forwarding;
  private readonly outgoing: OriginRequest;
  /** Kept apart: undici takes the socket off a message whose body it has read. */
  private readonly socket: Socket;
  /** `waiting` for the head; `held` by the gate; `passing` the body on; `over`. */
  private state: 'waiting' | 'held' | 'passing' | 'over' = 'waiting';
  private status = 0;
  private isRetried = false;
  /** Bytes of the body that are still to come, or -1 when that is not known. */
  private left = -1;
  private abort: ((reason?: Error) => void) | undefined = undefined;
  private resume: (() => void) | undefined = undefined;
  /** What came while the gate held the answer: its end, or what broke it. */
  private heldEnd: { readonly trailers: RawHead | null } | undefined = undefined;
  private heldFailure: Error | undefined = undefined;

  constructor(forwarding: Forwarding) {
    this.forwarding = forwarding;
    this.socket = forwarding.request.socket;
    this.outgoing = {
      method: forwarding.request.method ?? 'GET',
      path: forwarding.path,
      headers: forwarding.headers,
      body: hasBody(forwarding.request) ? forwarding.request : null,
    };
  }

  start(): void {
    this.forwarding.listener.hold(this.socket, this);
    if (this.state === 'waiting') this.dispatch();
  }

  private dispatch(): void {
    const { request, origin } = this.forwarding;
    const isRare =
      this.outgoing.body === null
        ? this.outgoing.path === '*'
        : request.headers.expect !== undefined || request.headers['trailer'] !== undefined;
    origin.dispatch(this.outgoing, this, isRare);
  }

  clientLeft(): void {
    if (this.state === 'over') return;
    if (this.state !== 'passing') this.forwarding.gate?.clientLeft();
    this.finish(this.state === 'passing' ? this.status : 0);
    this.abort?.();
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.abort = abort;
    if (this.state === 'over') abort();
  }

  onHeaders(status: number, raw: RawHead, resume: () => void, statusText: string): boolean {
    if (this.state !== 'waiting') return true;
    if (status < 200) {
      sendInterim(this.forwarding, status, raw);
      return true;
    }
    const { request, gate } = this.forwarding;
    const isBodyless = request.method === 'HEAD' || status === 204 || status === 304;
    const head = answerHeaders(raw, !isBodyless && request.httpVersionMinor > 0);
    if (head === undefined) {
      this.abort?.(new CodedError('UPSTREAM_UNREACHABLE', 'The answer has a transfer coding other than chunked'));
      return true;
    }
    this.status = status;
    this.resume = resume;
    if (gate === undefined) {
      this.pass(statusText, head.headers, isBodyless ? 0 : head.length);
      return true;
    }
    this.state = 'held';
    void gate.answered(status).then((verdict) => {
      if (this.state !== 'held') return;
      if (verdict.kind === 'replace') this.replace(verdict.error, verdict.headers);
      else this.release(statusText, withHeaders(head.headers, verdict.headers), isBodyless ? 0 : head.length);
    });
    return false;
  }

  onData(chunk: Buffer): boolean {
    if (this.state !== 'passing') return true;
    const { response } = this.forwarding;
    if (this.left === chunk.byteLength) {
      // The last bytes of a body of known length go out with its end, and with the head if that still waits: as text, byte
      // for byte, when they are few, because node joins a text to the head, and one write is cheaper than a gathered one.
      if (chunk.byteLength <= JOINED_BYTES_MAX) response.end(chunk.toString('latin1'), 'latin1');
      else response.end(chunk);
      this.finish(this.status);
      return true;
    }
    if (this.left > 0) this.left -= chunk.byteLength;
    if (response.write(chunk)) return true;
    response.once('drain', () => this.resume?.());
    return false;
  }

  onComplete(trailers: RawHead | null): void {
    if (this.state === 'held') this.heldEnd = { trailers };
    else if (this.state === 'passing') this.complete(trailers);
  }

  onError(error: Error): void {
    if (this.state === 'held') this.heldFailure = error;
    else if (this.state === 'passing') this.cut();
    else if (this.state === 'waiting') this.unanswered(error);
  }

  flushHead(): void {
    if (this.state === 'passing') this.forwarding.response.flushHeaders();
  }

  /** Lets a held answer go, with what has come in meanwhile. */
  private release(statusText: string, headers: string[], length: number): void {
    this.pass(statusText, headers, length);
    if (this.heldEnd !== undefined) this.onComplete(this.heldEnd.trailers);
    else if (this.heldFailure !== undefined) this.onError(this.heldFailure);
    this.resume?.();
  }

  /** Writes the head; `length` 0 ends the answer at once, because undici takes a Content-Length of a 304 for a promise. */
  private pass(statusText: string, headers: string[], length: number): void {
    const { request, response, listener } = this.forwarding;
    // An answer that comes before the request is whole may leave bytes on the connection that nobody will read.
    if (listener.isDraining() || (this.outgoing.body !== null && !request.complete))
      headers.push('connection', 'close');
    try {
      if (statusText === '') response.writeHead(this.status, headers);
      else response.writeHead(this.status, statusText, headers);
    } catch (cause) {
      response.statusMessage = '';
      const message = 'The head of the answer is not valid HTTP/1.1';
      this.replace(new CodedError('UPSTREAM_UNREACHABLE', message, { retry: 'ask', cause }), []);
      return;
    }
    this.state = 'passing';
    this.left = length;
    if (length === 0) this.complete(null);
    else if (unflushed.push(this) === 1) queueMicrotask(flushHeads);
  }

  /** Answers with an error in place of what the origin says. */
  private replace(error: CodedError, headers: readonly string[]): void {
    const { request, response, listener } = this.forwarding;
    const closes = listener.isDraining() || (this.outgoing.body !== null && !request.complete);
    sendError(response, error, closes ? [...headers, 'connection', 'close'] : headers);
    this.finish(response.headersSent ? response.statusCode : 0);
    this.abort?.();
  }

  private complete(trailers: RawHead | null): void {
    const { response } = this.forwarding;
    if (trailers !== null && trailers.length > 0 && response.chunkedEncoding) {
      response.addTrailers(trailerFields(trailers));
    }
    response.end();
    this.finish(this.status);
  }

  /** The origin broke off inside the body: so do we, with a reset where the end of the stream would mean a whole answer. */
  private cut(): void {
    this.finish(this.status);
    if (this.forwarding.request.httpVersionMinor === 0) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  private unanswered(error: Error): void {
    if (this.mayRetry(error)) {
      this.isRetried = true;
      this.dispatch();
      return;
    }
    const coded = unansweredError(error);
    const { gate } = this.forwarding;
    if (gate === undefined) {
      this.replace(coded, []);
      return;
    }
    this.state = 'held';
    void gate.failed(coded).then((headers) => {
      if (this.state === 'held') this.replace(coded, headers);
    });
  }

  /** A kept-alive connection may close just as we use it; safe methods without a body are sent once more (RFC 9110 §9.2.2). */
  private mayRetry(error: Error): boolean {
    return (
      !this.isRetried &&
      this.outgoing.body === null &&
      /^(?:GET|HEAD|OPTIONS)$/.test(this.outgoing.method) &&
      /^(?:UND_ERR_SOCKET|ECONNRESET|EPIPE)$/.test(codeOf(error))
    );
  }

  private finish(status: number): void {
    const { request, listener, startedAt, ended } = this.forwarding;
    this.state = 'over';
    listener.release(this.socket, this);
    listener.ended(request, status, startedAt);
    ended?.();
  }
}

/** 100 lets the client send its body; of the others, only 103 says something that a client of ours may use. */
function sendInterim({ request, response }: Forwarding, status: number, raw: RawHead): void {
  if (request.httpVersionMinor === 0 || response.destroyed) return;
  if (status === 100 && request.headers.expect !== undefined) response.writeContinue();
  if (status !== 103) return;
  const links = trailerFields(raw).filter(([name]) => name.toLowerCase() === 'link');
  try {
    response.writeEarlyHints({ link: links.map(([, value]) => value) });
  } catch {
    // A hint that node does not accept is left out: hints are optional (RFC 8297 §2).
  }
}

function unansweredError(cause: Error): CodedError {
  if (cause instanceof CodedError) return cause;
  const code = codeOf(cause);
  if (code === 'UND_ERR_HEADERS_TIMEOUT') {
    return new CodedError('UPSTREAM_TIMEOUT', 'The answer did not begin in time', {
      retry: 'ask',
      hint: 'The request may have taken effect. Raise the timeout of the listener if the work takes this long',
      cause,
    });
  }
  if (/^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(code)) {
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

/** The code of an error; of several addresses that were tried in vain, the first one's. */
function codeOf(error: Error): string {
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return inner instanceof Error && 'code' in inner && typeof inner.code === 'string' ? inner.code : '';
}
