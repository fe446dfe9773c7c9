/** Reads the head of an answer, strictly: what RFC 9112 does not allow is no answer. */
import { HEADER_LINES, splitLines } from './lines.ts';

/** A head, and how the body behind it ends (RFC 9112 §6.3). */
export interface OriginHead {
  readonly status: number;
  readonly statusText: string;
  /** Flat, as they came. */
  readonly headers: readonly string[];
  /** `length`: after so many bytes. `chunked`: with its last chunk. `close`: with the connection. */
  readonly framing: 'length' | 'chunked' | 'close';
  /** With framing `length`; 0 for an answer that has no body, whatever its head says. */
  readonly length: number;
  /** True when the server will take another request on the connection. */
  readonly isKept: boolean;
  /** How many seconds the server keeps it, where it says so. */
  readonly keepSeconds: number | undefined;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n/;
const LENGTH = /^[0-9]{1,15}$/;

/** `head` has every line with its end, without the empty one behind them, byte for byte; `method`: of the request. What is wrong with it, as a text. */
export function readAnswerHead(head: string, method: string): OriginHead | string {
  const [statusLine = '', minor, code, statusText = ''] = STATUS_LINE.exec(head) ?? [];
  if (statusLine === '') return 'its first line is none of HTTP/1';
  const lines = head.slice(statusLine.length);
  if (!HEADER_LINES.test(lines)) return 'a header line is malformed';
  const status = Number(code);
  if (status === 101) return 'it leaves HTTP unasked';
  const fields = readFields(lines);
  if (typeof fields === 'string') return fields;
  const { headers, length, isChunked, closes, keepSeconds } = fields;
  const isBodyless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  const framing = isBodyless || length !== undefined ? 'length' : isChunked ? 'chunked' : 'close';
  // What a server sends behind an answer that has no body would be taken for the answer to the next request.
  const isFollowed = (status === 204 && (isChunked || (length ?? 0) > 0)) || (status === 304 && isChunked);
  const isKept = minor === '1' && !closes && framing !== 'close' && !isFollowed;
  return { status, statusText, headers, framing, length: isBodyless ? 0 : (length ?? 0), isKept, keepSeconds };
}

/** What the header lines of a head say. */
class Fields {
  readonly headers: string[] = [];
  length: number | undefined = undefined;
  isChunked = false;
  closes = false;
  keepSeconds: number | undefined = undefined;
  fault: string | undefined = undefined;

  readonly take = (name: string, value: string): void => {
    this.headers.push(name, value);
    switch (name.length) {
      case 10:
        if (name.toLowerCase() === 'connection') this.closes ||= /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value);
        else if (name.toLowerCase() === 'keep-alive') this.keepSeconds = secondsOf(value);
        break;
      case 14:
        if (name.toLowerCase() !== 'content-length') break;
        if (this.length !== undefined || !LENGTH.test(value)) this.fault = 'its Content-Length is not one number';
        this.length = Number(value);
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        if (this.isChunked || value.toLowerCase() !== 'chunked')
          this.fault = 'it has a transfer coding other than chunked';
        this.isChunked = true;
    }
  };
}

function readFields(lines: string): Fields | string {
  const fields = new Fields();
  splitLines(lines, fields.take);
  if (fields.fault === undefined && fields.isChunked && fields.length !== undefined) return 'it has two framings';
  return fields.fault ?? fields;
}

function secondsOf(value: string): number | undefined {
  const [, seconds] = /(?:^|,)[ \t]*timeout[ \t]*=[ \t]*([0-9]{1,9})/i.exec(value) ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}
