/**
 * Which headers go on to the next hop (RFC 9110 §7.6.1), and which heads are refused because two readers could disagree
 * about where the message ends. What node's parser refuses by itself (both framings, two Content-Length, a bare CR, names
 * that are no token) never gets here; `test/proxy-http/smuggling.test.ts` holds both together.
 */
import { CodedError } from '../../src/contract/errors.ts';
import { HeadTooLarge } from './errors.ts';
import type { AnswerMessage, RequestMessage } from './message.ts';

/** Most header lines of a request. The size of the head is limited besides. */
export const HEADER_LINES_MAX = 200;

/** A raw head as undici hands it over (buffers) or node does (strings): name, value, name, value, … */
export type RawHead = readonly (Buffer | string)[];

/**
 * The headers of a request that go on, as a flat list, or why it is refused. `keepHost` false: the next hop gets its own Host.
 */
export function requestHeaders(request: RequestMessage, keepHost: boolean): string[] | CodedError {
  const raw = request.rawHeaders;
  if (raw.length > 2 * HEADER_LINES_MAX) return new HeadTooLarge();
  const nominated = nominatedBy(request.headers.connection);
  const result: string[] = [];
  let hosts = 0;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') {
      hosts += 1;
      if (keepHost) result.push(name, value);
    } else if (!isHopByHop(name)) {
      if (nominated === undefined || !nominated.has(name.toLowerCase())) result.push(name, value);
    } else if (name.length === 2 && /(?:^|,)\s*trailers\s*(?:;|,|$)/i.test(value)) {
      result.push('te', 'trailers'); // the one coding that we pass on ourselves
    }
  }
  if (request.httpVersionMajor !== 1) return refusal('no version of HTTP/1');
  if (hosts > 1) return refusal('more than one Host header');
  if (hosts === 0 && request.httpVersionMinor > 0) return refusal('no Host header');
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') return refusal('a Transfer-Encoding other than chunked');
    if (request.httpVersionMinor === 0) return refusal('a Transfer-Encoding in HTTP/1.0');
  }
  return result;
}

/** True when a body follows the head of the request (RFC 9112 §6.3). */
export function hasBody(request: RequestMessage): boolean {
  const length = request.headers['content-length'];
  return (length !== undefined && length !== '0') || request.headers['transfer-encoding'] !== undefined;
}

/** The head of an answer, ready to be sent on. */
export interface AnswerHead {
  readonly headers: string[];
  /** The Content-Length, or -1 without one. */
  readonly length: number;
}

/** The headers of an answer that go on; undefined when its body is encoded in a way that we would lose. */
export function answerHeaders(raw: RawHead, keepTrailer: boolean): AnswerHead | undefined {
  const headers: string[] = [];
  let length = -1;
  let nominated: ReadonlySet<string> | undefined;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = text(raw[index]);
    if (!isHopByHop(name)) {
      const value = text(raw[index + 1]);
      headers.push(name, value);
      if (name.length === 14 && name.toLowerCase() === 'content-length') length = Number(value);
      else if (name.length === 7 && !keepTrailer && name.toLowerCase() === 'trailer') headers.length -= 2;
      continue;
    }
    const lower = name.toLowerCase();
    if (lower === 'connection') nominated = union(nominated, nominatedBy(text(raw[index + 1])));
    else if (lower === 'transfer-encoding' && text(raw[index + 1]).toLowerCase() !== 'chunked') return undefined;
  }
  return { headers: nominated === undefined ? headers : without(headers, nominated), length };
}

/** `headers` with those of `added` in place of any of the same names. */
export function withHeaders(headers: readonly string[], added: readonly string[]): string[] {
  const names = new Set(added.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase()));
  return [...without(headers, names), ...added];
}

/**
 * One link of a hint (RFC 8288 §3). Each part begins with a character that no part before it takes, so that it is read in one go;
 * the one that node's server reads hints by takes exponential time for some links that it refuses, and no longer than this for those it takes.
 */
