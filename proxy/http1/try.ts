/** One try of a request that has a limit of its own, or may be repeated. */
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { RawHead } from '../http/headers.ts';
import type { AnswerHandler } from './origin.ts';

/**
 * Passes on what an origin tells of one try, and ends it when the answer has not begun `timeoutMs` after the try, connecting included.
 * What a try says after it was given up is not heard: it must not be taken for what the next one says.
 */
export class LimitedTry implements AnswerHandler {
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
    if (this.isOver) return;
    this.end();
    this.abort?.();
    const message = `The answer did not begin within ${timeoutMs} ms, the limit of its route`;
    const hint = 'The request may have taken effect. Raise the timeout of the route if the work takes this long';
    this.exchange.onError(new CodedError('UPSTREAM_TIMEOUT', message, { retry: 'ask', hint }));
  }

  private end(): void {
    this.isOver = true;
    this.cancelTimer();
  }
}
