/**
 * Carries a passage over HTTP/2: one stream of a client, one stream to an origin. Data go both ways under back-pressure, heads and
 * trailers with them, and when either side resets its stream, so is the other. A client never takes a cut answer for a whole one.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { CodedError, httpStatusOf } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import {
  whenAdmitted,
  type Admission,
  type OwnAnswer,
  type Passage,
  type Replacement,
  type Verdict,
} from '../http/admission.ts';
import { notJudged, replacementOf, unansweredError } from '../http/errors.ts';
import { answerHeaders, trailerFields, withHeaders, type RawHead } from '../http/headers.ts';
import { triesAgain } from '../http/retry.ts';
import { grpcTimeoutMs, retryStatusOfGrpc } from './grpc.ts';
import { fieldOf, trailersObject } from './head.ts';
import { holdingOf, type Holding } from './holding.ts';
import { InterimAnswers } from './interim.ts';
import { resetCodeOf, StreamReset, type Http2AnswerHandler, type Http2Body, type Http2Origin } from './origin.ts';
import { respond, sendAnswer, sendError } from './own-answer.ts';
import type { Http2Head } from './request-head.ts';

/** A request that came by HTTP/2 and is being served. */
export interface Http2Arrival {
  readonly stream: ServerHttp2Stream;
  readonly head: Http2Head;
  /** How long the other side may take to begin its answer, in milliseconds. */
  readonly timeoutMs: number;
  /** Where passages to `url` (an origin) go. */
  originOf(url: string): Http2Origin;
  /** The request is answered; `status` 0 when the client left before. Called once. */
  ended(status: number): void;
}

/** Serves the stream: waits for what is decided, and does it. It never throws; whatever goes wrong is answered or resets the stream. */
export function serve(arrival: Http2Arrival, decide: () => Admission | Promise<Admission>): void {
  const exchange = new Http2Exchange(arrival);
  whenAdmitted(decide(), (admission) => exchange.settle(admission));
}

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;
/** How long we read on, and drop, what a client sends after it was answered, before its stream is reset. */
const LINGER_MS = 1_000;

class Http2Exchange implements Http2AnswerHandler {
  private readonly arrival: Http2Arrival;
  private readonly stream: ServerHttp2Stream;
  private passage: Passage | undefined = undefined;
  /** `waiting` for a decision or the head; `keeping` the body for the gate; `held` by the gate; `passing` the body on; `over`. */
  private state: 'waiting' | 'keeping' | 'held' | 'passing' | 'over' = 'waiting';
  private status = 0;
  /** The client has left a passage that outlives it. */
  private isLeft = false;
  private tries = 1;
  private abort: ((reason?: Error) => void) | undefined = undefined;
  private resume: (() => void) | undefined = undefined;
  private cancelTimer: (() => void) | undefined = undefined;
  private holding: Holding | undefined = undefined;
  private interim: InterimAnswers | undefined = undefined;
  private requestTrailers: RawHead = [];
  private trailers: RawHead = [];

  constructor(arrival: Http2Arrival) {
    this.arrival = arrival;
    this.stream = arrival.stream;
    this.stream.on('error', () => undefined); // `close` follows
    this.stream.on('aborted', () => this.clientLeft());
    this.stream.on('close', () => this.clientLeft());
  }

  settle(admission: Admission): void {
    if (admission.kind === 'pass') this.passage = admission.passage;
    if (this.state === 'over') return this.tellLeft();
    switch (admission.kind) {
      case 'pass':
        return this.dispatch(admission.passage);
      case 'answer':
        return this.answer(admission.answer);
      case 'refuse':
        return this.replace(admission.error, []);
    }
  }

  private dispatch(passage: Passage): void {
    const { head } = this.arrival;
    const body = this.body();
    const isStreamed = body !== null && !Buffer.isBuffer(body);
    const [scheme, authority = ''] = passage.origin.split('://');
    passage.gate?.interruptible?.((error) => this.giveUp(error));
    this.arrival.originOf(passage.origin).request(
      {
        head: {
          method: head.method,
          path: passage.path,
          scheme: scheme === 'https' ? 'https' : 'http',
          authority,
          headers: isStreamed && head.expects ? [...passage.headers, 'expect', '100-continue'] : passage.headers,
          sensitive: head.sensitive,
        },
        body,
        timeoutMs: this.patienceMs(),
        ...(passage.timeoutMs === undefined ? {} : { tryMs: passage.timeoutMs }),
      },
      this,
    );
  }

  private body(): Http2Body | Buffer | null {
    const { head } = this.arrival;
    if (head.isWhole) return null;
    if (head.kept !== undefined) return head.kept;
    this.stream.on('trailers', (_headers, _flags, raw: string[]) => {
      this.requestTrailers = raw;
    });
    return { stream: this.stream, trailers: () => this.requestTrailers };
  }