const LINK = /^<[^>]*>(?:\s*;\s*[^;"\s=]+(?:=(")?[^;"\s]*\1)?)*$/;
/** A client that has so much to read yet, in bytes, gets no further interim answers: an origin can send them without end. */
const UNREAD_BYTES_MAX = 16_384;

/** 100 lets the client send its body; of the others, only 103 says something that a client of ours may use. */
export function sendInterim(request: RequestMessage, response: AnswerMessage, status: number, raw: RawHead): void {
  if (request.httpVersionMinor === 0 || response.destroyed || response.writableLength > UNREAD_BYTES_MAX) return;
  if (status === 100 && request.headers.expect !== undefined) response.writeContinue();
  if (status !== 103) return;
  const fields = trailerFields(raw).filter(([name]) => name.toLowerCase() === 'link');
  const link = fields.map(([, value]) => value);
  if (!link.every((one) => LINK.test(one))) return;
  try {
    response.writeEarlyHints({ link });
  } catch {
    // A hint that node does not accept is left out: hints are optional (RFC 8297 §2).
  }
}

/** An event stream may go on for hours: its body is never kept. */
export function isEndless(headers: readonly string[]): boolean {
  const index = headers.findIndex((name, place) => place % 2 === 0 && name.toLowerCase() === 'content-type');
  return index !== -1 && /^text\/event-stream\b/i.test(headers[index + 1] ?? '');
}

/** Trailer fields that may be sent on, as pairs: those that would change framing or routing may not (RFC 9110 §6.5.1). */
export function trailerFields(raw: RawHead): [string, string][] {
  const result: [string, string][] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = text(raw[index]);
    if (!isHopByHop(name) && !/^(?:content-length|host|trailer|content-encoding)$/i.test(name)) {
      result.push([name, text(raw[index + 1])]);
    }
  }
  return result;
}

/**
 * The header names that a Connection header makes hop-by-hop, besides those that always are. Host and Content-Length stay
 * what they are: whoever names them there wants to confuse the next hop.
 */
function nominatedBy(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  const names = new Set(connection.split(',').map((name) => name.trim().toLowerCase()));
  for (const name of ['keep-alive', 'close', 'upgrade', 'te', 'host', 'content-length', '']) names.delete(name);
  return names.size === 0 ? undefined : names;
}

/** Several lines of a list are one list. */
function union(one: ReadonlySet<string> | undefined, other: ReadonlySet<string> | undefined): typeof one {
  if (one === undefined || other === undefined) return one ?? other;
  return new Set([...one, ...other]);
}

/** By length first: of a usual head, only a few names are looked at twice. */
function isHopByHop(name: string): boolean {
  switch (name.length) {
    case 2:
      return name.toLowerCase() === 'te';
    case 6:
      return name.toLowerCase() === 'expect';
    case 7:
      return name.toLowerCase() === 'upgrade';
    case 10:
      return /^(?:connection|keep-alive)$/i.test(name);
    case 14:
      return name.toLowerCase() === 'http2-settings';
    case 16:
      return name.toLowerCase() === 'proxy-connection';
    case 17:
      return name.toLowerCase() === 'transfer-encoding';
    case 18:
      return name.toLowerCase() === 'proxy-authenticate';
    case 19:
      return name.toLowerCase() === 'proxy-authorization';
    default:
      return false;
  }
}

function without(headers: readonly string[], names: ReadonlySet<string>): string[] {
  const result: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    if (!names.has(name.toLowerCase())) result.push(name, headers[index + 1] ?? '');
  }
  return result;
}

function text(value: Buffer | string | undefined): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : value.toString('latin1');
}

function refusal(what: string): CodedError {
  return new CodedError('BAD_REQUEST', `The request has ${what}`, {
    hint: 'Such a request could be read in two ways behind the sidecar; send it in the usual form',
  });
}
