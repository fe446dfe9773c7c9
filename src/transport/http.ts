/** Calls branches over HTTP. The answer's status decides; whatever goes wrong is `unknown`, with its reason. */
import { lookup } from 'node:dns';
import { Agent, type Dispatcher } from 'undici';
import { branchUrlFault } from '../contract/branch-url.ts';
import { type CallResult, type Instant, resultOfHttpStatus } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import type { Secret } from '../platform/option-types.ts';
import type { BranchCall, Transport } from '../runner/ports.ts';
import { guarded } from './guarded-lookup.ts';

/** How much of an answer's body is read. */
const BODY_BYTES_MAX = 4096;
/** How much of it is kept as `detail`. */
const DETAIL_CHARACTERS_MAX = 500;
/** Targets whose address is parsed once: the control listeners of a mesh, each with a few paths. */
const TARGETS_MAX = 10_000;

export interface HttpTransportOptions {
  /** Sent as bearer token with each call. */
  readonly token?: Secret;
  /** The origins (`http://orders:9702`) that may be called; undefined: any that `branchUrlFault` lets through. */
  readonly allow?: readonly string[];
}

/** A transport that holds connections until it is closed. */
export interface HttpTransport extends Transport {
  /** Cuts calls in flight (they answer `unknown`) and closes the connections. */
  close(): Promise<void>;
}

type Answer = Awaited<ReturnType<Transport['call']>>;

/** A transport over keep-alive connections, HTTP and HTTPS. Redirects are answers like any other: never followed. */
export function createHttpTransport({ token, allow }: HttpTransportOptions = {}): HttpTransport {
  const agent = new Agent({
    pipelining: 1,
    maxHeaderSize: 16_384,
    // Time is kept per call, below.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { lookup: guarded(lookup), timeout: 30_000 },
  });
  const authorization = token === undefined ? [] : ['authorization', `Bearer ${token.reveal()}`];
  const targetOf = targetCache(allow);
  return {
    call: (request, signal) => {
      const target = targetOf(request.url);
      if (typeof target === 'string') return Promise.resolve({ result: 'unknown', detail: target });
      return callTarget(agent, target, request, authorization, signal);
    },
    close: () => agent.destroy(),
  };
}

interface Target {
  readonly origin: string;
  readonly path: string;
}

/** Parses URLs; a text instead of a target says why the URL must not be called. */
function targetCache(allow: readonly string[] | undefined): (url: string) => Target | string {
  const known = new Map<string, Target | string>();
  return (url) => {
    const cached = known.get(url);
    if (cached !== undefined) return cached;
    if (known.size >= TARGETS_MAX) known.clear();
    const target = parseTarget(url, allow);
    known.set(url, target);
    return target;
  };
}

function parseTarget(text: string, allow: readonly string[] | undefined): Target | string {
  const fault = branchUrlFault(text);
  if (fault !== undefined) return `not called: ${fault}`;
  const { origin, pathname, search } = new URL(text);
  if (allow !== undefined && !allow.includes(origin)) return `not called: ${origin} is not among the allowed origins`;
  return { origin, path: pathname + search };
}

function callTarget(
  agent: Agent,
  { origin, path }: Target,
  { gid, branch, operation, timeoutMs }: BranchCall,
  authorization: readonly string[],
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve) => {
    const reader = new AnswerReader(resolve, signal, timeoutMs);
    const headers = ['atomesh-gid', gid, 'atomesh-branch', branch, 'atomesh-op', operation];
    try {
      agent.dispatch(
        {
          origin,
          path,
          method: 'POST',
          headers: [...headers, 'content-type', 'application/json', ...authorization],
          body: '{}',
        },
        reader,
      );
    } catch (error) {
      reader.onResponseError(undefined, error);
    }
  });
}

/** Collects one answer. It ends once: with the answer, an error, the time limit, or the caller's signal, whichever is first. */
class AnswerReader implements Dispatcher.DispatchHandler {
  readonly #resolve: (answer: Answer) => void;
  readonly #signal: AbortSignal;
  readonly #cancelTimer: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #isOver = false;
  #status = 0;
  #body = '';
  #bytes = 0;

  constructor(resolve: (answer: Answer) => void, signal: AbortSignal, timeoutMs: number) {
    this.#resolve = resolve;
    this.#signal = signal;
    this.#cancelTimer = at((now() + timeoutMs) as Instant, () => this.#cut(`no answer within ${timeoutMs} ms`));
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  readonly #onAbort = (): void => this.#cut('the coordinator stopped waiting');

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // The wait for a connection was longer than the caller's patience: do not send at all.
    if (this.#isOver) controller.abort(new Error('too late'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    if (status >= 200) this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return;
    this.#body += chunk.toString('utf8', 0, BODY_BYTES_MAX - this.#bytes);
    this.#bytes += chunk.length;
    // Enough is known; reading on would only cost.
    if (this.#bytes > BODY_BYTES_MAX)
      this.#end(answerOf(this.#status, this.#body), new Error('the answer is too long'));
  }

  onResponseEnd(): void {
    this.#end(answerOf(this.#status, this.#body));
  }

  onResponseError(_controller: unknown, error: unknown): void {
    this.#end(brokenAnswerOf(this.#status, this.#body, reasonOf(error)));
  }

  #cut(reason: string): void {
    this.#end(brokenAnswerOf(this.#status, this.#body, reason), new Error(reason));
  }

  /** Tells the answer; with `abort`, what still comes over the connection is not wanted. */
  #end(answer: Answer, abort?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer();
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#resolve(answer);
    if (abort !== undefined) this.#controller?.abort(abort);
  }
}

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

/** The text of an error, with those that it bundles (a name with several addresses fails with one error each). */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? error.name : error.message;
}
