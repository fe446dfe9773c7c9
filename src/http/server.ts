/** The HTTP server: from bytes to a route and back. Nothing that a client sends ends it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CodedError } from '../contract/errors.ts';
import type { Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import { bearerCheck } from '../platform/bearer.ts';
import type { Log } from '../platform/log.ts';
import type { Address, Secret } from '../platform/option-types.ts';
import { readBody } from './body.ts';
import { answerBrokenRequest } from './broken-request.ts';
import { type Call, matcherOf, type Reply, type Route } from './routes.ts';
import { errorReply } from './v1.ts';

/** Limits of a connection. A client has to send its head and its body within these; ours keep idle connections for less than we do. */
const LIMITS = {
  maxHeaderSize: 16_384,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 5000,
};
const CONNECTIONS_MAX = 20_000;
/** A connection on which nothing at all happens for so long is closed: longer than the longest wait of a request. */
const SILENCE_MS = 660_000;
/** A client that reads nothing for so long of an answer of so many characters (the system's buffers may not hold it) is cut off. */
const READ_MS = 30_000;
const LONG_ANSWER = 65_536;
/** So long a client may go on sending a body that was refused already; cutting it off at once would reset the connection before it has read why. */
const LINGER_MS = 2000;

export interface HttpServerOptions {
  readonly listen: Address;
  /** What callers must send as bearer token; undefined: nothing. */
  readonly token: Secret | undefined;
  readonly bodyBytesMax: number;
  /** How long a client may read nothing of a long answer; default 30 s. */
  readonly readMs?: number;
}

export interface HttpServer {
  readonly port: number;
  /** Listens no more, ends long polls, and closes each connection with its next answer. */
  drain(): void;
  /** Waits until every request that came in is answered, at most `graceMs`; then cuts what is still connected. */
  close(graceMs: number): Promise<void>;
}

/** How errors that no handler makes are written for paths that begin with `prefix`: another API has shapes of its own. */
export interface Face {
  readonly prefix: string;
  readonly errorReply: (error: CodedError) => Reply;
}

/** Starts to listen. Errors are written as the first of the `faces` that fits does, else in our own shape. Rejects when it cannot. */
export async function listenHttp(
  options: HttpServerOptions,
  routes: readonly Route[],
  log: Log,
  faces: readonly Face[] = [],
): Promise<HttpServer> {
  const draining = new AbortController();
  const answer = answerer(options, routes, draining.signal, log, faces);
  const open = new OpenResponses();
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    open.add(response);
    void answer(request, response);
  };
  const server = createServer(LIMITS, onRequest);
  server.on('checkContinue', onRequest);
  server.on('clientError', answerBrokenRequest);
  server.maxConnections = CONNECTIONS_MAX;
  server.timeout = SILENCE_MS;
  server.on('drop', () => log.warn({ connections: CONNECTIONS_MAX }, 'a connection was refused: too many are open'));
  await listen(server, options.listen);
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));
  const closed = new Promise<void>((resolve) => server.once('close', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    drain: () => {
      draining.abort();
      server.close();
    },
    close: async (graceMs) => {
      if (!draining.signal.aborted) {
        draining.abort();
        server.close();
      }
      await open.ended(graceMs);
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The responses that are neither out nor given up. */
class OpenResponses {
  #count = 0;
  #onNone: () => void = () => undefined;

  add(response: ServerResponse): void {
    this.#count += 1;
    response.once('close', () => {
      this.#count -= 1;
      if (this.#count === 0) this.#onNone();
    });
  }

  /** Resolves once there are none, or after `graceMs`. */
  ended(graceMs: number): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = at((now() + graceMs) as Instant, resolve);
      this.#onNone = () => {
        cancel();
        resolve();
      };
    });
  }
}

function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

type Answerer = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

function answerer(
  { token, bodyBytesMax, readMs = READ_MS }: HttpServerOptions,
  routes: readonly Route[],
  draining: AbortSignal,
  log: Log,
  faces: readonly Face[],
): Answerer {
  const match = matcherOf(routes);
  const patience = patienceUntil(draining);
  const mayCall = token === undefined ? () => true : bearerCheck(token);
  const isOwn = (route: Route): boolean => !faces.some(({ prefix }) => route.path.startsWith(prefix));
  const known = routes
    .filter(isOwn)
    .map((route) => `${route.method} ${route.path}`)
    .join(', ');
  const face = (path: string): Face['errorReply'] =>
    faces.find(({ prefix }) => path.startsWith(prefix))?.errorReply ?? errorReply;

  return async (request, response) => {
    const url = request.url ?? '';
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const found = match(request.method ?? '', path);
    const isOpen = found.kind === 'found' && found.route.isOpen === true;
    if (!isOpen && request.headers['sec-fetch-site'] === 'cross-site') {
      return refuse(request, response, face(path)(FROM_ANOTHER_SITE));
    }
    if (!isOpen && !mayCall(request.headers.authorization)) {
      return refuse(request, response, face(path)(UNAUTHORIZED), { 'www-authenticate': 'Bearer' });
    }
    if (found.kind === 'none') return refuse(request, response, face(path)(notFound(path, known)));
    if (found.kind === 'method') {
      const allow = found.allowed.join(', ');
      return refuse(request, response, face(path)(methodNotAllowed(request.method ?? '', path, allow)), { allow });
    }
    let text = '';
    if (found.route.method === 'POST') {
      const bytesMax = found.route.bodyBytesMax ?? bodyBytesMax;
      const body = await readBody(request, bytesMax, () => {
        if (request.headers.expect !== undefined) response.writeContinue();
      });
      if (body.kind === 'gone') return;
      if (body.kind === 'too large') return refuse(request, response, face(path)(bodyTooLarge(bytesMax)));
      text = body.text;
    }
    const call: Call = {
      segment: found.segment,
      query: mark < 0 ? '' : url.slice(mark + 1),
      body: text,
      signal: () => patience(response),
    };
    let reply: Reply;
    try {
      reply = await found.route.handle(call);
    } catch (error) {
      log.error({ err: error, route: found.route.path }, 'a request met a defect');
      reply = face(path)(DEFECT);
    }
    send(response, reply, draining.aborted, readMs);
  };
}

