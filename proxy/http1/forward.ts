/**
 * Carries a passage over HTTP/1: one request to an origin and its answer back. Bodies stream both ways under back-pressure, trailers
 * go along, and when either side breaks off, so does the other. A client never takes a cut answer for a whole one.
 */
import type { Socket } from 'node:net';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import { whenAdmitted, type Admission, type Gate, type Passage, type Verdict } from '../http/admission.ts';
import { codeOf, notJudged, replacementOf, sendAnswer, sendError, unansweredError } from '../http/errors.ts';
import {
  answerHeaders,
  isEndless,
  sendInterim,
  trailerFields,
  withHeaders,
  type AnswerHead,
  type RawHead,
} from '../http/headers.ts';
import type { Exchange, ExchangeKeeper } from '../http/listener.ts';
import type { AnswerMessage, RequestMessage } from '../http/message.ts';
import type { AnswerHandler, Origin, OriginRequest } from './origin.ts';
import type { Http1Head } from './request-head.ts';
import { metStaleConnection, triesAgain } from '../http/retry.ts';
import { tryOf } from './try.ts';

/** A request that came by HTTP/1 and is being served. */
export interface Arrival {
  readonly request: RequestMessage;
  readonly response: AnswerMessage;
  readonly head: Http1Head;
  /** When the request arrived, in monotonic seconds. */
  readonly startedAt: number;
  readonly listener: ExchangeKeeper;
  /** Where passages to `url` (an origin) go. */
  originOf(url: string): Origin;
}

/** Does with a request what was decided, at once when that is known at once. It never throws; whatever goes wrong is answered. */
export function carry(arrival: Arrival, admission: Admission | Promise<Admission>): void {
  whenAdmitted(admission, (admitted) => settle(arrival, admitted));
}

function settle(arrival: Arrival, admission: Admission): void {
  const { request, response, listener, startedAt } = arrival;
  switch (admission.kind) {
    case 'pass':
      return new RunningExchange(arrival, admission.passage).start();
    case 'answer':
      sendAnswer(response, admission.answer, listener.isDraining() || !request.complete);
      listener.ended(request, response.headersSent ? response.statusCode : 0, startedAt);
      return;
    case 'refuse':
      listener.refuse(request, response, startedAt, admission.error);
  }
}

/** Bodies up to this size are worth a copy to save a write. */
const JOINED_BYTES_MAX = 16_384;
/** How long a body may take that a gate wants to have before its verdict. */
const KEEP_MS = 30_000;

/** Exchanges whose head is written but may wait for a first byte of the body: flushed when the current read is used up. */
const unflushed: RunningExchange[] = [];

function flushHeads(): void {
  for (const exchange of unflushed.splice(0)) exchange.flushHead();
}

/** An answer that waits for a verdict. */
interface Held {
  readonly statusText: string;
  readonly head: AnswerHead;
  readonly chunks: Buffer[];
  bytes: number;
  end?: { readonly trailers: RawHead | null };
  failure?: Error;
}

class RunningExchange implements Exchange, AnswerHandler {
  private readonly arrival: Arrival;
  private readonly passage: Passage;
  private readonly outgoing: OriginRequest;
  /** Kept apart: undici takes the socket off a message whose body it has read. */
  private readonly socket: Socket;
  /** `waiting` for the head; `keeping` the body for the gate; `held` by the gate; `passing` the body on; `over`. */
  private state: 'waiting' | 'keeping' | 'held' | 'passing' | 'over' = 'waiting';
  private status = 0;
  private isRetried = false;
  private isSent = false;
  private isGateTold = false;
  /** The client has left a passage that outlives it. */
  private isLeft = false;
  private tries = 1;
  /** Bytes of the body that are still to come, or -1 when that is not known. */
  private left = -1;
  private abort: ((reason?: Error) => void) | undefined = undefined;
  private resume: (() => void) | undefined = undefined;
  private cancelTimer: (() => void) | undefined = undefined;
  /** What came while the gate held the answer: its head, bytes, end, or what broke it. */
  private held: Held | undefined = undefined;

  constructor(arrival: Arrival, passage: Passage) {
    const { request, head } = arrival;
    this.arrival = arrival;
    this.passage = passage;
    this.socket = request.socket;
    this.outgoing = {
      method: head.method,
      path: passage.path,
      headers: passage.headers,
      body: head.kept ?? head.stream,
    };
  }

  start(): void {
    this.arrival.listener.hold(this.socket, this);
    if (this.state === 'waiting') this.dispatch();
  }

