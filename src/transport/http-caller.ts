/** One HTTP request to a branch and the judgement of its answer, whatever protocol the two follow. */
import { lookup } from 'node:dns';
import { Agent, type Dispatcher } from 'undici';
import { branchUrlFault } from '../contract/branch-url.ts';
import type { Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import type { Transport } from '../runner/ports.ts';
import type { BranchTls } from './branch-tls.ts';
import { guarded } from './guarded-lookup.ts';

/** Targets whose address is parsed once: the control listeners of a mesh, each with a few paths. */
const TARGETS_MAX = 10_000;

/** What a call came to. */
export type Answer = Awaited<ReturnType<Transport['call']>>;

/** Reads meaning into answers; one for each protocol. */
export interface Judge {
  /** How much of an answer's body is read. */
  readonly bodyBytesMax: number;
  /** The whole answer has come. */
  whole(status: number, body: string): Answer;
  /** The body is longer than `bodyBytesMax`; `body` is its beginning. */
  overlong(status: number, body: string): Answer;
  /** The answer broke off in its body, or was not waited for any longer; `status` is 0 when nothing of it had come. */
  broken(status: number, body: string, reason: string): Answer;
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
type Method = (typeof METHODS)[number];

/** True for the methods that branches may be called with. */
export function isMethod(text: string): text is Method {
  return (METHODS as readonly string[]).includes(text);
}

export interface HttpRequest {
  readonly url: string;
  /** Added to the query that the URL has: `gid=1&op=action`. */
  readonly query?: string;
  readonly method: Method;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body?: string | Buffer;
  readonly timeoutMs: number;
}

export interface HttpCallerOptions {
  /** The origins (`http://orders:9702`) that may be called; undefined: any that `branchUrlFault` lets through. */
  readonly allow?: readonly string[] | undefined;
  readonly tls?: BranchTls;
}

/** Makes calls over keep-alive connections, HTTP and HTTPS. Redirects are answers like any other: never followed. */
export interface HttpCaller {
  /** Never rejects. A URL that must not be called is `unknown`, with the reason. */
  send(request: HttpRequest, judge: Judge, signal: AbortSignal): Promise<Answer>;
  /** Cuts calls in flight (they answer `unknown`) and closes the connections. */
  close(): Promise<void>;
}

/** A caller that holds connections until it is closed. */
export function createHttpCaller({ allow, tls = {} }: HttpCallerOptions): HttpCaller {
  const agent = new Agent({
    pipelining: 1,
    maxHeaderSize: 16_384,
    // Time is kept per call, below.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      lookup: guarded(lookup),
      timeout: 30_000,
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
      ...(tls.key === undefined ? {} : { key: tls.key.reveal() }),
    },
  });
  const targetOf = targetCache(allow);
  return {
    send: (request, judge, signal) => {
      const target = targetOf(request.url);
      if (typeof target === 'string') return Promise.resolve({ result: 'unknown', detail: target });
      return send(agent, target, request, judge, signal);
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

function send(
  agent: Agent,
  { origin, path }: Target,
  { query, method, headers, body, timeoutMs }: HttpRequest,
  judge: Judge,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve) => {
    const reader = new AnswerReader(judge, resolve, signal, timeoutMs);
    try {
      agent.dispatch(
        {
          origin,
          path: query === undefined ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`,
          method,
          headers: headers as string[],
          ...(body === undefined ? {} : { body }),
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
  readonly #judge: Judge;
  readonly #resolve: (answer: Answer) => void;
  readonly #signal: AbortSignal;
  readonly #cancelTimer: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #isOver = false;
  #status = 0;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(judge: Judge, resolve: (answer: Answer) => void, signal: AbortSignal, timeoutMs: number) {
    this.#judge = judge;
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
    const room = this.#judge.bodyBytesMax - this.#bytes;
    this.#chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
    this.#bytes += chunk.length;
    // Reading on would only cost.
    if (chunk.length > room) {
      this.#end(this.#judge.overlong(this.#status, this.#body()), new Error('the answer is too long'));
    }
  }

  onResponseEnd(): void {
    if (!this.#isOver) this.#end(this.#judge.whole(this.#status, this.#body()));
  }

  onResponseError(_controller: unknown, error: unknown): void {
    if (!this.#isOver) this.#end(this.#judge.broken(this.#status, this.#body(), reasonOf(error)));
  }

  #cut(reason: string): void {
    if (!this.#isOver) this.#end(this.#judge.broken(this.#status, this.#body(), reason), new Error(reason));
  }

  #body(): string {
    const [first] = this.#chunks;
    if (first === undefined) return '';
    return (this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks)).toString();
  }

  /** Tells the answer; with `abort`, what still comes over the connection is not wanted. */
  #end(answer: Answer, abort?: Error): void {
    this.#isOver = true;
    this.#cancelTimer();
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#resolve(answer);
    if (abort !== undefined) this.#controller?.abort(abort);
  }
}

/** The text of an error, with those that it bundles (a name with several addresses fails with one error each). */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? error.name : error.message;
}
