/**
 * Requests that come by one version of HTTP and go on by the other, where nothing is lost by it: heads, bodies, trailers of answers
 * and interim answers. What would be lost is refused: gRPC, which needs HTTP/2 all the way, and trailers of requests over HTTP/1.
 */
import { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import type { Origin, OriginRequest } from '../http1/origin.ts';
import { isGrpc } from './grpc.ts';
import { fieldOf } from './head.ts';
import type { Http2Origin, Http2Request } from './origin.ts';

/** An origin that speaks HTTP/1, for requests that came by HTTP/2. */
export function overHttp1(origin: Origin): Http2Origin {
  return {
    request(request, handler) {
      const refusal = refusalOf(request);
      if (refusal !== undefined) return handler.onError(refusal);
      const { method, path, authority, headers } = request.head;
      const { body } = request;
      const outgoing = {
        method,
        path,
        headers: http1Headers(headers, authority),
        // A stream of its own: undici destroys what it cannot send, and our stream still has an answer to carry.
        body: body === null || Buffer.isBuffer(body) ? body : body.stream.pipe(new PassThrough()),
      };
      const isBodyless = method === 'HEAD';
      // Undici carries no expectation, so the client is let on here (RFC 9110 §10.1.1).
      if (fieldOf(headers, 'expect') !== undefined) handler.onHeaders(100, [], () => undefined, '', false);
      origin.dispatch(
        outgoing,
        {
          onConnect: (abort) => handler.onConnect(abort),
          onHeaders: (status, head, resume, text) => handler.onHeaders(status, head, resume, text, isBodyless),
          onData: (chunk) => handler.onData(chunk),
          onComplete: (trailers) => handler.onComplete(trailers),
          onError: (error) => handler.onError(error),
        },
        body === null && path === '*',
      );
    },
    close: () => void origin.close(),
    destroy: () => void origin.destroy(),
  };
}

/** An origin that speaks HTTP/2 without upgrade, for requests that came by HTTP/1. `timeoutMs`: how long it may take to answer. */
export function overHttp2(origin: Http2Origin, url: URL, timeoutMs: number): Origin {
  return {
    dispatch(request, handler) {
      const { body, method, path } = request;
      const expects = body instanceof IncomingMessage && body.headers.expect !== undefined;
      const headers = expects ? [...request.headers, 'expect', '100-continue'] : request.headers;
      const scheme = url.protocol === 'https:' ? 'https' : 'http';
      origin.request(
        {
          head: { method, path, scheme, authority: url.host, headers, sensitive: [] },
          body: body === null || Buffer.isBuffer(body) ? body : { stream: body, trailers: () => trailersOf(body) },
          timeoutMs,
        },
        handler,
      );
    },
    close: () => Promise.resolve(origin.close()),
    destroy: () => Promise.resolve(origin.destroy()),
  };
}

function trailersOf(body: OriginRequest['body']): readonly string[] {
  return body instanceof IncomingMessage ? body.rawTrailers : [];
}

function refusalOf({ head }: Http2Request): CodedError | undefined {
  if (isGrpc(fieldOf(head.headers, 'content-type'))) {
    return new CodedError('METHOD_NOT_ALLOWED', 'The application speaks HTTP/1, over which gRPC cannot go', {
      hint: 'Say inbound.protocol: auto (or h2c) where the application serves gRPC',
    });
  }
  if (fieldOf(head.headers, 'trailer') === undefined) return undefined;
  return new CodedError('BAD_REQUEST', 'The request announces trailers, and the application speaks HTTP/1', {
    hint: 'Send what they say in headers, or say inbound.protocol: h2c where the application speaks HTTP/2',
  });
}

/** With one Host, and with the crumbs of a cookie in one line (RFC 9113 §8.2.3). */
function http1Headers(headers: readonly string[], authority: string): string[] {
  const result: string[] = [];
  const crumbs: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = (headers[index] ?? '').toLowerCase();
    if (name === 'cookie') crumbs.push(headers[index + 1] ?? '');
    else if (name !== 'expect') result.push(headers[index] ?? '', headers[index + 1] ?? '');
  }
  if (crumbs.length > 0) result.push('cookie', crumbs.join('; '));
  if (fieldOf(headers, 'host') === undefined) result.unshift('host', authority);
  return result;
}
