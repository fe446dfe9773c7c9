/** A server that requests are forwarded to over HTTP/1, and what is told about their answers. */
import type { LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import type { RawHead } from '../http/headers.ts';

/** One request as it goes to an origin. */
export interface OriginRequest {
  readonly method: string;
  /** Origin-form, or `*`. */
  readonly path: string;
  readonly headers: string[];
  /** What to stream the body from (a message of HTTP/1 may have trailers), or the body; null when there is none. */
  readonly body: Readable | Buffer | null;
}

/**
 * What is told about a request, in this order: `onConnect` when a connection begins to carry it (again after a retry),
 * `onHeaders` for each interim head and then for the final one, `onData`, `onComplete`; or `onError` at any point, once.
 * False from `onHeaders` or `onData` stops reading until `resume` is called. Undici's older handler shape: the newer
 * one merges repeated headers into an object at a cost for every request.
 */
export interface AnswerHandler {
  onConnect(abort: (reason?: Error) => void): void;
  onHeaders(status: number, head: RawHead, resume: () => void, statusText: string): boolean;
  onData(chunk: Buffer): boolean;
  onComplete(trailers: RawHead | null): void;
  onError(error: Error): void;
}

export interface Origin {
  /** Sends the request; `rare` when undici cannot carry it. Everything that goes wrong is told to the handler. */
  dispatch(request: OriginRequest, handler: AnswerHandler, rare: boolean): void;
  /** Takes no more requests and ends its connections when those that run are over. */
  close(): Promise<void>;
  /** Ends every connection at once. Whatever is dispatched from then on fails, with nothing sent. */
  destroy(): Promise<void>;
}

export interface OriginOptions {
  /** `http://host:port` or `https://host:port`. */
  readonly url: string;
  /** How long the origin may take to begin its answer once it has the request. */
  readonly timeoutMs: number;
  /** Resolves names, and may refuse addresses. */
  readonly lookup?: LookupFunction;
}
