/** The head of a request as it goes to an origin: the bytes that undici would send, which other paths send. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { LaneBody } from './request.ts';

/** A request whose body, if it has one, is there, or comes through the lane. */
export interface LaneOriginRequest {
  readonly method: string;
  /** In origin-form. */
  readonly path: string;
  readonly headers: readonly string[];
  readonly body: Buffer | LaneBody | null;
}

/** RFC 9112 §3 and §5: whatever this does not match could be read as another request, or as two. */
const HEAD =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ \/[\x21-\xff]* HTTP\/1\.1\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/;
/** Methods whose requests say that they have no body. */
const LENGTH_METHODS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH']);
const NOT_SENT = /^(?:connection|keep-alive|transfer-encoding|upgrade|expect)$/i;

/** The head with the empty line behind it, byte for byte. `defaultHost` goes out where the headers have none. Throws (`CodedError`) when it cannot be sent. */
export function requestText({ method, path, headers, body }: LaneOriginRequest, defaultHost: string): string {
  let host: string | undefined;
  let lines = '';
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    const value = headers[index + 1] ?? '';
    switch (name.length) {
      case 4:
        if (name.toLowerCase() !== 'host') break;
        if (host !== undefined) throw unsendable('it has two Host headers');
        host = value;
        continue;
      case 14:
        if (name.toLowerCase() === 'content-length') continue; // the body says it
        break;
      case 6:
      case 7:
      case 10:
      case 17:
        if (NOT_SENT.test(name)) throw unsendable(`it has a header ${name}`);
    }
    lines += `${name}: ${value}\r\n`;
  }
  // A server that sends a body after HEAD would spoil the connection for what follows.
  const connection = method === 'HEAD' ? 'close' : 'keep-alive';
  let text = `${method} ${path} HTTP/1.1\r\nhost: ${host ?? defaultHost}\r\nconnection: ${connection}\r\n${lines}`;
  if (body !== null && body.byteLength > 0) text += `content-length: ${body.byteLength}\r\n`;
  else if (LENGTH_METHODS.has(method)) text += 'content-length: 0\r\n';
  if (!HEAD.test(text)) throw unsendable('its head is not valid HTTP/1.1');
  return `${text}\r\n`;
}

function unsendable(why: string): CodedError {
  return new CodedError('UPSTREAM_UNREACHABLE', `The request cannot be sent on: ${why}`, { retry: 'never' });
}
