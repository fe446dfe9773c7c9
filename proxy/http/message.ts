/**
 * What an exchange over HTTP/1 needs of the two messages that it stands between: node's `IncomingMessage` and `ServerResponse` have all of
 * it, and so do those of the lane (`proxy/http1/lane`), which are smaller.
 */
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';

/** A request that has arrived, perhaps without all of its body. */
export interface RequestMessage {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  /** Flat, as they came: name, value, name, value, … */
  readonly rawHeaders: readonly string[];
  /** By name in lower case; of the names that are asked for here, there is one value. */
  readonly headers: {
    readonly connection?: string | undefined;
    readonly expect?: string | undefined;
    readonly trailer?: string | undefined;
    readonly 'content-length'?: string | undefined;
    readonly 'transfer-encoding'?: string | undefined;
  };
  /** True when the whole message has been read off the connection. */
  readonly complete: boolean;
  /** True when whoever reads the body has had all of it. */
  readonly readableEnded: boolean;
  /** Of a message that is not itself the stream of its body: the body that came with the head, or what it streams from. */
  readonly whole?: Buffer | undefined;
  readonly stream?: Readable | undefined;
  readonly socket: Socket;
}

/** The answer to it. What is written after the head is body; the framing follows from the head. */
export interface AnswerMessage {
  readonly statusCode: number;
  /** The reason that a later head gets which names none; empty for the usual one. */
  statusMessage: string;
  /** True once there is a head. */
  readonly headersSent: boolean;
  /** True when the connection is gone. */
  readonly destroyed: boolean;
  /** True when the body goes out in chunks, and trailers can follow it. */
  readonly chunkedEncoding: boolean;
  /** Bytes that have been written and not been handed to the operating system yet. */
  readonly writableLength: number;
  /** True once everything has been handed to the operating system. */
  readonly writableFinished: boolean;
  /** Throws when the head cannot be written as HTTP/1.1; then nothing has gone out. `headers` is flat. */
  writeHead(status: number, headers: string[]): unknown;
  writeHead(status: number, statusText: string, headers: string[]): unknown;
  /** Sends the head now, if it waits for the body. */
  flushHeaders(): void;
  /** False asks the caller to wait for `drain`. */
  write(chunk: Buffer): boolean;
  end(chunk?: Buffer): unknown;
  end(text: string, encoding: 'latin1'): unknown;
  addTrailers(trailers: [string, string][]): void;
  writeContinue(): void;
  /** Throws when a link cannot be written. */
  writeEarlyHints(hints: { readonly link: string[] }): void;
  /** `drain`: there is room again. `close`: all of it is written, or the connection is gone. */
  once(event: 'drain' | 'close', heard: () => void): unknown;
}
