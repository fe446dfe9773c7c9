/**
 * Reads the heads of requests that every reader of HTTP/1.1 reads the same way. Whatever is not certain is `rare`, for node's own
 * reader to judge; what this reader takes, node's takes too, with the same method, target, headers and length
 * (`test/http1-lane/plain-request.test.ts`).
 */
import { HEADER_LINES_MAX } from '../../http/headers.ts';
import { HEADER_LINES, splitLines } from './lines.ts';

/** The head of a plain request. */
export interface PlainRequest {
  readonly method: string;
  /** In origin-form, or in absolute form with a path. */
  readonly target: string;
  /** Flat, as they came: name, value, name, value, … */
  readonly headers: readonly string[];
  /** Bytes of the head, and of the body behind it. */
  readonly headBytes: number;
  readonly length: number;
}

/** Methods whose requests may have a body; the others are plain only without one. */
const BODY_METHODS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const METHODS: ReadonlySet<string> = new Set([...BODY_METHODS, 'GET', 'HEAD', 'DELETE', 'OPTIONS']);
const VERSION = ' HTTP/1.1';
const HEAD_END = '\r\n\r\n';

/** RFC 3986 without fragments, and brackets, which queries often have: no reader disputes these. */
const TARGET = /^(?:http:\/\/[A-Za-z0-9.-]+(?::[0-9]{1,5})?)?\/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%[\]]*$/;
/** What may become a plain head: whole lines, then part of one. */
const BEGINNING = /^[A-Z]+(?: [\x21-\x7e]*(?: [\x21-\x7e]*(?:\r\n(?:[^\r\n]+\r\n)*[^\r\n]*\r?|\r)?)?)?$/;
const LENGTH = /^(?:0|[1-9][0-9]{0,14})$/;

/**
 * The head at the beginning of `bytes`. `more`: it may be plain, and is not whole yet. `rare`: not for this reader. `headBytesMax`: a
 * longer head is node's to refuse.
 */
export function readPlainRequest(bytes: Buffer, headBytesMax: number): PlainRequest | 'more' | 'rare' {
  const end = bytes.indexOf(HEAD_END, 0, 'latin1');
  if (end === -1) {
    if (bytes.byteLength > headBytesMax) return 'rare';
    return BEGINNING.test(bytes.toString('latin1')) ? 'more' : 'rare';
  }
  if (end > headBytesMax) return 'rare';
  const head = bytes.toString('latin1', 0, end + 2);
  const methodEnd = head.indexOf(' ');
  const lineEnd = head.indexOf('\r\n');
  const method = head.slice(0, Math.max(0, methodEnd));
  const target = head.slice(methodEnd + 1, Math.max(0, lineEnd - VERSION.length));
  if (!METHODS.has(method) || !head.startsWith(VERSION, lineEnd - VERSION.length) || !TARGET.test(target))
    return 'rare';
  const lines = head.slice(lineEnd + 2);
  if (!HEADER_LINES.test(lines)) return 'rare';
  const fields = new Fields();
  splitLines(lines, fields.take);
  const { headers, length = 0 } = fields;
  if (!fields.isPlain || fields.hosts !== 1 || headers.length > 2 * HEADER_LINES_MAX) return 'rare';
  if (length > 0 && !BODY_METHODS.has(method)) return 'rare';
  return { method, target, headers, headBytes: end + HEAD_END.length, length };
}

/** What the header lines of a request say. */
class Fields {
  readonly headers: string[] = [];
  hosts = 0;
  length: number | undefined = undefined;
  /** False when a line asks for more than a plain exchange, or the framing is not one Content-Length or none. */
  isPlain = true;

  readonly take = (name: string, value: string): void => {
    this.headers.push(name, value);
    switch (name.length) {
      case 4:
        if (name.toLowerCase() === 'host') this.hosts += 1;
        break;
      case 6:
        if (name.toLowerCase() === 'expect') this.isPlain = false;
        break;
      case 7:
        if (/^(?:upgrade|trailer)$/i.test(name)) this.isPlain = false;
        break;
      case 10:
        // Who wants the connection to end after the answer gains nothing here.
        if (name.toLowerCase() === 'connection') this.isPlain &&= value.toLowerCase() === 'keep-alive';
        break;
      case 14:
        if (name.toLowerCase() !== 'content-length') break;
        this.isPlain &&= this.length === undefined && LENGTH.test(value);
        this.length = Number(value);
        break;
      case 17:
        if (name.toLowerCase() === 'transfer-encoding') this.isPlain = false;
    }
  };
}
