/** One try of a request that has a limit of its own, may be repeated, or may be interrupted. */
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Passage } from '../http/admission.ts';
import type { RawHead } from '../http/headers.ts';
import type { AnswerHandler } from './origin.ts';

/** Who hears what an origin tells of the next try of `passage`: the exchange itself, where nothing can end the try but its client. */
export function tryOf(exchange: AnswerHandler, { timeoutMs, retry, gate }: Passage): AnswerHandler {
  if (timeoutMs === undefined && retry === undefined && gate?.interruptible === undefined) return exchange;
  const limited = new LimitedTry(exchange, timeoutMs);
  gate?.interruptible?.((error) => limited.interrupt(error));
  return limited;
}

/**
 * Passes on what an origin tells of one try, and ends it when the answer has not begun `timeoutMs` after the try, connecting included.
 * What a try says after it was given up is not heard: it must not be taken for what the next one says.
 */
class LimitedTry implements AnswerHandler {
  private readonly exchange: AnswerHandler;
  private readonly cancelTimer: () => void;
  private isOver = false;
  private abort: ((reason?: Error) => void) | undefined = undefined;

  constructor(exchange: AnswerHandler, timeoutMs: number | undefined) {
    this.exchange = exchange;
    this.cancelTimer =
      timeoutMs === undefined ? () => undefined : at((now() + timeoutMs) as Instant, () => this.expire(timeoutMs));
  }

  onConnect(abort: (reason?: Error) => void): void {
    if (this.isOver) return abort();
    this.abort = abort;
    this.exchange.onConnect((reason) => {
      this.end();
      abort(reason);
    });
  }

  onHeaders(status: number, head: RawHead, resume: () => void, statusText: string): boolean {
    if (this.isOver) return true;
    if (status >= 200) this.cancelTimer();
    return this.exchange.onHeaders(status, head, resume, statusText);
  }

  onData(chunk: Buffer): boolean {
    return this.isOver || this.exchange.onData(chunk);
  }

  onComplete(trailers: RawHead | null): void {
    if (this.isOver) return;
    this.end();
    this.exchange.onComplete(trailers);
  }

  onError(error: Error): void {
    if (this.isOver) return;
    this.end();
    this.exchange.onError(error);
  }

  private expire(timeoutMs: number): void {
    const message = `The answer did not begin within ${timeoutMs} ms, the limit of its route`;
    const hint = 'The request may have taken effect. Raise the timeout of the route if the work takes this long';
    this.interrupt(new CodedError('UPSTREAM_TIMEOUT', message, { retry: 'ask', hint }));
  }

  /** Gives the try up because of `error`, unless it has ended. */
  interrupt(error: CodedError): void {
    if (this.isOver) return;
    this.end();
    this.abort?.();
    this.exchange.onError(error);
  }

  private end(): void {
    this.isOver = true;
    this.cancelTimer();
  }
}
