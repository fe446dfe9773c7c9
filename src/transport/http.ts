/** Calls branches in the native way (`src/contract/messages.ts`). The answer's status decides; whatever goes wrong is `unknown`, with its reason. */
import { IDENTITY_HEADERS } from '../contract/branch-headers.ts';
import type { OperationRequest, ResultRules, StatusRange } from '../contract/messages.ts';
import { type CallResult, resultOfHttpStatus } from '../contract/transaction.ts';
import type { Secret } from '../platform/option-types.ts';
import type { Transport } from '../runner/ports.ts';
import { diagnosisIn } from './diagnosis.ts';
import { ownHeaders } from './dtm-headers.ts';
import {
  type Answer,
  createHttpCaller,
  type HttpCaller,
  type HttpCallerOptions,
  type HttpRequest,
  isMethod,
  type Judge,
} from './http-caller.ts';

/** How much of an answer's body is read: an error with the diagnosis of a dirty branch, in which characters may take several bytes. */
const BODY_BYTES_MAX = 64 * 1024;
/** How much of it is kept as `detail`. */
const DETAIL_CHARACTERS_MAX = 500;

export interface HttpTransportOptions extends HttpCallerOptions {
  /** Sent as bearer token with each call. */
  readonly token?: Secret;
}

/** A transport that holds connections until it is closed. */
export interface HttpTransport extends Transport {
  /** Cuts calls in flight (they answer `unknown`) and closes the connections. */
  close(): Promise<void>;
}

/** The native transport with connections of its own. */
export function createHttpTransport(options: HttpTransportOptions = {}): HttpTransport {
  const caller = createHttpCaller(options);
  return { ...nativeCalls(caller, options.token), close: () => caller.close() };
}

/** The native transport over `caller`. */
export function nativeCalls(caller: HttpCaller, token: Secret | undefined): Transport {
  const authorization = token === undefined ? [] : ['authorization', `Bearer ${token.reveal()}`];
  return {
    call: ({ gid, branch, operation, url, timeoutMs, request, results, resolution }, signal) => {
      const identity = ['atomesh-gid', gid, 'atomesh-branch', branch, 'atomesh-op', operation];
      if (resolution !== undefined) identity.push('atomesh-resolution', resolution);
      const sent = request === undefined ? plainRequest(authorization) : ownRequest(request);
      if (typeof sent === 'string') return Promise.resolve({ result: 'unknown', detail: `not called: ${sent}` });
      const headers = [...identity, ...sent.headers];
      return caller.send(
        { ...sent, url, headers, timeoutMs },
        results === undefined ? JUDGE : judgeOf((status) => resultBy(results, status)),
        signal,
      );
    },
  };
}

type Sent = Pick<HttpRequest, 'method' | 'headers' | 'body'>;

function plainRequest(authorization: readonly string[]): Sent {
  return { method: 'POST', headers: ['content-type', 'application/json', ...authorization], body: '{}' };
}

/**
 * The request as whoever enlisted the branch wants it, or why it cannot be sent. It goes to an application, not to a sidecar's control
 * listener: our token is not for it.
 */
function ownRequest({ method = 'POST', headers, body }: OperationRequest): Sent | string {
  if (!isMethod(method)) return `"${method.slice(0, 20)}" is no method that branches are called with`;
  const own = ownHeaders(headers).filter(([name]) => !IDENTITY_HEADERS.has(name));
  return { method, headers: own.flat(), ...(body === undefined ? {} : { body: Buffer.from(body, 'base64') }) };
}

const JUDGE = judgeOf(resultOfHttpStatus);

function resultBy({ success, failure, ongoing }: ResultRules, status: number): Exclude<CallResult, 'dirty'> {
  const isIn = (ranges: readonly StatusRange[]): boolean => ranges.some(([from, to]) => from <= status && status <= to);
  if (isIn(success)) return 'success';
  if (isIn(failure)) return 'failure';
  return isIn(ongoing) ? 'ongoing' : 'unknown';
}

type ResultOf = (status: number) => Exclude<CallResult, 'dirty'>;

function judgeOf(resultOf: ResultOf): Judge {
  const whole = (status: number, body: string): Answer => answerOf(resultOf, status, body);
  return {
    bodyBytesMax: BODY_BYTES_MAX,
    whole,
    // Enough is known.
    overlong: whole,
    broken: (status, body, reason) => brokenAnswerOf(resultOf, status, body, reason),
  };
}

function answerOf(resultOf: ResultOf, status: number, body: string): Answer {
  const result = resultOf(status);
  if (result === 'success') return { result };
  const detail = `HTTP ${status}${body === '' ? '' : `: ${body.slice(0, DETAIL_CHARACTERS_MAX)}`}`;
  if (result !== 'failure' || !saysDirty(body)) return { result, detail };
  const diagnosis = diagnosisIn(body);
  return { result: 'dirty', detail, ...(diagnosis === undefined ? {} : { diagnosis }) };
}

/** What an answer means whose body broke off: the status decides, except that a failure might have been `dirty`. */
function brokenAnswerOf(resultOf: ResultOf, status: number, body: string, reason: string): Answer {
  if (status === 0) return { result: 'unknown', detail: reason.slice(0, DETAIL_CHARACTERS_MAX) };
  const answer = answerOf(resultOf, status, body);
  if (answer.result !== 'failure') return answer;
  return {
    result: 'unknown',
    detail: `HTTP ${status}, but its body broke off: ${reason}`.slice(0, DETAIL_CHARACTERS_MAX),
  };
}

/** True when the body is an `ErrorBody` with that code. Inside a JSON text the quotes would be escaped, so nothing else looks like it. */
function saysDirty(body: string): boolean {
  return /"code"\s*:\s*"BRANCH_DIRTY"/.test(body);
}