  private dispatch(): void {
    this.isSent = true;
    const { headers } = this.arrival.request;
    const { body, path } = this.outgoing;
    const isRare =
      body === null
        ? path === '*'
        : !Buffer.isBuffer(body) && (headers.expect !== undefined || headers['trailer'] !== undefined);
    this.arrival.originOf(this.passage.origin).dispatch(this.outgoing, tryOf(this, this.passage), isRare);
  }

  clientLeft(): void {
    if (this.state === 'over' || this.isLeft) return;
    this.isLeft = this.outlivesClient();
    if (this.isLeft && this.state === 'keeping') this.ask(undefined); // nobody wants the rest of the body
    if (this.isLeft) return;
    this.tellLeft();
    this.finish(this.state === 'passing' ? this.status : 0);
    this.abort?.();
  }

  /** The gate hears of it once, also when the answer was written but waited here for the client to read it. */
  private tellLeft(): void {
    if (this.isGateTold) return;
    this.isGateTold = true;
    this.passage.gate?.clientLeft();
  }

  private outlivesClient(): boolean {
    const { body } = this.outgoing;
    const isWhole = body === null || Buffer.isBuffer(body) || this.arrival.request.readableEnded;
    return this.passage.outlivesClient === true && this.isSent && this.state !== 'passing' && isWhole;
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.abort = abort;
    if (this.state === 'over') abort();
  }

  onHeaders(status: number, raw: RawHead, resume: () => void, statusText: string): boolean {
    if (this.state !== 'waiting') return true;
    const { request, response } = this.arrival;
    if (status < 200) {
      sendInterim(request, response, status, raw);
      return true;
    }
    if (this.mayTryAgain(status)) {
      this.abort?.();
      this.tryAgain();
      return true;
    }
    const { gate } = this.passage;
    const isBodyless = request.method === 'HEAD' || status === 204 || status === 304;
    const head = answerHeaders(raw, !isBodyless && request.httpVersionMinor > 0);
    if (head === undefined) {
      const { abort } = this;
      this.unanswered(
        new CodedError('UPSTREAM_UNREACHABLE', 'The answer has a transfer coding other than chunked', { retry: 'ask' }),
      );
      abort?.();
      return true;
    }
    this.status = status;
    this.resume = resume;
    const length = isBodyless ? 0 : head.length;
    if (gate === undefined) {
      this.pass(statusText, head.headers, length);
      return true;
    }
    return this.hold(gate, { statusText, head: { headers: head.headers, length }, chunks: [], bytes: 0 });
  }

  onData(chunk: Buffer): boolean {
    if (this.state === 'keeping' || this.state === 'held') return this.keep(chunk);
    if (this.state !== 'passing') return true;
    const { response } = this.arrival;
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
    if (this.held !== undefined) this.held.end = { trailers };
    if (this.state === 'keeping') this.ask(Buffer.concat(this.held?.chunks ?? []));
    else if (this.state === 'passing') this.complete(trailers);
  }

  onError(error: Error): void {
    if (this.held !== undefined) this.held.failure = error;
    if (this.state === 'passing') this.cut();
    else if (this.state === 'waiting' || this.state === 'keeping') this.unanswered(error);
  }

  /** Keeps the answer for `gate`, with its body when that is wanted and short enough. False stops reading. */
  private hold(gate: Gate, held: Held): boolean {
    this.held = held;
    const { headers, length } = held.head;
    if (gate.keeps === undefined || length > gate.keeps || isEndless(headers)) {
      this.ask(undefined);
      return false;
    }
    if (length === 0) {
      this.ask(Buffer.alloc(0));
      return true;
    }
    this.state = 'keeping';
    this.cancelTimer = at((now() + KEEP_MS) as Instant, () => this.ask(undefined));
    return true;
  }

  private keep(chunk: Buffer): boolean {
    const { held } = this;
    if (held === undefined) return true;
    held.chunks.push(chunk);
    held.bytes += chunk.byteLength;
    if (this.state === 'held') return false;
    if (held.bytes <= (this.passage.gate?.keeps ?? 0)) return true;
    this.ask(undefined);
    return false;
  }

  /** Asks the gate for its verdict, once. */
  private ask(body: Buffer | undefined): void {
    const { gate } = this.passage;
    const { held, status } = this;
    if (gate === undefined || held === undefined) return;
    this.cancelTimer?.();
    this.state = 'held';
    const { headers } = held.head;
    const answer = { status, headers, ...(body === undefined ? {} : { body }) };
    void gate.answered(answer).then(
      (verdict) => this.state === 'held' && this.obey(verdict, held),
      (cause: unknown) => this.state === 'held' && this.replace(notJudged(cause), []),
    );
  }

