/** An answer as the lane writes it: the head that node's server would write, byte for byte, in one write with the body where that is short. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { now } from '../../../src/platform/clock.ts';
import type { AnswerMessage } from '../../http/message.ts';

/** The connection that answers go out on, as they see it. */
export interface AnswerLine {
  readonly socket: Socket;
  /** The answer has been written. `isLast`: its head says that nothing follows. */
  answered(isLast: boolean): void;
}

/** Up to this size a copy is cheaper than a write of its own. */
const JOINED_BYTES_MAX = 16_384;
/** What a head that names no Connection gets from node's server; `KEEP_ALIVE_MS` (http/limits.ts) is meant. */
const KEPT = 'Connection: keep-alive\r\nKeep-Alive: timeout=75\r\n';
/** RFC 9112 §4 and §5: whatever this does not match could be read as another answer, or as two. */
const HEAD =
  /^HTTP\/1\.1 [1-9][0-9]{2} [\t\x20-\x7e\x80-\xff]*\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/;
const HEADER_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n$/;

/** The answer to one request. */
export class LaneAnswer implements AnswerMessage {
  statusCode = 200;
  statusMessage = '';
  headersSent = false;
  chunkedEncoding = false;
  writableFinished = false;
  private readonly line: AnswerLine;
  private readonly socket: Socket;
  /** False for an answer that ends with its head, whatever the head says about a body. */
  private hasBody: boolean;
  private isLast = false;
  private isEnded = false;
  /** Text, byte for byte, that is to go out with what comes next, or when the current read is used up. */
  private waiting = '';
  private isFlushDue = false;
  private trailers = '';
  private closeHeard: (() => void) | undefined = undefined;

  constructor(line: AnswerLine, method: string) {
    this.line = line;
    this.socket = line.socket;
    this.hasBody = method !== 'HEAD';
  }

  get destroyed(): boolean {
    return this.socket.destroyed;
  }

  get writableLength(): number {
    return this.socket.writableLength + this.waiting.length;
  }

  writeHead(status: number, textOrHeaders: string | readonly string[], named?: readonly string[]): void {
    const headers = typeof textOrHeaders === 'string' ? (named ?? []) : textOrHeaders;
    if (typeof textOrHeaders === 'string') this.statusMessage = textOrHeaders;
    else if (this.statusMessage === '') this.statusMessage = STATUS_CODES[status] ?? 'unknown';
    this.statusCode = status;
    let head = `HTTP/1.1 ${status} ${this.statusMessage}\r\n`;
    let isDated = false;
    let isFramed = false;
    let hasTrailer = false;
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index] ?? '';
      const value = headers[index + 1] ?? '';
      head += `${name}: ${value}\r\n`;
      if (name.length === 4) isDated ||= name.toLowerCase() === 'date';
      else if (name.length === 14) isFramed ||= name.toLowerCase() === 'content-length';
      else if (name.length === 7) hasTrailer ||= name.toLowerCase() === 'trailer';
      else if (name.length === 10) this.isLast ||= name.toLowerCase() === 'connection' && value === 'close';
    }
    if (!HEAD.test(head)) throw new TypeError('the head of the answer is not valid HTTP/1.1');
    this.hasBody &&= status !== 204 && status !== 304;
    const isChunked = this.hasBody && !isFramed;
    if (hasTrailer && !isChunked) throw new TypeError('only an answer in chunks can have trailers');
    if (!isDated) head += `Date: ${httpDate()}\r\n`;
    if (!this.isLast) head += KEPT;
    this.chunkedEncoding = isChunked;
    this.waiting = isChunked ? `${head}Transfer-Encoding: chunked\r\n\r\n` : `${head}\r\n`;
    this.headersSent = true;
  }

  flushHeaders(): void {
    this.flush();
  }

  write(chunk: Buffer): boolean {
    const { socket } = this;
    if (!this.hasBody || chunk.byteLength === 0) return true;
    this.append(chunk);
    if (this.waiting.length > JOINED_BYTES_MAX) this.flush();
    else if (this.waiting !== '' && !this.isFlushDue) {
      this.isFlushDue = true;
      queueMicrotask(() => {
        this.isFlushDue = false;
        this.flush();
      });
    }
    return !socket.writableNeedDrain;
  }

  end(data?: Buffer | string): void {
    if (this.isEnded) return;
    this.isEnded = true;
    if (data !== undefined && data.length > 0 && this.hasBody) {
      if (typeof data === 'string' && !this.chunkedEncoding) this.waiting += data;
      else this.append(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
    }
    if (this.chunkedEncoding) this.waiting += `0\r\n${this.trailers}\r\n`;
    if (this.closeHeard === undefined) this.flush();
    else this.flushHeard(this.closeHeard);
    this.line.answered(this.isLast);
  }

  addTrailers(trailers: [string, string][]): void {
    for (const [name, value] of trailers) {
      const line = `${name}: ${value}\r\n`;
      if (HEADER_LINE.test(line)) this.trailers += line;
    }
  }

  writeContinue(): void {
    // No request of the lane expects it.
  }

  writeEarlyHints({ link }: { readonly link: string[] }): void {
    if (link.length === 0) return;
    const line = `Link: ${link.join(', ')}\r\n`;
    if (!HEADER_LINE.test(line)) throw new TypeError('the links of the hints are not a valid header');
    this.socket.write(`HTTP/1.1 103 Early Hints\r\n${line}\r\n`, 'latin1');
  }

  once(event: 'drain' | 'close', heard: () => void): void {
    this.socket.once(event, heard);
    if (event === 'close') this.closeHeard = heard;
  }

  /** Adds a piece of the body to what waits, or writes both when it is long. */
  private append(chunk: Buffer): void {
    const size = this.chunkedEncoding ? `${chunk.byteLength.toString(16)}\r\n` : '';
    const after = this.chunkedEncoding ? '\r\n' : '';
    if (chunk.byteLength <= JOINED_BYTES_MAX) {
      this.waiting += size + chunk.toString('latin1') + after;
      return;
    }
    const { socket } = this;
    if (!socket.writable) return;
    socket.cork();
    this.waiting += size;
    this.flush();
    socket.write(chunk);
    this.waiting = after;
    socket.uncork();
  }

  private flush(): void {
    const { socket, waiting } = this;
    this.waiting = '';
    if (waiting !== '' && socket.writable) socket.write(waiting, 'latin1');
  }

  /** The last write of an answer whose end somebody waits for. */
  private flushHeard(heard: () => void): void {
    const { socket, waiting } = this;
    this.waiting = '';
    if (!socket.writable) return;
    socket.write(waiting, 'latin1', (error) => {
      if (error !== undefined && error !== null) return;
      this.writableFinished = true;
      socket.off('close', heard);
      heard();
    });
  }
}

let dateSecond = 0;
let dateText = '';

/** The time of the answer (RFC 9110 §6.6.1), made once a second. */
function httpDate(): string {
  const second = Math.floor(now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}