  /** A caller of gRPC says itself how long it waits, and a stream may be silent for all of that time. */
  private patienceMs(): number {
    const { head, timeoutMs } = this.arrival;
    return (head.isGrpc ? grpcTimeoutMs(fieldOf(head.headers, 'grpc-timeout')) : undefined) ?? timeoutMs;
  }

  private clientLeft(): void {
    if (this.isLeft) return;
    if (this.state === 'over') return this.unread();
    this.isLeft = this.outlivesClient();
    if (this.isLeft && this.state === 'keeping' && this.holding?.mayStream) this.ask(); // nobody wants the rest
    if (this.isLeft) return;
    const isPassing = this.state === 'passing';
    this.state = 'over';
    this.cancelTimer?.();
    this.arrival.ended(isPassing ? this.status : 0);
    this.tellLeft();
    this.abort?.(new StreamReset(this.stream.rstCode));
  }

  /** The answer was written; the gate hears of it when it waited here for the client to read it. */
  private unread(): void {
    const { stream, passage } = this;
    if (stream.writableEnded && !stream.writableFinished) passage?.gate?.clientLeft();
  }

  private outlivesClient(): boolean {
    const { head } = this.arrival;
    const isSent = head.isWhole || head.kept !== undefined || this.stream.readableEnded;
    return this.passage?.outlivesClient === true && this.state !== 'passing' && isSent;
  }

  /** Tells those who wait for the answer that nobody wants it any more; nothing when the request is not decided yet. */
  private tellLeft(): void {
    this.passage?.gate?.clientLeft();
    this.passage?.ended?.();
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.abort = abort;
    if (this.state === 'over') abort();
  }

  onHeaders(status: number, raw: RawHead, resume: () => void, _text: string, isWhole: boolean): boolean {
    if (this.state !== 'waiting') return true;
    if (status < 200) {
      this.interim ??= new InterimAnswers(this.stream);
      this.interim.pass(status, raw);
      return true;
    }
    if (this.mayTryAgain(isWhole ? this.retryStatus(status, raw.map(String)) : status)) {
      this.abort?.();
      this.tryAgain();
      return true;
    }
    const head = answerHeaders(raw, true);
    if (head === undefined) {
      const { abort } = this;
      this.onError(new CodedError('UPSTREAM_UNREACHABLE', 'The answer has a transfer coding other than chunked'));
      abort?.();
      return true;
    }
    this.status = status;
    this.resume = resume;
    const isBodyless = isWhole || this.arrival.head.method === 'HEAD' || status === 204 || status === 304;
    const gate = this.passage?.gate;
    if (gate === undefined) {
      this.pass(head.headers, isBodyless);
      return true;
    }
    return this.hold(holdingOf(gate, this.arrival.head.isGrpc, status, head, isBodyless));
  }

  onData(chunk: Buffer): boolean {
    if (this.state === 'passing') return this.stream.write(chunk);
    if (this.holding === undefined || this.state === 'over') return true;
    const room = this.holding.keep(chunk);
    if (this.state === 'held') return false;
    if (room === 'refuse') this.giveUp(this.holding.overflow());
    else if (room === 'ask') this.ask();
    return room === 'more';
  }

  onComplete(trailers: RawHead | null): void {
    this.trailers = trailers ?? [];
    this.holding?.end(this.trailers);
    if (this.state === 'keeping') this.kept();
    else if (this.state === 'passing') this.complete();
  }

  onError(error: Error): void {
    if (this.state === 'over') return;
    if (this.state === 'held') this.holding?.fail(error);
    else if (this.state === 'passing') this.cut(error);
    else if (this.state === 'waiting' && this.mayTryAgain()) this.tryAgain();
    else this.fail(error);
  }

  /** Keeps the answer back until the gate has judged it. */
  private hold(holding: Holding): boolean {
    this.holding = holding;
    if (!holding.keepsBody) {
      this.ask();
      return holding.isWhole;
    }
    this.state = 'keeping';
    this.cancelTimer = at((now() + holding.patienceMs(this.patienceMs())) as Instant, () => {
      if (this.state === 'keeping' && holding.mayStream) this.ask();
      else this.giveUp(holding.overflow());
    });
    return true;
  }

  /** The answer is whole, and nothing of it has gone out: of gRPC, its status is known only now. */
  private kept(): void {
    const fields = [...(this.holding?.headers ?? []), ...this.trailers.map(String)];
    if (!this.mayTryAgain(this.retryStatus(this.status, fields))) return this.ask();
    this.cancelTimer?.();
    this.holding = undefined;
    this.state = 'waiting';
    this.tryAgain();
  }

  private retryStatus(status: number, fields: readonly string[]): number {
    return this.arrival.head.isGrpc && status === 200 ? retryStatusOfGrpc(fields) : status;
  }

  /** Asks the gate for its verdict, once. */
  private ask(): void {
    const { holding, passage } = this;
    if (holding === undefined || passage?.gate === undefined) return;
    this.cancelTimer?.();
    this.state = 'held';
    void holding
      .answer()
      .then((answer) => passage.gate?.answered(answer))
      .then(
        (verdict) => this.state === 'held' && verdict !== undefined && this.obey(verdict, holding),
        (cause: unknown) => this.state === 'held' && this.replace(notJudged(cause), []),
      );
  }