  private obey(verdict: Verdict, held: Held): void {
    if (this.isLeft) return this.answer(() => undefined);
    switch (verdict.kind) {
      case 'replace':
        return this.replace(verdict.error, verdict.headers);
      case 'answer':
        return this.answer((response, isLast) => sendAnswer(response, verdict.answer, isLast));
      case 'pass':
        return this.release(held, verdict.headers);
    }
  }

  flushHead(): void {
    if (this.state === 'passing') this.arrival.response.flushHeaders();
  }

  /** Lets a held answer go, with what has come in meanwhile. */
  private release({ statusText, head, chunks, end, failure }: Held, added: readonly string[]): void {
    this.held = undefined;
    this.pass(statusText, withHeaders(head.headers, added), head.length);
    if (chunks.length > 0) this.onData(Buffer.concat(chunks));
    if (end !== undefined) this.onComplete(end.trailers);
    else if (failure !== undefined) this.onError(failure);
    this.resume?.();
  }

  /** Writes the head; `length` 0 ends the answer at once, because undici takes a Content-Length of a 304 for a promise. */
  private pass(statusText: string, headers: string[], length: number): void {
    const { request, response, listener } = this.arrival;
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
    if (this.passage.gate !== undefined) response.once('close', () => response.writableFinished || this.tellLeft());
    if (length === 0) this.complete(null);
    else if (unflushed.push(this) === 1) queueMicrotask(flushHeads);
  }

  /** Answers with an error in place of what the origin says. */
  private replace(error: CodedError, headers: readonly string[]): void {
    this.answer((response, isLast) =>
      sendError(response, error, isLast ? [...headers, 'connection', 'close'] : headers),
    );
  }

  /** `isLast`: nothing can follow on the connection. */
  private answer(send: (response: AnswerMessage, isLast: boolean) => void): void {
    const { request, response, listener } = this.arrival;
    send(response, listener.isDraining() || (this.outgoing.body !== null && !request.complete));
    this.finish(response.headersSent ? response.statusCode : 0);
    this.abort?.();
  }

  private complete(trailers: RawHead | null): void {
    const { response } = this.arrival;
    if (trailers !== null && trailers.length > 0 && response.chunkedEncoding) {
      response.addTrailers(trailerFields(trailers));
    }
    response.end();
    this.finish(this.status);
  }

  /** The origin broke off inside the body: so do we, with a reset where the end of the stream would mean a whole answer. */
  private cut(): void {
    this.finish(this.status);
    if (this.arrival.request.httpVersionMinor === 0) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  private unanswered(error: Error): void {
    if (this.mayRetry(error)) {
      this.isRetried = true;
      this.dispatch();
      return;
    }
    if (this.state === 'waiting' && this.mayTryAgain()) return this.tryAgain();
    const coded = unansweredError(error);
    const { gate } = this.passage;
    if (gate === undefined) {
      this.replace(coded, []);
      return;
    }
    this.cancelTimer?.();
    this.state = 'held';
    void gate.failed(coded).then(
      (said) => {
        if (this.state !== 'held') return;
        const { error, headers } = replacementOf(coded, said);
        this.replace(error, headers);
      },
      (cause: unknown) => this.state === 'held' && this.replace(notJudged(cause), []),
    );
  }

  private mayRetry(error: Error): boolean {
    const { body, method } = this.outgoing;
    const isFirst = this.state === 'waiting' && !this.isRetried;
    return isFirst && body === null && metStaleConnection(method, codeOf(error));
  }

  /** A body that has been streamed is gone. */
  private mayTryAgain(status?: number): boolean {
    const { body } = this.outgoing;
    return (body === null || Buffer.isBuffer(body)) && triesAgain(this.passage.retry, this.tries, status);
  }

  private tryAgain(): void {
    this.tries += 1;
    this.abort = undefined;
    const pauseMs = this.passage.retry?.intervalMs ?? 0;
    this.cancelTimer = at((now() + pauseMs) as Instant, () => this.dispatch());
  }

  private finish(status: number): void {
    const { request, listener, startedAt } = this.arrival;
    this.state = 'over';
    this.cancelTimer?.();
    listener.release(this.socket, this);
    listener.ended(request, status, startedAt);
    this.passage.ended?.();
  }
}
