/** What the tests of HTTP/2 share: applications, clients, and one stream from head to trailers. */
import { once } from 'node:events';
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { Admit } from '../../proxy/http/admission.ts';
import type { Listening } from '../../proxy/http/listener.ts';
import { openListener } from '../../proxy/http/open-listener.ts';
import { openHttpMetrics } from '../../proxy/http/metrics.ts';
import { openHttp2Origin } from '../../proxy/http2/origin.ts';
import { openHttp2Server } from '../../proxy/http2/server.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';
import { until } from '../proxy-http/support.ts';

/** An application that speaks HTTP/2 without upgrade, with what it has now and has seen. */
export interface Http2App {
  readonly server: Http2Server;
  readonly port: number;
  readonly sessions: Set<ServerHttp2Session>;
  readonly streams: Set<ServerHttp2Stream>;
  /** Raw heads, in the order of their arrival. */
  readonly heads: string[][];
}

/** Starts a server that is closed with the test. */
export async function startHttp2App(
  t: ExecutionContext,
  answer: (stream: ServerHttp2Stream, head: readonly string[], flags: number) => void,
  settings: { readonly maxConcurrentStreams?: number } = {},
): Promise<Http2App> {
  const server = createServer({ settings, streamResetBurst: 100_000, streamResetRate: 100_000 });
  const app = { server, port: 0, sessions: new Set<ServerHttp2Session>(), streams: new Set<ServerHttp2Stream>() };
  const heads: string[][] = [];
  server.on('session', (session) => {
    app.sessions.add(session);
    session.on('error', () => undefined);
    session.on('close', () => app.sessions.delete(session));
  });
  server.on('stream', (stream, _headers, flags, raw: string[]) => {
    heads.push(raw);
    app.streams.add(stream);
    stream.on('error', () => undefined);
    stream.on('close', () => app.streams.delete(stream));
    answer(stream, raw, flags);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const session of app.sessions) session.destroy();
    server.close();
  });
  return { ...app, heads, port: (server.address() as AddressInfo).port };
}

/** A client that is closed with the test. `socket`: over this connection instead of one of its own. */
export function client(t: ExecutionContext, url: string, socket?: Socket): ClientHttp2Session {
  const session = connect(url, socket === undefined ? {} : { createConnection: () => socket });
  session.on('error', () => undefined);
  t.teardown(() => session.destroy());
  return session;
}

/** How a stream of a client ended. */
export interface Outcome {
  readonly interim: readonly number[];
  readonly status: number | undefined;
  /** The raw head of the answer. */
  readonly head: readonly string[];
  readonly body: Buffer;
  readonly trailers: readonly string[] | undefined;
  /** True when the answer was said to be over by its sender. */
  readonly ended: boolean;
  readonly rstCode: number;
}

export interface Wish {
  readonly head: readonly string[];
  readonly body?: Buffer | string;
  readonly trailers?: Record<string, string | string[]>;
}

/** Sends one request and waits until its stream is closed. */
export async function ask(session: ClientHttp2Session, wish: Wish): Promise<Outcome> {
  const stream = session.request(
    [...wish.head],
    wish.trailers === undefined ? { endStream: wish.body === undefined } : { endStream: false, waitForTrailers: true },
  );
  const { trailers } = wish;
  if (trailers !== undefined) stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  if (wish.body !== undefined || trailers !== undefined) stream.end(wish.body);
  return outcomeOf(stream);
}

/** Waits until `stream` is closed. */
export async function outcomeOf(stream: ClientHttp2Stream): Promise<Outcome> {
  const interim: number[] = [];
  const chunks: Buffer[] = [];
  let head: readonly string[] = [];
  let trailers: readonly string[] | undefined;
  let ended = false;
  stream.on('headers', (headers) => interim.push(Number(headers[':status'])));
  stream.on('response', (_headers, _flags, raw: string[]) => (head = raw));
  stream.on('trailers', (_headers, _flags, raw: string[]) => (trailers = raw));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => (ended = true));
  stream.on('error', () => undefined);
  let isClosed = stream.destroyed;
  stream.once('close', () => (isClosed = true));
  await until(() => isClosed, 'the stream to close');
  const status = valueOf(head, ':status');
  return {
    interim,
    status: status === undefined ? undefined : Number(status),
    head,
    body: Buffer.concat(chunks),
    trailers,
    ended: ended && stream.rstCode === 0,
    rstCode: stream.rstCode,
  };
}

/** The first value of a name in a flat list. */
export function valueOf(raw: readonly string[], name: string): string | undefined {
  return valuesOf(raw, name)[0];
}

/** All values of a name in a flat list, in their order. */
export function valuesOf(raw: readonly string[], name: string): readonly string[] {
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1] === name);
}

/** The head of a request without the carriers that a test does not speak of. */
export function get(path: string, ...headers: readonly string[]): readonly string[] {
  return [':method', 'GET', ':path', path, ':scheme', 'http', ':authority', 'shop.example', ...headers];
}

export function post(path: string, ...headers: readonly string[]): readonly string[] {
  return [':method', 'POST', ':path', path, ':scheme', 'http', ':authority', 'shop.example', ...headers];
}

/** A listener that does with every request what `admit` says, in front of `port`. */
export async function listen(
  t: ExecutionContext,
  port: number,
  admit: Admit,
  timeoutMs: number = 20_000,
): Promise<Listening> {
  const limits = { header: 16_384 };
  const log = openLog('test', 'silent');
  const origin = openHttp2Origin({ url: `http://127.0.0.1:${port}`, timeoutMs });
  const place = ({ headers }: { readonly headers: string[] }) => ({ headers, authority: undefined });
  const http2 = openHttp2Server({ limits, log, timeoutMs, admit, place, originOf: () => origin });
  const metrics = openHttpMetrics(openMetrics(false));
  const ignore = (): void => undefined;
  const listener = openListener({
    direction: 'inbound',
    metrics,
    log,
    limits,
    http2,
    onRequest: ignore,
    onUpgrade: ignore,
  });
  const listening = await listener.listen({ host: '127.0.0.1', port: 0 }, () => Promise.resolve(origin.destroy()));
  t.teardown(() => listening.close(0));
  return listening;
}
