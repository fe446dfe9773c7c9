/**
 * Heads of HTTP/2 messages (RFC 9113 §8.3) in the terms that all versions share, and back. Much is refused by node before it gets
 * here, by nghttp2's messaging rules: names in capitals, connection-specific fields, a `te` other than `trailers`, pseudo-fields that
 * are unknown, missing, repeated or late, a body of another length than `content-length` says. `test/http2/hostile.test.ts` holds
 * both together.
 */
import { sensitiveHeaders } from 'node:http2';
import { CodedError } from '../../src/contract/errors.ts';
import { HeadTooLarge } from '../http/errors.ts';

/** What a field counts besides its name and value. */
const FIELD_OVERHEAD_BYTES = 32;

/** The head of a request as it came. */
export interface ArrivedHead {
  readonly method: string;
  readonly path: string;
  readonly authority: string | undefined;
  /** End-to-end fields, flat; without pseudo-fields and without Host. */
  readonly headers: string[];
  readonly contentType: string | undefined;
  /** True when the client waits for a 100 before it sends the body; that header is not among `headers`. */
  readonly expects: boolean;
}

/** A request as it goes to an origin. */
export interface OutgoingHead {
  readonly method: string;
  readonly path: string;
  readonly scheme: 'http' | 'https';
  /** For a head that names no Host. */
  readonly authority: string;
  /** End-to-end fields, flat. A Host among them becomes `:authority`. */
  readonly headers: readonly string[];
  /** Names of fields that may be in no compression table (RFC 7541 §7.1.3). */
  readonly sensitive: readonly string[];
}

/**
 * `raw` is what node gives with the event `stream`: names in lower case. `bytesMax` is counted as RFC 9113 §6.5.2 has it; node refuses
 * longer heads by itself, but only once the client has acknowledged our settings.
 */
export function arrivedHead(raw: readonly string[], bytesMax: number): ArrivedHead | CodedError {
  const headers: string[] = [];
  let method = '';
  let path: string | undefined;
  let authority: string | undefined;
  let host: string | undefined;
  let contentType: string | undefined;
  let expects = false;
  let bytes = 0;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    bytes += name.length + value.length + FIELD_OVERHEAD_BYTES;
    if (name === ':method') method = value;
    else if (name === ':path') path = value;
    else if (name === ':authority') authority = value;
    else if (name === 'host') {
      if (host !== undefined && host !== value) return refusal('two Host headers');
      host = value;
    } else if (name === 'content-type') {
      contentType = value;
      headers.push(name, value);
    } else if (name === 'expect') expects = value.toLowerCase() === '100-continue';
    else if (name !== ':scheme' && !isHopByHop(name)) headers.push(name, value);
  }
  if (bytes > bytesMax) return new HeadTooLarge();
  if (path === undefined) return refusal(`the method ${method} and no path: HTTP/2 is not tunnelled inside HTTP/2`);
  // RFC 9113 §8.3.1: a Host that names another than :authority is malformed.
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase()) {
    return refusal('a Host header other than its :authority');
  }
  return { method, path, authority: authority ?? host, headers, contentType, expects };
}

/** The head as node sends it. */
export function outgoingHead(head: OutgoingHead): string[] {
  const raw = [':method', head.method, ':scheme', head.scheme, ':authority', head.authority, ':path', head.path];
  const { headers } = head;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') raw[5] = headers[index + 1] ?? '';
    else raw.push(name, headers[index + 1] ?? '');
  }
  return head.sensitive.length === 0 ? raw : Object.assign(raw, { [sensitiveHeaders]: head.sensitive });
}

/** The names of fields that the sender wants in no compression table; `headers` is the object that node gives beside the raw head. */
export function sensitiveNames(headers: object): readonly string[] {
  const names: unknown = Reflect.get(headers, sensitiveHeaders);
  return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
}

/** The value of the first field called `name`, in a flat list. */
export function fieldOf(headers: readonly string[], name: string): string | undefined {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() === name) return headers[index + 1];
  }
  return undefined;
}

/** Trailers as node sends them: one property a name, with all its values. */
export function trailersObject(fields: readonly (readonly [string, string])[]): Record<string, string | string[]> {
  // Without a prototype: `__proto__` is a name that a field may have.
  const result = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    const before = result[lower];
    if (before === undefined) result[lower] = value;
    else result[lower] = Array.isArray(before) ? [...before, value] : [before, value];
  }
  return result;
}

/** What nghttp2 lets through and RFC 9110 §7.6.1 and §11.7 keep from the next hop. */
function isHopByHop(name: string): boolean {
  return name === 'proxy-authorization' || name === 'proxy-authenticate' || name === 'http2-settings';
}

function refusal(what: string): CodedError {
  return new CodedError('BAD_REQUEST', `The request has ${what}`, {
    hint: 'Such a request could be read in two ways behind the sidecar; send it in the usual form',
  });
}