  private obey(verdict: Verdict, holding: Holding): void {
    if (this.isLeft) return this.end(0, () => undefined);
    switch (verdict.kind) {
      case 'replace':
        return this.replace(verdict.error, verdict.headers);
      case 'answer':
        return this.answer(verdict.answer);
      case 'pass':
        return this.release(verdict.headers, holding);
    }
  }

  /** Lets a held answer go, with what has come in meanwhile. */
  private release(added: readonly string[], holding: Holding): void {
    this.holding = undefined;
    this.pass(withHeaders(holding.headers, added), holding.isWhole);
    if (this.isOver()) return;
    for (const chunk of holding.chunks) this.stream.write(chunk);
    if (holding.failure !== undefined) this.cut(holding.failure);
    else if (holding.isEnded) this.complete();
    else this.resume?.();
  }

  /** Writes the head; `isWhole` ends the answer with it. */
  private pass(headers: readonly string[], isWhole: boolean): void {
    const { stream } = this;
    try {
      respond(stream, [':status', String(this.status), ...headers], isWhole, true);
    } catch (cause) {
      const message = 'The head of the answer is not valid HTTP/2';
      return this.replace(new CodedError('UPSTREAM_UNREACHABLE', message, { retry: 'ask', cause }), []);
    }
    this.state = 'passing';
    if (isWhole) return this.finish(this.status);
    stream.on('wantTrailers', () => {
      if (!stream.closed) stream.sendTrailers(trailersObject(trailerFields(this.trailers)));
    });
    stream.on('drain', () => this.resume?.());
  }

  private complete(): void {
    this.stream.end();
    this.finish(this.status);
  }

  /** The origin broke off inside the body: so do we, with its own code where it gave one. */
  private cut(error: Error): void {
    this.finish(this.status);
    this.stream.close(resetCodeOf(error));
  }

  /** Answers with an error in place of what the origin says. */
  private replace(error: CodedError, headers: readonly string[]): void {
    this.end(httpStatusOf(error.code), () => sendError(this.stream, error, this.arrival.head, headers));
  }

  private answer(answer: OwnAnswer): void {
    this.end(answer.status, () => sendAnswer(this.stream, answer, this.arrival.head));
  }

  private end(status: number, send: () => void): void {
    const { abort } = this;
    this.finish(status);
    try {
      if (!this.stream.destroyed) send();
    } catch {
      this.stream.close(NGHTTP2_INTERNAL_ERROR); // a header of the answer that HTTP/2 does not allow
    }
    abort?.();
  }

  /** There will be no answer: the gate is told, and the client gets an error, or the reset that the origin has sent. */
  private fail(error: Error): void {
    const gate = this.passage?.gate;
    const tell = (said: readonly string[] | Replacement): void => {
      const instead = replacementOf(unansweredError(error), said);
      if ('kind' in said || !(error instanceof StreamReset)) return this.replace(instead.error, instead.headers);
      this.finish(0);
      this.stream.close(resetCodeOf(error));
    };
    if (gate === undefined) return tell([]);
    this.cancelTimer?.();
    this.state = 'held';
    void gate.failed(unansweredError(error)).then(
      (said) => this.state === 'held' && tell(said),
      (cause: unknown) => this.state === 'held' && this.replace(notJudged(cause), []),
    );
  }

  /** Waits no longer for what the gate is to judge. */
  private giveUp(error: CodedError): void {
    if (this.state !== 'waiting' && this.state !== 'keeping') return;
    const { abort } = this;
    this.fail(error);
    abort?.();
  }

  /** A body that has been streamed is gone. */
  private mayTryAgain(status?: number): boolean {
    const { head } = this.arrival;
    return (head.isWhole || head.kept !== undefined) && triesAgain(this.passage?.retry, this.tries, status);
  }

  private tryAgain(): void {
    const { passage } = this;
    this.tries += 1;
    this.abort = undefined;
    this.cancelTimer = at((now() + (passage?.retry?.intervalMs ?? 0)) as Instant, () => {
      if (passage !== undefined && this.state === 'waiting') this.dispatch(passage);
    });
  }

  private isOver(): boolean {
    return this.state === 'over';
  }

  private finish(status: number): void {
    const { stream } = this;
    this.state = 'over';
    this.cancelTimer?.();
    this.arrival.ended(status);
    this.passage?.ended?.();
    if (stream.readableEnded) return;
    // Without a reader the stream would never close; and a client that goes on sending is told to stop (RFC 9113 §8.1).
    if (!stream.readableFlowing) stream.resume();
    if (!this.arrival.head.isWhole) at((now() + LINGER_MS) as Instant, () => stream.close(NGHTTP2_NO_ERROR));
  }
}