function send(response: ServerResponse, reply: Reply, isLast: boolean, readMs: number): void {
  const { status, text, contentType = 'application/json', code } = reply;
  const head = ['content-type', contentType, 'content-length', String(Buffer.byteLength(text))];
  if (code !== undefined) head.push('atomesh-error-source', 'coordinator');
  if (isLast) head.push('connection', 'close');
  response.writeHead(status, head);
  response.end(text);
  // As long as the client reads on, it has its time.
  if (text.length >= LONG_ANSWER && !response.writableFinished) response.setTimeout(readMs, () => response.destroy());
}

/**
 * Answers with an error before the body was read. A client that has nothing more to send keeps its connection; from
 * others the rest is thrown away for a while, then the connection is closed.
 */
function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  reply: Reply,
  headers: Readonly<Record<string, string>> = {},
): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  const hasBody = (length !== undefined && length !== '0') || encoding !== undefined;
  response.writeHead(reply.status, {
    'content-type': reply.contentType ?? 'application/json',
    'content-length': Buffer.byteLength(reply.text),
    'atomesh-error-source': 'coordinator',
    ...(hasBody ? { connection: 'close' } : {}),
    ...headers,
  });
  if (!hasBody || request.complete || request.headers.expect !== undefined) {
    response.end(reply.text);
    return;
  }
  // The whole answer is out; only the end of the connection waits.
  response.write(reply.text);
  const end = (): void => {
    response.end();
  };
  const cancel = at((now() + LINGER_MS) as Instant, end);
  request.on('close', cancel);
  request.on('end', end);
  request.resume();
}

/** Makes the signals of requests that wait: each aborts when its client goes away, and all do with `draining`. */
function patienceUntil(draining: AbortSignal): (response: ServerResponse) => AbortSignal {
  // By hand and not by `AbortSignal.any`: every `wait_result` comes this way, and that costs as much as reading its request.
  const waiting = new Set<AbortController>();
  draining.addEventListener('abort', () => waiting.forEach((controller) => controller.abort()), { once: true });
  return (response) => {
    if (draining.aborted) return draining;
    const controller = new AbortController();
    waiting.add(controller);
    response.once('close', () => {
      waiting.delete(controller);
      // Once it is answered nobody listens, and to abort is not for nothing.
      if (!response.writableFinished) controller.abort();
    });
    return controller.signal;
  };
}

const UNAUTHORIZED = new CodedError('UNAUTHORIZED', 'this coordinator asks for a token', {
  hint: 'Send the header "Authorization: Bearer <token>" with the token of the coordinator\'s option "token".',
});
/** Browsers say so themselves (Fetch Metadata, `Sec-Fetch-Site`), and pages cannot change it: a coordinator without a token stays nobody's tool. */
const FROM_ANOTHER_SITE = new CodedError('UNAUTHORIZED', 'a web page of another site asks for this', {
  hint: 'Programs send no header "sec-fetch-site: cross-site"; open the address in a tab of its own to look at it.',
});
const DEFECT = new CodedError('INTERNAL', 'the coordinator met a defect of its own', {
  retry: 'ask',
  hint: 'Read the transaction to see what took effect; the coordinator has logged the details.',
});

function notFound(path: string, known: string): CodedError {
  return new CodedError('NOT_FOUND', `there is nothing at ${JSON.stringify(path.slice(0, 200))}`, {
    hint: `There are ${known}.`,
  });
}

function methodNotAllowed(method: string, path: string, allow: string): CodedError {
  return new CodedError('METHOD_NOT_ALLOWED', `${method} is not possible at ${path.slice(0, 200)}`, {
    hint: `Use ${allow}.`,
  });
}

function bodyTooLarge(bytesMax: number): CodedError {
  return new CodedError('BODY_TOO_LARGE', `the body is larger than ${bytesMax} bytes`, {
    hint: 'Send less, or raise the coordinator\'s option "limits.body".',
  });
}
