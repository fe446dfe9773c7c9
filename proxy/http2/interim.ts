/** Interim answers (1xx) on their way to a client of HTTP/2. */
import type { ServerHttp2Stream } from 'node:http2';
import { trailerFields, type RawHead } from '../http/headers.ts';
import { trailersObject } from './head.ts';

/**
 * A connection on which so many frames wait to be written gets no further hints. Heads know no flow control (RFC 9113 §5.2.1), so an origin
 * that sends hints without end would fill our memory with what a client that reads nothing is to get. Control frames and heads of a busy
 * connection are written with each turn of the event loop and seldom come to so many; what is lost then is a hint.
 */
const UNWRITTEN_FRAMES_MAX = 100;

/** Passes the interim answers of one stream on. */
export class InterimAnswers {
  readonly #stream: ServerHttp2Stream;
  #hasContinued = false;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  /** Sends one, or leaves it out: a client may wait for the first 100 only, and can do without all others (RFC 9110 §15.2). */
  pass(status: number, raw: RawHead): void {
    const stream = this.#stream;
    if (status === 100 ? this.#hasContinued : isUnread(stream)) return;
    this.#hasContinued ||= status === 100;
    const fields = trailerFields(raw).filter(([name]) => !name.startsWith(':'));
    try {
      stream.additionalHeaders({ ...trailersObject(fields), ':status': status });
    } catch {
      // 101 does not exist here (RFC 9113 §8.6), and other interim answers are optional.
    }
  }
}

function isUnread({ session }: ServerHttp2Stream): boolean {
  return (session?.state.outboundQueueSize ?? 0) > UNWRITTEN_FRAMES_MAX;
}
