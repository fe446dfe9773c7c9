/**
 * The administrative listener: `GET /livez` (the process answers), `GET /readyz` (it can do its work: the lever of load
 * balancers), `GET /metrics`, and `GET /locks` (the row locks that unfinished global transactions hold). Nothing here changes state, so nothing here asks who is there.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Registry } from '../../src/platform/metrics.ts';
import type { Address } from '../../src/platform/option-types.ts';
import type { LockPage } from '../../src/contract/locks.ts';
import { sendError } from './errors.ts';
import type { Listening } from './listener.ts';
import { bind } from './open-listener.ts';

/** What readiness depends on: `ok` says whether all is well, `detail` one line for each part. */
export interface Readiness {
  readonly ok: boolean;
  readonly detail: Readonly<Record<string, string>>;
}

export interface AdminParts {
  readonly address: Address;
  checks(): Promise<Readiness>;
  readonly registry: Registry;
  /** One page of row locks by the query of the request. Rejects with a `CodedError`. */
  locks(query: string): Promise<LockPage>;
  /** Which of the two has been told to end: then no new work is to come here. */
  ending(): 'sidecar' | 'application' | undefined;
}

/** Shorter than the probes of common orchestrators are patient for, so that they get to see the detail. */
const CHECKS_TIMEOUT_MS = 900;

/** Starts the listener. Rejects when the address cannot be bound. */
export async function startAdmin(parts: AdminParts): Promise<Listening> {
  const server = createServer({ maxHeaderSize: 8192, headersTimeout: 5_000, requestTimeout: 10_000 });
  server.maxConnections = 100;
  server.on('error', () => undefined); // an accept that failed: the next probe comes
  server.on('request', (request, response) => {
    answer(parts, request, response).catch((cause: unknown) => {
      sendError(response, new CodedError('INTERNAL', 'The request could not be answered', { cause }));
    });
  });
  const { port, url } = await bind(server, parts.address);
  return {
    port,
    url,
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const cancel = at((now() + graceMs) as Instant, () => server.closeAllConnections());
      await closed;
      cancel();
    },
  };
}

const PATHS = ['/livez', '/readyz', '/metrics', '/locks'];

async function sendLocks(parts: AdminParts, query: string, response: ServerResponse): Promise<void> {
  try {
    const body = JSON.stringify(await parts.locks(query));
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(`${body}\n`);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    sendError(response, error);
  }
}

async function answer(parts: AdminParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = '', query = ''] = (request.url ?? '/').split('?', 2);
  if (!PATHS.includes(path)) {
    return sendError(response, new CodedError('NOT_FOUND', `There are ${PATHS.join(', ')} here`));
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return sendError(response, new CodedError('METHOD_NOT_ALLOWED', 'Only GET is answered here'), [
      'allow',
      'GET, HEAD',
    ]);
  }
  if (path === '/metrics') {
    const text = await parts.registry.metrics();
    response.writeHead(200, { 'content-type': parts.registry.contentType }).end(text);
    return;
  }
  if (path === '/locks') return sendLocks(parts, query, response);
  const readiness = path === '/livez' ? { ok: true, detail: {} } : await readinessOf(parts);
  const body = JSON.stringify({ status: readiness.ok ? 'ok' : 'unavailable', detail: readiness.detail });
  response.writeHead(readiness.ok ? 200 : 503, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(`${body}\n`);
}

async function readinessOf(parts: AdminParts): Promise<Readiness> {
  const ending = parts.ending();
  if (ending !== undefined) return { ok: false, detail: { [ending]: 'is shutting down' } };
  let cancel = (): void => {};
  const late = new Promise<Readiness>((resolve) => {
    cancel = at((now() + CHECKS_TIMEOUT_MS) as Instant, () =>
      resolve({ ok: false, detail: { checks: `no result within ${CHECKS_TIMEOUT_MS} ms` } }),
    );
  });
  try {
    return await Promise.race([parts.checks(), late]);
  } catch (error) {
    return { ok: false, detail: { checks: error instanceof Error ? error.message : 'failed' } };
  } finally {
    cancel();
  }
}
