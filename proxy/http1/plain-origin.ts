/**
 * Requests that undici cannot carry, over node's own client: trailers are sent on, and `Expect: 100-continue` is passed to
 * the origin, whose 100 (or refusal) goes back to the caller. A caller that does not wait for it need not (RFC 9110 §10.1.1): what it
 * sends of the body is sent on.
 */
import { Agent as HttpAgent, IncomingMessage, request as httpRequest, type ClientRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { CodedError } from '../../src/contract/errors.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { trailerFields } from '../http/headers.ts';
import type { AnswerHandler, OriginOptions, OriginRequest } from './origin.ts';

export interface PlainOrigin {
  dispatch(request: OriginRequest, handler: AnswerHandler): void;
  destroy(): void;
}

/** No connection is kept: these requests are rare, and a fresh connection cannot be stale. */
export function openPlainOrigin(options: OriginOptions, connectTimeoutMs: number): PlainOrigin {
  const url = new URL(options.url);
  const isTls = url.protocol === 'https:';
  const agent = isTls ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false });
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return {
    dispatch(request, handler) {
      try {
        const outgoing = (isTls ? httpsRequest : httpRequest)({
          agent,
          host,
          port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
          method: request.method,
          path: request.path,
          headers: headFor(request, url.host),
          ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
        });
        run(outgoing, request, handler, options.timeoutMs + connectTimeoutMs);
      } catch (error) {
        // node refuses some heads that its own parser lets through
        handler.onError(error instanceof Error ? error : new Error(String(error)));
      }
    },
    destroy() {
      agent.destroy();
    },
  };
}

/** A flat list with one Host, and with a framing when there is a body: node writes such a list as it is. */
function headFor(request: OriginRequest, defaultHost: string): string[] {
  const names = new Set(request.headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase()));
  const head = [...request.headers];
  if (!names.has('host')) head.push('host', defaultHost);
  if (waitsForContinue(request.body)) head.push('expect', '100-continue');
  if (request.body !== null && !names.has('content-length')) head.push('transfer-encoding', 'chunked');
  head.push('connection', 'close');
  return head;
}

function run(outgoing: ClientRequest, request: OriginRequest, handler: AnswerHandler, headTimeoutMs: number): void {
  let isOver = false;
  const fail = (error: Error): void => {
    cancelTimer();
    if (isOver) return;
    isOver = true;
    outgoing.destroy();
    handler.onError(error);
  };
  const patience = (): (() => void) =>
    at((now() + headTimeoutMs) as Instant, () =>
      fail(new CodedError('UPSTREAM_TIMEOUT', 'The answer did not begin in time', { retry: 'ask' })),
    );
  let cancelTimer = patience();
  let hasAnswered = false;
  /** An answer is waited for from the last piece of the body on. */
  const onSent = (): void => {
    cancelTimer();
    if (!isOver && !hasAnswered) cancelTimer = patience();
  };
  outgoing.on('error', fail);
  outgoing.on('close', () => fail(new Error('the connection closed before an answer')));
  outgoing.on('information', (info) => {
    if (info.statusCode !== 100) handler.onHeaders(info.statusCode, info.rawHeaders, () => {}, info.statusMessage);
  });
  outgoing.on('continue', () => handler.onHeaders(100, [], () => {}, 'Continue'));
  outgoing.on('response', (answer) => {
    cancelTimer();
    hasAnswered = true;
    receive(answer, handler, fail, () => {
      isOver = true;
    });
  });
  handler.onConnect((reason) => fail(reason ?? new Error('aborted')));
  if (!isOver) sendBody(outgoing, request.body, fail, onSent);
}

function receive(
  answer: IncomingMessage,
  handler: AnswerHandler,
  fail: (error: Error) => void,
  over: () => void,
): void {
  const resume = (): void => void answer.resume();
  answer.on('data', (chunk: Buffer) => {
    if (!handler.onData(chunk)) answer.pause();
  });
  answer.on('end', () => {
    over();
    handler.onComplete(answer.rawTrailers);
  });
  answer.on('error', fail);
  if (!handler.onHeaders(answer.statusCode ?? 502, answer.rawHeaders, resume, answer.statusMessage ?? ''))
    answer.pause();
}

function sendBody(
  outgoing: ClientRequest,
  body: OriginRequest['body'],
  fail: (error: Error) => void,
  sent: () => void,
): void {
  if (body === null) return void outgoing.end();
  if (Buffer.isBuffer(body)) return void outgoing.end(body);
  body.on('error', fail);
  outgoing.flushHeaders(); // who expects a 100 sends nothing yet
  body.on('data', (chunk: Buffer) => {
    if (!outgoing.write(chunk)) body.pause();
    sent();
  });
  outgoing.on('drain', () => body.resume());
  body.on('end', () => {
    const trailers = body instanceof IncomingMessage ? trailerFields(body.rawTrailers) : [];
    if (trailers.length > 0) outgoing.addTrailers(trailers);
    outgoing.end();
  });
}

/** A body that was kept has come already: its client was told to send it. */
function waitsForContinue(body: OriginRequest['body']): boolean {
  return body instanceof IncomingMessage && body.headers.expect !== undefined;
}
