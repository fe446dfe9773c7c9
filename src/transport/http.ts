/** Calls branches in the native way (`src/contract/messages.ts`). The answer's status decides; whatever goes wrong is `unknown`, with its reason. */
import { type CallResult, resultOfHttpStatus } from '../contract/transaction.ts';
import type { Secret } from '../platform/option-types.ts';
import type { Transport } from '../runner/ports.ts';
import { type Answer, createHttpCaller, type HttpCaller, type HttpCallerOptions, type Judge } from './http-caller.ts';

/** How much of an answer's body is read. */
const BODY_BYTES_MAX = 4096;
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
    call: ({ gid, branch, operation, url, timeoutMs }, signal) => {
      const identity = ['atomesh-gid', gid, 'atomesh-branch', branch, 'atomesh-op', operation];
      const headers = [...identity, 'content-type', 'application/json', ...authorization];
      return caller.send({ url, method: 'POST', headers, body: '{}', timeoutMs }, JUDGE, signal);
    },
  };
}

const JUDGE: Judge = {
  bodyBytesMax: BODY_BYTES_MAX,
  whole: answerOf,
  // Enough is known.
  overlong: answerOf,
  broken: brokenAnswerOf,
};

function answerOf(status: number, body: string): Answer {
  const result: CallResult = resultOfHttpStatus(status);
  if (result === 'success') return { result };
  const detail = `HTTP ${status}${body === '' ? '' : `: ${body.slice(0, DETAIL_CHARACTERS_MAX)}`}`;
  return { result: result === 'failure' && saysDirty(body) ? 'dirty' : result, detail };
}

/** What an answer means whose body broke off: the status decides, except that a failure might have been `dirty`. */
function brokenAnswerOf(status: number, body: string, reason: string): Answer {
  if (status === 0) return { result: 'unknown', detail: reason.slice(0, DETAIL_CHARACTERS_MAX) };
  const answer = answerOf(status, body);
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
